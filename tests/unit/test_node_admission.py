"""Arriving, resuming, leaving: every way in and out of a node."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.node_game import messages as m
from tests.unit.node_game.roles import CENTER, CHANNEL

from mmo.state.place import PlacePrepared
from mmo.testing.fake_store import FakeStore
from mmo.testing.fake_tables import FakeDatabase
from mmo.testing.world import Client, World
from mmo.wire import codec
from mmo.wire.messages.session import Hello, HelloOk, Refused
from mmo.wire.opcode import PROTOCOL_NUMBER, CloseReason, Code, Op

GAME = "tests.unit.node_game"
MakeWorld = Callable[..., World]


def a_world(world: MakeWorld, role: Any = CHANNEL, **settings: Any) -> tuple[World, FakeStore]:
    store = FakeStore(FakeDatabase())
    game = world(role, store=store, systems_package=GAME, **settings)
    store.database.clock_ms = game.clock
    return game, store


def left(game: World) -> list[tuple[int, int, bool]]:
    board = game.engine.states["board"]
    told, board.left = board.left, []
    return list(told)


def test_hello_when_protocols_agree_names_the_server(world: MakeWorld) -> None:
    game, _ = a_world(world)
    client = game.client()
    answer = client.asks(Hello(PROTOCOL_NUMBER, codec.fingerprints()))
    assert answer == HelloOk(PROTOCOL_NUMBER, 11, "channel", 1, game.clock.now_ms)


def test_hello_when_a_known_message_differs_is_refused_by_name(world: MakeWorld) -> None:
    game, _ = a_world(world)
    client = game.client()
    known = codec.fingerprints() | {int(Op.HIT): 1}
    assert client.asks(Hello(PROTOCOL_NUMBER, known)) == Refused(Code.PROTOCOL_MISMATCH, "Hit")
    assert client.closed_reason == CloseReason.PROTOCOL_MISMATCH


def test_hello_when_client_knows_other_messages_is_welcome(world: MakeWorld) -> None:
    game, _ = a_world(world)
    client = game.client()
    assert isinstance(client.asks(Hello(PROTOCOL_NUMBER, {60_000: 5})), HelloOk)


def test_hello_when_protocol_is_another_is_refused(world: MakeWorld) -> None:
    game, _ = a_world(world)
    client = game.client()
    assert client.asks(Hello(PROTOCOL_NUMBER + 1)).code == Code.PROTOCOL_MISMATCH
    assert client.closed_reason == CloseReason.PROTOCOL_MISMATCH


def test_message_when_no_token_was_shown_is_refused(world: MakeWorld) -> None:
    game, _ = a_world(world)
    client = game.client()
    assert client.asks(m.Echo("x")) == Refused(Code.NOT_ENTERED)
    assert client.asks(b"\x90", 9_999) == Refused(Code.UNKNOWN_MESSAGE, "9999")
    assert client.asks(b"\x90", m.KIN) == Refused(Code.UNKNOWN_MESSAGE, str(m.KIN))
    assert client.asks(m.Paid(1, 1_000)) == Refused(Code.UNKNOWN_MESSAGE, str(m.PAID))


def test_enter_when_claim_holds_answers_and_serves(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = game.player("Ann")
    assert player.heard() == [m.Looked(0)]
    head = store.database.heads[player.user]
    assert (head.place_number, head.reservation_number) == (11, 0)


def test_enter_when_messages_follow_at_once_keeps_their_order(world: MakeWorld) -> None:
    game, store = a_world(world)
    user = game.account("Ann")
    epoch, _ = game.login(user, "Ann")
    row = PlacePrepared(user, epoch, 11, "j", game.clock.now_ms + 1_000)
    game.run(store.write(row))
    client = game.client()
    client.user, client.epoch = user, epoch
    client.post(Hello(PROTOCOL_NUMBER))
    game.show(client, user, "move+jwt", jti="j")
    client.post(m.Buy((epoch, 1), 5))
    client.post(m.Look())
    game.settle()
    assert client.heard()[1:] == [m.Looked(0), m.Bought(5), m.Looked(5)]


def test_enter_when_token_is_replayed_is_refused_and_closed(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player = game.player("Ann")
    thief = game.client()
    thief.epoch = player.epoch
    jti = f"move-{player.user}-{player.epoch}"
    game.show(thief, player.user, "move+jwt", jti=jti)
    thief.post(m.Look())
    game.settle()
    assert thief.heard()[0] == Refused(Code.TOKEN_REFUSED)
    assert thief.closed_reason == CloseReason.TOKEN_INVALID
    assert player.asks(m.Look()) == m.Looked(0)


def test_enter_when_session_is_older_is_refused(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player = game.player("Ann")
    game.login(player.user, "Ann")
    late = game.resumes(player)
    assert late.heard()[0] == Refused(Code.TOKEN_REFUSED)
    assert late.closed_reason == CloseReason.TOKEN_INVALID


def test_enter_when_a_newer_session_comes_closes_the_older_connection(world: MakeWorld) -> None:
    game, _ = a_world(world)
    old = game.player("Ann")
    new = game.player("Ann", user=old.user)
    assert old.closed_reason == CloseReason.SESSION_TAKEN
    assert new.asks(m.Buy(new.operation(), 1)) == m.Bought(1)
    game.move(20_000)
    assert new.asks(m.Look()) == m.Looked(1)


def test_enter_when_the_store_is_away_may_be_tried_again(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = game.player("Ann")
    player.leaves()
    store.database.is_down = True
    client = game.resumes(player)
    assert client.heard() == [Refused(Code.RETRY_LATER)]
    client.post(m.Look())
    game.settle()
    assert client.heard() == [Refused(Code.NOT_ENTERED)]
    store.database.is_down = False
    game.show(client, player.user, "session+jwt")
    game.settle()
    assert client.heard() == [m.Looked(0)]


def test_enter_when_body_is_no_claims_is_refused(world: MakeWorld) -> None:
    game, _ = a_world(world)
    for body in (b"", b"{}", b'{"typ":"x","claims":{}}', b"\xff"):
        client = game.client()
        client.connection.user = 5
        answer = client.asks(body, Op.ENTER)
        assert answer.code == Code.TOKEN_REFUSED
        assert client.closed_reason == CloseReason.TOKEN_INVALID


def test_leaving_when_no_one_comes_back_ends_after_the_grace_time(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player = game.player("Ann")
    player.leaves()
    assert left(game) == [(player.user, CloseReason.PEER_CLOSED, False)]
    assert player.user in game.engine.lanes.users
    game.move(9_900)
    assert player.user in game.engine.lanes.users
    game.move(200)
    assert left(game) == [(player.user, CloseReason.PEER_CLOSED, True)]
    assert player.user not in game.engine.lanes.users


def test_leaving_when_resumed_in_time_keeps_the_resident(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player = game.player("Ann")
    player.asks(m.Buy(player.operation(), 5))
    player.leaves()
    game.move(5_000)
    again = game.resumes(player)
    game.move(60_000)
    assert [told[2] for told in left(game)] == [False]
    assert again.asks(m.Look()) == m.Looked(5)
    assert again.asks(m.Buy((player.epoch, 1), 5)) == m.Bought(5)  # the operation is remembered


def test_resuming_when_the_old_connection_still_lives_replaces_it(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player = game.player("Ann")
    again = game.resumes(player)
    assert player.closed_reason == CloseReason.SESSION_TAKEN
    assert left(game) == []
    assert again.asks(m.Look()) == m.Looked(0)


def test_leaving_when_a_commit_is_on_its_way_loses_nothing(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = game.player("Ann")
    player.post(m.Buy(player.operation(), 5))
    game.core.disconnect(player.connection)
    game.settle()
    assert store.database.heads[player.user].coins[0] == 5
    again = game.resumes(player)
    assert again.asks(m.Look()) == m.Looked(5)


def test_leaving_while_the_claim_runs_leaves_no_ghost(world: MakeWorld) -> None:
    game, _ = a_world(world)
    player = game.player("Ann")
    player.leaves()
    left(game)
    client = game.client()
    client.epoch = player.epoch
    game.show(client, player.user, "session+jwt")
    game.core.disconnect(client.connection)
    game.settle()
    game.move(10_100)
    assert left(game)[-1][2] is True
    assert player.user not in game.engine.lanes.users


def test_connection_when_it_never_entered_leaves_nothing(world: MakeWorld) -> None:
    game, _ = a_world(world)
    client = game.client()
    client.asks(Hello(PROTOCOL_NUMBER))
    client.leaves()
    assert left(game) == [] and game.engine.sources == {} and game.engine.lanes.users == {}


def test_session_when_owned_elsewhere_is_held_by_a_center_without_parts(world: MakeWorld) -> None:
    game, store = a_world(world, CENTER)
    player = game.player("Ann")
    player.leaves()
    game.move(11_000)
    store.database.heads[player.user].place_number = 12
    again = game.resumes(player)
    assert again.heard() == [m.Looked(-1)]
    assert again.asks(m.Look()) == Refused(Code.WRONG_PLACE)
    assert again.asks(m.Echo("x")) == m.Echoed("x", 1)


def test_lobby_when_asked_claims_the_player_for_this_center(world: MakeWorld) -> None:
    game, store = a_world(world, CENTER)
    player = game.player("Ann")
    head = store.database.heads[player.user]
    head.place_number, head.place_epoch = 12, head.place_epoch + 1
    player.heard()
    assert player.asks(m.Reserve(0)) == m.Looked(0)
    assert head.place_number == 11
    assert player.asks(m.Buy(player.operation(), 2)) == m.Bought(2)


def test_lobby_when_the_session_is_over_is_refused(world: MakeWorld) -> None:
    game, store = a_world(world, CENTER)
    player = game.player("Ann")
    store.database.heads[player.user].session_epoch += 1
    assert player.asks(m.Reserve(0)) == Refused(Code.SESSION_OVER)


def test_stop_when_asked_tells_everyone_and_gives_the_lease_back(world: MakeWorld) -> None:
    game, store = a_world(world)
    player = game.player("Ann")
    player.post(m.Buy(player.operation(), 5))
    game.settle()
    assert game.stop(100) == 0
    assert player.closed_reason == CloseReason.SERVER_STOPPING
    assert store.database.heads[player.user].coins[0] == 5
    assert not game.run(store.leases())[0].alive
    assert game.engine.env.node.draining


class Two:
    """Two nodes over one database, as two servers of a cluster."""

    def __init__(self, world: MakeWorld) -> None:
        self.center, store = a_world(world, CENTER, number=2, name="center")
        other = FakeStore(store.database)
        self.channel = world(CHANNEL, store=other, systems_package=GAME, number=11, name="channel")
        self.store = store

    def move_over(self, player: Client) -> Client:
        row = PlacePrepared(player.user, player.epoch, 11, "mv", self.channel.clock.now_ms + 10_000)
        self.center.run(self.store.write(row))
        client = self.channel.client()
        client.user, client.epoch, client.counter = player.user, player.epoch, player.counter
        self.channel.show(client, player.user, "move+jwt", jti="mv")
        self.channel.settle()
        return client


def test_move_when_claimed_elsewhere_fences_the_old_owner(world: MakeWorld) -> None:
    two = Two(world)
    player = two.center.player("Ann")
    player.asks(m.Buy(player.operation(), 5))
    moved = two.move_over(player)
    assert moved.heard() == [m.Looked(5)]
    assert player.asks(m.Buy(player.operation(), 5)) == Refused(Code.WRONG_PLACE)
    assert moved.asks(m.Buy((player.epoch, 1), 5)) == m.Bought(5)  # a repeat, on another server
    assert moved.asks(m.Buy((player.epoch, 7), 5)) == m.Bought(10)
    assert two.store.database.heads[player.user].coins[0] == 10


def test_end_of_an_old_connection_when_a_claim_is_on_its_way_is_not_taken_for_the_new(
    world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules would let go of the session that has just arrived."""
    for role in (CENTER, CHANNEL):
        game, store = a_world(world, role)
        old = game.player("Ann")
        claim, may_go = store.claim, asyncio.Event()

        async def slow(asked: Any, claim: Any = claim, may_go: Any = may_go) -> Any:
            await may_go.wait()
            return await claim(asked)

        monkeypatch.setattr(store, "claim", slow)
        new = game.client()
        new.user, new.epoch, new.counter = old.user, old.epoch, old.counter
        game.show(new, old.user, "session+jwt", name="Ann")
        game.settle()
        old.leaves()
        game.settle()
        may_go.set()
        game.settle()
        assert left(game) == []
        assert new.asks(m.Look()) == m.Looked(0)
        game.move(20_000)
        assert left(game) == []


def test_message_when_its_connection_was_told_to_go_then_is_dropped(world: MakeWorld) -> None:
    game, _ = a_world(world)
    ann = game.player("ann")
    source = game.engine.sources[ann.connection.conn]
    source.refused = True  # what came before the close is still in the queue
    assert ann.asks(m.Echo("late")) is None
    source.refused = False
    assert isinstance(ann.asks(m.Echo("in time")), m.Echoed)


def test_enter_when_its_connection_ended_with_it_then_claims_nothing(world: MakeWorld) -> None:
    """A server that stood still finds both in its queue; the player is elsewhere by then."""
    game, store = a_world(world)
    player = game.player("Ann")
    epoch = store.database.heads[player.user].place_epoch
    late = game.client()
    late.user, late.epoch = player.user, player.epoch
    game.show(late, player.user, "session+jwt")
    game.core.disconnect(late.connection)
    game.settle()
    assert store.database.heads[player.user].place_epoch == epoch
    assert game.engine.metrics.counts["claims_abandoned_total"] == 1
    assert player.asks(m.Look()) == m.Looked(0), "he goes on where he is"
