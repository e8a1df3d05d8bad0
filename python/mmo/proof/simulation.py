"""The proof by simulation: very many seeds of a whole cluster in virtual time, all clean.

Owns how many seeds and what must come of them; the simulator is `mmo.testing.simulate`, run as a
process of its own because proofs know nothing of the node. Needs no cluster. Called by `proofs`.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from typing import Any

from mmo.proof.arena import Arena
from mmo.proof.verdict import Trial

SEEDS = 100_000
SHORT_SEEDS = 12
BATCH = 500
BATCH_S = 3_600.0
FAILED_MAX = 10
COORDINATOR = "mmo.cli.switching"
"""What reloads the code of the simulated clusters: as the command does."""

SHOWN = f"python -m mmo.testing.simulate SEED --coordinator {COORDINATOR} shows it"
SUMMED = ("failed", "acknowledged", "virtual_hours", "cpu_s")


async def simulation(arena: Arena, trial: Trial, short: bool) -> None:
    """Seeds in batches, until all are done or many found something. `MMO_SEEDS` and
    `MMO_FIRST_SEED` choose others, `MMO_PROCESSES` how many processes share them (as many as
    there are processors)."""
    seeds = int(os.environ.get("MMO_SEEDS", SHORT_SEEDS if short else SEEDS))
    first = int(os.environ.get("MMO_FIRST_SEED", 0))
    processes = int(os.environ.get("MMO_PROCESSES", os.cpu_count() or 1))
    done = 0
    sums: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    began = time.monotonic()
    while done < seeds and sums["failed"] < FAILED_MAX:
        told = await batch(first + done, min(BATCH, seeds - done), processes)
        done += told["seeds"]
        sums.update({name: told[name] for name in SUMMED})
        faults.update(told["faults"])
        for text in told["findings"]:
            trial.found(f"{text}   ({SHOWN})")
        left_s = (time.monotonic() - began) / done * (seeds - done)
        trial.tried(
            f"seeds {first} to {first + done - 1}: {sums['failed']} found something, "
            f"{left_s / 60:.0f} minutes to go"
        )
    trial.expect(sums["failed"] == 0, f"{sums['failed']} of {done} seeds found something")
    trial.expect(sums["acknowledged"] > 0, "nothing was acknowledged")
    wall_s, virtual_s = time.monotonic() - began, sums["virtual_hours"] * 3_600
    trial.figure("seeds", done)
    trial.figure("acknowledged", sums["acknowledged"])
    trial.figure("faults", dict(sorted(faults.items())))
    trial.figure("virtual_hours", round(virtual_s / 3_600, 2))
    trial.figure("processes", processes)
    trial.figure("times_real_time", round(virtual_s / wall_s, 1))
    trial.figure("times_real_time_a_core", round(virtual_s / max(0.001, sums["cpu_s"]), 1))


async def batch(first: int, count: int, processes: int) -> dict[str, Any]:
    """Some seeds; the summary that the command prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mmo.testing.simulate", "--seeds", str(count), "--first", str(first),
        "--processes", str(processes), "--coordinator", COORDINATOR,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(BATCH_S):
            out, _ = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
        raise
    return json.loads(out)  # type: ignore[no-any-return]
