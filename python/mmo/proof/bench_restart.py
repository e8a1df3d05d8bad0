"""What a player waits for when every process is replaced under him.

Owns a cluster of its own and players who measure themselves, hunters in channels and others who
wait in the lobby: the longest time between asking and the final answer, coming back included, of
each player for each node that is replaced. The limit is the same figure over times in which nothing
is replaced. Called through `mmo.proof.bench`.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import uvloop

from mmo.client.fleet import muster, sail
from mmo.client.hero import Hero
from mmo.client.hunting import hold_on, settle
from mmo.client.journeys import Journey, hunt_until_over
from mmo.client.meter import Meter
from mmo.client.session import arrive, log_out, register, stay_known
from mmo.client.steps import Pause, Walk
from mmo.proof.arena import LOOK_EVERY_S, Arena
from mmo.proof.bench_result import BenchResult, Check, at_most, same
from mmo.proof.bench_rounds import Report

HUNTERS = 20  # all fit into the thirty seats of the one channel server that is not replaced
IDLERS = 10  # in the lobby of the only center
PLAYERS = HUNTERS + IDLERS
IDLE_MS = 250.0
PAUSE_AIM_MS = 1_500.0
CALM_S = 2.0  # each window without a restart; a node is replaced within about as long
BEGUN_S = 60.0
RESTART_S = 120.0
ORDER = ("login", "cash", "matching", "raid", "channel", "center")


class Waits(Meter):
    """A player's own meter: the longest wait since it was last asked."""

    def __init__(self) -> None:
        super().__init__()
        self._longest_ms = 0.0

    def action(self, kind: str, took_ms: float) -> None:
        """One answer; a wait like any other."""
        super().action(kind, took_ms)
        self._longest_ms = max(self._longest_ms, took_ms)

    def came_back(self, took_ms: float) -> None:
        """A connection was lost and replaced meanwhile."""
        super().came_back(took_ms)
        self._longest_ms = max(self._longest_ms, took_ms)

    def take_ms(self) -> float:
        """The longest wait since the last call."""
        longest, self._longest_ms = self._longest_ms, 0.0
        return longest


def restart(seconds: float, home: Path, report: Report) -> BenchResult:
    """What a player waits for at most while a process is replaced, all processes in turn."""
    return uvloop.run(measure(max(1, round(seconds / 20)), report))


async def measure(rounds: int, report: Report) -> BenchResult:
    """`rounds` times every node in turn, and as many calm windows beside."""
    report("starting a cluster")
    calm: list[float] = []
    paused: dict[str, list[float]] = {}
    took_s: list[float] = []
    hunting = [True]
    async with Arena(None) as arena:
        heroes = [_hero(arena, index) for index in range(PLAYERS)]
        fleets = [
            asyncio.create_task(sail([me], [_journey(index < HUNTERS, hunting)], 0))
            for index, me in enumerate(heroes)
        ]
        try:
            await _until_all_play(heroes)
            nodes = (await arena.status())["nodes"]
            nodes.sort(key=lambda row: (ORDER.index(row["role"]), row["number"]))
            before = {row["name"]: row["pid"] for row in nodes}
            for turn in range(rounds):
                for row in nodes:
                    report(f"round {turn + 1} of {rounds}, {row['name']}")
                    await _window(heroes, calm, CALM_S)
                    began = time.monotonic()
                    await arena.command("restart", row["name"], deadline_s=RESTART_S)
                    took_s.append(time.monotonic() - began)
                    await _window(heroes, paused.setdefault(row["role"], []), 0.0)
            after = {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}
        finally:
            hunting[0] = False
            done, _ = await asyncio.wait(fleets, timeout=BEGUN_S)
            for task in fleets:
                task.cancel()
        errors = [text for me in heroes for text in me.meter.findings]
        forced = sum(me.meter.logins_forced for me in heroes)
        audit = await arena.command("audit", deadline_s=120, accept=(0, 1))
    checks = (
        same("all players came to their end", PLAYERS, len(done)),
        Check("no error of a player", not errors, "; ".join(errors[:3])),
        same("logins forced", 0, forced),
        same("processes replaced", len(before), sum(after[n] != pid for n, pid in before.items())),
        Check("the books balance", bool(audit.get("balanced")), str(audit.get("findings"))),
    )
    return _result(calm, paused, took_s, checks)


def _result(
    calm: list[float],
    paused: dict[str, list[float]],
    took_s: list[float],
    checks: tuple[Check, ...],
) -> BenchResult:
    every = [one for pauses in paused.values() for one in pauses]
    ours, limit = _percentile(every, 0.99), _percentile(calm, 0.99)
    more: dict[str, Any] = {
        "pause_ms": {
            role: {"p50": _percentile(pauses, 0.5), "p99": _percentile(pauses, 0.99)}
            for role, pauses in paused.items()
        },
        "pause_max_ms": _percentile(every, 1.0),
        "calm_p50_ms": _percentile(calm, 0.5),
        "replaced_s": {"p50": _percentile(took_s, 0.5), "max": _percentile(took_s, 1.0)},
        "players": PLAYERS,
        "restarts": len(took_s),
    }
    return BenchResult(
        name="restart",
        ours=ours,
        limit="the longest wait of a player while nothing is replaced, p99",
        limit_absolute=limit,
        ratio=round(ours / max(limit, 0.001), 2),
        unit="ms, longest wait of a player for each replaced process, p99",
        p50_ms=_percentile(every, 0.5),
        p99_ms=ours,
        checks=checks,
        more=more,
        aims=(at_most("pause p99 ms", PAUSE_AIM_MS, ours),),
    )


def _hero(arena: Arena, index: int) -> Hero:
    (me,) = muster(arena.addresses("login"), 1, 700 + index, Waits())
    return me


def _journey(hunts: bool, playing: list[bool]) -> Journey:
    def hunt(me: Hero, _: float) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        yield from settle(me)
        yield from hunt_until_over(me, lambda: playing[0])

    def idle(me: Hero, _: float) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        while playing[0]:
            yield from hold_on(me, lambda: stay_known(me), to_lobby=True)
            yield Pause(IDLE_MS)
        yield from log_out(me)

    return Journey("player", "play until told to stop", hunt if hunts else idle, lambda _: 1)


async def _until_all_play(heroes: list[Hero]) -> None:
    """Return when each hunter told his first kill and the others are there. Raises
    `TimeoutError`."""
    until = time.monotonic() + BEGUN_S
    while (
        not all(me.session_token for me in heroes)
        or min(me.record.kills for me in heroes[:HUNTERS]) < 1
    ):
        if time.monotonic() > until:
            raise TimeoutError(f"not all play: {[me.meter.findings for me in heroes]}")
        await asyncio.sleep(LOOK_EVERY_S)


async def _window(heroes: list[Hero], waits: list[float], seconds: float) -> None:
    """The longest wait of each player since the last window; with `seconds`, of a new one."""
    if seconds:
        _take(heroes)
        await asyncio.sleep(seconds)
    waits += _take(heroes)


def _take(heroes: list[Hero]) -> list[float]:
    return [me.meter.take_ms() for me in heroes if isinstance(me.meter, Waits)]


def _percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; 0 without values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)
