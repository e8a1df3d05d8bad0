"""One MySQL connection: runs statement constants and sorts what goes wrong into four kinds.

Owns the driver's settings and the mapping of its errors; never retries and never decides. Used only
by `mysql_pool` (which opens and destroys it) and through it by everything that runs a statement.

The driver is always the pure Python one: its C extension silently does not load on some systems and
corrupts unsigned and TIME values in prepared mode. Statements go through the text protocol, with
the driver's own escaping of bound values but without its cursor, which tokenises the whole text
again: a group of 64 rows as one JSON value costs 87 us of CPU this way, 181 us through a cursor,
142 us through a kept prepared cursor (which also pays a round trip to reset itself).
"""

import asyncio
from typing import Any

from mysql.connector import errors as driver_errors
from mysql.connector.constants import ClientFlag

from mmo.errors import StoreError, StoreUnavailable
from mmo.store.settings import StoreSettings
from mmo.store.tls import VerifiedConnection

SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE"
LOCK_WAIT_S = 2
IDLE_TRANSACTION_S = 3

_CLIENT_FLAGS = (
    ClientFlag.get_default() & ~ClientFlag.MULTI_STATEMENTS & ~ClientFlag.LOCAL_FILES
) | ClientFlag.FOUND_ROWS
"""Several statements in one text and local files are off; counts are of rows that matched."""

_SESSION = (
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_S}",
    "SET SESSION group_concat_max_len = 16777216",  # JSON_ARRAYAGG is cut at it on MariaDB
)
_SESSION_MARIADB = (
    # a process stopped inside a transaction must not hold a player's row; `janitor` does it
    # elsewhere
    f"SET SESSION idle_transaction_timeout = {IDLE_TRANSACTION_S}",
)

_CONFLICTS = frozenset({1205, 1213, 1020, 3572})
"""Lock wait, deadlock, row changed under the snapshot, MySQL's own for a lock with NOWAIT."""
_CONSTRAINTS = frozenset(
    {
        *(1048, 1062, 1169, 1216, 1217, 1264, 1365, 1366, 1406, 1451, 1452, 1526, 1690),
        *(3819, 4025),  # CHECK violated: MySQL, MariaDB
        *(1292, 3140, 4038),  # a value that is not what the column or JSON_TABLE wants
    }
)
_UNKNOWN_VARIABLE = 1193


class Conflict(StoreError):
    """Another transaction was in the way; the whole transaction is to be run again."""


class ConstraintBroken(StoreError):
    """A row broke a constraint or a type; `number` is the server's error number."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{number}: {text}")
        self.number = number


class StatementFailed(StoreError):
    """The server refused a statement of ours for good: a bug or a schema that does not fit."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{number}: {text}")
        self.number = number


class Statement:
    """One SQL text, cut once at its `%s`. Make them as module constants only."""

    __slots__ = ("pieces", "text")

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        self.pieces = tuple(piece.encode() for piece in self.text.split("%s"))

    @classmethod
    def verbatim(cls, text: str) -> "Statement":
        """A text that takes no values and is not touched at all (a migration)."""
        statement = cls("")
        statement.text = text
        statement.pieces = (text.encode(),)
        return statement


BEGIN = Statement("START TRANSACTION")
COMMIT = Statement("COMMIT")
ROLLBACK = Statement("ROLLBACK")


