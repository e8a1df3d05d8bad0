"""The MySQL pool under bursts: 1, 3, 5 and 10 connections, 1,000 to 5,000 requests at once.

Owns the sizes, which are those of the reference game's own load test. The limit is one connection,
where nothing can be gained by waiting better. Called through `mmo.proof.bench`.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mmo.errors import OperatorError
from mmo.proof.bench_result import BenchResult, Check, same
from mmo.proof.bench_rounds import Report
from mmo.proof.bench_stores import BenchStores, stores

CONNECTIONS = (1, 3, 5, 10)
REQUESTS = (1_000, 3_000, 5_000)
PLAYERS = 1_000  # whose heads are read


def pool(seconds: float, home: Path, report: Report) -> BenchResult:
    """Reads a second through pools of 1 to 10 connections, 1,000 to 5,000 requests at once."""
    begun = list(os.getloadavg())
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="mmo-bench-") as directory:
        report("starting MariaDB and Redis Cluster")
        with stores(Path(directory)) as running:
            ask("commit_books", "prepare", "--store", running.settings_file, "--players", PLAYERS)
            for requests in REQUESTS:
                for connections in CONNECTIONS:
                    report(f"{requests} requests, {connections} connections")
                    rows.append(burst(running, connections, requests))
    most = [row for row in rows if row["requests"] == REQUESTS[-1]]
    limit, ours = most[0], max(most[1:], key=lambda row: float(row["requests_per_s"]))
    checks: list[Check] = [
        same(
            f"{row['requests']} requests on {row['connections']} connections were answered",
            row["requests"],
            row["answered"],
        )
        for row in rows
    ]
    return BenchResult(
        name="pool",
        ours=ours["requests_per_s"],
        limit="one connection",
        limit_absolute=limit["requests_per_s"],
        ratio=round(ours["requests_per_s"] / limit["requests_per_s"], 3),
        unit="reads a second",
        p50_ms=ours["p50_ms"],
        p99_ms=ours["p99_ms"],
        checks=tuple(checks),
        more={"rows": rows, "load_average": [begun, list(os.getloadavg())]},
    )


def burst(running: BenchStores, connections: int, requests: int) -> dict[str, Any]:
    """One size."""
    size = ("--connections", connections, "--requests", requests)
    return ask("pool_load", "--store", running.settings_file, *size)


def ask(name: str, *arguments: object) -> dict[str, Any]:
    """What a process of `mmo.testing.measured` prints."""
    command = [sys.executable, "-m", f"mmo.testing.measured.{name}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise OperatorError("E0902", f"{name} failed: {done.stderr.strip()[-400:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
