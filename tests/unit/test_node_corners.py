"""Corners of a node's life that need two things at one moment."""

from collections.abc import Callable, Sequence

import pytest
from tests.unit.node_clients import a_player
from tests.unit.node_game import messages as m
from tests.unit.node_game.roles import CHANNEL
from tests.unit.node_game.rules import SHAPES

from mmo.store import PlayerCommit, Verdict
from mmo.testing.fake_store import FakeStore
from mmo.testing.world import World
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code

GAME = "tests.unit.node_game"
MakeWorld = Callable[..., World]


class MovingStore(FakeStore):
    """A store in which the next commit of a player meets a version that somebody else raised, while
    `meanwhile` happens at this node."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None

    async def commit(self, group: Sequence[PlayerCommit]) -> list[Verdict]:
        happening, self.meanwhile = self.meanwhile, None
        if happening is not None:
            for commit in group:
                self.database.heads[commit.player.user].version += 1
            happening()
        return await super().commit(group)


def test_eviction_when_player_is_loaded_again_before_it_leaves_no_ghost(world: MakeWorld) -> None:
    store = MovingStore()
    game = world(CHANNEL, store=store, systems_package=GAME)
    player = a_player(game)
    lane = game.engine.lanes.users[player.user]
    store.meanwhile = lambda: game.engine.residents.dismiss(lane, CloseReason.KICKED)
    player.post(m.Strike(5))
    game.settle()
    assert player.closed_reason == CloseReason.KICKED
    assert store.database.heads[player.user].coins[0] == 5
    assert game.engine.residents.players == 0
    assert player.user not in game.engine.lanes.users


def test_release_when_player_is_loaded_again_before_it_lets_go(world: MakeWorld) -> None:
    store = MovingStore()
    game = world(CHANNEL, store=store, systems_package=GAME)
    player = a_player(game)
    store.meanwhile = lambda: game.engine.residents.release(player.user)
    player.post(m.Strike(5))
    game.settle()
    assert store.database.heads[player.user].coins[0] == 5
    assert game.engine.residents.players == 0


@pytest.mark.parametrize("how", ["send", "fan", "earn", "tell"])
def test_rule_when_what_it_sends_cannot_be_said_costs_its_message_only(
    world: MakeWorld, how: str
) -> None:
    game = world(CHANNEL, systems_package=GAME)
    player = a_player(game)
    assert player.asks(m.Fail(how)) == Refused(Code.INTERNAL)
    assert player.asks(m.Buy(player.operation(), 5)) == m.Bought(5)
    assert game.log.events("error") == ["rule raised"]


@pytest.mark.parametrize("how", sorted(SHAPES))
def test_rule_when_its_outcome_has_the_wrong_shape_costs_its_message_only(
    world: MakeWorld, how: str
) -> None:
    game = world(CHANNEL, systems_package=GAME)
    player = a_player(game)
    told = player.asks(m.Fail(how))
    assert told == (m.Looked(1) if how == "a lazy answer" else Refused(Code.INTERNAL))
    assert player.asks(m.Buy(player.operation(), 5)) == m.Bought(5)


def test_rule_when_its_answer_left_and_a_send_fails_keeps_what_was_earned(world: MakeWorld) -> None:
    store = FakeStore()
    game = world(CHANNEL, store=store, systems_package=GAME)
    player = a_player(game)
    assert player.asks(m.Fail("said")) == m.Looked(0)
    assert [x for x in player.heard() if isinstance(x, (m.Prize, Refused))] == [m.Prize(3)]
    assert store.database.heads[player.user].coins[0] == 3


def drained(game: World, moves: Callable[[], None]) -> int:
    """Drain with 5 s; `moves` happens meanwhile. The exit code."""
    game.loop.call_soon(game.node.stop, 5_000)
    game.settle()
    moves()
    game.move(5_100)
    assert game.node._ended is not None
    return game.loop.run_until_complete(game.node.run())


def test_drain_when_a_row_is_locked_waits_for_its_commit(world: MakeWorld) -> None:
    store = FakeStore()
    game = world(CHANNEL, store=store, systems_package=GAME)
    player = a_player(game)
    store.database.locked.add(player.user)
    player.post(m.Strike(5))
    game.settle()

    def unlocked() -> None:
        assert game.node.is_ready is False and player.closed_reason == 0
        store.database.locked.clear()

    assert drained(game, unlocked) == 0
    assert store.database.heads[player.user].coins[0] == 5
    assert player.closed_reason == CloseReason.SERVER_STOPPING


def test_drain_when_the_store_is_away_waits_with_what_was_earned(world: MakeWorld) -> None:
    store = FakeStore()
    game = world(CHANNEL, store=store, systems_package=GAME)
    player = a_player(game)
    store.database.is_down = True
    player.post(m.Strike(5))
    game.settle()

    def back() -> None:
        assert player.closed_reason == 0
        store.database.is_down = False

    assert drained(game, back) == 0
    assert store.database.heads[player.user].coins[0] == 5
