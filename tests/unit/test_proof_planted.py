"""A planted bug counts as found only by a check that looks for what it breaks."""

import asyncio
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import mysql.connector
import pytest
from tests.house.figures import RESULTS

from mmo.errors import OperatorError
from mmo.proof import planted
from mmo.proof.arena import Arena
from mmo.proof.chaos import Order
from mmo.proof.checker import findings
from mmo.proof.looks import expect_compared
from mmo.proof.planted import (
    BOTS,
    CATCHES,
    CLEAN_S,
    RAIDERS,
    ROUND_S,
    SHORT,
    SHORT_ROUND_S,
    STORM,
    TOLD,
    UNDER,
    caught,
    checker_is_proved,
    clean_order,
    expect_raided,
    told,
    told_apart,
    wanted,
)
from mmo.proof.verdict import Trial
from mmo.testing import planted_store

NOWHERE = cast(Arena, None)


def rounds(monkeypatch: pytest.MonkeyPatch, *counts: dict[str, int]) -> list[Order]:
    """Rounds that find these, the last one again and again; what was ordered of them."""
    left, orders = list(counts), []

    async def play(_: Arena, order: Order) -> dict[str, Any]:
        orders.append(order)
        return {"checker": {"counts": left.pop(0) if len(left) > 1 else left[0]}, "findings": []}

    monkeypatch.setattr(planted, "play", play)
    return orders


def test_a_servers_own_fault_is_no_catch_of_any_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    clumsy = {"available/internal": 9, "available/not-recovered": 1, "acknowledged/nothing": 1}
    assert not any(told_apart(name, clumsy)[0] for name in CATCHES)
    rounds(monkeypatch, clumsy)
    row = asyncio.run(caught(NOWHERE, "operation-forgotten", 0.01))
    assert not row["by"] and "available/internal (9)" in row["beside"]


