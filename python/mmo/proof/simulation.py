"""The proof by simulation: very many seeds of a whole cluster in virtual time, all clean.

Owns how many seeds and what must come of them; the simulator is `mmo.testing.simulate`, run as a
process of its own because proofs know nothing of the node. Needs no cluster. Called by `proofs`.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

from mmo.proof.arena import Arena
from mmo.proof.verdict import Trial

SEEDS = 100_000
SHORT_SEEDS = 30
BATCH = 2_000
BATCH_S = 3_600.0


async def simulation(arena: Arena, trial: Trial, short: bool) -> None:
    """Seeds in batches, until all are done or many found something. `MMO_SEEDS` and
    `MMO_FIRST_SEED` choose others."""
    seeds = int(os.environ.get("MMO_SEEDS", SHORT_SEEDS if short else SEEDS))
    first = int(os.environ.get("MMO_FIRST_SEED", 0))
    done = failed = acknowledged = 0
    virtual_s = 0.0
    faults: dict[str, int] = {}
    began = time.monotonic()
    while done < seeds and failed < 10:
        count = min(BATCH, seeds - done)
        told = await batch(first + done, count)
        done += count
        failed += told["failed"]
        acknowledged += told["acknowledged"]
        virtual_s += told["virtual_hours"] * 3600
        for name, times in told["faults"].items():
            faults[name] = faults.get(name, 0) + times
        for text in told["findings"]:
            trial.found(f"{text}   (python -m mmo.testing.simulate SEED shows it)")
        trial.tried(f"seeds {first} to {first + done - 1}: {failed} found something")
    trial.expect(failed == 0, f"{failed} of {done} seeds found something")
    trial.expect(acknowledged > 0, "nothing was acknowledged")
    wall_s = time.monotonic() - began
    trial.figure("seeds", done)
    trial.figure("acknowledged", acknowledged)
    trial.figure("faults", faults)
    trial.figure("virtual_hours", round(virtual_s / 3600, 2))
    trial.figure("times_real_time", round(virtual_s / wall_s, 1))


async def batch(first: int, count: int) -> dict[str, Any]:
    """Some seeds on all processors; the summary that the command prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mmo.testing.simulate", "--seeds", str(count), "--first", str(first),
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
