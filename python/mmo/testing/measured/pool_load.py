"""Requests at the store's MySQL pool: many at once, few connections.

Owns the load and its count; the pool is the product's own. A request reads one player's head as the
sweep does. Run as a process by `bench pool`.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from mmo.client.meter import Meter
from mmo.store import statements as sql
from mmo.store.mysql_pool import MysqlPool
from mmo.store.settings import StoreSettings

PLAYERS = 1_000  # prepared before


async def load(settings: StoreSettings, connections: int, requests: int) -> dict[str, Any]:
    """All requests at once; how long each waited for its answer, and the whole."""
    waits = Meter()
    answered = 0
    patient = msgspec.structs.replace(settings, mysql_wait_ms=60_000)
    async with MysqlPool(patient, connections_max=connections) as pool:

        async def ask(user: int) -> None:
            nonlocal answered
            async with pool.take() as connection:
                row = await connection.row(sql.READ_SEATS, f"[{user}]")
            answered += row is not None and str(row[0]).startswith(f"[[{user}, ")
            waits.action("read", (time.perf_counter() - begun) * 1e3)

        begun = time.perf_counter()
        await asyncio.gather(*(ask(1) for _ in range(connections)))  # every connection is open
        waits, answered = Meter(), 0
        begun = time.perf_counter()
        await asyncio.gather(*(ask(1 + number % PLAYERS) for number in range(requests)))
        seconds = time.perf_counter() - begun
    return {
        "connections": connections,
        "requests": requests,
        "answered": answered,
        "requests_per_s": round(requests / seconds, 1),
        "p50_ms": waits.percentile_ms(0.5),
        "p99_ms": waits.percentile_ms(0.99),
    }


def main() -> None:
    """Command line of the process; prints one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", type=Path, required=True, help="StoreSettings as JSON")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--requests", type=int, required=True)
    given = parser.parse_args()
    settings = msgspec.json.decode(given.store.read_bytes(), type=StoreSettings)
    print(json.dumps(uvloop.run(load(settings, given.connections, given.requests))))


if __name__ == "__main__":
    main()
