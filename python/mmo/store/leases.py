"""Server numbers: one living process each, by the clock of the database.

Owns the rows of `node_lease` and one connection of its own, so that a renewal never queues behind
commits; decides nothing about what a lost lease means. Called by `durable`.

A number is free when its lease ended, or when the connection of its holder is gone: the holder
keeps a named lock on its own connection, which the server frees the moment the process dies. So a
killed server is back at once, and a second process of the same number is refused while the first
lives. Of a machine that vanished the server keeps the connection for hours: who takes the number
after the lease ends it.
"""

import contextlib
from typing import Any

from mmo.errors import OperatorError, StoreUnavailable
from mmo.store import LeaseRow, code
from mmo.store.code_rows import CodeRow
from mmo.store.connection import Connection, Statement
from mmo.store.janitor import end_connection
from mmo.store.mysql_pool import MysqlPool
from mmo.store.settings import StoreSettings
from mmo.store.statements import NOW_MS

ENDED_S = 1  # longest wait for the lock of a connection that was killed
_LOCK_NAME = "CONCAT('mmo-node:', DATABASE(), ':', %s)"

HOLDER = Statement(f"""
    SELECT name, role, host, incarnation, until_ms > {NOW_MS},
        COALESCE(IS_USED_LOCK({_LOCK_NAME}), CONNECTION_ID()) <> CONNECTION_ID()
    FROM node_lease WHERE number = %s FOR UPDATE
""")
TAKE_LOCK = Statement(f"SELECT GET_LOCK({_LOCK_NAME}, %s)")
LOCKED_BY = Statement(f"SELECT IS_USED_LOCK({_LOCK_NAME})")
FREE_LOCK = Statement(f"DO RELEASE_LOCK({_LOCK_NAME})")
NEXT_INCARNATION = Statement("UPDATE incarnation SET next = LAST_INSERT_ID(next + 1) WHERE id = 1")
TAKE = Statement(f"""
    INSERT INTO node_lease (number, role, name, incarnation, host, client_port, link_host,
        link_port, until_ms)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, {NOW_MS} + %s)
    ON DUPLICATE KEY UPDATE role = VALUES(role), name = VALUES(name),
        incarnation = VALUES(incarnation), host = VALUES(host),
        client_port = VALUES(client_port), link_host = VALUES(link_host),
        link_port = VALUES(link_port), until_ms = VALUES(until_ms)
""")
RENEW = Statement(f"""
    UPDATE node_lease SET role = %s, name = %s, host = %s, client_port = %s, link_host = %s,
        link_port = %s, until_ms = {NOW_MS} + %s
    WHERE number = %s AND incarnation = %s AND until_ms > 0
""")
LEAVE = Statement("UPDATE node_lease SET until_ms = 0 WHERE number = %s AND incarnation = %s")
ALL = Statement(f"""
    SELECT number, role, name, incarnation, host, client_port, link_host, link_port,
        until_ms > {NOW_MS}
    FROM node_lease ORDER BY number
""")


class Leases:
    """The lease of this process and the list of all."""

    def __init__(self, settings: StoreSettings) -> None:
        self._pool = MysqlPool(settings, connections_max=1)
        self._locked_on = 0  # server's id of the connection that holds the named lock
        self._number = 0
        self._incarnation = 0

    async def lease(self, row: LeaseRow, lease_ms: int) -> int:
        """Take (incarnation 0) or renew; the incarnation. OperatorError E0702 when a living process
        holds the number, StoreUnavailable when MySQL does not answer."""
        async with self._pool.take() as connection:
            if row.incarnation:
                await self._renew(connection, row, lease_ms)
                return row.incarnation
            await connection.begin()
            # The counter's row first: it lets one taker at a time through, also for a new number.
            await connection.execute(NEXT_INCARNATION)
            incarnation = connection.last_insert_id
            holder = await connection.row(HOLDER, row.number, row.number)
            if holder is not None and holder[4] and holder[5]:
                raise _held(row.number, holder)
            if not await self._lock(connection, row.number):
                if holder is None or holder[4]:
                    raise _held(row.number, holder)  # it lives, or begins this very moment
                await self._end_holder(connection, row.number)
            await connection.execute(
                TAKE,
                *(row.number, row.role, row.name, incarnation, row.host, row.client_port),
                *(row.link_host, row.link_port, lease_ms),
            )
            await connection.commit()
            self._number, self._incarnation = row.number, incarnation
            return incarnation

    async def leave(self, number: int, incarnation: int) -> None:
        """Give the lease back; nothing happens when another process has it."""
        async with self._pool.take() as connection:
            await connection.execute(LEAVE, number, incarnation)
            await connection.execute(FREE_LOCK, number)
            self._locked_on = 0
            self._incarnation = 0

    async def leases(self) -> list[LeaseRow]:
        """All servers ever seen, by number."""
        async with self._pool.take() as connection:
            return [LeaseRow(*(*row[:8], bool(row[8]))) for row in await connection.rows(ALL)]

    @property
    def is_held(self) -> bool:
        """Whether this process has a lease."""
        return self._incarnation != 0

    async def code(self) -> CodeRow:
        """What decides now (see `code.read`)."""
        async with self._pool.take() as connection:
            return await code.read(connection, settled=False)

    async def close(self) -> None:
        """Give back what is held, if the database still answers, and close."""
        if self._incarnation:
            with contextlib.suppress(StoreUnavailable):  # then the lease ends by itself
                await self.leave(self._number, self._incarnation)
        await self._pool.close()

    async def _renew(self, connection: Connection, row: LeaseRow, lease_ms: int) -> None:
        """Nothing happens when this process gave the lease back while the renewal waited."""
        matched = await connection.execute(
            RENEW,
            *(row.role, row.name, row.host, row.client_port, row.link_host),
            *(row.link_port, lease_ms, row.number, row.incarnation),
        )
        if matched == 1:
            if self._locked_on != connection.server_id:
                await self._lock(connection, row.number)
            return
        holder = await connection.row(HOLDER, row.number, row.number)
        if self._incarnation or holder is None or holder[3] != row.incarnation:
            raise _held(row.number, holder)

    async def _end_holder(self, connection: Connection, number: int) -> None:
        """Take the lock of a holder whose lease ended, with its connection. Raises E0702 when
        somebody else was faster."""
        (holder,) = await connection.row(LOCKED_BY, number) or (None,)
        if holder is not None:
            await end_connection(connection, int(holder))
        if not await self._lock(connection, number, ENDED_S):
            raise _held(number, None)

    async def _lock(self, connection: Connection, number: int, wait_s: int = 0) -> bool:
        taken: bool = await connection.row(TAKE_LOCK, number, wait_s) == (1,)
        if taken:
            self._locked_on = connection.server_id
        return taken


def _held(number: int, holder: tuple[Any, ...] | None) -> OperatorError:
    name, role, host = holder[:3] if holder else ("a process", "", "")
    who = f"{name} ({role} on {host})" if holder else "a process that is starting"
    return OperatorError(
        "E0702",
        f"server number {number} is held by {who}, which is alive",
        "give this server another number, or stop the other process",
    )
