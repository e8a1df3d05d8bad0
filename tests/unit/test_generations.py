"""One node and its generations: prepare, hold, switch, give up, free, fence."""

import asyncio
import gc
import time
import weakref
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.unit.node_game import messages as m
from tests.unit.reload_game import ROLE, RULES, Game, bundle_of

from mmo.content import load_content
from mmo.errors import OperatorError
from mmo.node.bundle import Bundle
from mmo.node.edges import NodeOutside
from mmo.node.generation import build
from mmo.node.generations import check_placed
from mmo.node.node import EXIT_FENCED
from mmo.roles import center, channel
from mmo.store import CodeRow
from mmo.testing.world import World
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

Make = Callable[..., World]


@pytest.fixture
def game(world: Make) -> Game:
    """A node that runs generation 1."""
    return Game(world)


def test_the_next_message_after_a_switch_is_decided_by_the_new_rules(game: Game) -> None:
    ann = game.world.player("ann")
    assert game.says(ann, "a ") == m.Echoed("a one", 1)
    game.switches(bundle_of("two"))
    assert game.says(ann, "a ") == m.Echoed("a two", 2)
    assert game.world.engine.env.node.generation == 2


def test_edges_read_the_tables_that_rules_read(game: Game) -> None:
    outside, first = NodeOutside(game.world.engine, None), game.world.engine.env.content
    assert outside.content is first
    two = bundle_of("two")
    levels = two.files["content/levels.toml"] + "\n# another text\n"
    game.switches(Bundle({**two.files, "content/levels.toml": levels}, two.packages))
    assert outside.content is game.world.engine.env.content
    assert outside.content is not first


def test_a_held_node_decides_nothing_and_loses_nothing(game: Game) -> None:
    ann, two = game.world.player("ann"), bundle_of("two")
    game.prepares(two)
    assert game.says(ann) == m.Echoed("one", 1), "preparing alone changes nothing"
    game.holds(two)
    seqs = [ann.post(m.Echo(str(number))) for number in range(3)]
    game.world.settle()
    assert [ann.answer(seq) for seq in seqs] == [None] * 3
    game.row_moves(two)
    game.looks()
    assert [ann.answer(seq) for seq in seqs] == [m.Echoed(f"{n}two", 2) for n in range(3)]


def test_what_waited_in_a_lane_is_decided_by_the_new_rules(game: Game) -> None:
    ann, two = game.world.player("ann"), bundle_of("two")
    game.prepares(two)
    bought = ann.post(m.Buy(ann.operation(), 5))
    waiting = ann.post(m.Echo(""))

    async def decided_and_held() -> None:
        game.world.core.pump(game.world.engine.router.on_batch, 10)
        game.holds(two)  # the commit of the first is on its way

    game.world.run(decided_and_held())
    game.world.settle()
    assert ann.answer(bought) == m.Bought(5), "what was decided is finished by its own generation"
    assert ann.answer(waiting) is None
    game.row_moves(two)
    game.looks()
    assert ann.answer(waiting) == m.Echoed("two", 2)


def test_a_held_node_finds_the_row_by_itself(game: Game) -> None:
    ann, two = game.world.player("ann"), bundle_of("two")
    game.prepares(two)
    game.holds(two)
    game.row_moves(two)  # and then nobody tells the node
    game.world.move(100)
    assert game.says(ann) == m.Echoed("two", 2)


def test_a_switch_that_did_not_happen_in_time_is_given_up(game: Game) -> None:
    ann, two = game.world.player("ann"), bundle_of("two")
    game.prepares(two)
    game.holds(two, within_ms=1_000)
    seq = ann.post(m.Echo(""))
    game.world.move(900)
    assert ann.answer(seq) is None and game.generations.is_held
    game.world.move(200)
    assert ann.answer(seq) == m.Echoed("one", 1)
    assert not game.generations.is_held and game.generations.candidate is None


def test_a_held_node_without_the_store_stays_held(game: Game) -> None:
    ann, two = game.world.player("ann"), bundle_of("two")
    game.prepares(two)
    game.holds(two, within_ms=100)
    seq = ann.post(m.Echo(""))
    game.database.is_down = True
    game.world.move(2_000)
    assert ann.answer(seq) is None and game.generations.is_held
    game.database.is_down = False
    game.world.move(100)
    assert ann.answer(seq) == m.Echoed("one", 1)


