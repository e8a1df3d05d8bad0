"""Twenty clients who walk all features of a whole cluster.

Owns a cluster of its own and the walk: every journey in equal shares, as `bot --journey all` does.
The limit is one client alone in the same cluster: what twenty share of it is the figure. All twenty
begin at once, so the slowest hundredth of all actions is the line before the password threads; the
latency of play stands beside it, and of every kind of action. Called through `mmo.proof.bench`.
"""

import os
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from mmo.client.fleet import Fleet, journeys_named, muster, sail
from mmo.client.meter import Meter
from mmo.proof.arena import Arena
from mmo.proof.bench_result import BenchResult, Check, same
from mmo.proof.bench_rounds import Report

CLIENTS = 20
PASSWORD_KINDS = frozenset({"Register", "Login"})
"""Actions that wait for a password to be hashed."""


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
        locked = await commits_locked(arena)
        audit = await arena.command("audit", deadline_s=120, accept=(0, 1))
    per_s, alone_per_s = (fleet.summary.actions / window_s for fleet in (ours, alone))
    checks = [
        *walked("one client", alone),
        *walked("twenty", ours),
        Check("the books balance", bool(audit["balanced"]), str(audit["findings"][:3])),
    ]
    more: dict[str, Any] = {
        "alone": msgspec.to_builtins(alone.summary),
        "twenty": msgspec.to_builtins(ours.summary),
        "play": of_kinds(ours.meter, ours.meter.by_kind.keys() - PASSWORD_KINDS),
        "by_kind": {kind: of_kinds(ours.meter, {kind}) for kind in sorted(ours.meter.by_kind)},
        "commits_that_met_a_locked_player": locked,
        "audit_players": audit["players"],
        "load_average": [begun, list(os.getloadavg())],
    }
    return BenchResult(
        name="mixed",
        ours=round(per_s, 1),
        limit="one client alone, at his own pace",
        limit_absolute=round(alone_per_s, 1),
        ratio=round(per_s / max(alone_per_s, 1e-9), 3),
        unit="actions a second",
        p50_ms=ours.summary.p50_ms,
        p99_ms=ours.summary.p99_ms,
        checks=tuple(checks),
        more=more,
    )


async def walk(arena: Arena, count: int, window_s: float, seed: int) -> Fleet:
    """So many clients, each its journey in turn."""
    heroes = muster(arena.addresses("login"), count, seed, Meter())
    return await sail(heroes, journeys_named("all"), window_s, name="all")


def walked(who: str, fleet: Fleet) -> list[Check]:
    """What must hold of a walk for its figures to mean anything."""
    found = "; ".join([*fleet.meter.findings[:3], *fleet.below_floor])
    return [
        same(f"no action of {who} failed", 0, fleet.summary.errors),
        Check(f"{who} did enough", not fleet.below_floor, found),
    ]


def of_kinds(meter: Meter, kinds: set[str]) -> dict[str, Any]:
    """How many actions of these kinds, and how long they took."""
    return {
        "actions": sum(meter.count(kind) for kind in kinds),
        **{f"p{share * 100:.0f}_ms": meter.percentile_ms(share, kinds) for share in (0.5, 0.99)},
    }


async def commits_locked(arena: Arena) -> int:
    """Members of groups whose row another transaction held, over all servers that commit."""
    names = [node.name for node in arena.file().nodes if node.role in ("center", "channel")]
    return sum([int((await arena.stats(name)).get("commits_locked_total", 0)) for name in names])
