"""Waiting for a raid over a whole cluster in one process: match, fight, free; and losses."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.sim.realm import Realm

from mmo.state.raid import RaidRecord, RaidState
from mmo.testing.world import Client
from mmo.wire.messages.presence import Logout, LogoutOk
from mmo.wire.messages.raid import (
    RaidAct,
    RaidActOk,
    RaidEnded,
    RaidEntered,
    RaidReady,
    RaidReadyOk,
    RaidStart,
)
from mmo.wire.messages.raid_queue import (
    RaidCancel,
    RaidCancelOk,
    RaidExplain,
    RaidExplainOk,
    RaidFreed,
    RaidMatched,
    RaidQueue,
    RaidQueueOk,
    RaidRejoin,
)
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

MATCHING, RAID = 21, 31
PAIR = 1


@pytest.fixture
def realm() -> Iterator[Realm]:
    realm = Realm()
    yield realm
    realm.close()


def arrivals(realm: Realm, *names: str) -> list[Client]:
    """New players in the lobby."""
    for name in names:
        realm.register(name)
    return [realm.arrive(name)[0] for name in names]


def queue(realm: Realm, *players: Client) -> None:
    """They wait for a raid of two."""
    for client in players:
        assert isinstance(realm.asks(client, RaidQueue(PAIR)), RaidQueueOk)


def heard(client: Client, kind: type) -> Any:
    """The one message of a kind since the last look."""
    (found,) = [message for message in client.heard() if isinstance(message, kind)]
    return found


def matched(realm: Realm, *players: Client) -> list[Client]:
    """They queue and enter the raid server by their tokens; the connections there."""
    queue(realm, *players)
    realm.move(500)
    seats = []
    for client in players:
        match = heard(client, RaidMatched)
        seat, entered = realm.enter(match.number, match.token)
        assert isinstance(entered, RaidEntered), entered
        assert (entered.raid, entered.seat) == (match.raid, match.seat)
        seats.append(seat)
    return seats


def left(realm: Realm) -> dict[str, int]:
    """What is still held of tickets, teams, seats and rooms anywhere; nothing when all is over."""
    found: dict[str, int] = {}
    for world in realm.worlds.values():
        for name in ("matching", "tickets", "raids"):
            state = world.engine.states.get(name)
            if state is not None and hasattr(state, "gauges"):
                found |= {f"{world.settings.name} {g}": n for g, n in state.gauges().items() if n}
    return found


def state_of(realm: Realm, raid: int) -> RaidState:
    """How a raid stands in the books."""
    world = realm.worlds[RAID]
    record = world.run(world.store.raid(raid))
    assert isinstance(record, RaidRecord)
    return record.state


def fought(realm: Realm, *seats: Client) -> RaidEnded:
    """They are ready, strike until the battle ends, and hear the same end."""
    for seat in seats:
        assert isinstance(realm.asks(seat, RaidReady()), RaidReadyOk)
    realm.move(250)
    assert heard(seats[0], RaidStart).hp > 0
    for _ in range(120):
        said = [realm.asks(seat, RaidAct(0, 1)) for seat in seats]
        realm.move(250)
        ends = [m for m in seats[0].heard() if isinstance(m, RaidEnded)]
        if ends:
            assert any(isinstance(one, RaidActOk | Refused) for one in said)
            return ends[0]
    raise AssertionError("the battle never ends")


def test_raid_when_two_wait_then_they_fight_it_is_settled_once_and_both_are_free(
    realm: Realm,
) -> None:
    players = arrivals(realm, "anna", "ben")
    seats = matched(realm, *players)
    assert realm.seen(players[0].user) == ("raid", 2)
    end = fought(realm, *seats)
    assert {row.user for row in end.scores} == {client.user for client in players}
    assert max(row.score for row in end.scores) > 0
    realm.move(1_000)
    for client in players:
        assert heard(client, RaidFreed) == RaidFreed(end.raid, True)
        assert realm.seen(client.user) is not None
    assert state_of(realm, end.raid) == RaidState.FINISHED
    realm.move(60_000)
    assert not left(realm)
    seats = matched(realm, *players)
    assert len(seats) == 2, "and they may queue again"


def test_matching_when_killed_then_who_waits_is_handed_in_again_and_is_matched(
    realm: Realm,
) -> None:
    anna, ben = arrivals(realm, "anna", "ben")
    queue(realm, anna)
    realm.kill(MATCHING)
    assert realm.asks(anna, RaidExplain()) == Refused(Code.MATCHING_AWAY)
    realm.move(4_000)
    assert realm.asks(ben, RaidQueue(PAIR)) == Refused(Code.MATCHING_AWAY)
    realm.revive(MATCHING)
    realm.move(3_000)
    explained = realm.asks(anna, RaidExplain())
    assert isinstance(explained, RaidExplainOk) and explained.waited_ms > 4_000
    queue(realm, ben)
    realm.move(500)
    assert heard(anna, RaidMatched).raid == heard(ben, RaidMatched).raid


def test_matching_when_killed_after_the_seats_were_kept_then_a_rejoin_finds_them(
    realm: Realm,
) -> None:
    anna, ben = arrivals(realm, "anna", "ben")
    queue(realm, anna, ben)
    for world in realm.worlds.values():
        world.move(250)
    realm._carry()  # the question for seats is asked; its answer stays on the way
    realm.worlds[RAID].settle()
    assert len(realm.database.raid_tables.busy) == 2
    realm.kill(MATCHING)
    realm.revive(MATCHING)
    realm.move(6_000)
    for client in (anna, ben):
        said = realm.asks(client, RaidRejoin())
        assert isinstance(said, RaidMatched), said
    realm.move(120_000)
    assert not left(realm)


@pytest.mark.parametrize("how", ["cancel", "logout", "lost"])
def test_queue_when_he_leaves_it_in_any_way_then_no_ticket_is_left(realm: Realm, how: str) -> None:
    anna, ben = arrivals(realm, "anna", "ben")
    queue(realm, anna)
    assert realm.seen(anna.user) == ("queued", 2)
    if how == "cancel":
        assert isinstance(realm.asks(anna, RaidCancel()), RaidCancelOk)
        assert realm.seen(anna.user) == ("online", 2)
    elif how == "logout":
        assert isinstance(realm.asks(anna, Logout()), LogoutOk)
    else:
        anna.leaves()
    realm.move(1_000)
    assert not left(realm)
    queue(realm, ben)
    realm.move(2_000)
    assert not [m for m in ben.heard() if isinstance(m, RaidMatched)]


def test_seats_when_nobody_comes_for_them_then_the_raid_is_aborted_and_all_are_free(
    realm: Realm,
) -> None:
    players = arrivals(realm, "anna", "ben")
    queue(realm, *players)
    realm.move(500)
    raid = heard(players[0], RaidMatched).raid
    players[1].leaves()
    realm.move(realm.content.raids.kinds[PAIR].waiting_ms + 30_000)
    assert heard(players[0], RaidFreed) == RaidFreed(raid, False)
    assert state_of(realm, raid) == RaidState.ABORTED
    assert not left(realm)


def test_login_when_a_second_one_comes_then_the_ticket_of_the_first_is_gone(realm: Realm) -> None:
    (anna,) = arrivals(realm, "anna")
    queue(realm, anna)
    again, _ = realm.arrive("anna")
    realm.move(1_000)
    assert not left(realm)
    queue(realm, again)
    assert len(realm.worlds[MATCHING].engine.states["matching"].tickets) == 1
