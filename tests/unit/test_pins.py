"""Rooms end by the generation they began with; then that generation is freed."""

import gc
import weakref
from collections.abc import Callable

import pytest
from tests.unit.node_game import messages as m
from tests.unit.node_game.halls import Halls
from tests.unit.reload_game import Game, bundle_of

from mmo.testing.world import World
from mmo.wire.opcode import Code

ROLE = """
from tests.unit.node_game.halls import Halls

from mmo.contract import Role

ROLE = Role(
    name="channel",
    systems=("rules",),
    states={"halls": lambda content, node: Halls()},
    dials=("center",),
    owns_players=True,
    token_types=("move+jwt", "session+jwt"),
)
"""

RULES = """
from hot.systems.words import WORD
from tests.unit.node_game import messages as m
from tests.unit.node_game.halls import HallClosed, HallOpened, HallTicked, Halls

from mmo.contract import Env, Outcome, Refuse, broken, handles, ticks
from mmo.wire.messages.session import Disconnected, Entered
from mmo.wire.opcode import Op


@handles(m.RESERVE)
def open_hall(message: m.Reserve, *, env: Env) -> Outcome:
    return Outcome(
        replies=(m.Echoed(WORD, 0),), effects=(HallOpened(message.epoch, env.sender.user),)
    )


@handles(m.MOVE_TO)
def close_hall(message: m.MoveTo, *, env: Env) -> Outcome:
    return Outcome(replies=(m.Echoed(WORD, 0),), effects=(HallClosed(message.number),))


@handles(m.ECHO, needs=("halls",))
def echo(message: m.Echo, *, halls: Halls, env: Env) -> Outcome:
    return Outcome(replies=(m.Echoed(WORD, env.node.generation),))


@handles(m.NOISE)
def noise(message: m.Noise, *, env: Env) -> Outcome:
    return Outcome(replies=(m.Echoed(WORD, env.node.generation),))


@handles(Op.ENTER, by="node", needs=("head",))
def enter(message: Entered, *, head: object, env: Env) -> Outcome:
    return Outcome(replies=(m.Looked(0),))


@handles(Op.CLOSED, by="node")
def gone(message: Disconnected, *, env: Env) -> Outcome:
    return Outcome()


@ticks(every_ms=100, of="halls", each="rooms")
def tick(room: list[str], *, env: Env) -> Outcome:
    return Outcome(effects=(HallTicked(room, f"{WORD} {env.node.generation}"),))


@broken(of="halls")
def give_up(room: list[str], *, env: Env) -> Outcome:
    return Outcome()
"""


@pytest.fixture
def game(world: Callable[..., World]) -> Game:
    """A node whose game has halls."""
    return Game(world, bundle=bundle_of("one", role=ROLE, rules=RULES))


def halls_of(game: Game) -> Halls:
    state = game.world.engine.states["halls"]
    assert isinstance(state, Halls)
    return state


def goes_on(game: Game, word: str, number: int, rules: str = RULES) -> None:
    game.switches(bundle_of(word, role=ROLE, rules=rules), number)


def test_a_room_ends_by_the_rules_it_began_with(game: Game) -> None:
    ann, bob = game.world.player("ann"), game.world.player("bob")
    ann.asks(m.Reserve(1))
    goes_on(game, "two", 2)
    bob.asks(m.Reserve(2))
    game.world.move(400)
    halls = halls_of(game)
    assert set(halls.rooms[1][1:]) <= {"one 1"} and len(halls.rooms[1]) > 1
    assert set(halls.rooms[2]) == {"two 2"}
    assert ann.asks(m.Echo("")) == m.Echoed("one", 1), "her messages are her room's"
    assert bob.asks(m.Echo("")) == m.Echoed("two", 2)
    assert ann.asks(m.Noise([], "")) == m.Echoed("two", 2), "what is not about rooms is not"
    assert game.world.node._status({})["rooms"] == {1: 1, 2: 1}


def test_rooms_of_several_generations_go_on_side_by_side(game: Game) -> None:
    players = {}
    for number, word in enumerate(("one", "two", "three"), start=1):
        if number > 1:
            goes_on(game, word, number)
        players[number] = game.world.player(f"player-{number}")
        players[number].asks(m.Reserve(number))
    game.world.move(200)
    said = {number: one.asks(m.Echo("")) for number, one in players.items()}
    assert said == {1: m.Echoed("one", 1), 2: m.Echoed("two", 2), 3: m.Echoed("three", 3)}
    assert game.generations.pins.counts() == {1: 1, 2: 1, 3: 1}
    players[2].asks(m.MoveTo(2))
    game.world.move(1_000)
    assert [one.number for one in game.generations.older] == [1]
    assert players[1].asks(m.Echo("")) == m.Echoed("one", 1)


FAILING = RULES.replace(
    "    return Outcome(replies=(m.Echoed(WORD, env.node.generation),))\n\n\n@handles(m.NOISE)",
    "    raise RuntimeError(WORD)\n\n\n@handles(m.NOISE)",
)


def strict(world: Callable[..., World], rules: str) -> Game:
    """A node on which three failures are too many."""
    return Game(
        world, bundle=bundle_of("one", role=ROLE, rules=rules),
        rule_failures_max=3, rule_failures_window_ms=10_000,
    )  # fmt: skip