class Connection:
    """A driver connection with its state: `broken` once nothing certain is known about it."""

    __slots__ = (
        *("_bind", "_driver", "born_s", "broken", "ends_idle", "held_by", "idle_since_s"),
        *("in_transaction", "last_insert_id", "server_id", "taken_s"),
    )

    def __init__(self, driver: Any, now_s: float) -> None:
        self._driver = driver
        self._bind = driver.converter
        self.born_s = now_s
        self.idle_since_s = now_s
        self.taken_s = 0.0
        self.held_by = ""
        self.broken = False
        self.in_transaction = False
        self.ends_idle = True  # the server itself ends a transaction that stands still
        self.last_insert_id = 0
        self.server_id: int = driver.connection_id or 0

    @classmethod
    async def open(cls, settings: StoreSettings, now_s: float) -> "Connection":
        """Connect and set up the session. Raises StoreUnavailable."""
        if settings.mysql_socket:
            address: dict[str, Any] = {"unix_socket": settings.mysql_socket}
        else:
            address = {"host": settings.mysql_host, "port": settings.mysql_port}
        choices: dict[str, Any] = {
            **address,
            "user": settings.mysql_user,
            "password": settings.mysql_password,
            "database": settings.mysql_database,
            "charset": "utf8mb4",
            "collation": "utf8mb4_bin",
            "autocommit": True,
            "client_flags": _CLIENT_FLAGS,
            "sql_mode": SQL_MODE,
            "time_zone": "+00:00",
            "connection_timeout": settings.mysql_connect_ms / 1_000,
            # The driver cannot use a line without TLS unless it is told that there is none.
            "ssl_disabled": not settings.mysql_tls,
            "ssl_verify_cert": settings.mysql_tls and bool(settings.mysql_tls_ca_file),
        }
        driver = VerifiedConnection(**choices)  # this class is always the pure Python driver
        try:
            if choices["ssl_verify_cert"]:
                driver.trust(settings.mysql_tls_ca_file, settings.mysql_host)
            await driver.connect()
        except (driver_errors.Error, OSError, TimeoutError, TypeError) as error:
            # TypeError is what the driver says when TLS is wanted and the server has none.
            raise StoreUnavailable(f"cannot connect to MySQL: {error}") from error
        connection = cls(driver, now_s)
        try:
            for text in _SESSION:
                await connection._query(text.encode())
            for text in _SESSION_MARIADB:
                try:
                    await connection._query(text.encode())
                except StatementFailed as error:
                    if error.number != _UNKNOWN_VARIABLE:
                        raise
                    connection.ends_idle = False
        except BaseException:
            await connection.destroy()
            raise
        return connection

    async def execute(self, statement: Statement, *values: Any) -> int:
        """Run a statement that returns no rows; the number of rows it matched."""
        result = await self._query(self._text(statement, values))
        self.last_insert_id = result.get("insert_id", 0)
        return int(result.get("affected_rows", 0))

    async def rows(self, statement: Statement, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows; all of them."""
        result = await self._query(self._text(statement, values))
        if "columns" not in result:
            return []
        try:
            found, _ = await self._driver.get_rows()
        except (driver_errors.Error, OSError) as error:
            raise self._sorted(error) from error
        return list(found)

    async def row(self, statement: Statement, *values: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""
        found = await self.rows(statement, *values)
        return found[0] if found else None

    async def begin(self) -> None:
        """Start a transaction."""
        self.in_transaction = True
        await self.execute(BEGIN)

    async def commit(self) -> None:
        """Commit. StoreUnavailable from here means: unknown whether it happened."""
        await self.execute(COMMIT)
        self.in_transaction = False

    async def rollback(self) -> None:
        """Undo the open transaction, if any."""
        if self.in_transaction:
            await self.execute(ROLLBACK)
            self.in_transaction = False

    async def ping(self) -> bool:
        """Whether the server still answers on this connection."""
        try:
            await self._driver.cmd_ping()
        except (driver_errors.Error, OSError):
            self.broken = True
            return False
        return True

    async def close(self) -> None:
        """Say goodbye and close."""
        try:
            await self._driver.close()
        except (driver_errors.Error, OSError):
            await self.destroy()

    async def destroy(self) -> None:
        """Cut the line without a word: the server rolls back whatever was open."""
        self.broken = True
        await self._driver.shutdown()

    def _text(self, statement: Statement, values: tuple[Any, ...]) -> bytes:
        pieces = statement.pieces
        assert len(values) == len(pieces) - 1, f"{statement.text}: {len(values)} values"
        if not values:
            return pieces[0]
        bind = self._bind
        parts = [pieces[0]]
        for value, piece in zip(values, pieces[1:], strict=True):
            parts.append(bytes(bind.quote(bind.escape(bind.to_mysql(value), SQL_MODE))))
            parts.append(piece)
        return b"".join(parts)

    async def _query(self, text: bytes) -> dict[str, Any]:
        assert not self.broken, "a broken connection was used again"
        try:
            result: dict[str, Any] = await self._driver.cmd_query(text)
        except (driver_errors.Error, OSError) as error:
            raise self._sorted(error) from error
        except asyncio.CancelledError:
            self.broken = True  # half an exchange is on the line
            raise
        return result

    def _sorted(self, error: Exception) -> StoreError:
        number = getattr(error, "errno", None) or 0
        text = str(getattr(error, "msg", None) or error)
        if number in _CONFLICTS:
            return Conflict(f"{number}: {text}")
        if number in _CONSTRAINTS:
            return ConstraintBroken(number, text)
        # 2000 to 2999 are the driver's own words for a lost line; all others the server said.
        is_answer = number >= 1000 and not 2000 <= number < 3000
        if is_answer and number not in _GONE and not isinstance(error, _LINE_LOST):
            return StatementFailed(number, text)
        self.broken = True
        return StoreUnavailable(f"MySQL went away: {number} {text}")


_GONE = frozenset(
    {
        *(1040, 1041, 1042, 1043, 1047, 1053, 1077, 1078, 1079, 1152, 1158, 1159, 1160, 1161),
        *(1203, 1226, 1290, 1317, 1836, 1927, 1969, 3024, 3169, 4031),
        *(3, 1021, 1026, 1030, 1114, 1180),  # its disk is full, or fails
    }
)
"""The server answered, but only that it will not serve: full, killed, read only, shutting down, or
without a disk. Of the last kind one can come from COMMIT itself: unknown whether it happened."""
_LINE_LOST = (
    driver_errors.InterfaceError,
    driver_errors.ReadTimeoutError,
    driver_errors.WriteTimeoutError,
    OSError,
)
