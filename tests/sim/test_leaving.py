"""Servers that drain among other servers: who is told to go where, and what is left behind.

Whole nodes over fake cores and one fake store; the tests play the client that follows.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.sim.realm import Realm

from mmo.contract import Close
from mmo.testing.world import Client
from mmo.wire.messages.hunt import ChannelEnter, ChannelEnterOk
from mmo.wire.messages.presence import Lobby, Move, MoveOk, ServerLeaving, SessionOk, Welcome
from mmo.wire.opcode import CloseReason

ENDS_MS = 10_000


@pytest.fixture
def realm() -> Iterator[Realm]:
    """Two centers, two channel servers."""
    made = Realm()
    yield made
    made.close()


def told(client: Client) -> list[ServerLeaving]:
    """Where a client was told to go."""
    return [message for message in client.heard() if isinstance(message, ServerLeaving)]


def drain(realm: Realm, number: int) -> None:
    """Begin, as SIGTERM does."""
    world = realm.worlds[number]
    world.loop.call_soon(world.node.stop)
    realm.settle()


def ended(realm: Realm, number: int) -> bool:
    """Whether the node ended in order."""
    ended = realm.worlds[number].node._ended
    return ended is not None and ended.done() and ended.result() == 0


def test_a_draining_channel_server_sends_its_player_to_the_other_with_a_token(realm: Realm) -> None:
    realm.register("hero")
    center, _ = realm.arrive("hero")
    game, before = realm.travel(center, 11)
    drain(realm, 11)
    realm.move(500)
    (there,) = told(game)
    assert (there.number, bool(there.token)) == (12, True)
    # He is served where he is until he goes.
    assert isinstance(realm.asks(game, ChannelEnter(1)), ChannelEnterOk)
    again, welcome = realm.enter(there.number, there.token)
    assert isinstance(welcome, Welcome)
    assert (welcome.user, welcome.session_epoch) == (before.user, before.session_epoch)
    assert isinstance(realm.asks(again, ChannelEnter(1)), ChannelEnterOk)
    realm.move(ENDS_MS)
    assert ended(realm, 11)
    assert realm.seen(before.user) == ("online", 12)
    assert before.user not in realm.worlds[11].engine.states["world"].seats


def test_a_draining_server_takes_nobody_in(realm: Realm) -> None:
    realm.register("hero")
    center, _ = realm.arrive("hero")
    realm.worlds[11].engine.change_view(draining=True)
    assert not isinstance(realm.asks(center, Move(11)), MoveOk)


def test_who_does_not_go_is_told_that_the_server_stops_and_loses_nothing(realm: Realm) -> None:
    realm.register("hero")
    center, arrived = realm.arrive("hero")
    game, _ = realm.travel(center, 11)
    rewards = realm.hunt(game, 1, 2)
    drain(realm, 11)
    realm.move(ENDS_MS)
    assert ended(realm, 11)
    assert game.closed_reason == CloseReason.SERVER_STOPPING
    back = realm.asks(center, Lobby())
    assert isinstance(back, Welcome) and back.exp == rewards[-1].exp
    assert back.session_epoch == arrived.session_epoch


def test_a_move_is_prepared_by_a_center_that_does_not_hold_the_session(realm: Realm) -> None:
    realm.register("hero")
    center, _ = realm.arrive("hero")
    game, _ = realm.travel(center, 11)
    holder = next(n for n in (2, 3) if len(realm.worlds[n].engine.states["sessions"]))
    close = Close(game.user, CloseReason.IDLE, forget=True)
    world = realm.worlds[holder]
    world.engine.outcomes._close(world.engine.lanes.of_user(game.user), close, None)
    realm.settle()
    drain(realm, 11)
    realm.move(500)
    (there,) = told(game)
    _, welcome = realm.enter(there.number, there.token)
    assert isinstance(welcome, Welcome)


def test_a_draining_center_hands_its_sessions_to_the_other(realm: Realm) -> None:
    realm.register("hero")
    center, arrived = realm.arrive("hero")
    assert len(arrived.centers) == 2
    leaving, other = (2, 3) if arrived.number == 2 else (3, 2)
    drain(realm, leaving)
    realm.move(500)
    (there,) = told(center)
    assert (there.number, there.token) == (other, "")
    again, held = realm.enter(other, arrived.session_token)
    assert isinstance(held, SessionOk) and held.place_number == leaving
    back = realm.asks(again, Lobby())
    assert isinstance(back, Welcome) and back.user == arrived.user
    realm.move(ENDS_MS)
    assert ended(realm, leaving)


def test_rooms_that_run_are_waited_for_but_not_for_ever(realm: Realm) -> None:
    class Rooms:
        running = 1

    rooms: Any = Rooms()
    realm.worlds[31].engine.rooms.append(rooms)
    drain(realm, 31)
    realm.move(20_000)
    assert not ended(realm, 31)
    rooms.running = 0
    realm.move(1_000)
    assert ended(realm, 31)
    rooms.running, late = 1, realm.worlds[21]
    late.engine.rooms.append(rooms)
    drain(realm, 21)
    realm.move(late.settings.busy_ms + ENDS_MS)
    assert ended(realm, 21)
