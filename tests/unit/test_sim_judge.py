"""What a simulation can tell of: exceptions with their place, lines of logs, setups that cannot be
played."""

import ast
from pathlib import Path
from typing import Any

import pytest

import mmo
from mmo.content import load_content
from mmo.errors import OperatorError, StoreCorrupt
from mmo.roles import ROLES
from mmo.testing.raised import WORDS_CHARACTERS_MAX, raised
from mmo.testing.sim_judge import FORBIDDEN, judge
from mmo.testing.simulation import RAIDS, THREE, Setup, Simulation
from mmo.testing.world import Lines

BEARABLE = {
    "generation behind": "a server that was cut off while the code changed ends itself",
    "lease taken": "the same of its lease",
    "lease lost": "the same of its lease",
    "core did not stop in time": "of a real core alone",
    "node crashed": "a simulated node has somebody else who is told of it",
}
"""Errors in the log of a node that faults alone bring forth, or no simulation, and why."""


def errors_logged() -> set[str]:
    """The events of all lines that a node logs as errors."""
    found: set[str] = set()
    for path in (Path(mmo.__file__).parent / "node").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            said = call.args[0] if call.args else None
            if call.func.attr in ("error", "critical") and isinstance(said, ast.Constant):
                found.add(str(said.value))
    return found


def test_every_error_that_a_node_logs_is_judged_or_known_to_be_bearable() -> None:
    logged = errors_logged()
    assert "rule raised" in logged
    assert logged <= {*FORBIDDEN, *BEARABLE}


def fails(words: str) -> None:
    raise StoreCorrupt(words)


def test_an_exception_is_told_with_the_innermost_line_and_within_bounds() -> None:
    with pytest.raises(StoreCorrupt) as caught:
        fails("x" * 10_000)
    told = raised(caught.value)
    line = fails.__code__.co_firstlineno + 1
    assert told.startswith("StoreCorrupt: xxx")
    assert told.endswith(f" at tests/unit/test_sim_judge.py:{line}")
    assert len(told) < WORDS_CHARACTERS_MAX + 100


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    assert raised(KeyError("gold")) == "KeyError: 'gold'"


@pytest.mark.parametrize("handed", [True, False], ids=["being handled", "handed over"])
def test_a_log_that_remembers_keeps_what_was_raised_and_no_traceback(handed: bool) -> None:
    log = Lines()
    try:
        fails("gone")
    except StoreCorrupt as fault:
        log.error("rule raised", rule="dice", exc_info=True if handed else fault)
    ((level, event, keys),) = log.lines
    assert (level, event, keys["rule"]) == ("error", "rule raised", "dice")
    assert keys["raised"].startswith("StoreCorrupt: gone at ")
    assert "exc_info" not in keys


def made(setup: Setup, walks: Any = ()) -> Simulation:
    return Simulation(0, setup, ROLES, load_content(), walks)


def test_a_role_that_there_is_not_is_refused_before_anything_runs() -> None:
    with pytest.raises(OperatorError, match="server 12: no role 'chanel'") as refused:
        made(Setup(servers=(*THREE, (12, "chanel"))))
    assert refused.value.code == "E0713"


def test_fewer_players_than_walks_are_refused() -> None:
    def stay(me: Any, goes_on: Any) -> Any:
        yield from ()

    with pytest.raises(ValueError, match="1 players for 2 walks"):
        made(Setup(players=1), (stay, stay))
    assert len(made(Setup(players=3), (stay, stay)).heroes) == 3


def test_a_raider_may_own_more_than_he_was_told_and_nobody_else() -> None:
    loose = [bool(me.record.loose) for me in made(Setup(servers=RAIDS)).heroes]
    assert loose == [False, False, False, False, True, True]


@pytest.mark.parametrize(
    ("decided", "found"),
    [
        ({(1, 1, 1): 1, (1, 1, 2): 2, (2, 1, 1): 1}, []),
        ({(1, 1, 1): 2, (2, 1, 1): 1}, []),
        ({(1, 1, 1): 1, (1, 1, 2): 3, (1, 0, 3): 2}, ["user 1 0/3 was decided by code 2"]),
    ],
    ids=["newer code", "another player", "older code"],
)
def test_who_is_decided_for_by_older_code_than_before_is_found(
    decided: dict[tuple[int, int, int], int], found: list[str]
) -> None:
    simulation = made(Setup())
    simulation.database.decided_by = decided
    told = [text for text in judge(simulation) if "decided by code" in text]
    assert [text.partition(",")[0] for text in told] == found
