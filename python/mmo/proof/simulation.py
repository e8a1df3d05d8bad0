"""The proof by simulation: very many seeds of a whole cluster in virtual time, all clean.

Owns how many seeds and what must come of them; the simulator is `mmo.testing.simulate`, run as a
process of its own because proofs know nothing of the node. Needs no cluster. Called by `proofs`.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.proof.origin import PACKAGE, digest_of
from mmo.proof.verdict import Trial

SEEDS = 100_000
SHORT_SEEDS = 32
VARIED_SEEDS = 32
"""In so many seeds, whichever is the first, everything happens that the simulator can bring about:
some of them have raids, some change their code."""

BLOWS = (
    *("apart", "cache", "crash", "crash at an effect", "cut", "link", "outage", "pause"),
    "reload",
)
"""What strikes, by the name under which it is counted."""

BATCH = 2_500
BATCH_S = 3_600.0
FAILED_MAX = 10
COORDINATOR = "mmo.cli.switching"
"""What reloads the code of the simulated clusters: as the command does."""

SHOWN = f"python -m mmo.testing.simulate SEED --coordinator {COORDINATOR} shows it"
SUMMED = ("failed", "acknowledged", "raids", "virtual_hours", "cpu_s")
NOT_SIMULATED = frozenset({"cli", "cluster", "ops", "proof", "default.toml"})
"""Rooms of the package of which no seed runs anything, but for the coordinator of reloads."""


class Progress(msgspec.Struct):
    """How far a run is. `code`: what was simulated, a digest of the package and its content;
    `findings`: what seeds found, without the words on how to see it."""

    code: str
    first: int
    seeds: int
    done: int = 0
    wall_s: float = 0.0
    sums: dict[str, int | float] = {}
    faults: dict[str, int] = {}
    findings: list[str] = []

    def add(self, told: dict[str, Any]) -> None:
        """One more batch."""
        self.done += told["seeds"]
        for name in SUMMED:
            self.sums[name] = self.sums.get(name, 0) + told[name]
        for name, count in told["faults"].items():
            self.faults[name] = self.faults.get(name, 0) + count
        self.findings += told["findings"]


def simulated_digest() -> str:
    """16 hex digits over every module and table of what is simulated: two runs with the same one
    simulate the same code."""
    rooms = [room for room in sorted(PACKAGE.iterdir()) if room.name not in NOT_SIMULATED]
    return digest_of(*rooms, PACKAGE.parent / (COORDINATOR.replace(".", "/") + ".py"))


def begun(place: Path | None, first: int, seeds: int) -> Progress:
    """A run from its beginning, or where the file says that one of the same code and seeds stands.
    Raises `OperatorError` E0790 for a file of another run, which is not thrown away."""
    new = Progress(simulated_digest(), first, seeds)
    if place is None or not place.exists():
        return new
    try:
        found = msgspec.json.decode(place.read_bytes(), type=Progress)
    except msgspec.DecodeError as fault:
        raise OperatorError(
            "E0790", f"{place} keeps no progress of a simulation: {fault}"
        ) from None
    if (found.code, found.first, found.seeds) != (new.code, first, seeds):
        raise OperatorError(
            "E0790",
            f"{place} keeps the progress of other code or other seeds: {found.seeds} from "
            f"{found.first}, code {found.code}; this is {seeds} from {first}, code {new.code}",
            "remove the file to begin anew",
        )
    return found


async def simulation(arena: Arena, trial: Trial, short: bool) -> None:
    """Seeds in batches, until all are done or many found something. `MMO_SEEDS` and
    `MMO_FIRST_SEED` choose others, `MMO_PROCESSES` how many processes share them (as many as
    there are processors); `MMO_PROGRESS` names a file by which a run that was interrupted goes
    on."""
    seeds = int(os.environ.get("MMO_SEEDS", SHORT_SEEDS if short else SEEDS))
    first = int(os.environ.get("MMO_FIRST_SEED", 0))
    processes = int(os.environ.get("MMO_PROCESSES", os.cpu_count() or 1))
    named = os.environ.get("MMO_PROGRESS", "")
    place = Path(named) if named else None
    progress = begun(place, first, seeds)
    if progress.done:
        trial.tried(f"goes on after {progress.done} seeds")
    while progress.done < seeds and progress.sums.get("failed", 0) < FAILED_MAX:
        began = time.monotonic()
        left = seeds - progress.done
        progress.add(await batch(first + progress.done, min(BATCH, left), processes))
        progress.wall_s += time.monotonic() - began
        if place is not None:
            keep(place, progress)
        left_s = progress.wall_s / progress.done * (seeds - progress.done)
        trial.tried(
            f"seeds {first} to {first + progress.done - 1}: {progress.sums['failed']} found "
            f"something, {left_s / 60:.0f} minutes to go"
        )
    judge(trial, progress, processes)


def keep(place: Path, progress: Progress) -> None:
    """Write the file at once or not at all."""
    new = place.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(progress))
    new.replace(place)


def judge(trial: Trial, progress: Progress, processes: int) -> None:
    """What must hold of all seeds together, and the figures."""
    sums, done = progress.sums, progress.done
    for text in progress.findings:
        trial.found(f"{text}   ({SHOWN})")
    trial.expect(sums["failed"] == 0, f"{sums['failed']} of {done} seeds found something")
    trial.expect(sums["acknowledged"] > 0, "nothing was acknowledged")
    if done >= VARIED_SEEDS:
        for name in BLOWS:
            trial.expect(progress.faults.get(name, 0) > 0, f"no {name} in {done} seeds")
        trial.expect(sums["raids"] > 0, f"no raid was finished in {done} seeds")
    virtual_s = sums["virtual_hours"] * 3_600
    trial.figure("simulated", progress.code)
    trial.figure("seeds", done)
    trial.figure("acknowledged", sums["acknowledged"])
    trial.figure("raids", sums["raids"])
    trial.figure("faults", dict(sorted(progress.faults.items())))
    trial.figure("virtual_hours", round(sums["virtual_hours"], 2))
    trial.figure("processes", processes)
    trial.figure("times_real_time", round(virtual_s / max(0.001, progress.wall_s), 1))
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
