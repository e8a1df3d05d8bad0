"""`account`: an account as an operator sees it, and what he may change: shut, open, unlock, a new
password.

Owns these changes, each with its line in `account_change`. Who is shut out, or has a new password,
loses his session in the same transaction: both epochs rise and the place is emptied, as by a login,
so that everything older is fenced at once and a login that is on its way is refused. Called by
`mmo-cluster account`.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from mmo.store.connection import Connection, Statement
from mmo.store.mysql_pool import MysqlPool
from mmo.store.presence import retried
from mmo.store.statements import END_SESSION

What = Literal["ban", "lift", "unlock", "password"]

FOR_EVER_MS = 253_402_300_799_000
"""The last second of the year 9999."""
REASON_CHARACTERS_MAX = 200
ID_DIGITS_MAX = 18
CHANGES_SHOWN = 10

_USER_OF = Statement("SELECT user_id FROM account WHERE name = %s")
_READ = Statement("""
    SELECT a.user_id, a.name, a.created_ms, a.failures, a.locked_until_ms, a.banned_until_ms,
           h.session_epoch, h.place_number, h.login_ms
    FROM account a JOIN player_head h ON h.user_id = a.user_id
    WHERE a.user_id = %s
""")
_CHANGES = Statement("""
    SELECT what, until_ms, reason, who, at_ms FROM account_change
    WHERE user_id = %s ORDER BY number DESC LIMIT %s
""")
_BAN = Statement("UPDATE account SET banned_until_ms = %s WHERE user_id = %s")
_UNLOCK = Statement("UPDATE account SET failures = 0, locked_until_ms = 0 WHERE user_id = %s")
_PASSWORD = Statement("UPDATE account SET password_hash = %s WHERE user_id = %s")
_ADD_CHANGE = Statement("""
    INSERT INTO account_change (user_id, what, until_ms, reason, who, at_ms)
    VALUES (%s, %s, %s, %s, %s, %s)
""")


class Changed(msgspec.Struct, frozen=True):
    """What an operator did to an account. `until_ms`: of a ban, else 0."""

    what: What
    until_ms: int
    reason: str
    who: str
    at_ms: int


class AccountSeen(msgspec.Struct, frozen=True):
    """An account with its locks. Times are unix ms, 0: never. `place_number`: the server that owns
    the player now, 0: none. `changes`: the newest first."""

    user: int
    name: str
    created_ms: int
    failures: int
    locked_until_ms: int
    banned_until_ms: int
    session_epoch: int
    place_number: int
    login_ms: int
    changes: list[Changed] = []


async def users_of(connection: Connection, text: str) -> list[int]:
    """Whom an id or an account name may mean; an id need not be anybody's. Names of digits exist,
    so a number may mean two; `id=7` and `name=7` say which. A name may look like these, too, and
    then it is meant as well: who calls himself `id=7` is not to be taken for another."""
    said, _, rest = text.partition("=")
    names = [text, rest] if said == "name" else [text]
    digits = rest if said == "id" else text
    found = set()
    for name in names:
        row = await connection.row(_USER_OF, name)
        if row is not None:
            found.add(int(row[0]))
    if digits.isascii() and digits.isdecimal() and len(digits) <= ID_DIGITS_MAX:
        found.add(int(digits))
    return sorted(found)


async def read(connection: Connection, user: int) -> AccountSeen | None:
    """An account; None when there is none."""
    row = await connection.row(_READ, user)
    if row is None:
        return None
    changes = [Changed(*line) for line in await connection.rows(_CHANGES, user, CHANGES_SHOWN)]
    return msgspec.structs.replace(AccountSeen(*row), changes=changes)


async def change(pool: MysqlPool, user: int, done: Changed, password_hash: str = "") -> bool:
    """Carry it out, with its line, in one transaction; False when there is no such account. Raises
    `StoreUnavailable`."""
    steps = _steps(user, done, password_hash)

    async def carried_out(connection: Connection) -> bool:
        await connection.begin()
        for statement, values in steps:
            await connection.execute(statement, *values)
        is_there = await connection.row(_READ, user) is not None
        if is_there:
            line = (done.what, done.until_ms, done.reason, done.who, done.at_ms)
            await connection.execute(_ADD_CHANGE, user, *line)
        await connection.commit()
        return is_there

    return await retried(pool, carried_out)


def _steps(
    user: int, done: Changed, password_hash: str
) -> Sequence[tuple[Statement, tuple[object, ...]]]:
    of_user = (user,)
    match done.what:
        case "ban":
            return (_BAN, (done.until_ms, user)), (END_SESSION, of_user)
        case "lift":
            return ((_BAN, (0, user)),)
        case "unlock":
            return ((_UNLOCK, of_user),)
        case "password":
            assert password_hash
            unlock = (_UNLOCK, of_user)
            return (_PASSWORD, (password_hash, user)), unlock, (END_SESSION, of_user)
