"""Matching with 100,000 who wait and 2,000 new a second, beside the bare codec.

Owns the figures of `mmo.testing.measured.match_load`: how long a decision takes once it is
possible, in a queue of parties that only wait for single players and in one that waits for rooms;
how many tickets a second the server takes in at full speed; that every team that was due was
decided, each ticket had at most one seat and none was lost. Called through `mmo.proof.bench`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mmo.errors import OperatorError
from mmo.proof.bench_process import pinned, processors
from mmo.proof.bench_result import BenchResult, at_most, same
from mmo.proof.bench_rounds import Report

WAITING, NEW_PER_S = 100_000, 2_000
LIMIT_S = 280
DECISION_P99_AIM_MS = 250.0
PHASES = ("parties", "rooms")


def match(seconds: float, home: Path, report: Report) -> BenchResult:
    """100,000 waiting tickets, 2,000 new a second: how long a decision takes, beside the codec."""
    return of_size(WAITING, NEW_PER_S, seconds, report)


def of_size(waiting: int, new_per_s: int, seconds: float, report: Report) -> BenchResult:
    """The bench with a queue of any size; each of the two queues is measured for half the time."""
    load_begin = list(os.getloadavg())
    report(f"{waiting} players wait, {new_per_s} new a second")
    cpu, _ = processors()
    command = [sys.executable, "-m", "mmo.testing.measured.match_load"]
    command += ["--waiting", str(waiting), "--new-per-s", str(new_per_s)]
    command += ["--for", str(max(1.0, seconds / 2))]
    done = subprocess.run(pinned(cpu, command), capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode != 0:
        raise OperatorError("E0902", f"the measured server failed: {done.stderr.strip()[-400:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    found["load_average"] = [load_begin, list(os.getloadavg())]
    return result(waiting, new_per_s, found)


def result(waiting: int, new_per_s: int, found: dict[str, Any]) -> BenchResult:
    """The worse of the two queues is the latency that is published."""
    phases: dict[str, dict[str, Any]] = {name: found[name] for name in PHASES}
    checks = [
        same(f"{name}: {text}", 0, phase[key])
        for name, phase in phases.items()
        for key, text in (
            ("seated_twice", "tickets with more than one seat"),
            ("lost", "tickets that neither wait nor have a seat"),
            ("split_or_wrong", "parties split, teams of another size"),
            ("refused", "tickets refused"),
            ("rules_raised", "rules that raised"),
        )
    ]
    checks += [
        same(f"{name}: teams decided of those that were due", phase["due"], phase["decisions"])
        for name, phase in phases.items()
    ]
    parties = phases["parties"]
    decided = parties["full_speed_due"], parties["full_speed_decisions"]
    checks.append(same("full speed: teams decided of those that were due", *decided))
    checks.append(
        same(
            "at least as many waited", 1, int(min(p["waiting"] for p in phases.values()) >= waiting)
        )
    )
    full, codec = parties["full_speed_per_s"], found["codec_per_s"]
    worst = max(phases.values(), key=lambda phase: float(phase["p99_ms"]))
    return BenchResult(
        name="match",
        ours=round(full, 1),
        limit="the codec alone: the same messages read and written, nothing decided",
        limit_absolute=round(codec, 1),
        ratio=round(full / codec, 3),
        unit="tickets a second at full speed",
        p50_ms=worst["p50_ms"],
        p99_ms=worst["p99_ms"],
        times_of=f"a decision while {new_per_s:,} a second come",
        checks=tuple(checks),
        more={
            "waiting": waiting,
            "new_per_s": new_per_s,
            "phases": phases,
            "load_average": found["load_average"],
        },
        aims=tuple(
            at_most(f"decision p99 ms, {name}", DECISION_P99_AIM_MS, float(phase["p99_ms"]))
            for name, phase in phases.items()
        ),
    )
