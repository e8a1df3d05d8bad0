"""`purge`: removes what is old of the players' event logs, and refuses what it removed for ever.

Owns which part of a log may go and the order in which it goes; touches no balance, no item and no
other book. Called by `mmo-cluster purge`, on a cluster that may be under load.

Of each player a prefix of his versions goes, so what stays is without a gap. It ends before the
first version that is young, that is the player's last one, that belongs to a session in which
something is young or to the present session, or that a server may still ask for (what was earned
within the last hour). The order makes it safe at every moment: first, under the lock of the head
and in one transaction, the operation ids of all those sessions are refused (every commit compares
`operation_floor_epoch`) and the player as he was after the last version that goes is kept
(`event_origin`), then the lines are deleted. Whoever dies in between leaves lines that the next run
takes.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from mmo.ops.rebuild import Log, LogIncomplete, read_log, replay
from mmo.state.player import Player
from mmo.store.connection import Conflict, Connection, Statement
from mmo.store.loading import snapshot_of
from mmo.store.mysql_pool import MysqlPool
from mmo.store.presence import retried
from mmo.store.statements import NOW_MS

PAGE_PLAYERS = 200
LINES_MAX = 2_000
"""Lines of one player that go at once: what one transaction deletes and this process holds."""

EARNED_ASKED_MS = 3_600_000
"""What was earned is asked for again only by the server that decided it, within its own outage."""

TRIES_MAX = 3
"""Times one step is planned anew because the player committed meanwhile."""

_NOW = Statement(f"SELECT {NOW_MS}")
_USERS = Statement("""
    SELECT user_id FROM player_head FORCE INDEX (PRIMARY) WHERE user_id > %s
    ORDER BY user_id LIMIT %s
""")
_PLANS = Statement("""
    SELECT f.user_id, f.version, f.session_epoch, f.purged,
        GREATEST(f.kept_epoch, f.floor_epoch, 1), MIN(k.version) - 1
    FROM (
        SELECT h.user_id, h.version, h.session_epoch, COALESCE(b.version, 0) AS purged,
            h.operation_floor_epoch AS floor_epoch, MIN(e.version) AS first_version,
            LEAST(h.session_epoch, COALESCE(MIN(CASE WHEN e.operation_epoch > 0
                AND e.created_ms >= %s THEN e.operation_epoch END), h.session_epoch)) AS kept_epoch
        FROM JSON_TABLE(%s, '$[*]' COLUMNS (user_id BIGINT PATH '$')) g
        STRAIGHT_JOIN player_head h FORCE INDEX (PRIMARY) ON h.user_id = g.user_id
        STRAIGHT_JOIN event_log e FORCE INDEX (PRIMARY) ON e.user_id = h.user_id
        LEFT JOIN event_origin b ON b.user_id = h.user_id
        GROUP BY h.user_id, h.version, h.session_epoch, h.operation_floor_epoch, b.version
    ) f
    STRAIGHT_JOIN event_log k FORCE INDEX (PRIMARY) ON k.user_id = f.user_id
        AND (k.created_ms >= %s OR k.operation_epoch >= f.kept_epoch OR k.version = f.version
            OR (k.operation_epoch < 0 AND k.created_ms >= %s))
    GROUP BY f.user_id, f.version, f.session_epoch, f.purged, f.kept_epoch, f.floor_epoch,
        f.first_version
    HAVING MIN(k.version) - 1 > f.purged OR f.first_version <= f.purged
    ORDER BY f.user_id
""")
_COUNT = Statement("""
    SELECT COUNT(*) FROM event_log FORCE INDEX (PRIMARY) WHERE user_id = %s AND version <= %s
""")
_LOCK = Statement("""
    SELECT h.version, h.session_epoch, COALESCE(
        (SELECT b.version FROM event_origin b WHERE b.user_id = h.user_id), 0)
    FROM player_head h FORCE INDEX (PRIMARY) WHERE h.user_id = %s FOR UPDATE
""")
_MOVED = Statement("""
    SELECT COALESCE(SUM(CASE WHEN currency = 0 THEN amount ELSE 0 END), 0),
        COALESCE(SUM(CASE WHEN currency = 1 THEN amount ELSE 0 END), 0),
        COALESCE(SUM(CASE WHEN currency = 2 THEN amount ELSE 0 END), 0)
    FROM ledger FORCE INDEX (PRIMARY) WHERE user_id = %s AND version > %s AND version <= %s
""")
_RAISE_FLOOR = Statement("UPDATE player_head SET operation_floor_epoch = %s WHERE user_id = %s")
_KEEP_ORIGIN = Statement(f"""
    INSERT INTO event_origin (user_id, version, gold, cash, mileage, last_ms, purged_ms, state)
    VALUES (%s, %s, %s, %s, %s, %s, {NOW_MS}, UNHEX(%s))
    ON DUPLICATE KEY UPDATE version = VALUES(version), gold = VALUES(gold), cash = VALUES(cash),
        mileage = VALUES(mileage), last_ms = VALUES(last_ms), purged_ms = VALUES(purged_ms),
        state = VALUES(state)
""")
_DELETE = Statement("""
    DELETE FROM event_log WHERE user_id = %s AND operation_epoch < %s AND version <= %s