def test_a_promise_not_to_switch_ends_the_pause_at_once(game: Game) -> None:
    ann, two = game.world.player("ann"), bundle_of("two")
    game.prepares(two)
    game.holds(two)
    game.generations.abandon({"number": 2, "bundle": two.digest, "by": "another"})
    assert game.generations.is_held, "who did not let it prepare has no say"
    game.generations.abandon({"number": 2, "bundle": two.digest})
    assert game.says(ann) == m.Echoed("one", 1)
    game.switches(bundle_of("three"), 3)
    assert game.says(ann) == m.Echoed("three", 3)


def test_who_was_not_asked_and_finds_the_row_moved_fences_himself(game: Game) -> None:
    ann = game.world.player("ann")
    game.row_moves(bundle_of("two"))
    game.world.move(2_000)
    assert ann.connection.closed_reason
    assert game.world.run(game.world.node.run()) == EXIT_FENCED


def test_a_node_that_is_told_to_look_reads_after_a_read_that_began_before(game: Game) -> None:
    two, code = bundle_of("two"), game.store.code
    game.prepares(two)
    game.holds(two)

    async def told_while_it_reads() -> dict[str, Any]:
        gate = asyncio.Event()

        async def slow(settled: bool = False) -> Any:
            row = await code(settled)
            await gate.wait()
            return row

        game.store.code = slow  # type: ignore[method-assign]
        reading = asyncio.ensure_future(game.generations._read_held())
        await asyncio.sleep(0)
        looking = asyncio.ensure_future(game.generations.look({}))
        await asyncio.sleep(0)
        game.row_moves(two)
        game.store.code = code  # type: ignore[method-assign]
        gate.set()
        await reading
        return await looking

    assert game.world.run(told_while_it_reads())["generation"] == 2


def test_a_node_that_slept_reads_the_row_before_it_decides(game: Game) -> None:
    ann = game.world.player("ann")

    async def sleeps() -> None:
        game.generations.slept()
        assert game.generations.is_held

    game.world.run(sleeps())
    seq = ann.post(m.Echo(""))
    game.world.settle()
    assert ann.answer(seq) == m.Echoed("one", 1)
    game.row_moves(bundle_of("two"))
    game.world.run(sleeps())
    late = ann.post(m.Echo(""))
    game.world.settle()
    assert ann.answer(late) is None and ann.connection.closed_reason


def test_a_rhythm_that_comes_late_is_a_sleep_and_no_sign_of_life(game: Game) -> None:
    """A process that was stopped wakes with its timers, before it hears of anything."""

    async def wakes() -> None:
        game.generations.trust()
        assert not game.generations.is_held
        game.generations.trusted_until_ns = time.perf_counter_ns() - 1
        game.generations.trust()
        assert game.generations.is_held, "nothing is decided unread"

    game.world.run(wakes())
    game.world.settle()
    assert not game.generations.is_held


def test_who_could_not_renew_in_time_waits_for_a_switch_that_is_under_way(game: Game) -> None:
    """It may have been left out of it, and would commit by the old code once more."""
    asked: list[bool] = []
    code = game.store.code

    async def listens(settled: bool = False) -> CodeRow:
        asked.append(settled)
        return await code(settled)

    game.store.code = listens  # type: ignore[method-assign]
    renews_ms = game.world.settings.lease_renew_ms
    game.world.move(renews_ms)
    game.world.engine.commits_until_ms = game.world.clock.now_ms - 1
    game.world.move(renews_ms)
    assert asked == [False, True]


def test_a_read_from_before_the_switch_says_nothing_after_it(game: Game) -> None:
    row, mark = game.world.run(game.store.code()), game.generations.mark
    game.switches(bundle_of("two"))
    game.generations.seen(row, mark)
    assert game.generations.current.number == 2
    assert game.says(game.world.player("ann")) == m.Echoed("two", 2)


