"""The proof under a flood: malformed packets are all rejected, honest players hardly notice.

Owns the honest players, the flood's size and pace, and what must hold: no packet accepted, no
process ended, no honest error, latency below twice that of quiet minutes. Quiet and flood take
turns, so that whatever else the machine does falls on both alike. Called by `proofs`.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Any, TypeVar

from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.proof.bench_process import binary
from mmo.proof.load import Hunters, books_balance
from mmo.proof.verdict import Trial

PACKETS = 10_000_000
SHORT_PACKETS = 100_000
PACKETS_PER_S = 40_000
"""As many as leave the honest players their share of two cores: the generator needs one too."""

TURNS, SHORT_TURNS = 10, 2
QUIET_S, SHORT_QUIET_S = 15.0, 4.0
TIMES_MAX = 2.0
SHORT_LEAST_MS = 250.0
"""Below this a doubled p99 is the noise of the few seconds that the short form lasts."""

PLAYED = ("login", "center", "channel", "raid")
"""Roles that clients of the game dial."""

T = TypeVar("T")


async def flood(arena: Arena, trial: Trial, short: bool) -> None:
    """Quiet and flood in turns, at every client port, with the same hunters all the while."""
    packets = int(os.environ.get("MMO_PACKETS", SHORT_PACKETS if short else PACKETS))
    turns = SHORT_TURNS if short else TURNS
    hunters = Hunters(arena, 8 if short else 30, seed=81)
    quiet: list[float] = []
    flooded: list[float] = []
    told: Counter[str] = Counter()
    try:
        await hunters.begin()
        before = await _pids(arena)
        for _ in range(turns):
            await _timed(hunters, quiet, asyncio.sleep(SHORT_QUIET_S if short else QUIET_S))
            told.update(await _timed(hunters, flooded, _send(arena, -(-packets // turns))))
        after = await _pids(arena)
        await hunters.progress(len(hunters.heroes))
        fleet = await hunters.end()
    finally:
        await hunters.abandon()
    del told["packets_per_s"]
    trial.tried(
        f"{told['packets']} malformed packets on {told['connections']} connections: {dict(told)}"
    )
    trial.expect(told["packets"] >= packets * 0.99, f"only {told['packets']} packets were sent")
    trial.expect(told["accepted"] == 0, f"{told['accepted']} answers were no refusals")
    trial.expect(told["open"] == 0, f"{told['open']} hostile connections were left open")
    trial.expect(before == after, f"processes ended: {before} before, {after} after")
    for text in fleet.meter.findings:
        trial.found(f"honest {text}")
    trial.expect(not fleet.meter.lost, f"honest players lost {fleet.meter.lost} connections")
    _latency(trial, quiet, flooded, SHORT_LEAST_MS if short else 0.0)
    for name, value in told.items():
        trial.figure(name, round(value, 1))
    trial.figure("packets_per_s", round(told["packets"] / max(told["seconds"], 1e-9)))
    await books_balance(arena, trial, len(hunters.heroes))


def _latency(trial: Trial, quiet: list[float], flooded: list[float], least_ms: float) -> None:
    """The honest players' p99 of all floods against that of all quiet turns."""
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        before, during = _percentile(quiet, share), _percentile(flooded, share)
        trial.figure(f"quiet_{name}_ms", round(before, 2))
        trial.figure(f"flooded_{name}_ms", round(during, 2))
    trial.figure("times", round(during / before, 2) if before else 0.0)
    trial.tried(
        f"honest p99 {before:.1f} ms in quiet turns ({len(quiet)} actions), {during:.1f} ms under "
        f"the flood ({len(flooded)})"
    )
    trial.expect(
        during < max(TIMES_MAX * before, least_ms),
        f"honest p99 {during:.1f} ms under the flood, {before:.1f} ms without it",
    )


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def _timed(hunters: Hunters, into: list[float], work: Awaitable[T]) -> T:
    """Do something; how long the honest players' answers took meanwhile goes to `into`."""
    mark = hunters.meter.mark()
    done = await work
    for kind, taken in hunters.meter.by_kind.items():
        into.extend(taken[mark.get(kind, 0) :])
    return done


async def _pids(arena: Arena) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}


async def _send(arena: Arena, packets: int) -> dict[str, Any]:
    """The flood, from a program that is not what limits it. Raises `OperatorError` E0790."""
    nodes = [node for node in arena.file().nodes if node.role in PLAYED]
    addresses = ",".join(f"127.0.0.1:{node.client_port}" for node in nodes)
    process = await asyncio.create_subprocess_exec(
        str(binary()), "flood", "--addresses", addresses, "--packets", str(packets),
        "--rate", str(PACKETS_PER_S), "--seed", str(time.time_ns() % 1_000_003),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise OperatorError("E0790", f"the flood ended: {err.decode(errors='replace')[-400:]}")
    told: dict[str, Any] = json.loads(out)
    return told