def test_what_an_older_rule_fails_at_is_not_held_against_the_code_of_now(
    world: Callable[..., World],
) -> None:
    game = strict(world, FAILING)
    ann, bob = game.world.player("ann"), game.world.player("bob")
    ann.asks(m.Reserve(1))
    goes_on(game, "two", 2)
    bob.asks(m.Reserve(2))
    said = [ann.asks(m.Echo("")).code for _ in range(4)]
    assert said == [Code.INTERNAL] * 3 + [Code.QUARANTINED]
    assert bob.asks(m.Echo("")) == m.Echoed("two", 2)
    (told,) = game.world.node._status({})["quarantined"]
    assert told.startswith("for older rooms: systems.rules.echo")


def test_a_rule_that_was_closed_for_its_rooms_is_asked_again_when_its_generation_comes_back(
    world: Callable[..., World],
) -> None:
    game = strict(world, FAILING)
    ann = game.world.player("ann")
    ann.asks(m.Reserve(1))
    before = game.generations.current
    game.generations._before = before
    goes_on(game, "two", 2)
    assert [ann.asks(m.Echo("")).code for _ in range(4)][3] == Code.QUARANTINED
    game.generations.switch(before)
    assert ann.asks(m.Echo("")).code == Code.INTERNAL, "it is asked, and fails again"


def test_what_the_code_of_now_fails_at_is_not_held_against_older_rooms(
    world: Callable[..., World],
) -> None:
    game = strict(world, RULES)
    ann, bob = game.world.player("ann"), game.world.player("bob")
    ann.asks(m.Reserve(1))
    goes_on(game, "two", 2, rules=FAILING)
    bob.asks(m.Reserve(2))
    said = [bob.asks(m.Echo("")).code for _ in range(4)]
    assert said == [Code.INTERNAL] * 3 + [Code.QUARANTINED]
    assert ann.asks(m.Echo("")) == m.Echoed("one", 1)
    assert list(game.world.engine.quarantine.rules) == [m.ECHO]


def test_the_old_generation_is_freed_when_its_last_room_ends(game: Game) -> None:
    ann = game.world.player("ann")
    ann.asks(m.Reserve(1))
    old = game.generations.current
    modules = list(old._modules.loaded().values())  # type: ignore[union-attr]
    rule = next(vars(one)["echo"] for one in modules if "echo" in vars(one))
    living = [weakref.ref(rule), weakref.ref(old), *map(weakref.ref, modules)]
    del rule, modules, old
    gc.freeze()  # as a node does when it is ready
    try:
        goes_on(game, "two", 2)
        ann.asks(m.Echo(""))
        game.world.move(1_000)
        assert all(one() is not None for one in living)
        ann.asks(m.MoveTo(1))
        game.world.move(1_000)
        assert [one() for one in living] == [None] * len(living)
        assert ann.asks(m.Echo("")) == m.Echoed("two", 2)
        assert "generation freed" in game.world.log.events("info")
    finally:
        gc.unfreeze()


def test_a_rule_of_rooms_may_change_its_name_and_its_period(game: Game) -> None:
    game.world.player("ann").asks(m.Reserve(1))
    renamed = RULES.replace("def tick(", "def beat(").replace("every_ms=100", "every_ms=50")
    goes_on(game, "two", 2, renamed)
    game.world.player("bob").asks(m.Reserve(2))
    game.world.move(1_000)
    halls = halls_of(game)
    assert set(halls.rooms[1]) == {"one 1"} and set(halls.rooms[2]) == {"two 2"}
    assert len(halls.rooms[2]) > 1.5 * len(halls.rooms[1])


def test_a_held_node_ticks_no_room(game: Game) -> None:
    game.world.player("ann").asks(m.Reserve(1))
    game.world.move(300)
    two = bundle_of("two", role=ROLE, rules=RULES)
    game.prepares(two)
    game.holds(two, within_ms=10_000)
    before = len(halls_of(game).rooms[1])
    game.world.move(500)
    assert len(halls_of(game).rooms[1]) == before > 0


def test_a_rule_that_waits_to_be_sampled_is_pinned_like_any_other(game: Game) -> None:
    ann, bob = game.world.player("ann"), game.world.player("bob")
    recorder = game.world.engine.recorder
    ann.asks(m.Reserve(1))
    recorder.arm()
    goes_on(game, "two", 2)
    bob.asks(m.Reserve(2))
    recorder.arm()
    goes_on(game, "three", 3)
    recorder.arm()
    assert ann.asks(m.Echo("")) == m.Echoed("one", 1)
    assert bob.asks(m.Echo("")) == m.Echoed("two", 2)
    ann.asks(m.MoveTo(1))
    bob.asks(m.MoveTo(2))
    game.world.move(1_000)
    recorder.arm()
    count = len(recorder.records)
    assert ann.asks(m.Echo("")) == bob.asks(m.Echo("")) == m.Echoed("three", 3)
    assert len(recorder.records) == count + 1, "sampled once, as when no room was pinned"


def test_a_generation_whose_last_room_ended_just_before_a_switch_is_freed_too(game: Game) -> None:
    ann = game.world.player("ann")
    ann.asks(m.Reserve(1))
    old = weakref.ref(game.generations.current)
    goes_on(game, "two", 2)
    ann.asks(m.MoveTo(1))
    goes_on(game, "three", 3)
    game.world.move(1_000)
    gc.collect()
    assert not game.generations.older and old() is None
