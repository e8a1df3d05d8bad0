"""What the database and Redis hold of the players of a history, read by statements of its own.

Owns the statements and the connections; judges nothing. Called by the command.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import mysql.connector
import redis

CHUNK = 200
"""Players of one statement."""


@dataclass(slots=True)
class Event:
    """A line of the log."""

    epoch: int
    counter: int
    version: int
    kind: int
    hash: bytes
    answer: tuple[int, bytes]


@dataclass(slots=True)
class PlayerBooks:
    """Everything of one player."""

    user: int
    version: int
    session_epoch: int
    floor: int
    place: int
    level: int
    exp: int
    coins: tuple[int, int, int]
    score: int
    events: list[Event] = field(default_factory=list)  # by version
    lines: list[tuple[int, int, int, int]] = field(default_factory=list)
    """version, account, currency, amount"""
    items: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """by uid: kind, slot, code, count, enhance, equipped, expires, attempts"""
    births: list[tuple[int, int, int, int]] = field(default_factory=list)
    """version, uid, code, delta"""
    attempts: list[tuple[int, ...]] = field(default_factory=list)
    """uid, attempt, version, day, table, before, after, chance, roll"""
    grants: list[tuple[int, int, bytes, int | None]] = field(default_factory=list)
    """kind, source id, bundle, version"""
    claims: list[tuple[int, int, int, int]] = field(default_factory=list)
    """pass, level, line, version"""


class Seat(NamedTuple):
    """A member of a raid: his score, the day that the entry was spent of (0: given back), and how
    the raid stands."""

    seat: int
    score: int | None
    day: int
    state: int
    season: int


@dataclass(slots=True)
class RaidTruth:
    """What the database holds of the raids of some players."""

    seats: dict[tuple[int, int], Seat] = field(default_factory=dict)  # by raid and user
    busy: dict[int, int] = field(default_factory=dict)  # user kept by a raid
    ranking: dict[tuple[int, int], int] = field(default_factory=dict)  # score by season and user
    boards: dict[int, int] = field(default_factory=dict)  # epoch of the board in Redis, by season


class Truth:
    """The database in one consistent view, and Redis beside it."""

    def __init__(self, mysql_socket: str, user: str, password: str, database: str) -> None:
        self._connection: Any = mysql.connector.connect(
            unix_socket=mysql_socket, user=user, password=password, database=database,
            use_pure=True,
        )  # fmt: skip
        # A long history takes longer to read than a transaction of MariaDB's may rest.
        with contextlib.suppress(mysql.connector.Error):  # MySQL knows no such limit
            self._rows("SET SESSION idle_transaction_timeout = 0")
        for text in (
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ):
            self._rows(text)

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.cursor()
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.with_rows else []

    def users(self, names: Iterable[str]) -> dict[str, int]:
        """Numbers of accounts by name."""
        found: dict[str, int] = {}
        for name in names:
            rows = self._rows("SELECT user_id FROM account WHERE name = %s", name)
            if rows:
                found[name] = int(rows[0][0])
        return found

    def players(self, users: list[int]) -> Iterator[PlayerBooks]:
        """The books of every player, some at a time."""
        for first in range(0, len(users), CHUNK):
            chosen = sorted(users[first : first + CHUNK])
            if chosen:
                yield from self._players(chosen)

    def _players(self, users: list[int]) -> Iterable[PlayerBooks]:
        chosen = "(" + ",".join(map(str, users)) + ")"  # numbers, so nothing can be smuggled in
        books = {
            row[0]: _player(row)
            for row in self._rows(
                "SELECT user_id, version, session_epoch, operation_floor_epoch, place_number, "
                f"level, exp, gold, cash, mileage, score_best FROM player_head "
                f"WHERE user_id IN {chosen}"
            )
        }
        for row in self._rows(
            "SELECT user_id, operation_epoch, operation_counter, version, kind, request_hash, "
            f"answer_opcode, answer FROM event_log WHERE user_id IN {chosen} "
            "ORDER BY user_id, version"
        ):
            books[row[0]].events.append(
                Event(row[1], row[2], row[3], row[4], bytes(row[5]), (row[6], bytes(row[7])))
            )
        for row in self._rows(
            "SELECT user_id, version, account, currency, amount FROM ledger "
            f"WHERE user_id IN {chosen} ORDER BY user_id, version, line"
        ):
            books[row[0]].lines.append((row[1], row[2], row[3], row[4]))
        for row in self._rows(
            "SELECT user_id, uid, kind, slot, code, count, enhance, equipped, expires_ms, attempts "
            f"FROM item WHERE user_id IN {chosen}"
        ):
            books[row[0]].items[int(row[1])] = tuple(map(int, row[2:]))
        for row in self._rows(
            f"SELECT user_id, version, uid, code, delta FROM item_ledger WHERE user_id IN {chosen} "
            "ORDER BY user_id, version, line"
        ):
            books[row[0]].births.append((row[1], row[2], row[3], row[4]))
        for row in self._rows(
            "SELECT user_id, uid, attempt, version, day, odds_table, enhance_before, "
            f"enhance_after, chance_ppm, roll_ppm FROM enhance_log WHERE user_id IN {chosen} "
            "ORDER BY uid, attempt"
        ):
            books[row[0]].attempts.append(tuple(map(int, row[1:])))
        for row in self._rows(
            "SELECT user_id, source_kind, source_id, bundle, claimed_version FROM reward_grant "
            f"WHERE user_id IN {chosen}"
        ):
            books[row[0]].grants.append((row[1], row[2], bytes(row[3]), row[4]))
        for row in self._rows(
            "SELECT user_id, pass_id, level, line, version FROM pass_claim "
            f"WHERE user_id IN {chosen}"
        ):
            books[row[0]].claims.append((row[1], row[2], row[3], row[4]))
        return books.values()

    def raids(self, users: list[int]) -> RaidTruth:
        """Seats, results and places of the board of some players, and generations of their log."""
        told = RaidTruth()
        for first in range(0, len(users), CHUNK):
            chosen = "(" + ",".join(map(str, sorted(users[first : first + CHUNK]))) + ")"
            for row in self._rows(
                "SELECT m.raid, m.user_id, m.seat, m.score, m.day, r.state, r.season "
                f"FROM raid_member m JOIN raid r ON r.raid = m.raid WHERE m.user_id IN {chosen}"
            ):
                told.seats[int(row[0]), int(row[1])] = Seat(row[2], row[3], row[4], row[5], row[6])
            for user, raid in self._rows(
                f"SELECT user_id, raid FROM raid_busy WHERE user_id IN {chosen}"
            ):
                told.busy[int(user)] = int(raid)
            for season, user, score in self._rows(
                f"SELECT season, user_id, score FROM ranking WHERE user_id IN {chosen}"
            ):
                told.ranking[int(season), int(user)] = int(score)
        for season, epoch in self._rows("SELECT season, epoch FROM ranking_board"):
            told.boards[int(season)] = int(epoch)
        return told

    def generations(self, users: list[int]) -> Iterator[tuple[int, int, int]]:
        """User, version and generation of every line of the log, by version."""
        for first in range(0, len(users), CHUNK):
            chosen = "(" + ",".join(map(str, sorted(users[first : first + CHUNK]))) + ")"
            yield from self._rows(
                f"SELECT user_id, version, generation FROM event_log WHERE user_id IN {chosen} "
                "ORDER BY user_id, version"
            )

    def orders(self, users: list[int]) -> dict[str, list[tuple[int, int, int]]]:
        """By order: number, user, amount."""
        found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        known = set(users)
        for row in self._rows("SELECT order_id, number, user_id, amount FROM payment_order"):
            if row[2] in known:
                found[str(row[0])].append((int(row[1]), int(row[2]), int(row[3])))
        return found

    def keys(self) -> dict[int, tuple[bytes, bytes]]:
        """Commitment and revealed key of each day."""
        return {
            int(day): (bytes(commitment), bytes(key) if key else b"")
            for day, commitment, key in self._rows("SELECT day, commitment, roll_key FROM roll_key")
        }

    def close(self) -> None:
        """Give the view back."""
        self._connection.close()


def _player(row: tuple[Any, ...]) -> PlayerBooks:
    return PlayerBooks(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], (row[7], row[8], row[9]), row[10]
    )


def snapshots(
    nodes: list[str], password: str, users: list[int]
) -> dict[int, tuple[int, list[Any] | None]]:
    """What Redis holds: version and decoded blob (None when it does not decode), by user."""
    cluster = _cluster(nodes, password)
    found: dict[int, tuple[int, list[Any] | None]] = {}
    try:
        for user in users:
            version, blob = cluster.hmget(f"{{u:{user}}}:snap", "version", "blob")
            if version is not None:
                found[user] = (int(version), _opened(blob))
    finally:
        cluster.close()
    return found


def boards(nodes: list[str], password: str, epochs: dict[int, int]) -> dict[int, dict[int, int]]:
    """Score by user on each board in Redis that is whole and of the epoch that MySQL names."""
    found: dict[int, dict[int, int]] = {}
    cluster = _cluster(nodes, password)
    try:
        for season, epoch in epochs.items():
            tag = f"{{rank:{season}}}"
            if cluster.get(f"{tag}:whole") == str(epoch).encode():
                rows = cluster.zrange(f"{tag}:board", 0, -1, withscores=True)
                found[season] = {int(member): -int(score) for member, score in rows}
    finally:
        cluster.close()
    return found


def _cluster(nodes: list[str], password: str) -> Any:
    node: Any = redis.cluster.ClusterNode  # untyped in redis-py
    addresses = [text.rpartition(":") for text in nodes]
    return redis.RedisCluster(
        startup_nodes=[node(host, int(port)) for host, _, port in addresses],
        password=password,
        socket_timeout=2.0,
    )


def _opened(blob: bytes | None) -> list[Any] | None:
    try:
        decoded = msgspec.msgpack.decode(blob or b"")
    except msgspec.MsgspecError:
        return None
    return decoded if isinstance(decoded, list) else None


def dumped(value: Any) -> str:
    """A short text of anything, for a finding."""
    return json.dumps(value, default=lambda one: one.hex() if isinstance(one, bytes) else str(one))
