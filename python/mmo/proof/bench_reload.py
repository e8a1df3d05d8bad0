"""Save to live: from the save of a rule to the first message that its new text handles.

Owns a cluster of its own with a game, two hundred bots in it, and the clock between an editor's
save and the first answer by the new generation. Called through `mmo.proof.bench`.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from mmo.proof import live_code
from mmo.proof.arena import Arena
from mmo.proof.bad_saves import DICE
from mmo.proof.bench_result import BenchResult, Check, at_most, same
from mmo.proof.bench_rounds import Report
from mmo.proof.live_code import CROWD_S, RULES, Dev, Probers, Seen
from mmo.proof.load import Hunters
from mmo.proof.percentiles import P99, percentile, slowest

BOTS, PROBERS = 200, 20
SAVES_MIN = 20
LIVE_AIM_MS = 250.0
SWITCH_AIM = 2.0
APART_S = 1.0  # between two saves: nobody saves more often
NEAR_S = 0.25  # what was asked this near to a switch is of the switch


def reload(seconds: float, home: Path, report: Report) -> BenchResult:
    """Save of a rule to the first message by its new text, on all nodes, under 200 bots."""
    return uvloop.run(measure(max(10.0, seconds), report))


async def measure(window_s: float, report: Report) -> BenchResult:
    """Saves one after the other while the bots play."""
    load = list(os.getloadavg())
    report("starting a cluster")
    with tempfile.TemporaryDirectory(prefix="mmo-bench-") as directory:
        overlay = live_code.prepare(Path(directory))
        async with Arena(None, overlay) as arena:
            game = await live_code.game_of(arena)
            hunters = Hunters(arena, BOTS - PROBERS, seed=81)
            probers = Probers(arena, game, PROBERS, seed=82, pause_ms=20)
            try:
                report(f"{BOTS} bots")
                await hunters.begin(CROWD_S)
                await probers.begin()
                await asyncio.sleep(2.0)
                async with Dev(arena, game) as dev:
                    saves = await _saves(dev, probers, window_s, report)
                fleet = await probers.end()
                told = await hunters.end()
            finally:
                await probers.abandon()
                await hunters.abandon()
            audit = await arena.command("audit", deadline_s=120, accept=(0, 1))
    live_ms, pauses_ms = saves.live_ms, saves.pauses_ms
    near, far = _latencies(probers.seen, saves.switches_s)
    p99_near, p99_far = percentile(near, 0.99), percentile(far, 0.99)
    slowest_is, slowest_ms = slowest(live_ms)
    backwards = probers.backwards()
    checks = (
        Check("every save was taken", len(live_ms) >= SAVES_MIN, f"{len(live_ms)} saves"),
        same("no bot met an error", 0, fleet.meter.errors + told.meter.errors),
        same("no connection was lost", 0, fleet.meter.lost + told.meter.lost),
        Check("no generation answered after the next one did", not backwards, str(backwards[:2])),
        Check("the books balance", bool(audit["balanced"]), str(audit["findings"][:3])),
    )
    return BenchResult(
        name="reload",
        ours=round(slowest_ms, 1),
        limit="the aim for a rule",
        limit_absolute=LIVE_AIM_MS,
        ratio=round(slowest_ms / LIVE_AIM_MS, 3),
        unit=f"milliseconds from save to live, {slowest_is} of {len(live_ms)}",
        p50_ms=round(percentile(live_ms, 0.5), 1),
        p99_ms=round(slowest_ms, 1) if slowest_is == P99 else None,
        checks=checks,
        more={
            "saves": len(live_ms),
            "slowest_is": slowest_is,
            "live_ms": [round(one, 1) for one in live_ms],
            "steps_ms_p50": {
                name: round(percentile(took_ms, 0.5), 1) for name, took_ms in saves.steps_ms.items()
            },
            "pause_ms_p50": round(percentile(pauses_ms, 0.5), 1),
            f"pause_ms_{slowest_is}": round(slowest(pauses_ms)[1], 1),
            "answer_ms_p99_normal": round(p99_far, 1),
            "answer_ms_p99_at_switch": round(p99_near, 1),
            "answers": len(probers.seen),
            "answers_at_switch": len(near),
            "load_average": [load, list(os.getloadavg())],
        },
        aims=(
            at_most(f"save to live, {slowest_is} in ms", LIVE_AIM_MS, slowest_ms),
            at_most("p99 at the switch, times normal", SWITCH_AIM, p99_near / max(p99_far, 1e-9)),
        ),
    )


class Saves(msgspec.Struct):
    """Milliseconds to live and of the pause for each save, of its steps, and when each switched."""

    live_ms: list[float] = []
    pauses_ms: list[float] = []
    switches_s: list[float] = []
    steps_ms: dict[str, list[float]] = {}


async def _saves(dev: Dev, probers: Probers, window_s: float, report: Report) -> Saves:
    """Save after save until the time is over."""
    saves = Saves()
    until_s, word = time.monotonic() + window_s, 0
    while time.monotonic() < until_s or word < SAVES_MIN:
        word += 1
        said = await dev.save(DICE, RULES.format(word=word))
        seen = await probers.word(word)
        if "error" in said or seen is None:
            report(f"save {word} was not taken: {said}")
            if word > 3 * SAVES_MIN:
                break
            continue
        saves.live_ms.append((seen.heard_s - said["saved_s"]) * 1_000)
        saves.pauses_ms.append(float(said["switch_ms"]))
        saves.switches_s.append(seen.heard_s)
        for name, took_ms in said["steps_ms"].items():
            saves.steps_ms.setdefault(name, []).append(took_ms)
        await asyncio.sleep(APART_S)
    return saves


def _latencies(
    seen: Sequence[Seen], switches_s: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Milliseconds of answers asked near a switch, and of all others."""
    near: list[float] = []
    far: list[float] = []
    for one in seen:
        at_switch = any(abs(one.heard_s - at) < NEAR_S for at in switches_s)
        (near if at_switch else far).append((one.heard_s - one.sent_s) * 1_000)
    return near, far
