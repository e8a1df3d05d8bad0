"""Twenty clients who walk all features of a whole cluster.

Owns a cluster of its own and the walk: every journey in equal shares, as `bot --journey all` does.
The limit is one client alone in the same cluster: what twenty share of it is the figure. Called
through `mmo.proof.bench`.
"""

import os
from pathlib import Path
from typing import Any

import uvloop

from mmo.proof.arena import Arena
from mmo.proof.bench_result import BenchResult, Check, same
from mmo.proof.bench_rounds import Report

CLIENTS = 20


def mixed(seconds: float, home: Path, report: Report) -> BenchResult:
    """Twenty clients walk every journey of a whole cluster: actions a second and their latency."""
    return uvloop.run(measure(max(5.0, seconds / 2), report))


async def measure(window_s: float, report: Report) -> BenchResult:
    """One client alone, then twenty; then the books."""
    begun = list(os.getloadavg())
    report("starting a cluster")
    async with Arena(None) as arena:
        report("one client")
        alone = await walk(arena, 1, window_s, seed=1)
        report(f"{CLIENTS} clients")
        ours = await walk(arena, CLIENTS, window_s, seed=2)
        audit = await arena.command("audit", deadline_s=120, accept=(0, 1))
    per_s, alone_per_s = (float(one["actions"]) / window_s for one in (ours, alone))
    checks = [
        same("no action of one client failed", 0, alone["errors"]),
        same("no action of twenty failed", 0, ours["errors"]),
        Check("the books balance", bool(audit["balanced"]), str(audit["findings"][:3])),
    ]
    more: dict[str, Any] = {"alone": alone, "twenty": ours, "audit_players": audit["players"]}
    more["load_average"] = [begun, list(os.getloadavg())]
    return BenchResult(
        name="mixed",
        ours=round(per_s, 1),
        limit="one client alone, at his own pace",
        limit_absolute=round(alone_per_s, 1),
        ratio=round(per_s / max(alone_per_s, 1e-9), 3),
        unit="actions a second",
        p50_ms=ours["p50_ms"],
        p99_ms=ours["p99_ms"],
        checks=tuple(checks),
        more=more,
    )


async def walk(arena: Arena, count: int, window_s: float, seed: int) -> dict[str, Any]:
    """What `bot` prints for so many clients. Raises `OperatorError` when it fails."""
    words = ["bot", "--journey", "all", "--count", str(count), "--seed", str(seed)]
    found: dict[str, Any] = await arena.command(
        *words, "--for", f"{window_s:.0f}s", deadline_s=window_s + 120, accept=(0, 1)
    )
    return found
