"""A planted bug counts as found only by a check that looks for what it breaks."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
from tests.house.figures import RESULTS

from mmo.proof import planted
from mmo.proof.arena import Arena
from mmo.proof.checker import findings
from mmo.proof.looks import expect_compared
from mmo.proof.planted import CATCHES, TOLD, UNDER, caught, told, told_apart
from mmo.proof.verdict import Trial
from mmo.testing import planted_store

NOWHERE = cast(Arena, None)


def rounds(monkeypatch: pytest.MonkeyPatch, *counts: dict[str, int]) -> None:
    """Rounds that find these, the last one again and again."""
    left = list(counts)

    async def play(*told: Any) -> dict[str, Any]:
        return {"checker": {"counts": left.pop(0) if len(left) > 1 else left[0]}, "findings": []}

    monkeypatch.setattr(planted, "play", play)


def test_a_servers_own_fault_is_no_catch_of_any_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    clumsy = {"available/internal": 9, "available/not-recovered": 1, "acknowledged/nothing": 1}
    assert not any(told_apart(name, clumsy)[0] for name in CATCHES)
    rounds(monkeypatch, clumsy)
    row = asyncio.run(caught(NOWHERE, "operation-forgotten", 0.01))
    assert not row["by"] and "available/internal (9)" in row["beside"]


def test_rounds_go_on_until_a_check_of_the_bugs_own_finds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stale = {"cache/stale": 3, "available/internal": 1}
    rounds(monkeypatch, {}, {"once/payment": 2}, stale)
    row = asyncio.run(caught(NOWHERE, "dirty-mark-lost", 60.0))
    assert (row["by"], row["beside"]) == ("cache/stale (3)", "available/internal (1)")
    assert row["rounds"] == 3


def test_a_whole_check_takes_all_of_its_names_and_a_name_only_itself() -> None:
    found = {"books/item-told": 2, "books/grant": 1, "once/payment": 4}
    assert told_apart("item-lost", found) == (
        "books/grant (1), books/item-told (2)",
        "once/payment (4)",
    )
    assert told_apart("grant-pays-twice", found)[0] == "books/grant (1)"


CHECKED = {"players": 19, "snapshots_compared": 17, "samples_due": 60, "faults": 9}
RUN = {
    "faults": 9, "operations": 400, "acknowledged": 300, "lost": 0, "duplicated": 0, "stale": 0,
    "samples_taken": 90, "samples_failed": 12, "sample_fault": "ConnectionError: away",
}  # fmt: skip


def compared(is_calm: bool = True, **changed: int) -> list[str]:
    """What is found of a run with other figures."""
    checker = {name: changed.pop(name, value) for name, value in CHECKED.items()}
    trial = Trial("checker", lambda text: None)
    expect_compared(trial, {**RUN, **changed, "checker": checker}, "without a bug", is_calm)
    return trial.verdict().findings


def test_nobody_is_stale_says_nothing_where_redis_is_empty_or_could_not_be_asked() -> None:
    assert not compared()
    (found,) = compared(snapshots_compared=0)
    assert "Redis held 0 of 19 players" in found
    assert compared(snapshots_compared=14) and not compared(snapshots_compared=15)
    assert compared(players=0, snapshots_compared=0)
    (found,) = compared(samples_due=0)
    assert "no sample of Redis had to be up to date" in found
    assert not compared(is_calm=False, samples_due=0), "some seconds hardly have one"
    (found,) = compared(samples_failed=90)
    assert found == "90 looks at the stores failed, 90 did not; ConnectionError: away"
    assert compared(samples_taken=0, samples_failed=0)


def test_what_is_kept_of_a_run_tells_how_much_was_compared() -> None:
    assert tuple(told({**RUN, "checker": CHECKED})) == TOLD
    assert {"samples_due", "snapshots_compared", "players", "samples_failed"} < set(TOLD)


def test_every_bug_names_checks_that_there_are() -> None:
    assert CATCHES.keys() == UNDER.keys() and all(CATCHES.values())
    sources = Path(findings.__file__).parent.glob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    for word in {word for words in CATCHES.values() for word in words}:
        check, _, name = word.partition("/")
        assert check in findings.CHECKS and check != "available", word
        assert not name or f'"{name}"' in text, word


def test_each_bug_of_the_kept_run_was_found_by_a_check_of_its_own() -> None:
    kept = json.loads((RESULTS / "prove-checker.json").read_text(encoding="utf-8"))
    for name, row in kept["figures"]["bugs"].items():
        counts = {key: int(times) for key, times in re.findall(r"([a-z/-]+) \((\d+)\)", row["by"])}
        assert told_apart(name, counts)[0], f"{name} was found by {row['by']}"


def test_a_bug_that_would_change_nothing_is_refused() -> None:
    text = "SET a = a + 1, b = 0"
    assert planted_store._changed(text, ("a = a + 1, ", "")).text == "SET b = 0"
    with pytest.raises(AssertionError, match="not there any more"):
        planted_store._changed(text, ("a = a + 1, ", ""), ("c = 0", ""))
