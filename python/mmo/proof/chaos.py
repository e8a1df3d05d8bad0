"""Faults under load, then the history checked by a process of its own.

Owns the run: bots begin, faults strike one after the other by a seed, recovery is timed, everything
goes quiet, and the checker judges. Called by the `chaos` command and by proofs.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from mmo.cluster.process import python_module
from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.proof.chaos_bots import Band
from mmo.proof.fault_proxy import Proxies
from mmo.proof.ground import Ground
from mmo.proof.history import History
from mmo.proof.nemesis import MENU, NOT_HERE
from mmo.proof.not_done import NOT_NOW, Uncertain
from mmo.proof.percentiles import percentile
from mmo.proof.raid_books import RaidBooks
from mmo.proof.stores import Stores

SAMPLE_EVERY_S = 0.5
RECOVERY_S = 60.0
"""How long operations may take to succeed again after a fault before it is a finding."""

BEFORE_S = 1.0
"""How long all goes well before the first fault: so much can be lost by it."""

TRIES_MAX = 10
"""Faults that cannot be done now (a server is being started) before the turn is given up."""

END_S = 200.0
SETTLED_S = 45.0
"""When a raid of a dead server must be settled after the last of its players left: its lease (after
an outage of the database one more), the look for orphans, the wait for members to come back, the
battle, twice as a takeover may die too."""

CHECK_S = 1_800.0
"""An hour's history is some hundred thousand operations, on a machine that may do other things."""

BOUND_S = 8.0
"""How long after a fault Redis may be behind."""