def test_a_round_in_which_nobody_played_is_void(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told_apart("cursor-outbox", {"cache/stale": 1}) == ("cache/stale (1)", "")
    void = {"acknowledged/nothing": 1, "cache/stale": 1}
    assert told_apart("cursor-outbox", void) == ("", "acknowledged/nothing (1), cache/stale (1)")
    rounds(monkeypatch, void, {"cache/behind": 2})
    row = asyncio.run(caught(NOWHERE, "cursor-outbox", 60.0))
    assert (row["by"], row["rounds"]) == ("cache/behind (2)", 2)


def test_what_a_driver_raises_ends_a_round_and_not_the_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = [mysql.connector.Error("away")]

    async def play(_: Arena, order: Order) -> dict[str, Any]:
        if left:
            raise left.pop()
        return {"checker": {"counts": {"once/roll": 1}}, "findings": []}

    monkeypatch.setattr(planted, "play", play)
    assert asyncio.run(caught(NOWHERE, "re-roll", 60.0))["rounds"] == 2


def test_a_bug_with_which_nothing_starts_keeps_none_from_being_looked_for_and_all_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def planted_never(_: Arena, name: str) -> None:
        if name != "re-roll":
            raise TimeoutError("it does not start")

    async def obeys(_: Arena) -> bool:
        return True

    monkeypatch.setattr(planted, "obeys", obeys)
    monkeypatch.setattr(planted, "planted_now", lambda arena: "")
    monkeypatch.setattr(planted, "hears_of", lambda arena, name: False)
    monkeypatch.setattr(planted, "planted", planted_never)
    monkeypatch.setenv("MMO_BUGS", "item-lost,re-roll")

    async def play(_: Arena, order: Order) -> dict[str, Any]:
        counts = {} if order.seconds == SHORT_ROUND_S and not played else {"once/roll": 1}
        played.append(order)
        return {**RUN, "checker": {**CHECKED, "counts": counts}, "findings": []}

    played: list[Order] = []
    monkeypatch.setattr(planted, "play", play)
    trial = Trial("checker", lambda text: None)
    with pytest.raises(TimeoutError):
        asyncio.run(checker_is_proved(NOWHERE, trial, short=True))
    told_figures = trial.verdict().figures
    assert told_figures["caught"] == "1 of 2"
    assert told_figures["bugs"]["item-lost"]["beside"] == "it does not start"
    assert trial.verdict().findings == ["item-lost was not found in 0.0 s, only it does not start"]


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


def test_only_rounds_of_a_bug_that_needs_raids_have_raiders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orders = rounds(monkeypatch, {"raids/result": 1, "owner/stale-owner": 1})
    asyncio.run(caught(NOWHERE, "raid-told-differs", 0.01))
    asyncio.run(caught(NOWHERE, "no-epoch-test", 0.01))
    assert [(order.bots, order.raiders) for order in orders] == [(BOTS, 2), (BOTS, 0)]
    assert {name for name, words in CATCHES.items() if words[0].startswith("raids/")} == set(
        RAIDERS
    )


def test_the_run_without_a_bug_has_what_every_bug_needs_and_the_short_one_nothing_more() -> None:
    whole = clean_order(tuple(UNDER), short=False)
    assert whole.raiders == 2 and whole.seconds == CLEAN_S and whole.calm_s > whole.bound_s
    assert STORM in whole.faults
    short = clean_order(SHORT, short=True)
    assert (short.raiders, short.seconds, short.calm_s) == (0, SHORT_ROUND_S, 0.0)
    assert STORM not in short.faults
    some = clean_order(("old-generation-decides",), short=False)
    assert (some.raiders, some.seconds) == (0, ROUND_S) and STORM in some.faults


def test_bugs_may_be_looked_for_alone() -> None:
    assert wanted("", SHORT) == SHORT
    assert wanted("item-lost,re-roll", SHORT) == ("item-lost", "re-roll")
    with pytest.raises(OperatorError, match="names no bugs: item-found") as caught_fault:
        wanted("item-lost,item-found", SHORT)
    assert caught_fault.value.code == "E0790"


def test_nothing_found_of_raids_and_code_says_nothing_where_there_were_none() -> None:
    def judged(**checker: int) -> list[str]:
        trial = Trial("checker", lambda text: None)
        expect_raided(trial, {"checker": {**CHECKED, **checker}})
        return trial.verdict().findings

    assert not judged()
    assert judged(raid_rewards=0) == ["without a bug: no raid left a reward"]
    assert judged(generations=1) == ["without a bug: 1 generations decided"]


CHECKED = {
    "players": 19, "snapshots_compared": 17, "samples_due": 60, "faults": 9,
    "raid_seats_finished": 4, "raid_rewards": 4, "generations": 6,
}  # fmt: skip
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
    assert not compared(sampled_s=160, samples_took_s=48)
    (few,) = compared(sampled_s=161, samples_took_s=48)
    assert few == "only 90 looks at the stores in 161 s"
    (hung,) = compared(sampled_s=120, samples_took_s=90, samples_gap_s=61)
    assert hung == "no look at the stores came to its end in 61 s"


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
    assert planted_store.reworded(text, ("a = a + 1, ", "")).text == "SET b = 0"
    with pytest.raises(AssertionError, match="not there any more"):
        planted_store.reworded(text, ("a = a + 1, ", ""), ("c = 0", ""))


def test_nodes_that_were_not_killed_are_killed_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first order for `b` is refused, and the first look at all is answered too late."""
    pids, asked, looks = {"a": 1, "b": 2}, [], iter(range(100))

    async def status() -> dict[str, Any]:
        if next(looks) == 1:
            raise OperatorError("E0701", "late")
        return {"ready": True, "nodes": [{"name": n, "pid": pid} for n, pid in pids.items()]}

    async def kill(name: str) -> None:
        asked.append(name)
        if asked == ["a", "b"]:
            raise OperatorError("E0708", "it is being started")
        pids[name] += 10

    monkeypatch.setattr(planted, "KILL_AGAIN_S", 0.0)
    monkeypatch.setattr(planted, "LOOK_EVERY_S", 0.0)
    home = SimpleNamespace(planted_bug=tmp_path / "bug")
    arena: Any = SimpleNamespace(status=status, home=home, kill=kill)
    asyncio.run(planted.planted(arena, "re-roll"))
    assert pids["a"] > 10 and pids["b"] > 10 and asked.count("b") == 2
    assert planted.planted_now(arena) == "re-roll"
