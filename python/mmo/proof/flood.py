"""The proof under a flood: malformed packets are all rejected, honest players hardly notice.

Owns the honest players, the flood's size and pace, and what must hold: no packet accepted, no
process ended, no honest error, latency below twice that of quiet minutes. Called by `proofs`.
"""

import asyncio
import json
import os
import time
from typing import Any

from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.proof.bench_process import binary
from mmo.proof.load import Hunters, books_balance
from mmo.proof.verdict import Trial

PACKETS = 10_000_000
SHORT_PACKETS = 60_000
PACKETS_PER_S = 40_000
"""As many as leave the honest players their share of two cores: the generator needs one too."""

QUIET_S, SHORT_QUIET_S = 30.0, 4.0
TIMES_MAX = 2.0
LATENCY_LEAST_MS, SHORT_LEAST_MS = 25.0, 80.0
"""Below this a doubled p99 is the noise of a machine that does other things as well; more so in the
second that the short form lasts."""


async def flood(arena: Arena, trial: Trial, short: bool) -> None:
    """Quiet, then the flood at every client port, with the same hunters all the while."""
    packets = int(os.environ.get("MMO_PACKETS", SHORT_PACKETS if short else PACKETS))
    hunters = Hunters(arena, 8 if short else 30, seed=81)
    try:
        await hunters.begin()
        before = await _pids(arena)
        quiet = await _window(hunters, SHORT_QUIET_S if short else QUIET_S)
        mark = hunters.meter.mark()
        told = await _send(arena, packets)
        flooded = hunters.meter.percentile_ms(0.99, since=mark)
        after = await _pids(arena)
        await hunters.progress(len(hunters.heroes))
        fleet = await hunters.end()
    finally:
        await hunters.abandon()
    trial.tried(f"{told['packets']} malformed packets on {told['connections']} connections: {told}")
    trial.expect(told["packets"] >= packets * 0.99, f"only {told['packets']} packets were sent")
    trial.expect(told["accepted"] == 0, f"{told['accepted']} answers were no refusals")
    trial.expect(told["open"] == 0, f"{told['open']} hostile connections were left open")
    trial.expect(before == after, f"processes ended: {before} before, {after} after")
    for text in fleet.meter.findings:
        trial.found(f"honest {text}")
    trial.expect(
        flooded < max(TIMES_MAX * quiet, SHORT_LEAST_MS if short else LATENCY_LEAST_MS),
        f"honest p99 {flooded:.1f} ms under the flood, {quiet:.1f} ms before it",
    )
    trial.tried(f"honest p99 {quiet:.1f} ms before the flood, {flooded:.1f} ms in it")
    trial.figure("quiet_p99_ms", round(quiet, 2))
    trial.figure("flooded_p99_ms", round(flooded, 2))
    for name, value in told.items():
        trial.figure(name, value)
    await books_balance(arena, trial, len(hunters.heroes))


async def _window(hunters: Hunters, seconds: float) -> float:
    before = hunters.meter.mark()
    await asyncio.sleep(seconds)
    return hunters.meter.percentile_ms(0.99, since=before)


async def _pids(arena: Arena) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}


async def _send(arena: Arena, packets: int) -> dict[str, Any]:
    """The flood, from a program that is not what limits it. Raises `OperatorError` E0790."""
    nodes = [node for node in arena.file().nodes if node.role in ("login", "center", "channel")]
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
