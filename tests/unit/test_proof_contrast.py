"""The contrast is fair: no loss without a fault, workers end in order, only losses are counted."""

import argparse
import asyncio
import copy
import os
import sys
import threading
from collections import Counter
from typing import Any, cast

import pytest

from mmo.proof import naive
from mmo.proof.arena import Arena
from mmo.proof.contrast import (
    FAULTS,
    LONG,
    OURS,
    SEED,
    SHORT,
    SHORT_OURS,
    WORKERS,
    NaiveBuild,
    counted,
    if_naive,
    judge,
)
from mmo.proof.naive import PLAYERS, THREADS, Naive, players_of
from mmo.proof.verdict import Trial

CONTROLS: dict[str, dict[str, Any]] = {
    "redis": {"acknowledged": 900, "lost": 0},
    "dual": {"acknowledged": 500, "lost": 0, "stale": 0},
}
TABLE: dict[str, dict[str, Any]] = {
    "redis": {"acknowledged": 9_000, "lost": 4, "faults": 30},
    "dual": {"acknowledged": 5_000, "lost": 0, "written": 2_000, "stale": 40, "faults": 30},
    "ours": {"acknowledged": 7_000, "lost": 0, "snapshots_compared": 50, "faults": 20},
}


def judged(short: bool = False, **changed: tuple[str, str, int]) -> list[str]:
    """What is found when figures are changed: `controls` or `table`, to (build, figure, value)."""
    told = {"controls": copy.deepcopy(CONTROLS), "table": copy.deepcopy(TABLE)}
    for which, (build, name, value) in changed.items():
        told[which][build][name] = value
    trial = Trial("contrast", lambda text: None)
    judge(trial, told["controls"], told["table"], short)
    return trial.verdict().findings


def test_redis_is_not_wiped_for_a_build_whose_truth_it_is() -> None:
    assert "flush-redis" not in {*FAULTS, *LONG.faults, *SHORT.faults}
    assert set(LONG.faults) == set(SHORT.faults)
    assert {"kill-redis-primary", "stop-redis", "failover-redis"} < set(FAULTS)


@pytest.mark.parametrize(
    "loss", [("redis", "lost", 1), ("dual", "lost", 1), ("dual", "stale", 1)], ids=str
)
def test_a_loss_without_a_fault_is_a_finding(loss: tuple[str, str, int]) -> None:
    assert not judged()
    (found,) = judged(controls=loss)
    assert "no fault" in found and "which no fault explains" in found
    assert judged(short=True, controls=loss)


def test_faults_that_hurt_nobody_prove_nothing() -> None:
    assert judged(table=("dual", "stale", 0)) and judged(short=True, table=("dual", "stale", 0))
    assert judged(table=("redis", "lost", 0))
    assert not judged(short=True, table=("redis", "lost", 0)), "a few failovers may lose nothing"
    assert judged(table=("ours", "faults", 14)) and judged(table=("redis", "acknowledged", 0))
    assert judged(controls=("dual", "acknowledged", 0)), "a control that did nothing"


def test_ours_has_to_do_so_much_that_a_build_as_bad_would_have_lost_something() -> None:
    assert if_naive(TABLE) == {"lost": 3.11, "stale": 1.0}
    (found,) = judged(table=("ours", "acknowledged", 6_700))
    assert "ours acknowledged 6,700, too few" in found and "(4 of 9,000)" in found
    assert "lost 2.98 of them, and it takes 3" in found
    assert not judged(short=True, table=("ours", "acknowledged", 300)), "it has some seconds"


def test_all_builds_meet_the_same_faults_the_first_turn_in_the_same_order() -> None:
    assert set(OURS.faults) == set(LONG.faults) and OURS.seed == SHORT_OURS.seed == SEED
    assert (OURS.faults, SHORT_OURS.faults) == (LONG.faults, SHORT.faults)
    assert OURS.calm_s > OURS.bound_s and SHORT_OURS.calm_s == 0
    assert SHORT_OURS.seconds == SHORT.seconds


def test_lost_is_what_was_said_and_is_not_held() -> None:
    said = Counter({1: 5, 2: 5, 3: 10})
    found = counted("redis", said, held={1: 5, 2: 2, 4: 9}, truth={})
    assert (found["acknowledged"], found["lost"], found["lost_per_10000"]) == (20, 13, 6_500.0)
    assert "stale" not in found


def test_stale_is_who_is_in_redis_with_other_coins_and_not_who_is_missing() -> None:
    said = Counter({1: 1, 2: 2})
    truth = {1: 1, 2: 3, 3: 0, 4: 7}
    found = counted("dual", said, held={1: 1, 2: 2, 3: 0}, truth=truth)
    assert (found["lost"], found["stale"]) == (0, 1), "4 is in no cache: the next look asks MySQL"
    assert (found["written"], found["stale_per_10000_written"]) == (2, 5_000.0)


def test_each_player_belongs_to_one_thread() -> None:
    lanes = [players_of(n, thread, WORKERS) for n in range(WORKERS) for thread in range(THREADS)]
    owned = [player for lane in lanes for player in lane]
    assert sorted(owned) == list(range(PLAYERS)) and all(lanes)


def test_a_thread_brings_to_its_end_what_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    over, done = threading.Event(), []
    told = argparse.Namespace(kind="dual", seed=1, number=0, workers=WORKERS)
    one = Naive(told, 0, over)

    def add(player: int) -> None:
        over.set()  # while it is on its way
        done.append(player)

    written: list[bytes] = []
    monkeypatch.setattr(one, "_add_dual", add)
    monkeypatch.setattr(os, "write", lambda _, line: written.append(line))
    monkeypatch.setattr(naive, "PAUSE_S", 0)
    one.run()
    assert written == [b"%d\n" % done[0]] and len(done) == 1


class Scripted(NaiveBuild):
    """Workers that acknowledge once more when they are told to end."""

    def command(self, number: int) -> list[str]:
        text = "import sys; print(1, flush=True); sys.stdin.read(); print(2, flush=True)"
        return [sys.executable, "-c", text]


def test_what_workers_acknowledge_at_their_end_is_counted() -> None:
    async def run() -> NaiveBuild:
        build = Scripted(cast(Arena, None), "dual")
        try:
            await build.begin()
            await build.end()
        finally:
            await build.abandon()
        return build

    build = asyncio.run(run())
    assert build.said == {1: WORKERS, 2: WORKERS}


def test_a_worker_ends_when_nobody_holds_its_standard_input() -> None:
    """Also when whoever started it is gone: nothing is left behind."""

    async def run() -> int:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mmo.proof.naive", "redis", "--mysql", "nowhere"),
            *("--redis", "127.0.0.1:1", "--mysql-password-file", os.devnull),
            *("--redis-password-file", os.devnull, "--seed", "1", "--number", "0"),
            *("--workers", str(WORKERS)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(30.0):
            return await process.wait()

    assert asyncio.run(run()) == 0
