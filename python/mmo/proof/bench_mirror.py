"""How soon Redis shows what MySQL decided: players enhance, a watcher reads their snapshots.

Owns a cluster of its own, the players and the watcher. The servers count from the return of a
commit to the answer of Redis that it holds the snapshot. The watcher stands outside: he reads the
version that the database gave to an attempt, and asks Redis until it shows it. The commit lies
between the request and its answer, so the true time lies between what he sees from the answer and
from the request on: the servers' median must lie there too, but for his own lateness, and of the
servers' percentile and his from the answer on the larger is the figure. The limit is a value that
he puts and reads back himself, before. Called through `mmo.proof.bench`.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from redis.asyncio.cluster import RedisCluster

from mmo.client.aio import Shell
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.meter import Meter
from mmo.client.session import arrive, ask, log_out, register
from mmo.client.steps import CENTER
from mmo.proof.arena import Arena
from mmo.proof.bench_result import BenchResult, Check, at_most, same
from mmo.proof.bench_rounds import Report
from mmo.proof.economy_books import Books
from mmo.proof.odds_receipts import cheapest, wait_for_gold
from mmo.proof.percentiles import percentile
from mmo.wire.messages.enhance import Enhance, EnhanceOk
from mmo.wire.messages.inventory import ItemDrop
from mmo.wire.messages.shop import Buy

PLAYERS = 8
GOLD = 500_000
THINK_S = 0.1
SHOWN_S_MAX = 2.0  # beyond it only the repair can have helped
LOOK_EVERY_S = 0.0005
PUTS = 400
P99_AIM_MS = 50.0
ATTEMPTS_A_SWORD = 40
SEED = 61
PARTS = ("p50", "p99")
VERSION = "SELECT version FROM enhance_log WHERE uid = %s AND attempt = %s"


class Shown(msgspec.Struct, frozen=True):
    """One attempt: milliseconds until Redis showed it, from the request and from the answer on."""

    from_request_ms: float
    from_answer_ms: float


class Watcher:
    """Reads versions as Redis shows them. `lost`: attempts that it did not show in time."""

    def __init__(self, arena: Arena) -> None:
        host, _, port = arena.file().redis_nodes[0].rpartition(":")
        password = (arena.home.secrets / "redis").read_text().strip()
        self._client = RedisCluster(host=host, port=int(port), password=password)
        self._books = Books(arena)
        self.lost = 0

    async def sees(self, user: int, told: EnhanceOk, asked_s: float, answered_s: float) -> Shown:
        """Look until Redis shows the version of this attempt."""
        due = asyncio.get_running_loop().create_task(self._version_of(told))
        try:
            async with asyncio.timeout(SHOWN_S_MAX):
                at_s = await self._shows(user, due)
        except TimeoutError:
            self.lost += 1
            at_s = time.monotonic()
        return Shown((at_s - asked_s) * 1e3, (at_s - answered_s) * 1e3)

    async def _version_of(self, told: EnhanceOk) -> int:
        rows = await asyncio.to_thread(self._books.rows, VERSION, told.uid, told.attempt)
        return int(rows[0][0])

    async def _shows(self, user: int, due: "asyncio.Task[int]") -> float:
        """When Redis first showed the version; it is looked at before anybody knows which it is."""
        seen: list[tuple[float, int]] = []
        while True:
            version = await self._client.hget(f"{{u:{user}}}:snap", "version")
            seen.append((time.monotonic(), int(version or 0)))
            if due.done() and seen[-1][1] >= due.result():
                return next(at_s for at_s, shown in seen if shown >= due.result())
            await asyncio.sleep(LOOK_EVERY_S)

    async def puts(self) -> list[float]:
        """The limit: milliseconds of a put and a read back, one after another."""
        took_ms = []
        for number in range(PUTS):
            begun_s = time.monotonic()
            key = f"{{u:-{number % 16}}}:measured"
            await self._client.set(key, b"x" * 600, px=60_000)
            await self._client.get(key)
            took_ms.append((time.monotonic() - begun_s) * 1e3)
        return took_ms

    async def close(self) -> None:
        """No longer."""
        await self._client.aclose()


def mirror(seconds: float, home: Path, report: Report) -> BenchResult:
    """Milliseconds until Redis shows an enhancement that MySQL holds, seen from outside."""
    return uvloop.run(measure(max(3.0, seconds), report))


async def measure(window_s: float, report: Report) -> BenchResult:
    """All players at once, each one attempt after another; then the books."""
    begun = list(os.getloadavg())
    report("starting a cluster")
    async with Arena(None) as arena:
        watcher, meter = Watcher(arena), Meter()
        heroes = muster(arena.addresses("login"), PLAYERS, SEED, meter)
        report("a put and a read back")
        limit = await watcher.puts()
        report(f"{PLAYERS} players enhance")
        told = await asyncio.gather(
            *(smith(arena, watcher, me, at, window_s) for at, me in enumerate(heroes))
        )
        await watcher.close()
        names = [node.name for node in arena.file().nodes if node.role in ("center", "channel")]
        stats = {name: await arena.stats(name) for name in names}
        audit = await arena.command("audit", deadline_s=120, accept=(0, 1))
    shown = [one for of_player in told for one in of_player]
    ahead = sum(int(one["store_sample_ahead"]) for one in stats.values())
    own = {name: own_lag(one) for name, one in stats.items()}
    counted = {part: max(one[f"relay_lag_{part}_ms"] for one in own.values()) for part in PARTS}
    request = spread([one.from_request_ms for one in shown])
    answer = spread([one.from_answer_ms for one in shown])
    p50_ms, p99_ms = (max(counted[part], answer[part]) for part in PARTS)
    late_ms = spread(limit)["p99"] + LOOK_EVERY_S * 1e3  # the watcher himself
    checks = (
        same("Redis showed every attempt in time", 0, watcher.lost),
        Check("the servers counted their puts", counted["p99"] > 0, str(own)),
        within("their median is what the watcher saw", counted["p50"], answer, request, late_ms),
        Check("every player enhanced", all(map(bool, told)), str([len(one) for one in told])),
        same("no action of a player failed", 0, meter.errors),
        same("the cache was never ahead of the books", 0, ahead),
        Check("the books balance", bool(audit["balanced"]), str(audit["findings"][:3])),
    )
    more: dict[str, Any] = {
        "attempts": len(shown),
        "from_request_ms": request,
        "from_answer_ms": answer,
        "p99_of": "the servers" if counted["p99"] >= answer["p99"] else "the watcher",
        "put_and_read_ms": spread(limit),
        "as_the_servers_count": own,
        "load_average": [begun, list(os.getloadavg())],
    }
    return BenchResult(
        name="mirror",
        ours=p99_ms,
        limit="p99 of a put and a read back",
        limit_absolute=spread(limit)["p99"],
        ratio=round(p99_ms / max(spread(limit)["p99"], 1e-9), 3),
        unit="ms at p99 from the commit",
        limit_unit="ms",
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        checks=checks,
        more=more,
        aims=(at_most("p99 in ms until Redis shows it", P99_AIM_MS, p99_ms),),
    )


async def smith(
    arena: Arena, watcher: Watcher, me: Hero, place: int, window_s: float
) -> list[Shown]:
    """One player: buys a sword, tries it, drops it, again and again."""
    shell = Shell(source_of(60_000 + place))
    books, shown = Books(arena), []
    try:
        await shell.walk(register(me))
        user = await asyncio.to_thread(books.user_of, me.name)
        await asyncio.to_thread(books.give, user, GOLD)
        await shell.walk(arrive(me))
        await shell.walk(wait_for_gold(me, GOLD))
        catalogue, line = await shell.walk(cheapest(me, CENTER, 0))
        until_s = time.monotonic() + window_s
        while time.monotonic() < until_s:
            buy = Buy(me.next_operation(), catalogue, line.line, 1, line.price)
            uid = (await shell.walk(ask(me, CENTER, buy))).items[0].uid
            for _ in range(ATTEMPTS_A_SWORD):
                asked_s = time.monotonic()
                told = await shell.walk(ask(me, CENTER, Enhance(me.next_operation(), uid)))
                shown.append(await watcher.sees(user, told, asked_s, time.monotonic()))
                await asyncio.sleep(THINK_S * (0.5 + me.rng.random()))
                if told.enhance == 10 or time.monotonic() >= until_s:
                    break
            await shell.walk(ask(me, CENTER, ItemDrop(me.next_operation(), uid, 1)))
        await shell.walk(log_out(me))
    finally:
        shell.cut_all()
    return shown


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Percentiles and the longest of some samples; zeros without any."""
    longest = round(max(samples, default=0.0), 3)
    return {"p50": percentile(samples, 0.5), "p99": percentile(samples, 0.99), "longest": longest}


def within(
    name: str, own_ms: float, answer: dict[str, float], request: dict[str, float], late_ms: float
) -> Check:
    """Whether a median that the servers count lies between those of the watcher, who is late
    himself."""
    least, most = answer["p50"] - late_ms, request["p50"] + late_ms
    found = f"{own_ms:.3f} ms, from {least:.3f} to {most:.3f}"
    return Check(name, least <= own_ms <= most, found)


def own_lag(stats: dict[str, Any]) -> dict[str, float]:
    """What a server itself counts: from the return of the commit to the answer of Redis."""
    names = ("relay_lag_p50_ms", "relay_lag_p99_ms", "sample_compared", "sample_late")
    return {name: round(float(stats[f"store_{name}"]), 3) for name in names}
