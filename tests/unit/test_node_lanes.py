"""The order of things on a node: lanes, commits, answers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tests.unit.node_clients import a_player
from tests.unit.node_game import messages as m
from tests.unit.node_game.roles import CHANNEL

from mmo.store import PlayerCommit, Verdict
from mmo.testing.fake_store import FakeStore
from mmo.testing.world import World
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code

GAME = "tests.unit.node_game"
MakeWorld = Callable[..., World]


class HoldingStore(FakeStore):
    """A store that holds its commits back while `is_holding`."""

    def __init__(self) -> None:
        super().__init__()
        self.is_holding = False
        self.let_go = asyncio.Event()

    async def commit(self, group: Sequence[PlayerCommit]) -> list[Verdict]:
        if self.is_holding:
            await self.let_go.wait()
        return await super().commit(group)

    def hold(self) -> None:
        self.is_holding = True
        self.let_go = asyncio.Event()

    def release(self, game: World) -> None:
        self.is_holding = False
        game.loop.call_soon(self.let_go.set)
        game.settle()


def held_world(world: MakeWorld, **settings: Any) -> tuple[World, HoldingStore]:
    store = HoldingStore()
    game = world(CHANNEL, store=store, systems_package=GAME, **settings)
    store.database.clock_ms = game.clock
    return game, store


def test_message_when_lane_is_open_is_decided_in_line(world: MakeWorld) -> None:
    game = world(CHANNEL, systems_package=GAME)
    player = a_player(game)
    assert player.asks(m.Echo("hi")) == m.Echoed("hi", 1)
    assert player.asks(m.Echo("ho")) == m.Echoed("ho", 2)


def test_change_when_committed_is_answered_and_applied(world: MakeWorld) -> None:
    game = world(CHANNEL, systems_package=GAME)
    player = a_player(game)
    assert player.asks(m.Buy(player.operation(), 5)) == m.Bought(5)
    assert player.asks(m.Look()) == m.Looked(5)
    lane = game.engine.lanes.users[player.user]
    assert lane.player is not None and lane.player.head.version == 1


def test_read_when_commit_is_on_its_way_waits_and_sees_it(world: MakeWorld) -> None:
    game, store = held_world(world)
    player = a_player(game)
    store.hold()
    player.post(m.Buy(player.operation(), 5))
    player.post(m.Look())
    player.post(m.Buy(player.operation(), 5))
    player.post(m.Echo("last"))
    game.settle()
    assert player.heard() == []
    store.release(game)
    assert player.heard() == [m.Bought(5), m.Looked(5), m.Bought(10), m.Echoed("last", 1)]


def test_other_players_when_one_commits_are_not_held_up(world: MakeWorld) -> None:
    game, store = held_world(world)
    ann, bob = a_player(game, "Ann"), a_player(game, "Bob")
    store.hold()
    ann.post(m.Buy(ann.operation(), 5))
    assert bob.asks(m.Look()) == m.Looked(0)
    store.release(game)
    assert ann.heard() == [m.Bought(5)]


def test_lane_when_full_answers_busy_in_order(world: MakeWorld) -> None:
    game, store = held_world(world, lane_messages_max=2)
    player = a_player(game)
    store.hold()
    player.post(m.Buy(player.operation(), 5))
    for text in "abcd":
        player.post(m.Echo(text))
    game.settle()
    assert player.heard() == []
    store.release(game)
    heard = player.heard()
    assert heard[:3] == [m.Bought(5), m.Echoed("a", 1), m.Echoed("b", 2)]
    assert heard[3:] == [Refused(Code.BUSY), Refused(Code.BUSY)]


def test_lane_when_flooded_beyond_its_busy_answers_closes_the_connection(world: MakeWorld) -> None:
    game, store = held_world(world, lane_messages_max=2)
    player = a_player(game)
    store.hold()
    player.post(m.Buy(player.operation(), 5))
    for _ in range(20):
        player.post(m.Echo("x"))
    game.settle()
    assert player.closed_reason == CloseReason.RATE_LIMITED
    store.release(game)


def test_group_when_connections_are_busy_gathers_the_others(world: MakeWorld) -> None:
    game, store = held_world(world, groups_in_flight_max=1)
    players = [a_player(game, f"player {number}") for number in range(6)]
    store.groups.clear()
    store.hold()
    for player in players:
        player.post(m.Buy(player.operation(), 1))
        game.settle()
    store.release(game)
    assert [player.heard() for player in players] == [[m.Bought(1)]] * 6
    assert store.groups == [1, 5]


def test_group_when_one_batch_brings_many_is_one(world: MakeWorld) -> None:
    game, store = held_world(world)
    players = [a_player(game, f"player {number}") for number in range(5)]
    store.groups.clear()
    for player in players:
        player.post(m.Buy(player.operation(), 1))
        player.post(m.Buy(player.operation(), 1))
    game.settle()
    assert store.groups == [5, 5]  # at most one outcome a player in a group


def test_group_when_larger_than_its_limit_is_split(world: MakeWorld) -> None:
    game, store = held_world(world, group_members_max=2)
    players = [a_player(game, f"player {number}") for number in range(5)]
    store.groups.clear()
    for player in players:
        player.post(m.Buy(player.operation(), 1))
    game.settle()
    assert sorted(store.groups) == [1, 2, 2]


def test_rule_when_it_raises_costs_one_message(world: MakeWorld) -> None:
    game = world(CHANNEL, systems_package=GAME)
    player = a_player(game)
    for how in ("raise", "none", "both", "encode", "unmarked"):
        assert player.asks(m.Fail(how)) == Refused(Code.INTERNAL), how
    assert player.asks(m.Echo("on")) == m.Echoed("on", 1)
    raised, wrong = "rule raised", "rule wrong"
    assert game.log.events("error") == [raised, wrong, wrong, raised, wrong]
    assert game.engine.metrics.counts["rules_raised_total"] == 5


def test_refusal_when_returned_carries_code_and_detail(world: MakeWorld) -> None:
    game = world(CHANNEL, systems_package=GAME)
    player = a_player(game)
    assert player.asks(m.Fail("not now")) == Refused(Code.COOLDOWN, "not now")


def test_body_when_undecodable_is_refused(world: MakeWorld) -> None:
    game = world(CHANNEL, systems_package=GAME)
    player = a_player(game)
    for body in (b"", b"\xc1", b"\x91\x01", b"\x90", b"\x91\xa1\xff", b"\x91" * 5_000):
        answer = player.asks(body, m.ECHO)
        assert isinstance(answer, Refused) and answer.code == Code.BAD_MESSAGE, body[:9]
    assert player.asks(m.Echo("still here")) == m.Echoed("still here", 1)


def test_sends_when_several_users_are_named_reach_those_here(world: MakeWorld) -> None:
    game = world(CHANNEL, systems_package=GAME)
    ann, bob = a_player(game, "Ann"), a_player(game, "Bob")
    crowd = [a_player(game, f"one of {number}") for number in range(20)]
    ann.asks(m.Whisper(bob.user, "psst"))
    ann.asks(m.Noise([bob.user, ann.user, 999], "to us"))
    assert bob.heard() == [m.Whisper(bob.user, "psst"), m.Whisper(0, "to us")]
    assert ann.heard() == [m.Whisper(0, "to us")]
    ann.asks(m.Noise([one.user for one in crowd], "to all"))
    assert all(one.heard() == [m.Whisper(0, "to all")] for one in crowd)


def test_tell_when_into_own_lane_runs_after_this_message(world: MakeWorld) -> None:
    game = world(CHANNEL, systems_package=GAME)
    player = a_player(game)
    player.asks(m.Whisper(0, ""))
    assert player.heard() == [m.Prize(3)]


def test_close_when_asked_flushes_the_answer_first(world: MakeWorld) -> None:
    game = world(CHANNEL, systems_package=GAME)
    player = a_player(game)
    player.post(m.Fail("close"))
    player.post(m.Echo("too late"))
    game.settle()
    assert player.heard()[0] == m.Looked(7)
    assert player.closed_reason == CloseReason.KICKED
    assert player.user not in game.engine.lanes.users


def test_drain_when_a_commit_is_on_its_way_answers_it_before_the_end(world: MakeWorld) -> None:
    game, store = held_world(world)
    player = a_player(game)
    store.hold()
    player.post(m.Buy(player.operation(), 5))
    game.settle()
    game.loop.call_soon(game.node.stop, 5_000)
    game.settle()
    assert player.asks(m.Look()) is None  # it waits behind the commit
    other = game.client()
    assert other.asks(m.Look()) == Refused(Code.RETRY_LATER)
    game.show(other, player.user, "session+jwt")
    game.settle()
    assert other.heard()[1:] == [Refused(Code.RETRY_LATER)]
    store.release(game)
    game.move(50)
    assert player.heard()[:2] == [m.Bought(5), Refused(Code.RETRY_LATER)]
    assert player.closed_reason == CloseReason.SERVER_STOPPING
    assert game.engine.states["board"].left == [(player.user, CloseReason.SERVER_STOPPING, True)]
    assert game.loop.run_until_complete(game.node.run()) == 0


def test_ticks_when_time_passes_run_on_time(world: MakeWorld) -> None:
    game = world(CHANNEL, systems_package=GAME)
    before = game.engine.states["board"].ticked
    game.move(1_000)
    assert game.engine.states["board"].ticked - before == 10


class LateStore(FakeStore):
    """A store whose clock refuses so many groups."""

    refusals = 1

    async def commit(self, group: Sequence[PlayerCommit]) -> list[Verdict]:
        if self.refusals:
            self.refusals -= 1
            return [Verdict.REFUSED] * len(group)
        return await super().commit(group)


def test_commit_when_the_clock_refuses_answers_as_the_rule_says(world: MakeWorld) -> None:
    store = LateStore()
    game = world(CHANNEL, store=store, systems_package=GAME)
    player = a_player(game)
    operation = player.operation()
    refused = player.asks(m.Buy(operation, 5))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.detail) == (Code.PASS_NOT_RUNNING, "over")
    assert player.asks(m.Look()) == m.Looked(0)
    assert player.asks(m.Buy(operation, 5)) == m.Bought(5)  # nothing was recorded: decided anew


def test_commit_when_the_clock_refuses_may_be_another_one(world: MakeWorld) -> None:
    store = LateStore()
    game = world(CHANNEL, store=store, systems_package=GAME)
    player = a_player(game)
    player.asks(m.Strike(5))
    assert [told for told in player.heard() if isinstance(told, m.Prize)] == [m.Prize(1)]
    assert player.asks(m.Look()) == m.Looked(1)
    assert store.database.heads[player.user].coins[0] == 1
    lane = game.engine.lanes.users[player.user]
    assert lane.open and lane.earned_count == 0
    store.refusals = 2  # that one too: the reward is over, the player goes on
    player.asks(m.Strike(5))
    assert lane.open and lane.earned_count == 0
    assert player.asks(m.Buy(player.operation(), 5)) == m.Bought(6)
