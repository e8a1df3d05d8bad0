"""The published keys of the rolls: each day's commitment once, its key when the time has come.

Owns the rows of `roll_key`; derives nothing. Whether a key may be public is decided by the clock of
the database. Called by `durable`.
"""

from collections.abc import Sequence

import msgspec

from mmo.state.roll import DayKey
from mmo.store.connection import Connection, Statement
from mmo.store.statements import NOW_MS

_ADD = Statement(f"""
    INSERT INTO roll_key (day, commitment, published_ms)
    SELECT g.day, UNHEX(g.commitment), {NOW_MS}
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        day INT PATH '$[0]', commitment CHAR(64) CHARACTER SET ascii PATH '$[1]')) g
    LEFT JOIN roll_key k FORCE INDEX (PRIMARY) ON k.day = g.day
    WHERE k.day IS NULL
""")
_REVEAL = Statement(f"""
    UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (
        day INT PATH '$[0]', after_ms BIGINT PATH '$[1]',
        roll_key CHAR(64) CHARACTER SET ascii PATH '$[2]')) g
    STRAIGHT_JOIN roll_key k FORCE INDEX (PRIMARY) ON k.day = g.day AND k.roll_key IS NULL
    SET k.roll_key = UNHEX(g.roll_key), k.revealed_ms = {NOW_MS}
    WHERE {NOW_MS} >= g.after_ms
""")
_READ = Statement("""
    SELECT day, commitment, COALESCE(roll_key, '') FROM roll_key FORCE INDEX (PRIMARY)
    WHERE day >= %s ORDER BY day LIMIT %s
""")

_json = msgspec.json.Encoder().encode


async def publish(connection: Connection, rows: Sequence[tuple[int, bytes]]) -> list[int]:
    """Insert the commitments that are not there yet; the days that hold another one."""
    await connection.execute(_ADD, _json([[day, text.hex()] for day, text in sorted(rows)]))
    wanted = dict(rows)
    return [
        row.day
        for row in await read(connection, min(wanted), len(wanted) + 31)
        if row.commitment != wanted.get(row.day, row.commitment)
    ]


async def reveal(connection: Connection, rows: Sequence[tuple[int, bytes, int]]) -> int:
    """Publish keys whose time (unix ms) has come by the database's clock; how many were new."""
    listed = [[day, after_ms, key.hex()] for day, key, after_ms in sorted(rows)]
    return await connection.execute(_REVEAL, _json(listed))


async def read(connection: Connection, first_day: int, days_max: int) -> list[DayKey]:
    """Published days from `first_day` (YYYYMMDD) on, in order."""
    return [
        DayKey(int(day), bytes(promised), bytes(key))
        for day, promised, key in await connection.rows(_READ, first_day, days_max)
    ]
