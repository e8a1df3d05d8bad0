"""Rules that fail at run time: one message each, then quarantine; rules that never end."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.unit.node_game import messages as m
from tests.unit.reload_game import RULES, Game, bundle_of

from mmo.node.watchdog import Watchdog
from mmo.testing.world import World
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

BUDGET_MS = 40


@pytest.fixture
def game(world: Callable[..., World]) -> Game:
    """A node on which three failures within a second are too many."""
    return Game(world, rule_failures_max=3, rule_failures_window_ms=1_000)


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    """Watches the rules of this process."""
    made = Watchdog(BUDGET_MS)
    made.start()
    yield made
    made.stop()


def codes(player: Any, how: str, count: int) -> list[int]:
    return [player.asks(m.Fail(how)).code for _ in range(count)]


def test_a_rule_that_fails_again_and_again_is_quarantined_alone(game: Game) -> None:
    ann = game.world.player("ann")
    assert codes(ann, "a bug", 5) == [Code.INTERNAL] * 3 + [Code.QUARANTINED] * 2
    assert game.says(ann) == m.Echoed("one", 1), "nothing else is touched"
    quarantine = game.world.engine.quarantine
    assert list(quarantine.rules) == [m.FAIL]
    line = next(n for n, text in enumerate(RULES.splitlines(), 1) if "raise RuntimeError" in text)
    assert quarantine.rules[m.FAIL] == (
        f"systems.rules.fail: systems/rules.py:{line} RuntimeError: a bug"
    )
    assert game.world.log.events("error").count("rule quarantined") == 1
    status = game.world.node._status({})
    assert status["quarantined"] == [quarantine.rules[m.FAIL]]


def test_failures_that_are_rare_are_forgotten(game: Game) -> None:
    ann = game.world.player("ann")
    for _ in range(4):
        assert codes(ann, "a bug", 2) == [Code.INTERNAL] * 2
        game.world.move(1_100)
    assert not game.world.engine.quarantine.rules


def test_the_next_generation_is_asked_again(game: Game) -> None:
    ann = game.world.player("ann")
    codes(ann, "a bug", 4)
    game.switches(bundle_of("two"))
    assert codes(ann, "a bug", 1) == [Code.INTERNAL]
    assert not game.world.node._status({})["quarantined"]


def test_a_rule_that_returns_nonsense_is_quarantined_too(game: Game) -> None:
    ann = game.world.player("ann")
    game.switches(bundle_of("two", rules=RULES.replace("raise RuntimeError(message.how)", "pass")))
    assert codes(ann, "", 4) == [Code.INTERNAL] * 3 + [Code.QUARANTINED]
    assert "returned NoneType" in game.world.engine.quarantine.rules[m.FAIL]


def test_a_rule_that_never_ends_costs_its_message(game: Game, watchdog: Watchdog) -> None:
    ann = game.world.player("ann")
    assert codes(ann, "spin", 1) == [Code.INTERNAL]
    assert game.says(ann) == m.Echoed("one", 1)
    assert "not done after 40 ms" in game.world.engine.quarantine.last
    assert "systems/rules.py:" in game.world.engine.quarantine.last


def test_many_quick_calls_are_not_one_long_call(game: Game, watchdog: Watchdog) -> None:
    ann = game.world.player("ann")
    for _ in range(2_000):
        assert not isinstance(game.says(ann), Refused)


def test_a_rule_that_stops_what_it_can_is_interrupted_all_the_same(
    game: Game, watchdog: Watchdog
) -> None:
    stubborn = RULES.replace(
        "        while True:\n            pass\n",
        "        while True:\n            try:\n                n = 1\n"
        "            except Exception:\n                n = 2\n",
    )
    assert stubborn != RULES
    game.switches(bundle_of("two", rules=stubborn))
    assert codes(game.world.player("ann"), "spin", 1) == [Code.INTERNAL]
