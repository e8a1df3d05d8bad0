"""`python -m mmo.testing.simulate`: seeds of the simulation, one or very many.

Owns the command: one seed is shown with everything that happened in it, many are run on all
processors and summed up. A seed that finds something is one line to run again. Started by
`mmo-cluster prove simulation` and by hand; exits 1 when anything was found. The module of the
coordinator of reloads is named to it, since it belongs to the command line above.
"""

import argparse
import gc
import importlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from mmo.content import load_content
from mmo.roles import ROLES
from mmo.testing.simulation import Report, Setup, Simulation

CHUNK = 25
TEXTS_MAX = 20


def arguments() -> argparse.Namespace:
    """What it is told."""
    parser = argparse.ArgumentParser(prog="python -m mmo.testing.simulate")
    parser.add_argument("seed", nargs="?", type=int, help="this one seed, shown whole")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of many")
    parser.add_argument("--seconds", type=float, default=Setup().seconds, help="of faults")
    parser.add_argument("--misfortune", type=float, default=1.0, help="0: nothing goes wrong")
    parser.add_argument("--coordinator", default="", help="module; empty: no seed has reloads")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


class Work(NamedTuple):
    """Seeds one after the other, and with what."""

    first: int
    seeds: int
    setup: Setup
    coordinator: str


def run(seed: int, setup: Setup, content: Any, coordinator: str) -> Report:
    """One seed with the game in the box."""
    module = importlib.import_module(coordinator) if coordinator else None
    return Simulation(seed, setup, ROLES, content, coordinator=module).run()


def chunk(work: Work) -> dict[str, Any]:
    """Some seeds, summed up."""
    content = load_content()
    began, total = time.process_time(), Counter[str]()
    found: list[str] = []
    faults: Counter[str] = Counter()
    gc.collect()
    gc.freeze()
    for seed in range(work.first, work.first + work.seeds):
        report = run(seed, work.setup, content, work.coordinator)
        total.update(acknowledged=report.acknowledged, requests=report.operations)
        total.update(virtual_ms=int(report.virtual_s * 1000), raids=report.raids)
        faults.update(report.faults)
        if report.findings:
            total["failed"] += 1
            found += [f"seed {seed}: {text}" for text in report.findings]
        gc.collect()  # a run makes circles, and collects none
    total["cpu_ms"] = int((time.process_time() - began) * 1000)
    return {"total": dict(total), "found": found, "faults": dict(faults)}


def chunks(told: argparse.Namespace, setup: Setup) -> Iterator[Work]:
    """The seeds in pieces."""
    last = told.first + told.seeds
    for first in range(told.first, last, CHUNK):
        yield Work(first, min(CHUNK, last - first), setup, told.coordinator)


def many(told: argparse.Namespace, setup: Setup) -> int:
    """All seeds on all processors; prints one JSON object."""
    began = time.monotonic()
    total, faults = Counter[str](), Counter[str]()
    found: list[str] = []
    work = list(chunks(told, setup))
    with multiprocessing.get_context("fork").Pool(told.processes) as pool:
        for answer in pool.imap_unordered(chunk, work):
            total.update(answer["total"])
            faults.update(answer["faults"])
            found += answer["found"]
    wall_s, cpu_s = time.monotonic() - began, total["cpu_ms"] / 1000
    virtual_s = total["virtual_ms"] / 1000
    print(
        json.dumps(
            {
                "seeds": told.seeds,
                "first": told.first,
                "failed": total["failed"],
                "acknowledged": total["acknowledged"],
                "requests": total["requests"],
                "raids": total["raids"],
                "faults": dict(sorted(faults.items())),
                "virtual_hours": round(virtual_s / 3600, 3),
                "wall_s": round(wall_s, 1),
                "cpu_s": round(cpu_s, 1),
                "times_real_time": round(virtual_s / max(0.001, wall_s), 1),
                "times_real_time_a_core": round(virtual_s / max(0.001, cpu_s), 1),
                "findings": found[:TEXTS_MAX],
            }
        )
    )
    return 1 if found or not total["acknowledged"] else 0


def main() -> int:
    """One seed or many."""
    told = arguments()
    setup = Setup(seconds=told.seconds, misfortune=told.misfortune)
    if told.seed is None:
        return many(told, setup)
    report = run(told.seed, setup, load_content(), told.coordinator)
    print("\n".join(report.trace))
    for text in report.findings:
        print(f"FOUND: {text}")
    print(
        f"seed {report.seed}: {report.virtual_s:.1f} s, {report.acknowledged} acknowledged, "
        f"{len(report.findings)} findings, faults {report.faults}"
    )
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
