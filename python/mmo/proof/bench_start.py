"""Start to ready: an empty home, and one that was used before.

Owns two clocks around the product's own `start` command, as an operator would wait for it: real
stores, schema, all nodes. Called through `mmo.proof.bench`.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from mmo.errors import OperatorError
from mmo.proof.bench_result import BenchResult, Check, at_most
from mmo.proof.bench_rounds import Report

ROUNDS = 3
COLD_AIM_S, WARM_AIM_S = 8.0, 4.0
DEADLINE_S = 120.0


def start(seconds: float, home: Path, report: Report) -> BenchResult:
    """Seconds from `mmo-cluster start` to every node ready, in an empty home and in a used one."""
    cold: list[float] = []
    warm: list[float] = []
    checks: list[Check] = []
    for at in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="mmo-bench-") as name:
            directory = Path(name) / "home"
            try:
                for kind, times in (("cold", cold), ("warm", warm)):
                    report(f"round {at + 1} of {ROUNDS}, {kind}")
                    begun_s = time.monotonic()
                    status = command(directory, "start")
                    times.append(time.monotonic() - begun_s)
                    nodes = status.get("nodes", [])
                    ready = bool(nodes) and all(node["ready"] for node in nodes)
                    checks.append(Check(f"{kind}: every node is ready", ready, f"{len(nodes)}"))
                    command(directory, "stop")
            finally:
                command(directory, "stop", "--wipe", "--yes", must=False)
    return BenchResult(
        name="start",
        ours=round(median(cold), 2),
        limit="the aim for an empty home",
        limit_absolute=COLD_AIM_S,
        ratio=round(median(cold) / COLD_AIM_S, 3),
        unit="seconds to ready",
        p50_ms=None,
        p99_ms=None,
        checks=tuple(checks),
        more={
            "cold_s": [round(one, 2) for one in cold],
            "warm_s": [round(one, 2) for one in warm],
        },
        aims=(
            at_most("empty home", COLD_AIM_S, median(cold)),
            at_most("used home", WARM_AIM_S, median(warm)),
        ),
    )


def command(home: Path, *words: str, must: bool = True) -> dict[str, Any]:
    """One command of the product; what it printed. Raises `OperatorError` when it must succeed."""
    line = [sys.executable, "-m", "mmo.cli", *words, "--home", str(home), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if must and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-400:]
        raise OperatorError("E0902", f"{words[0]} ended with {done.returncode}: {said}")
    lines = [text for text in done.stdout.splitlines() if text.startswith("{")]
    return json.loads(lines[-1]) if lines else {}