""")
_json = msgspec.json.Encoder().encode
_encode = msgspec.msgpack.Encoder().encode


class Plan(NamedTuple):
    """What may go of one player: the versions up to `until`, those up to `purged` were refused and
    kept in the origin before; `floor_epoch`: ids of earlier sessions are refused from now on. Valid
    while his head is at `version` in that session."""

    user: int
    version: int
    session_epoch: int
    purged: int
    floor_epoch: int
    until: int


class Purged(msgspec.Struct):
    """The answer, in the form of `purge --json`."""

    before_ms: int  # lines decided before it are old, by the clocks of their servers
    dry_run: bool
    players: int = 0  # looked at
    purged: int = 0  # of whom something went, or would
    lines: int = 0  # that went, or would
    busy: int = 0  # committed all the time; the next run takes them
    findings: list[str] = []  # logs that do not agree with the books: left as they are


async def purge(
    pool: MysqlPool, older_ms: int, *, dry_run: bool, say: Callable[[str], None] = lambda text: None
) -> Purged:
    """Purge all that is older than `older_ms` by the database's clock. `say` hears of each page of
    players. Raises `StoreUnavailable` when MySQL is away."""
    async with pool.take() as connection:
        now_ms = int((await connection.rows(_NOW))[0][0])
    work = _Work(pool, now_ms, Purged(now_ms - older_ms, dry_run))
    user = 0
    while True:
        async with pool.take() as connection:
            users = [int(row[0]) for row in await connection.rows(_USERS, user, PAGE_PLAYERS)]
        if not users:
            return work.told
        for plan in await work.plans(users):
            await work.take(plan)
        user = users[-1]
        work.told.players += len(users)
        say(f"{work.told.players} players, {work.told.lines} lines")


class _Work:
    """One run."""

    def __init__(self, pool: MysqlPool, now_ms: int, told: Purged) -> None:
        self._pool = pool
        self._earned_ms = now_ms - EARNED_ASKED_MS
        self.told = told

    async def plans(self, users: list[int]) -> list[Plan]:
        """What may go of these players; only those of whom something may."""
        before_ms = self.told.before_ms
        async with self._pool.take() as connection:
            rows = await connection.rows(
                _PLANS, before_ms, _json(users), before_ms, self._earned_ms
            )
        return [Plan(*map(int, row)) for row in rows]

    async def take(self, plan: Plan) -> None:
        """All that may go of one player, step by step."""
        told, user, before = self.told, plan.user, self.told.lines
        if told.dry_run:
            async with self._pool.take() as connection:
                last = max(plan.until, plan.purged)
                told.lines += int((await connection.rows(_COUNT, user, last))[0][0])
            told.purged += 1
            return
        tries, plans = 0, [plan]
        while plans and tries < TRIES_MAX:
            try:
                tries = 0 if await self._step(plans[0]) else tries + 1
            except LogIncomplete as wrong:
                told.findings.append(f"user {user}: {wrong}")
                break
            plans = await self.plans([user])
        told.busy += tries == TRIES_MAX
        told.purged += told.lines > before

    async def _step(self, plan: Plan) -> bool:
        """Refuse, keep and delete the next lines; False when the player moved on meanwhile."""
        until = min(plan.until, plan.purged + LINES_MAX)
        if until > plan.purged:
            try:
                async with self._pool.take() as connection:
                    log = await read_log(connection, plan.user, until)
                    player = replay(plan.user, log)
                    await _compare(connection, plan, log, player, until)
                    if not await _close(connection, plan, log, player):
                        return False
            except Conflict:
                return False  # his row was locked for longer than anybody waits
        last = max(until, plan.purged)
        gone = await retried(
            self._pool, lambda one: one.execute(_DELETE, plan.user, plan.floor_epoch, last)
        )
        self.told.lines += gone
        return bool(gone)


async def _compare(
    connection: Connection, plan: Plan, log: Log, player: Player, until: int
) -> None:
    """The log is whole and moved the same coins as the ledger. Evidence of a fault is never
    removed."""
    if player.head.version != until:
        raise LogIncomplete(f"the log ends at version {player.head.version}, before {until}")
    found = await connection.rows(_MOVED, plan.user, plan.purged, until)
    wallet, origin = player.wallet, log.origin
    moved = (wallet.gold - origin.gold, wallet.cash - origin.cash, wallet.mileage - origin.mileage)
    if tuple(map(int, found[0])) != moved:
        raise LogIncomplete(f"log and ledger differ between versions {plan.purged + 1} and {until}")


async def _close(connection: Connection, plan: Plan, log: Log, player: Player) -> bool:
    """Refuse the ids and keep the origin, in one transaction under the head's lock."""
    await connection.begin()
    head = await connection.row(_LOCK, plan.user)
    seen = (plan.version, plan.session_epoch, plan.purged)
    if head is None or tuple(map(int, head)) != seen:
        await connection.rollback()
        return False
    wallet, last_ms = player.wallet, max([log.last_ms, *(one.created_ms for one in log.events)])
    await connection.execute(_RAISE_FLOOR, plan.floor_epoch, plan.user)
    await connection.execute(
        _KEEP_ORIGIN,
        *(plan.user, player.head.version, wallet.gold, wallet.cash, wallet.mileage, last_ms),
        _encode(snapshot_of(player)).hex(),
    )
    await connection.commit()
    return True
