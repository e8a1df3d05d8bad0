"""Twenty clients who walk all features of a whole cluster.

Owns a cluster of its own and the walk: every journey in turn, as `bot --journey all` does. Beside
it stands what they would have done at the pace of a pair that has the cluster to itself, journey by
journey (a pair, for nobody raids alone): the ratio is the share of its actions that a client still
gets done in the crowd. All twenty begin at once, so the slowest hundredth of all actions is the
line before the password threads; the latency of play stands beside it, and of every kind of action.
Called through `mmo.proof.bench`.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from mmo.client.fleet import Fleet, journeys_named, muster, sail
from mmo.client.journeys import Journey
from mmo.client.meter import Meter
from mmo.proof.arena import Arena
from mmo.proof.bench_result import BenchResult, Check, same
from mmo.proof.bench_rounds import Report

CLIENTS = 20
PAIR = 2
PASSWORD_KINDS = frozenset({"Register", "Login"})
"""Actions that wait for a password to be hashed."""


def mixed(seconds: float, home: Path, report: Report) -> BenchResult:
    """Twenty clients walk every journey of a whole cluster: actions a second and their latency."""
    return uvloop.run(measure(max(5.0, seconds / 2), report))


async def measure(window_s: float, report: Report) -> BenchResult:
    """A pair for each journey, one after the other; then twenty; then the books."""
    begun = list(os.getloadavg())
    journeys = journeys_named("all")
    report("starting a cluster")
    async with Arena(None) as arena:
        pairs: list[Fleet] = []
        for journey in journeys:
            report(f"a pair alone: {journey.name}")
            pairs.append(await walk(arena, PAIR, [journey], window_s, seed=10 + len(pairs)))
        report(f"{CLIENTS} clients")
        began = time.monotonic()
        ours = await walk(arena, CLIENTS, journeys, window_s, seed=2)
        took_s = time.monotonic() - began
        locked = await commits_locked(arena)
        audit = await arena.command("audit", deadline_s=120, accept=(0, 1))
    unhurried = at_the_pace_of([pair.summary.actions / PAIR for pair in pairs], CLIENTS)
    checks = [
        *(check for pair in pairs for check in walked(f"a pair ({pair.summary.journey})", pair)),
        *walked("twenty", ours),
        Check("the books balance", bool(audit["balanced"]), str(audit["findings"][:3])),
    ]
    more: dict[str, Any] = {
        "pairs": {pair.summary.journey: msgspec.to_builtins(pair.summary) for pair in pairs},
        "twenty": msgspec.to_builtins(ours.summary),
        "took_s": round(took_s, 1),
        "play": of_kinds(ours.meter, ours.meter.by_kind.keys() - PASSWORD_KINDS),
        "by_kind": {kind: of_kinds(ours.meter, {kind}) for kind in sorted(ours.meter.by_kind)},
        "commits_that_met_a_locked_player": locked,
        "audit_players": audit["players"],
        "load_average": [begun, list(os.getloadavg())],
    }
    return BenchResult(
        name="mixed",
        ours=round(ours.summary.actions / took_s, 1),
        limit="twenty of the same mix, each as many as in a pair that has the cluster to itself",
        limit_absolute=round(unhurried / took_s, 1),
        ratio=round(ours.summary.actions / max(unhurried, 1), 3),
        unit="actions a second",
        p50_ms=ours.summary.p50_ms,
        p99_ms=ours.summary.p99_ms,
        checks=tuple(checks),
        more=more,
    )


async def walk(
    arena: Arena, count: int, journeys: list[Journey], window_s: float, seed: int
) -> Fleet:
    """So many clients, each its journey in turn."""
    heroes = muster(arena.addresses("login"), count, seed, Meter())
    name = journeys[0].name if len(journeys) == 1 else "all"
    return await sail(heroes, journeys, window_s, name=name)


def at_the_pace_of(each: Sequence[float], clients: int) -> float:
    """Actions of so many clients, who take the journeys in turn, when a client of each journey does
    `each` of it."""
    return sum(each[place % len(each)] for place in range(clients))


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
