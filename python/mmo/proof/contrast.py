"""The contrast: faults of one menu against two naive builds and against ours.

Owns the naive builds' processes, the faults that befall them, and the counting of what they lost.
Redis as the truth loses what it acknowledged; two writes without a fence leave players stale; both
do neither without a fault, which is shown first. Ours is judged by the checker of histories, and
has to do so much that a build as bad would have lost something. Redis is never wiped here: of a
build whose truth it is that would say nothing. Called by `proofs`.
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

import msgspec
import mysql.connector
import redis

from mmo.proof.arena import Arena
from mmo.proof.chaos import Order
from mmo.proof.economy_books import Books
from mmo.proof.fault_proxy import Proxies
from mmo.proof.ground import Ground
from mmo.proof.looks import expect_compared
from mmo.proof.naive import OF_REDIS, PLAYERS, coin_key
from mmo.proof.nemesis import MENU
from mmo.proof.not_done import NOT_NOW
from mmo.proof.planted import CALM_S, EVERY_S, play, told
from mmo.proof.verdict import Trial

FAULTS = (
    *("kill-channel", "stop-node", "kill-redis-primary", "stop-redis"),
    *("failover-redis", "failover-redis", "failover-redis"),
)
"""Failovers most often: what a primary acknowledged and had not copied is lost by them, a little
each time, while one that is killed finds what it wrote in its file again."""

WORKERS = 4
BEGIN_S, DRAIN_S = 30.0, 30.0
SEED = 435
"""By it a worker and then a primary are killed last in each turn of the naive builds, also in the
short form, so that there is something to be stale."""


class Plan(msgspec.Struct, frozen=True):
    """Faults again and again, so far apart, for so long; none: only work. `settle_s`: before Redis
    is judged."""

    seconds: float
    faults: tuple[str, ...] = ()
    every_s: float = 0.0
    settle_s: float = 0.0


LONG = Plan(60.0, FAULTS, every_s=1.5, settle_s=8.0)
"""Redis is given as long as by ours; the short form looks at once."""

SHORT = Plan(4.0, tuple(dict.fromkeys(FAULTS)), every_s=1.0)
CONTROL, SHORT_CONTROL = Plan(10.0), Plan(1.0)

OURS = Order(SEED, 100.0, FAULTS, bots=40, every_s=EVERY_S, calm_s=CALM_S)
"""Longer than the naive builds and with many players: a player asks less than a naive worker."""

SHORT_OURS = Order(SEED, SHORT.seconds, SHORT.faults, bots=8, every_s=EVERY_S)

LOST_DUE_MIN = 3.0
"""So much a build as bad as Redis as the truth would have lost of what ours acknowledged: then it
loses nothing by luck once in twenty times."""


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

    def command(self, number: int) -> list[str]:
        """What a worker is started with."""
        file, secrets = self._arena.file(), self._arena.home.secrets
        return [
            *(sys.executable, "-m", "mmo.proof.naive", self._kind),
            *("--mysql", file.mysql_socket, "--mysql-password-file", str(secrets / "mysql")),
            *("--redis", ",".join(file.redis_nodes)),
            *("--redis-password-file", str(secrets / "redis")),
            *("--seed", str(SEED), "--number", str(number), "--workers", str(WORKERS)),
        ]

    async def start(self, number: int) -> None:
        """A process; one of before is forgotten."""
        process = await asyncio.create_subprocess_exec(
            *self.command(number),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
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
        """All bring to its end what they have begun, and stop; what they said then is all that they
        acknowledged. Raises `TimeoutError`."""
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        async with asyncio.timeout(DRAIN_S):
            await asyncio.gather(*(process.wait() for process in self._processes.values()))
            await asyncio.gather(*self._readers)

    async def abandon(self) -> None:
        """None is left, whatever happened."""
        for process in self._processes.values():
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)


async def contrast(arena: Arena, trial: Trial, short: bool) -> None:
    """Both naive builds, without a fault and with them, then ours, under the same faults. Their
    first turn has the same order for all; after it ours draws a new one each turn."""
    plan, quiet = (SHORT, SHORT_CONTROL) if short else (LONG, CONTROL)
    controls: dict[str, dict[str, Any]] = {}
    table: dict[str, dict[str, Any]] = {}
    try:
        for kind in ("redis", "dual"):
            controls[kind] = await _naive(arena, kind, quiet)
            trial.tried(f"{_TITLES[kind]}, no fault: {controls[kind]}")
            table[kind] = await _naive(arena, kind, plan)
            trial.tried(f"{_TITLES[kind]}: {table[kind]}")
    finally:
        await asyncio.to_thread(_cleared, arena)
    ours = await play(arena, SHORT_OURS if short else OURS)
    table["ours"] = {
        **told(ours),
        "lost_per_10000": per_10000(ours["lost"], ours["acknowledged"]),
        "by_fault": ours["by_fault"],
    }
    trial.tried(f"ours: {table['ours']}")
    trial.figure("controls", controls)
    trial.figure("builds", table)
    trial.figure("ours_if_naive", if_naive(table))
    judge(trial, controls, table, short)
    # Some seconds without a calm have hardly a sample that lies so far behind the last fault.
    expect_compared(trial, ours, "ours", is_calm=not short)
    for text in ours["findings"]:
        trial.found(f"ours: {text}")


_TITLES = {
    "redis": "Redis is the truth",
    "dual": "MySQL, then Redis without a fence",
}


def judge(
    trial: Trial,
    controls: dict[str, dict[str, Any]],
    table: dict[str, dict[str, Any]],
    short: bool,
) -> None:
    """What the figures must say. A few seconds have too few failovers for a loss to be sure, so the
    short form asks for none, and so for none that ours would have had; stale players it has."""
    for kind, control in controls.items():
        who = f"{_TITLES[kind]}, no fault"
        trial.expect(control["acknowledged"] > 0, f"{who}: it acknowledged nothing")
        wrong = {name: control[name] for name in ("lost", "stale") if control.get(name)}
        trial.expect(not wrong, f"{who}: {wrong}, which no fault explains")
        trial.expect(table[kind]["acknowledged"] > 0, f"{_TITLES[kind]}: it acknowledged nothing")
    if not short:
        lost = table["redis"]["lost"]
        trial.expect(lost > 0, "Redis as the truth lost nothing: the faults are too weak")
        _expect_enough(trial, table)
    stale = table["dual"]["stale"]
    trial.expect(stale > 0, "two writes left nobody stale: the faults are too weak")
    struck, least = table["ours"]["faults"], table["redis"]["faults"] // 2
    trial.expect(struck >= least, f"ours met {struck} faults, fewer than {least}")


def _expect_enough(trial: Trial, table: dict[str, dict[str, Any]]) -> None:
    """Ours did so much that to have lost nothing says something."""
    redis, ours, due = table["redis"], table["ours"]["acknowledged"], if_naive(table)["lost"]
    text = (
        f"ours acknowledged {ours:,}, too few to tell it from a naive build: one that loses as"
        f" Redis as the truth does ({redis['lost']:,} of {redis['acknowledged']:,}) would have lost"
        f" {due:g} of them, and it takes {LOST_DUE_MIN:g}; let ours have more bots or seconds"
    )
    trial.expect(due >= LOST_DUE_MIN, text)


def if_naive(table: dict[str, dict[str, Any]]) -> dict[str, float]:
    """What naive builds would have lost of what ours acknowledged, and whom left stale of ours whom
    Redis held at the end, at the rates at which they did of their own. The second is told and not
    asked for: that the checker sees the stale of ours, `prove checker` shows with bugs."""
    redis, dual, ours = table["redis"], table["dual"], table["ours"]
    lost = ours["acknowledged"] * redis["lost"] / max(1, redis["acknowledged"])
    stale = ours["snapshots_compared"] * dual["stale"] / max(1, dual["written"])
    return {"lost": round(lost, 2), "stale": round(stale, 2)}


async def _naive(arena: Arena, kind: str, plan: Plan) -> dict[str, Any]:
    """One build from its beginning; what it lost."""
    await asyncio.to_thread(_prepare, arena)
    build, rng = NaiveBuild(arena, kind), random.Random(SEED)
    ground = Ground(arena, rng, Proxies([]))
    order = list(plan.faults)
    rng.shuffle(order)
    struck: Counter[str] = Counter()
    try:
        await build.begin()
        until = time.monotonic() + plan.seconds
        await asyncio.sleep(plan.every_s if order else plan.seconds)
        while order and time.monotonic() < until:
            for name in reversed(order):
                struck[name] += await _struck(name, build, ground)
                await asyncio.sleep(plan.every_s)
        # It works on until all is repaired, as ours does, and then comes to rest in order.
        if await arena.ready_s() is None:
            raise TimeoutError("the cluster was not repaired after the last fault")
        await build.end()
    finally:
        await build.abandon()
    if kind == "dual":
        await asyncio.sleep(plan.settle_s)
    held, truth = await asyncio.to_thread(_counted, arena)
    answer = {"faults": struck.total(), "by_fault": dict(+struck), "players": PLAYERS}
    return answer | counted(kind, build.said, held, truth)


def counted(
    kind: str, said: Counter[int], held: dict[int, int], truth: dict[int, int]
) -> dict[str, Any]:
    """What a build lost of what it said, and whom it left stale. `held`: coins by player in Redis,
    `truth`: in MySQL, which one of the builds never writes. Who is not in Redis at all is not
    stale: the next look there would find nobody and ask MySQL; of ten thousand are those meant who
    were written. What a driver did twice, because an answer was late, makes up for a loss of the
    same player: losses are never told too high."""
    acknowledged, books = said.total(), held if kind == "redis" else truth
    lost = sum(max(0, times - books.get(player, 0)) for player, times in said.items())
    answer: dict[str, Any] = {"acknowledged": acknowledged, "lost": lost}
    answer["lost_per_10000"] = per_10000(lost, acknowledged)
    if kind == "dual":
        stale = sum(player in held and held[player] != truth[player] for player in truth)
        written = len(said)
        answer |= {"written": written, "stale": stale}
        answer["stale_per_10000_written"] = per_10000(stale, written)
    return answer


def per_10000(count: int, among: int) -> float:
    """Of ten thousand."""
    return round(count * 10_000 / max(1, among), 2)


async def _struck(name: str, build: NaiveBuild, ground: Ground) -> bool:
    """Whether the fault could be done."""
    try:
        if name in ("kill-channel", "stop-node"):
            await build.strike(name, ground.rng)
        else:
            await MENU[name](ground)
    except NOT_NOW:
        return False
    return True


def _prepare(arena: Arena) -> None:
    books = Books(arena)
    books.rows("DROP TABLE IF EXISTS naive_coins")
    books.rows("CREATE TABLE naive_coins (player INT PRIMARY KEY, coins BIGINT NOT NULL)")
    rows = ",".join(f"({player}, 0)" for player in range(PLAYERS))
    books.rows(f"INSERT INTO naive_coins VALUES {rows}")
    cluster = _cluster(arena)
    asked = cluster.pipeline(transaction=False)
    for player in range(PLAYERS):
        asked.set(coin_key(player), 0)  # a cache that was filled, as after a while of play
    asked.execute()
    cluster.close()


def _cleared(arena: Arena) -> None:
    """Nothing of them is left in the stores."""
    with contextlib.suppress(mysql.connector.Error):
        Books(arena).rows("DROP TABLE IF EXISTS naive_coins")
    with contextlib.suppress(*OF_REDIS, OSError):
        cluster = _cluster(arena)
        asked = cluster.pipeline(transaction=False)
        for player in range(PLAYERS):
            asked.delete(coin_key(player))
        asked.execute()
        cluster.close()


def _counted(arena: Arena) -> tuple[dict[int, int], dict[int, int]]:
    """Coins in Redis and in MySQL by player."""
    cluster = _cluster(arena)
    asked = cluster.pipeline(transaction=False)
    for player in range(PLAYERS):
        asked.get(coin_key(player))
    held = {player: int(coins) for player, coins in enumerate(asked.execute()) if coins is not None}
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
