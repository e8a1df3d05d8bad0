"""The pool of MySQL connections: lazy, bounded, first come first served, never two in doubt.

Owns the connections and who waits for one; never runs a statement of its own but the ping, and
never retries. Used by every file of `store` that talks to MySQL.

The driver's own pools never wait (an empty one raises at once), open everything eagerly and reset
the session at every return; this one waits in order until a deadline, opens when needed, pings only
after idleness, and destroys what saw a failure it cannot sort.
"""

import asyncio
import logging
import random
import sys
from collections import deque
from types import TracebackType
from typing import Self

from mmo.errors import StoreUnavailable
from mmo.store.connection import Conflict, Connection, ConstraintBroken
from mmo.store.settings import StoreSettings

_log = logging.getLogger("mmo.store")


class Lease:
    """`async with pool.take() as connection`: gives it back in whatever state it is left."""

    __slots__ = ("_connection", "_pool", "_who")

    def __init__(self, pool: "MysqlPool", who: str) -> None:
        self._pool = pool
        self._who = who
        self._connection: Connection | None = None

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool._acquire(self._who)
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        # These two leave a known state, and so does a normal end; nothing else is trusted.
        if error is not None and not isinstance(error, (ConstraintBroken, Conflict)):
            connection.broken = True
        if not connection.broken and connection.in_transaction:
            try:
                await connection.rollback()
            except BaseException:
                connection.broken = True
                self._pool._release(connection)
                raise
        self._pool._release(connection)


class MysqlPool:
    """At most `connections_max` connections. All methods belong to one event loop."""

    def __init__(self, settings: StoreSettings, connections_max: int | None = None) -> None:
        self._settings = settings
        self._size_max = connections_max or settings.mysql_connections_max
        self._idle: list[Connection] = []
        self._held: set[Connection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._endings: set[asyncio.Task[None]] = set()
        self._closed = False
        self.ends_idle = True  # what the connections found of the server, see `janitor`
        self._random = random.Random()
        self.counts: dict[str, float] = {
            "opened": 0, "open_failed": 0, "waited": 0, "wait_ms": 0.0, "wait_expired": 0,
            "closed_broken": 0, "closed_age": 0, "closed_ping": 0, "leaks": 0,
        }  # fmt: skip

    def take(self) -> Lease:
        """A connection for one `async with`. Waits in order, up to `mysql_wait_ms`;
        StoreUnavailable beyond it or when the server cannot be reached."""
        frame = sys._getframe(1)
        return Lease(self, f"{frame.f_code.co_filename}:{frame.f_lineno}")

    def stats(self) -> dict[str, float]:
        """Gauges and counters by name."""
        gauges = {
            "in_use": len(self._held),
            "idle": len(self._idle),
            "waiters": len(self._waiters),
        }
        return {f"mysql_{name}": value for name, value in (gauges | self.counts).items()}

    def leaks(self) -> list[str]:
        """Who holds a connection for longer than `mysql_leak_ms`: `file:line` of each; logged and
        counted once for each hold."""
        now_s = asyncio.get_running_loop().time()
        limit_s = self._settings.mysql_leak_ms / 1_000
        found = []
        for connection in self._held:
            if connection.held_by and now_s - connection.taken_s > limit_s:
                found.append(connection.held_by)
                _log.warning("a MySQL connection is held too long, by %s", connection.held_by)
                connection.held_by = ""
        self.counts["leaks"] += len(found)
        return found

    async def close(self) -> None:
        """Close what is idle, cut what is in use, refuse who waits."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(StoreUnavailable("the store is closed"))
        idle, self._idle = self._idle, []
        held, self._held = self._held, set()
        for connection in idle:
            await connection.close()
        for connection in held:
            await connection.destroy()
        if self._endings:
            await asyncio.wait(self._endings)

    async def _acquire(self, who: str) -> Connection:
        loop = asyncio.get_running_loop()
        connection = await self._next(loop)
        connection.taken_s = loop.time()
        connection.held_by = who
        return connection

    async def _next(self, loop: asyncio.AbstractEventLoop) -> Connection:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._idle and not self._waiters:
            connection = self._idle.pop()
            self._held.add(connection)
            try:
                usable = await self._usable(connection, loop.time())
            except BaseException:
                self._opening += 1
                self._pass_on(None)
                raise
            return connection if usable else await self._open(loop)
        if len(self._held) + self._opening < self._size_max and not self._waiters:
            return await self._open(loop)
        return await self._wait(loop)

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> Connection:
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        self._waiters.append(waiter)
        begun_s = loop.time()
        limit_s = self._settings.mysql_wait_ms / 1_000
        try:
            async with asyncio.timeout(limit_s):
                connection = await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                self.counts["wait_expired"] += 1
                raise StoreUnavailable(f"no free MySQL connection in {limit_s:g} s") from None
            raise
        self.counts["waited"] += 1
        self.counts["wait_ms"] += (loop.time() - begun_s) * 1_000
        if connection is not None:
            return connection
        self._opening -= 1  # the place was kept for us by `_pass_on`
        return await self._open(loop)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> Connection:
        self._opening += 1
        try:
            async with asyncio.timeout(self._settings.mysql_connect_ms / 1_000):
                connection = await Connection.open(self._settings, loop.time())
        except BaseException as error:
            self.counts["open_failed"] += 1
            self._pass_on(None)
            if isinstance(error, TimeoutError):
                raise StoreUnavailable("MySQL does not answer the connection") from error
            raise
        self._opening -= 1
        self.counts["opened"] += 1
        self.ends_idle = connection.ends_idle
        self._held.add(connection)
        return connection

    async def _usable(self, connection: Connection, now_s: float) -> bool:
        life_s = self._settings.mysql_recycle_ms / 1_000 * self._random.uniform(0.9, 1.0)
        if now_s - connection.born_s > life_s:
            self._end(connection, "closed_age")
            return False
        if now_s - connection.idle_since_s > self._settings.mysql_ping_idle_ms / 1_000:
            try:
                async with asyncio.timeout(self._settings.mysql_connect_ms / 1_000):
                    answered = await connection.ping()
            except BaseException as error:
                connection.broken = True
                self._end(connection, "closed_ping")
                if isinstance(error, TimeoutError):
                    return False
                raise
            if not answered:
                self._end(connection, "closed_ping")
                return False
        return True

    def _release(self, connection: Connection) -> None:
        if connection not in self._held:
            return  # closed meanwhile
        if connection.broken:
            self._end(connection, "closed_broken")
            self._opening += 1
            self._pass_on(None)
            return
        connection.idle_since_s = asyncio.get_running_loop().time()
        self._pass_on(connection)

    def _pass_on(self, connection: Connection | None) -> None:
        """Give a connection, or (None) the right to open one, to who waits longest. A right is
        counted in `_opening` until it is used or dropped here."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                if connection is not None:
                    self._held.add(connection)
                waiter.set_result(connection)
                return
        if connection is None:
            self._opening -= 1
            return
        self._held.discard(connection)
        self._idle.append(connection)

    def _end(self, connection: Connection, reason: str) -> None:
        self.counts[reason] += 1
        self._held.discard(connection)
        task = asyncio.get_running_loop().create_task(
            connection.destroy() if connection.broken else connection.close()
        )
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