def test_a_node_that_starts_behind_the_row_does_not_serve(world: Make) -> None:
    game = Game(world)
    game.row_moves(bundle_of("two"), 5)
    with pytest.raises(OperatorError, match="E0426"):
        world(None, store=game.store, generation=build(1, game.first, "channel"), number=12)


def test_ticks_go_on_in_their_rhythm_with_the_new_rule(game: Game) -> None:
    board = game.world.engine.states["board"]
    game.world.move(250)
    assert board.left == ["one", "one"]
    game.switches(bundle_of("two"))
    game.world.move(100)
    assert board.left == ["one", "one", "two"]
    slower = bundle_of("three", rules=RULES.replace("every_ms=100", "every_ms=1_000"))
    game.switches(slower, 3)
    game.world.move(1_100)
    assert board.left == ["one", "one", "two", "three"]


def test_an_old_generation_is_freed(game: Game) -> None:
    ann = game.world.player("ann")
    game.says(ann)
    engine = game.world.engine
    old = engine.generations.current
    modules = list(old._modules.loaded().values())  # type: ignore[union-attr]
    rule = next(vars(one)["echo"] for one in modules if "echo" in vars(one))
    dead = [weakref.ref(rule), weakref.ref(old), *map(weakref.ref, modules)]
    del rule, modules, old
    gc.freeze()  # as a node does when it is ready: cycles from before are never looked at again
    try:
        game.switches(bundle_of("two"))
        game.says(ann)
        assert [one() for one in dead] == [None] * len(dead)
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"rules": RULES.replace("@handles(m.FAIL)", '@handles(m.FAIL, rate="hit")')}, "9010"),
        ({"rules": RULES.replace("@handles(m.FAIL)", "@handles(m.WHISPER)")}, "9010, 9014"),
        ({"role": ROLE.replace('"board"', '"table", "board"').replace(
            '"table", "board": ', '"table": lambda content, node: Board(), "board": ')}, "states"),
        ({"role": ROLE.replace('dials=("center",)', "dials=()")}, "dials"),
    ],
    ids=["rate", "opcode", "states", "dials"],
)  # fmt: skip
def test_what_a_running_node_keeps_cannot_be_reloaded(
    game: Game, changed: dict[str, str], names: str
) -> None:
    with pytest.raises(OperatorError, match=names) as raised:
        game.prepares(bundle_of("two", **changed))
    assert raised.value.code == "E0417"
    assert game.says(game.world.player("ann")) == m.Echoed("one", 1)


def test_a_candidate_that_cannot_be_built_leaves_nothing_behind(game: Game) -> None:
    import sys

    before = [name for name in sys.modules if name.startswith("mmo_generation_")]
    broken = bundle_of("two", rules=RULES + "\nX = 1 // 0\n")
    with pytest.raises(OperatorError, match="ZeroDivisionError") as raised:
        game.prepares(broken)
    assert raised.value.code == "E0412"
    assert "systems/rules.py:" in raised.value.cause and "X = 1 // 0" in raised.value.cause
    assert [name for name in sys.modules if name.startswith("mmo_generation_")] == before
    with pytest.raises(OperatorError, match="not prepared"):
        game.holds(broken)


def test_a_rule_that_is_gone_refuses_what_waited_for_it(game: Game) -> None:
    """Internal rules may come and go; what a client may send is fixed by the gate."""
    engine = game.world.engine
    route = engine.table.user[m.ECHO]
    left = build(2, bundle_of("two"), "channel")
    left.env = engine.env_of(left.content, 2)
    from mmo.node.handlers import Table

    engine.table.become(Table())
    assert route.heir is not None and route.heir.call(None, None).code == Code.UNKNOWN_MESSAGE
    ann: Any = game.world.client()
    assert isinstance(ann.asks(m.Echo("")), Refused)
    left.free()


def test_content_that_was_built_into_a_state_is_not_changed_by_a_reload() -> None:
    content = load_content()
    other = msgspec.structs.replace(content, channel_monsters=content.channel_monsters[1:])
    check_placed(channel.ROLE, content, load_content())
    with pytest.raises(OperatorError, match="a channel server were built of") as caught:
        check_placed(channel.ROLE, content, other)
    assert caught.value.code == "E0417"
    check_placed(center.ROLE, content, other)