class Order(msgspec.Struct, frozen=True):
    """What to do. `bots`: shoppers, with others beside them. `every_s`: faults begin at least so
    far apart. `together`: so many may strike, or not be recovered from, at once; with 1 each waits
    for the recovery from the one before. `bound_s`: how long Redis may be behind. `calm_s`: how
    long all play on when everything is repaired; beyond the bound, Redis has to be up to date."""

    seed: int
    seconds: float
    faults: tuple[str, ...]
    bots: int = 12
    raiders: int = 0
    every_s: float = 3.0
    together: int = 1
    bound_s: float = BOUND_S
    calm_s: float = 0.0


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
        self._counted: dict[str, int] = {}
        self._waiting: list[str] = []  # words of the menu before all come again
        self._running: set[str] = set()
        self._turns: set[asyncio.Task[None]] = set()
        self._recovering: set[asyncio.Task[None]] = set()
        self._not_done: dict[str, str] = {}
        self._uncertain: dict[str, int] = {}
        self._recovery_ms: list[float] = []  # of every fault that was done
        self._looks = {"samples_taken": 0, "samples_failed": 0}
        self._looks_took_s = 0.0  # of those that succeeded, with the pauses after them
        self._look_fault = ""  # why the last of them failed
        self._looked_s: list[float] = []  # moments: the first look begins, or one came back

    async def run(self) -> dict[str, Any]:
        """The documented answer of `chaos --json`, with more beside it."""
        order, arena = self._order, self._arena
        proxies = Proxies([node.client_port for node in arena.file().nodes if node.client_port])
        await proxies.start()
        with closing(History(self._directory)) as history:
            counts = (order.bots, order.raiders)
            band = Band(arena, history, order.seed, counts, proxies.via)
            sampling = None
            try:
                await band.begin()
                sampling = asyncio.create_task(self._sample(history, band))
                await self._strike(history, band, proxies)
                await self._calm(history, band)
            except Exception as fault:
                # Whatever it was: what the bots were told so far is judged all the same.
                self._findings.append(f"the bots broke: {type(fault).__name__}: {fault}")
            finally:
                if sampling is not None:
                    sampling.cancel()
                    await asyncio.gather(sampling, return_exceptions=True)
                    self._looked_s.append(time.monotonic())
                await band.abandon()
                await proxies.close()
            history.line("quiet")
            for text in (*band.meter.findings, *band.payments.faults):
                self._findings.append(f"bot {text}")
            actions = band.meter.actions + band.rogue_meter.actions
            done = {"actions": actions, "raid_results_told": band.results}
        return self._answer(await check(arena, self._directory, order.bound_s), done)

    async def _strike(self, history: History, band: Band, proxies: Proxies) -> None:
        """One fault after the other until the time is over. Each word of the menu comes once
        before any comes twice."""
        order = self._order
        ground = Ground(self._arena, random.Random(order.seed), proxies)
        await ground.survey()
        await asyncio.sleep(min(BEFORE_S, order.every_s))
        until = time.monotonic() + order.seconds
        try:
            while (began := time.monotonic()) < until:
                _put(self._turns, self._turn(ground, history, band))
                left = began + order.every_s - time.monotonic()
                await asyncio.sleep(max(0.0, min(left, until - time.monotonic())))
                await self._patience()
            await asyncio.gather(*self._turns)
            await asyncio.gather(*self._recovering)
        finally:
            left_over = [*self._turns, *self._recovering]
            for task in left_over:
                task.cancel()
            await asyncio.gather(*left_over, return_exceptions=True)
            await ground.close()
            self._findings += ground.wrong
            self._counted = ground.counted

    async def _patience(self) -> None:
        """Wait while as many faults strike, or are not recovered from, as may at once."""
        while True:
            for task in (*self._turns, *self._recovering):
                if task.done():
                    task.result()
            if max(len(self._turns), len(self._recovering)) < self._order.together:
                return
            await asyncio.wait(
                [*self._turns, *self._recovering], return_when=asyncio.FIRST_COMPLETED
            )

    async def _turn(self, ground: Ground, history: History, band: Band) -> None:
        """The next word of the menu that can be done now."""
        for _ in range(TRIES_MAX):
            if not self._waiting:
                self._waiting = list(self._order.faults)
                ground.rng.shuffle(self._waiting)
            if await self._one(self._waiting.pop(), ground, history, band):
                return

    async def _one(self, name: str, ground: Ground, history: History, band: Band) -> bool:
        """Whether the fault was done, or may have been."""
        if name in self._running:
            return False
        began = time.monotonic_ns()
        self._running.add(name)
        band.disturbances += "redis" in name
        target, count = "", self._struck
        try:
            target = await MENU[name](ground)
        except NOT_NOW as why:
            self._not_done[name] = self._without_home(why) or type(why).__name__
            if not isinstance(why, Uncertain):
                return False
            count = self._uncertain
        finally:
            self._running.discard(name)
        count[name] = count.get(name, 0) + 1
        fault = {
            "what": name, "target": target, "began": began, "ended": time.monotonic_ns(),
            "uncertain": count is self._uncertain,
        }  # fmt: skip
        _put(self._recovering, self._recovered(fault, history, band))
        return True

    async def _recovered(self, fault: dict[str, Any], history: History, band: Band) -> None:
        """Wait until everyone was told of a success again, whatever strikes meanwhile."""
        name, target, ended = fault["what"], fault["target"], fault["ended"]
        recovered = 0
        try:
            await band.until(
                lambda: band.recovered_since(ended, "cash" in f"{name} {target}"),
                f"after {name}", RECOVERY_S,
            )  # fmt: skip
            recovered = time.monotonic_ns()
        except TimeoutError as late:
            self._findings.append(f"after {name} {target}: {late}")
        history.line("fault", **fault, recovered=recovered)
        lasted, took = (ended - fault["began"]) / 1e9, max(0, recovered - ended) / 1e6
        if fault["uncertain"]:
            self._say(f"{name}: nobody can say whether it was done: {self._not_done.get(name)}")
            return
        if recovered:
            self._recovery_ms.append(took)
        self._say(f"{name} {target}: {lasted:.1f} s, operations succeed {took:.0f} ms later")

    async def _calm(self, history: History, band: Band) -> None:
        """All is repaired, everyone goes on for a little, comes back, asks again and is done."""
        if await self._arena.ready_s() is None:
            self._findings.append("the cluster was not repaired after the last fault")
        moment = time.monotonic_ns()
        try:
            await band.until(lambda: band.recovered_since(moment), "playing on", RECOVERY_S)
            calm_until = time.monotonic() + self._order.calm_s
            await band.until(
                lambda: time.monotonic() >= calm_until, "a calm", self._order.calm_s + RECOVERY_S
            )
            await band.end(END_S)
            await self._raids_settled()
        except TimeoutError as late:
            waiting = [me.name for me in band.heroes]
            self._findings.append(f"the bots did not come to an end: {late} ({len(waiting)})")

    async def _raids_settled(self) -> None:
        """Raids of servers that died are taken over and end without their players."""
        books, until = RaidBooks(self._arena), time.monotonic() + SETTLED_S
        while left := await asyncio.to_thread(books.unsettled):
            if time.monotonic() > until:
                self._findings.append(f"raids {left} have no end {SETTLED_S:.0f} s after all")
                return
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def _sample(self, history: History, band: Band) -> None:
        """What Redis shows, and what MySQL holds right after: again and again."""
        stores = Stores(self._arena)
        self._looked_s.append(time.monotonic())
        while True:
            users = [me.user for me in band.heroes if me.user]
            began_s = time.monotonic()
            try:
                looked, held, heads = await asyncio.to_thread(_both, stores, users)
            except Exception as fault:
                # Whatever the drivers raise while a store is away: then there is no sample.
                self._looks["samples_failed"] += 1
                self._look_fault = f"{type(fault).__name__}: {self._without_home(fault)}"
            else:
                self._looks["samples_taken"] += 1
                self._looks_took_s += time.monotonic() - began_s + SAMPLE_EVERY_S
                mine = {user: heads[user] for user in users if user in heads}
                history.line("sample", looked=looked, redis=held, mysql=mine)
            self._looked_s.append(time.monotonic())
            await asyncio.sleep(SAMPLE_EVERY_S)

    def _without_home(self, fault: Exception) -> str:
        """What a fault says, for results that are kept: without a folder of this machine."""
        return str(fault).replace(str(self._arena.home.directory), "HOME")

    def _answer(self, told: dict[str, Any], done: dict[str, int]) -> dict[str, Any]:
        moments = self._looked_s or [0.0]
        gaps = (after - before for before, after in pairwise(moments))
        return {
            "seed": self._order.seed,
            "faults": sum(self._struck.values()),
            "operations": told["operations"],
            "acknowledged": told["acknowledged"],
            "lost": told["lost"],
            "duplicated": told["duplicated"],
            "stale": told["stale"],
            "recovery_p50_ms": percentile(self._recovery_ms, 0.5),
            "recovery_p99_ms": percentile(self._recovery_ms, 0.99),
            "findings": [*self._findings, *told["findings"]],
            **done,
            **self._looks,
            "sampled_s": round(moments[-1] - moments[0], 1),
            "samples_took_s": round(self._looks_took_s, 1),
            "samples_gap_s": round(max(gaps, default=0.0), 1),
            "sample_fault": self._look_fault,
            "saves": self._counted,
            "by_fault": self._struck,
            "uncertain": self._uncertain,
            "not_done": {k: v for k, v in self._not_done.items() if k not in self._struck},
            "not_in_the_menu": list(NOT_HERE),
            "checker": {
                key: value for key, value in told.items() if key not in ("findings", "recovery")
            },
            "recovery": told["recovery"],
        }


def _both(stores: Stores, users: list[int]) -> tuple[int, dict[int, int], dict[int, int]]:
    """A moment, then what Redis shows, then what MySQL holds. In one thread: to wait for a second
    one between them would make Redis look older than it is."""
    looked = time.monotonic_ns()
    return looked, stores.snapshots(users), stores.heads()


def _put(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    """Begin something that removes itself when it is done; a fault of it is raised by the one who
    gathers."""
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(
        lambda done: None if done.cancelled() or done.exception() else tasks.discard(done)
    )


CHECKER_ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1"}
"""All that the checker's process inherits."""


def checker_words(arena: Arena, directory: Path, bound_s: float = BOUND_S) -> list[str]:
    """The command line of the checker: addresses and files, nothing of how the cluster was
    built."""
    file, secrets = arena.file(), arena.home.secrets
    return [
        *python_module("mmo.proof.checker"),
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
