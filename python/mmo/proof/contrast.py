"""The contrast: the same faults, by the same seed, against two naive builds and against ours.

Owns the naive builds' processes, the faults that befall them, and the counting of what they lost.
Redis as the truth loses what it acknowledged; two writes without a fence leave players stale for
ever. Ours is judged by the checker of histories. Called by `proofs`.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from typing import Any

import mysql.connector
import redis

from mmo.proof.arena import Arena
from mmo.proof.economy_books import Books
from mmo.proof.fault_proxy import Proxies
from mmo.proof.ground import Ground
from mmo.proof.naive import PLAYERS, coin_key
from mmo.proof.nemesis import MENU
from mmo.proof.planted import TOLD, play
from mmo.proof.verdict import Trial

FAULTS = ("kill-channel", "stop-node", "kill-redis-primary", "flush-redis", "failover-redis")
WORKERS = 4
BEGIN_S = 30.0
SEED = 75
"""By it Redis is wiped first and a primary killed last, so that there is something to be stale."""

LONG_S, SHORT_S = 60.0, 4.0
EVERY_S, SHORT_EVERY_S = 1.5, 1.0
SETTLE_S = 8.0
"""As long as ours is given before Redis is judged; the short form looks at once."""


class NaiveBuild:
    """Some processes of one kind, and what they said."""

    def __init__(self, arena: Arena, kind: str) -> None:
        self._arena = arena
        self._kind = kind
        self.said: Counter[int] = Counter()
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._silent: set[int] = set()  # pids of those that acknowledged nothing yet
        self._spoke = asyncio.Event()  # one of them did

    async def start(self, number: int) -> None:
        """A process; one of before is forgotten."""
        file, secrets = self._arena.file(), self._arena.home.secrets
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mmo.proof.naive", self._kind,
            "--mysql", file.mysql_socket, "--mysql-password-file", str(secrets / "mysql"),
            "--redis", ",".join(file.redis_nodes),
            "--redis-password-file", str(secrets / "redis"),
            "--seed", str(SEED), "--number", str(number),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self._processes[number] = process
        self._silent.add(process.pid)
        task = asyncio.create_task(self._listen(process))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if line.endswith(b"\n"):
                self.said[int(line)] += 1
                self._silent.discard(process.pid)
                self._spoke.set()

    async def begin(self) -> None:
        """Start all and return when each acknowledged something. Raises `TimeoutError`."""
        for number in range(WORKERS):
            await self.start(number)
        async with asyncio.timeout(BEGIN_S):
            while self._silent:
                self._spoke.clear()
                await self._spoke.wait()

    async def strike(self, name: str, rng: random.Random) -> None:
        """What befalls a server of ours befalls one of these."""
        number = rng.choice(sorted(self._processes))
        process = self._processes[number]
        if name == "kill-channel":
            process.kill()
            await process.wait()
            await self.start(number)
        else:
            os.kill(process.pid, signal.SIGSTOP)
            await asyncio.sleep(0.3 + rng.random())
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)

    async def end(self) -> None:
        """All stop; what they said is all that they acknowledged."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)


async def contrast(arena: Arena, trial: Trial, short: bool) -> None:
    """Both naive builds, then ours, each under the same faults by the same seed."""
    seconds = SHORT_S if short else LONG_S
    table: dict[str, dict[str, Any]] = {}
    try:
        for kind in ("redis", "dual"):
            table[kind] = await _naive(arena, kind, short)
            trial.tried(f"{_TITLES[kind]}: {table[kind]}")
    finally:
        await asyncio.to_thread(_no_table, arena)
    ours = await play(arena, FAULTS, SEED, seconds, bots=8)
    table["ours"] = {name: ours[name] for name in TOLD}
    trial.tried(f"ours: {table['ours']}")
    trial.figure("builds", table)
    for kind in ("redis", "dual"):
        trial.expect(table[kind]["acknowledged"] > 0, f"{_TITLES[kind]}: it acknowledged nothing")
    trial.expect(table["redis"]["lost"] > 0, "Redis as the truth lost nothing: the faults are weak")
    trial.expect(
        table["dual"]["stale"] > 0, "two writes left nobody stale: the faults are too weak"
    )
    least = table["redis"]["faults"] // 2
    trial.expect(ours["faults"] >= least, f"ours met {ours['faults']} faults, fewer than {least}")
    for text in ours["findings"]:
        trial.found(f"ours: {text}")


