"""Ends transactions whose process stopped in the middle, where the server does not do it itself.

Owns one question and one KILL; never touches a transaction that works. A process that was paused
inside a transaction holds its players' rows; MariaDB ends it by `idle_transaction_timeout`, which
every connection of ours sets, MySQL has no such thing. Called each second by `durable`.
"""

import logging

from mmo.store.connection import IDLE_TRANSACTION_S, Connection, Statement, StatementFailed

IDLE = Statement("""
    SELECT p.id FROM information_schema.innodb_trx t
    JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
    WHERE p.command = 'Sleep' AND p.time >= %s AND p.db = DATABASE() AND p.id <> CONNECTION_ID()
""")
KILL = Statement("KILL %s")

_NO_SUCH_THREAD = 1094
_log = logging.getLogger("mmo.store")


async def end_idle(connection: Connection, idle_s: int = IDLE_TRANSACTION_S) -> int:
    """Kill the connections of this database whose transaction is idle for `idle_s` seconds or more;
    how many. Needs the PROCESS privilege; raises StatementFailed without it."""
    ended = 0
    for (number,) in await connection.rows(IDLE, idle_s):
        if await end_connection(connection, number):
            ended += 1
            _log.warning(
                "ended a transaction that was idle for %d s, connection %d", idle_s, number
            )
    return ended


async def end_connection(connection: Connection, number: int) -> bool:
    """Kill one connection by its number at the server; False when it was gone by itself."""
    try:
        await connection.execute(KILL, number)
    except StatementFailed as error:
        if error.number != _NO_SUCH_THREAD:
            raise
        return False
    return True
