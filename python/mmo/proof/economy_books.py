"""The books of the economy as a proof reads them: plain SQL of its own beside the product's.

Owns its statements, and what only an operator can do: leave a correction for a player, raise his
passes, read the roll secret. Blocking; called in a thread. Judges
nothing.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import msgspec
import mysql.connector

from mmo.proof.arena import Arena

CORRECTION = 3
"""`SourceKind.CORRECTION`: a grant that an operator leaves."""


CONNECT_S = 10
ANSWER_S = 120
"""How long a proof waits for one answer of the database, and for its greeting."""


def connected(arena: Arena, through: str = "", answer_s: int = ANSWER_S) -> Any:
    """A connection to the database of an arena, as its servers have; `through` another socket than
    theirs, such as the one behind a door. No answer is waited for longer than `answer_s`."""
    return mysql.connector.connect(
        unix_socket=through or arena.file().mysql_socket,
        user="mmo",
        password=(arena.home.secrets / "mysql").read_text().strip(),
        database="mmo",
        use_pure=True,
        connection_timeout=CONNECT_S,  # a door that closes may leave one without a word
        read_timeout=answer_s,
        write_timeout=answer_s,
    )


class Books:
    """The database of an arena."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._roll_secret = (arena.home.secrets / "roll").read_bytes().strip()

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a question."""
        return self._run([(statement, values)])

    def _run(self, work: Sequence[tuple[str, tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        """Statements in one transaction; the rows of the last one, if it has any."""
        connection = connected(self._arena)
        try:
            cursor = connection.cursor()
            rows: list[tuple[Any, ...]] = []
            for statement, values in work:
                cursor.execute(statement, values)
                rows = cursor.fetchall() if cursor.with_rows else []
            connection.commit()
            return rows
        finally:
            connection.close()

    def user_of(self, name: str) -> int:
        """The number of an account. Raises `IndexError` when there is none."""
        return int(self.rows("SELECT user_id FROM account WHERE name = %s", name)[0][0])

    def give(
        self,
        user: int,
        gold: int,
        source_id: int = 1,
        items: Sequence[tuple[int, int, int, int]] = (),
    ) -> None:
        """Leave gold, and items as (kind, code, count, enhancement), for a player, as a correction
        that his owner claims."""
        bundle = msgspec.msgpack.encode([gold, 0, 0, 0, list(items)])
        self.rows(
            "INSERT INTO reward_grant (user_id, source_kind, source_id, bundle, created_ms) "
            "VALUES (%s, %s, %s, %s, FLOOR(UNIX_TIMESTAMP(NOW(3)) * 1000))",
            *(user, CORRECTION, source_id, bundle),
        )

    def unclaimed(self, user: int) -> int:
        """How many grants wait for a player."""
        waiting = "FROM reward_grant WHERE user_id = %s AND claimed_version IS NULL"
        return int(self.rows(f"SELECT COUNT(*) {waiting}", user)[0][0])

    def operations(self, user: int) -> dict[tuple[int, int], bytes]:
        """Stored answers of all operations that clients numbered, by number."""
        found = self.rows(
            "SELECT operation_epoch, operation_counter, answer FROM event_log "
            "WHERE user_id = %s AND operation_epoch > 0",
            user,
        )
        return {(int(epoch), int(counter)): bytes(answer) for epoch, counter, answer in found}

    def raise_passes(self, user: int, passes: Sequence[int], level: int) -> None:
        """Give a player who never logged in a level in passes, as if he had earned it."""
        row = "INSERT INTO pass_progress (user_id, pass_id, level, exp, paid, missions) "
        row += "VALUES (%s, %s, %s, 0, 0, '[]')"
        self._run([(row, (user, number, level)) for number in passes])

    def claims(self) -> dict[tuple[int, int, int], list[int]]:
        """When each reward was claimed, by the database's clock: by user, pass and level."""
        found: dict[tuple[int, int, int], list[int]] = {}
        for user, number, level, at_ms in self.rows(
            "SELECT user_id, pass_id, level, claimed_ms FROM pass_claim"
        ):
            found.setdefault((int(user), int(number), int(level)), []).append(int(at_ms))
        return found

    def roll_key(self, day: int) -> bytes:
        """The key of a day, from the cluster's secret, by its published derivation."""
        return hmac.new(self._roll_secret, f"mmo roll key {day}".encode(), hashlib.sha256).digest()