_TITLES = {
    "redis": "Redis is the truth",
    "dual": "MySQL, then Redis without a fence",
}


async def _naive(arena: Arena, kind: str, short: bool) -> dict[str, Any]:
    await asyncio.to_thread(_prepare, arena)
    build, rng = NaiveBuild(arena, kind), random.Random(SEED)
    ground = Ground(arena, rng, Proxies([]))
    order = list(FAULTS)
    rng.shuffle(order)
    every_s, faults = SHORT_EVERY_S if short else EVERY_S, 0
    try:
        await build.begin()
        until = time.monotonic() + (SHORT_S if short else LONG_S)
        is_over = False
        while not is_over:
            for name in reversed(order):
                await asyncio.sleep(every_s)
                faults += await _struck(name, build, ground)
            is_over = time.monotonic() > until
        await asyncio.sleep(every_s)
    finally:
        await build.end()
    await arena.ready_s()
    if kind == "dual" and not short:
        await asyncio.sleep(SETTLE_S)
    acknowledged = sum(build.said.values())
    held, truth = await asyncio.to_thread(_counted, arena)
    answer = {"faults": faults, "acknowledged": acknowledged, "players": PLAYERS}
    if kind == "redis":
        lost = sum(max(0, build.said[player] - held.get(player, 0)) for player in range(PLAYERS))
        return answer | {"lost": lost}
    stale = sum(player in held and held[player] != truth[player] for player in truth)
    return answer | {"stale": stale}


async def _struck(name: str, build: NaiveBuild, ground: Ground) -> bool:
    """Whether the fault could be done."""
    try:
        if name in ("kill-channel", "stop-node"):
            await build.strike(name, ground.rng)
        else:
            await MENU[name](ground)
    except LookupError:
        return False
    return True


def _prepare(arena: Arena) -> None:
    books = Books(arena)
    books.rows("DROP TABLE IF EXISTS naive_coins")
    books.rows("CREATE TABLE naive_coins (player INT PRIMARY KEY, coins BIGINT NOT NULL)")
    rows = ",".join(f"({player}, 0)" for player in range(PLAYERS))
    books.rows(f"INSERT INTO naive_coins VALUES {rows}")
    cluster = _cluster(arena)
    for player in range(PLAYERS):
        cluster.delete(coin_key(player))
    cluster.close()


def _no_table(arena: Arena) -> None:
    with contextlib.suppress(mysql.connector.Error):
        Books(arena).rows("DROP TABLE IF EXISTS naive_coins")


def _counted(arena: Arena) -> tuple[dict[int, int], dict[int, int]]:
    """Coins in Redis and in MySQL by player."""
    cluster, held = _cluster(arena), {}
    for player in range(PLAYERS):
        coins = cluster.get(coin_key(player))
        if coins is not None:
            held[player] = int(coins)
    cluster.close()
    rows = Books(arena).rows("SELECT player, coins FROM naive_coins")
    return held, {int(player): int(coins) for player, coins in rows}


def _cluster(arena: Arena) -> Any:
    node: Any = redis.cluster.ClusterNode  # untyped in redis-py
    nodes = [text.rpartition(":") for text in arena.file().redis_nodes]
    return redis.RedisCluster(
        startup_nodes=[node(host, int(port)) for host, _, port in nodes],
        password=(arena.home.secrets / "redis").read_text().strip(),
        socket_timeout=2.0,
    )
