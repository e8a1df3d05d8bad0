"""The ranking with a million scores: pages and own places beside the bare Redis driver.

Owns the comparison: every question through the product's store (one step in Redis, names from the
books), the same places by the driver alone, and what MySQL needs for a page while Redis is away.
One question at a time, so that a figure is a latency. Called through `mmo.proof.bench`.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from mmo.errors import OperatorError
from mmo.proof.bench_result import BenchResult, Check, at_most, same
from mmo.proof.bench_rounds import Report
from mmo.proof.bench_stores import BenchStores, stores
from mmo.proof.percentiles import percentile

SCORES = 1_000_000
PREPARE_S, MEASURE_S = 240, 120
PAGE_P99_AIM_MS, RAISED_P99_AIM_MS = 50.0, 50.0


def ranking(seconds: float, home: Path, report: Report) -> BenchResult:
    """1,000,000 scores: a page with one's own place through the store, beside the bare driver."""
    return of_scores(SCORES, seconds, report)


def of_scores(scores: int, seconds: float, report: Report) -> BenchResult:
    """The bench with any number of scores."""
    load_begin = list(os.getloadavg())
    with tempfile.TemporaryDirectory(prefix="mmo-bench-") as place:
        report("starting MariaDB and Redis Cluster")
        with stores(Path(place)) as running:
            report(f"{scores} accounts with a score each, and their board")
            prepared = books(running, PREPARE_S, "prepare", "--scores", scores)
            report("asking")
            found = books(running, MEASURE_S, "measure", "--scores", scores, "--for", seconds)
    found["load_average"] = [load_begin, list(os.getloadavg())]
    return result(scores, prepared, found)


def books(running: BenchStores, limit_s: int, act: str, *arguments: object) -> dict[str, Any]:
    """Ask the measured process for something."""
    command = [sys.executable, "-m", "mmo.testing.measured.ranking_board", act]
    command += ["--store", str(running.settings_file), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
    if done.returncode != 0:
        raise OperatorError("E0902", f"{act} failed: {done.stderr.strip()[-400:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def result(scores: int, prepared: dict[str, Any], found: dict[str, Any]) -> BenchResult:
    """Questions a second out of the mean of a round; ratios within a round, medians over rounds."""
    rounds: dict[str, list[list[float]]] = found["rounds"]
    per_s = {
        name: [1_000 * len(taken) / sum(taken) for taken in listed if taken]
        for name, listed in rounds.items()
    }
    ratios = [ours / bare for ours, bare in zip(per_s["page"], per_s["bare"], strict=True)]
    latencies = {name: percentiles([ms for one in listed for ms in one])
                 for name, listed in rounds.items()}  # fmt: skip
    latencies["page from MySQL"] = percentiles(found["fallback"])
    page = latencies["page"]
    checks = (
        same("every account has a score", scores, prepared["scores"]),
        same("answers that differ from MySQL's", 0, found["differing"]),
        Check("board = ranking", not found["findings"], "; ".join(found["findings"])),
    )
    return BenchResult(
        name="ranking",
        ours=round(median(per_s["page"]), 1),
        limit="the bare driver: rows, own rank, score and size in one pipeline",
        limit_absolute=round(median(per_s["bare"]), 1),
        ratio=round(median(ratios), 3),
        unit="pages with one's own place a second, one at a time",
        p50_ms=page["p50_ms"],
        p99_ms=page["p99_ms"],
        checks=checks,
        more={
            "scores": scores,
            "latencies": latencies,
            "ratio_least": round(min(ratios), 3),
            "ratio_most": round(max(ratios), 3),
            "rebuild_s": prepared["rebuild_s"],
            "rebuild_scores_per_s": round(scores / max(0.01, prepared["rebuild_s"])),
            "answered_by_mysql": int(found["read_mysql"]),
            "puts_missed": int(found["put_missed"]),
            "load_average": found["load_average"],
        },
        aims=(
            at_most("own place, p99 ms", PAGE_P99_AIM_MS, latencies["own"]["p99_ms"]),
            at_most(
                "from the commit of a result to Redis, p99 ms",
                RAISED_P99_AIM_MS,
                latencies["raised"]["p99_ms"],
            ),
        ),
    )


def percentiles(taken: list[float]) -> dict[str, float]:
    """Of milliseconds."""
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    found = {name: percentile(taken, share) for name, share in at.items()}
    return {**found, "count": len(taken)}
