"""What faults work on: one cluster, chance, and the doors and proxies in front of its parts.

Owns how a fault reaches a process, a server or a line; breaks nothing by itself but what it is told
to stop. Made by `chaos`, used by `nemesis` and its kin.
"""

import asyncio
import contextlib
import os
import random
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from mmo.cluster import control
from mmo.cluster.process import identify
from mmo.cluster.redis_protocol import RedisConnection
from mmo.errors import MmoError
from mmo.proof.arena import Arena
from mmo.proof.fault_proxy import Proxies
from mmo.proof.link_door import LinkDoor
from mmo.proof.mysql_door import MysqlDoor
from mmo.proof.not_done import Uncertain
from mmo.proof.stores import Stores


class Ground:
    """What faults work on: the cluster, chance, and the proxies in front of it."""

    def __init__(self, arena: Arena, rng: random.Random, proxies: Proxies) -> None:
        self.arena = arena
        self.rng = rng
        self.proxies = proxies
        self.door = MysqlDoor(arena)
        self.links = LinkDoor(arena, rng)
        self.game: Path | None = None  # a game's folder that may be saved in
        self.storm: asyncio.Task[None] | None = None  # of reloads, while other faults strike
        self.wrong: list[str] = []  # what the cluster did during a fault and must never do
        self.counted: dict[str, int] = {}

    async def survey(self) -> None:
        """Look where the cluster's own game is, if it has one."""
        path = str((await self.arena.command("config"))["game.path"])
        self.game = Path(path) if path else None

    async def close(self) -> None:
        """All that stands before the cluster's parts goes, and what still goes on ends."""
        await self.links.close()
        if self.storm is not None:
            await self.storm

    def count(self, what: str) -> None:
        """One more of something that is told in the answer."""
        self.counted[what] = self.counted.get(what, 0) + 1

    def pick(self, names: list[str]) -> str:
        """One of them. Raises `LookupError` when there is none."""
        return self.rng.choice(sorted(names))

    def nodes(self, role: str = "") -> list[str]:
        """Names of the nodes of a role, of all without one."""
        return [n.name for n in self.arena.file().nodes if role in ("", n.role)]

    def pid(self, name: str) -> int:
        """Of a running process of the cluster. Raises `LookupError` when it runs not."""
        process = self.arena.file().processes.get(name)
        if process is None or identify(process.pid) != process:
            raise LookupError(f"{name} does not run now")
        return process.pid

    async def kill(self, name: str) -> None:
        """kill -9 by the supervisor, as an operator does it. Raises `LookupError` when it is
        refused, and `Uncertain` when the supervisor did not answer in time."""
        try:
            await self.arena.kill(name)
        except control.NotRunning as error:
            raise Uncertain(str(error)) from error
        except MmoError as error:
            raise LookupError(str(error)) from error

    def span(self, between: tuple[float, float]) -> float:
        """Seconds, most of them short."""
        low, high = between
        return low + (high - low) * self.rng.random() ** 2

    async def primaries(self, *, replicas: bool = False) -> list[str]:
        """Redis servers that are primaries now, or those that are not."""
        stores = Stores(self.arena)
        found = await asyncio.to_thread(stores.primaries)
        places = set(range(len(stores.redis_addresses))) - set(found) if replicas else set(found)
        return [f"redis-{place + 1}" for place in sorted(places)]

    def redis(self, name: str) -> RedisConnection:
        """A connection to one Redis server."""
        stores = Stores(self.arena)
        host, port = stores.redis_addresses[int(name.removeprefix("redis-")) - 1]
        password = (self.arena.home.secrets / "redis").read_text().strip()
        return RedisConnection(host, port, password, 2.0)


Fault = Callable[[Ground], Awaitable[str]]
"""Does it and returns to whom; one of `not_done.NOT_NOW` when it cannot be done now, `Uncertain`
when it may have been."""


@asynccontextmanager
async def stopped(pid: int) -> AsyncIterator[None]:
    """A process that does not run meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have been killed while it stood
            os.kill(pid, signal.SIGCONT)


def lowest_free(pid: int) -> int:
    """The least number that no descriptor of a process has: with it as the limit there is none
    left, whatever it closed before."""
    taken = {int(entry) for entry in os.listdir(f"/proc/{pid}/fd")}
    return min(set(range(len(taken) + 1)) - taken)


@asynccontextmanager
async def limited(pid: int, what: int, limit: int) -> AsyncIterator[None]:
    """A process that may have no more than `limit` of a resource (`resource.RLIMIT_…`)
    meanwhile."""
    before = resource.prlimit(pid, what)
    try:
        resource.prlimit(pid, what, (limit, before[1]))
        yield
    finally:
        # One that does not bear it is started again, without the limit.
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, what, before)
