"""Faults under load, then the history checked by a process of its own.

Owns the run: bots begin, faults strike one after the other by a seed, recovery is timed, everything
goes quiet, and the checker judges. Called by the `chaos` command and by proofs.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from mmo.errors import MmoError, OperatorError
from mmo.proof.arena import Arena
from mmo.proof.chaos_bots import Band
from mmo.proof.fault_proxy import Proxies
from mmo.proof.history import History
from mmo.proof.nemesis import MENU, NOT_HERE, Ground
from mmo.proof.stores import Stores

SAMPLE_EVERY_S = 0.5
RECOVERY_S = 60.0
"""How long operations may take to succeed again after a fault before it is a finding."""

BEFORE_S = 1.0
"""How long all goes well before the first fault: so much can be lost by it."""

TRIES_MAX = 10
"""Faults that cannot be done now (a server is being started) before the turn is given up."""

END_S = 150.0
CHECK_S = 600.0
BOUND_S = 8.0
"""How long after a fault Redis may be behind."""


class Order(msgspec.Struct, frozen=True):
    """What to do. `every_s`: faults begin at least so far apart. `bound_s`: how long Redis may be
    behind."""

    seed: int
    seconds: float
    faults: tuple[str, ...]
    bots: int = 12
    every_s: float = 3.0
    bound_s: float = BOUND_S


class Chaos:
    """One run on a cluster that is up."""

    def __init__(
        self, arena: Arena, order: Order, directory: Path, say: Callable[[str], None]
    ) -> None:
        self._arena = arena
        self._order = order
        self._directory = directory
        self._say = say
        self._findings: list[str] = []
        self._struck: dict[str, int] = {}
        self._not_done: dict[str, str] = {}

    async def run(self) -> dict[str, Any]:
        """The documented answer of `chaos --json`, with more beside it."""
        order, arena = self._order, self._arena
        proxies = Proxies([node.client_port for node in arena.file().nodes if node.client_port])
        await proxies.start()
        with closing(History(self._directory)) as history:
            band = Band(arena, history, order.seed, order.bots, proxies.via)
            sampling = None
            try:
                await band.begin()
                sampling = asyncio.create_task(self._sample(history, band))
                await self._strike(history, band, proxies)
                await self._calm(history, band)
            except (MmoError, TimeoutError, AssertionError) as fault:
                # What the bots were told so far is judged all the same.
                self._findings.append(f"the bots broke: {type(fault).__name__}: {fault}")
            finally:
                if sampling is not None:
                    sampling.cancel()
                    await asyncio.gather(sampling, return_exceptions=True)
                await band.abandon()
                await proxies.close()
            history.line("quiet")
            for text in (*band.meter.findings, *band.payments.faults):
                self._findings.append(f"bot {text}")
            actions = band.meter.actions + band.rogue_meter.actions
        return self._answer(await check(arena, self._directory, order.bound_s), actions)

    async def _strike(self, history: History, band: Band, proxies: Proxies) -> None:
        """One fault after the other until the time is over. Each word of the menu comes once
        before any comes twice."""
        order = self._order
        rng = random.Random(order.seed)
        ground = Ground(self._arena, rng, proxies)
        waiting: list[str] = []
        until = time.monotonic() + order.seconds
        await asyncio.sleep(min(BEFORE_S, order.seconds))
        while (began := time.monotonic()) < until:
            for _ in range(TRIES_MAX):
                if not waiting:
                    waiting = list(order.faults)
                    rng.shuffle(waiting)
                name = waiting.pop()
                if await self._one(name, ground, history, band):
                    break
            left = began + order.every_s - time.monotonic()
            await asyncio.sleep(max(0.0, min(left, until - time.monotonic())))

    async def _one(self, name: str, ground: Ground, history: History, band: Band) -> bool:
        began = time.monotonic_ns()
        band.disturbances += "redis" in name
        try:
            target = await MENU[name](ground)
        except (LookupError, OSError, MmoError) as why:
            self._not_done[name] = str(why)
            return False
        ended = time.monotonic_ns()
        self._struck[name] = self._struck.get(name, 0) + 1
        recovered = 0
        try:
            await band.until(
                lambda: band.recovered_since(ended, "cash" in f"{name} {target}"),
                f"after {name}", RECOVERY_S,
            )  # fmt: skip
            recovered = time.monotonic_ns()
        except TimeoutError as late:
            self._findings.append(f"after {name} {target}: {late}")
        history.line(
            "fault", what=name, target=target, began=began, ended=ended, recovered=recovered
        )
        lasted, took = (ended - began) / 1e9, max(0, recovered - ended) / 1e6
        self._say(f"{name} {target}: {lasted:.1f} s, operations succeed {took:.0f} ms later")
        return True

    async def _calm(self, history: History, band: Band) -> None:
        """All is repaired, everyone goes on for a little, comes back, asks again and is done."""
        if await self._arena.ready_s() is None:
            self._findings.append("the cluster was not repaired after the last fault")
        moment = time.monotonic_ns()
        try:
            await band.until(lambda: band.recovered_since(moment), "playing on", RECOVERY_S)
            await band.end(END_S)
        except TimeoutError as late:
            waiting = [me.name for me in band.heroes]
            self._findings.append(f"the bots did not come to an end: {late} ({len(waiting)})")

    async def _sample(self, history: History, band: Band) -> None:
        """What Redis shows, and what MySQL holds right after: again and again."""
        stores = Stores(self._arena)
        while True:
            users = [me.user for me in band.heroes if me.user]
            try:
                held = await asyncio.to_thread(stores.snapshots, users)
                heads = await asyncio.to_thread(stores.heads)
            except Exception:
                # Whatever the drivers raise while a store is away: then there is no sample.
                await asyncio.sleep(SAMPLE_EVERY_S)
                continue
            mine = {user: heads[user] for user in users if user in heads}
            history.line("sample", redis=held, mysql=mine)
            await asyncio.sleep(SAMPLE_EVERY_S)

    def _answer(self, told: dict[str, Any], actions: int) -> dict[str, Any]:
        recovery = told["recovery"]
        slowest = [row["p99_ms"] for row in recovery.values()]
        middle = sorted(row["p50_ms"] for row in recovery.values())
        return {
            "seed": self._order.seed,
            "faults": sum(self._struck.values()),
            "operations": told["operations"],
            "acknowledged": told["acknowledged"],
            "lost": told["lost"],
            "duplicated": told["duplicated"],
            "stale": told["stale"],
            "recovery_p50_ms": middle[len(middle) // 2] if middle else 0.0,
            "recovery_p99_ms": max(slowest, default=0.0),
            "findings": [*self._findings, *told["findings"]],
            "actions": actions,
            "by_fault": self._struck,
            "not_done": {k: v for k, v in self._not_done.items() if k not in self._struck},
            "not_in_the_menu": list(NOT_HERE),
            "checker": {
                key: value for key, value in told.items() if key not in ("findings", "recovery")
            },
            "recovery": recovery,
        }


CHECKER_ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1"}
"""All that the checker's process inherits."""


def checker_words(arena: Arena, directory: Path, bound_s: float = BOUND_S) -> list[str]:
    """The command line of the checker: addresses and files, nothing of how the cluster was
    built."""
    file, secrets = arena.file(), arena.home.secrets
    return [
        *(sys.executable, "-m", "mmo.proof.checker"),
        *("--history", str(directory)),
        *("--mysql", file.mysql_socket),
        *("--mysql-password-file", str(secrets / "mysql")),
        *("--redis", ",".join(file.redis_nodes)),
        *("--redis-password-file", str(secrets / "redis")),
        *("--roll-secret-file", str(secrets / "roll")),
        *("--bound-s", str(bound_s)),
    ]


async def check(arena: Arena, directory: Path, bound_s: float = BOUND_S) -> dict[str, Any]:
    """Let the checker judge a history, as a process of its own. Raises `OperatorError` E0790 when
    it could not judge."""
    process = await asyncio.create_subprocess_exec(
        *checker_words(arena, directory, bound_s),
        env=CHECKER_ENVIRONMENT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(CHECK_S):
            out, err = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
        raise
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError:
        said = err.decode(errors="replace").strip()[-800:]
        raise OperatorError("E0790", f"the checker could not judge: {said}") from None
    return answer
