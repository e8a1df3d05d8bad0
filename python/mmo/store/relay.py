"""MySQL to Redis: inline puts right after a commit, and the repair of whatever they missed.

Owns two loops: `inline` joins the players that just committed and puts them in one pipeline;
`repair` takes dirty marks that grew old, compares versions and puts what is behind. Never awaited
by an answer and never fails a player. Several relays may run (one in every node): marks are taken
with SKIP LOCKED and for a time, puts are idempotent.

A mark outlives a failover on purpose: it is looked at only `repair_after_ms` after it was made, so
a put that a dying primary accepted and its replica never saw is found missing and done again.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque

import msgspec

from mmo.errors import StoreError
from mmo.state.player import Player, Snapshot
from mmo.store import statements as sql
from mmo.store.connection import Conflict, Statement
from mmo.store.deadline import Deadline
from mmo.store.loading import read_player, snapshot_of
from mmo.store.loops import end_loops, start_loop
from mmo.store.mysql_pool import MysqlPool
from mmo.store.redis_cluster import RedisCache
from mmo.store.settings import StoreSettings

ROUNDS_WAITED_MAX = 50
"""Rounds that a committed player may wait for his node to apply the commit; then repair serves
him."""

REST_SHARE = 3
"""A round of puts is followed by a rest of this many times what the thread worked meanwhile: under
load commits go before repeats, and what is not put in time is joined with the next commit or left
to repair. A round that took long because Redis was slow, or the machine, is followed by none: what
is decided shows within 50 ms."""

LAGS_KEPT = 1_024
"""Puts over which the lag of the cache is told: from the return of a commit to its snapshot."""

OLD_MARKS = Statement(
    f"SELECT user_id FROM cache_dirty WHERE since_ms <= {sql.NOW_MS} - %s LIMIT %s"
)
TAKE_MARKS = Statement(f"""
    SELECT c.user_id, c.version
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (user_id BIGINT PATH '$')) g
    STRAIGHT_JOIN cache_dirty c FORCE INDEX (PRIMARY) ON c.user_id = g.user_id
    WHERE c.since_ms <= {sql.NOW_MS} - %s
    FOR UPDATE SKIP LOCKED
""")
RENEW_MARKS = Statement(f"""
    UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (user_id BIGINT PATH '$')) g
    STRAIGHT_JOIN cache_dirty c FORCE INDEX (PRIMARY) ON c.user_id = g.user_id
    SET c.since_ms = {sql.NOW_MS} - %s
""")
DROP_MARKS = Statement("""
    DELETE c FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', version BIGINT PATH '$[1]')) g
    STRAIGHT_JOIN cache_dirty c FORCE INDEX (PRIMARY)
        ON c.user_id = g.user_id AND c.version <= g.version
""")

_log = logging.getLogger("mmo.store")
_json = msgspec.json.Encoder().encode


class Relay:
    """Both loops of one store."""

    def __init__(self, settings: StoreSettings, pool: MysqlPool, cache: RedisCache) -> None:
        self._settings = settings
        self._pool = pool
        self._cache = cache
        self._waiting: dict[int, tuple[Player, int, int]] = {}  # player, version, rounds waited
        self._since_s: dict[int, float] = {}  # when the oldest commit that waits returned
        self._lags_ms: deque[float] = deque(maxlen=LAGS_KEPT)
        self._seen: dict[int, tuple[str, int]] = {}  # state and number that this server publishes
        self._to_publish: dict[int, tuple[str, int]] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.counts: dict[str, float] = {
            "inline": 0, "inline_dropped": 0, "repaired": 0, "marks_checked": 0,
            "repair_failed": 0,
        }  # fmt: skip

    def start(self) -> None:
        """Begin both loops."""
        if self._settings.redis_nodes:
            self._tasks = [start_loop(self._inline()), start_loop(self._repair())]

    def offer(self, player: Player, version: int) -> None:
        """A player whose commit of `version` just returned. Read when his node has applied it."""
        if not self._tasks:
            return
        if player.user in self._waiting or len(self._waiting) < self._settings.relay_waiting_max:
            self._waiting[player.user] = (player, version, 0)
            self._since_s.setdefault(player.user, time.monotonic())
            self._wake.set()
        else:
            self.counts["inline_dropped"] += 1

    def publish(self, user: int, state: str, number: int) -> None:
        """Say where a player is; refreshed until `offline`."""
        if not self._tasks:
            return
        if state == "offline":
            self._seen.pop(user, None)
        else:
            self._seen[user] = (state, number)
        self._to_publish[user] = (state, number)
        self._wake.set()

    async def close(self) -> None:
        """One last round of puts and words, then stop."""
        await end_loops(*self._tasks)
        if self._tasks and self._cache.healthy:
            self._to_publish |= {user: ("offline", seen[1]) for user, seen in self._seen.items()}
            while self._ready() and self._cache.healthy:
                await self.put_waiting()
            while self._to_publish and self._cache.healthy:
                await self._publish()
        self._tasks = []

    async def put_waiting(self) -> int:
        """One pipeline of what waits and is applied; how many were put."""
        batch: list[tuple[int, Snapshot]] = []
        for user in list(self._waiting):
            player, version, rounds = self._waiting[user]
            if player.head.version >= version:
                batch.append((user, snapshot_of(player)))
                del self._waiting[user]
            elif rounds >= ROUNDS_WAITED_MAX:
                del self._waiting[user]
                self._since_s.pop(user, None)
                self.counts["inline_dropped"] += 1
            else:
                self._waiting[user] = (player, version, rounds + 1)
            if len(batch) >= self._settings.relay_batch_max:
                break
        since_s = {user: self._since_s.pop(user, None) for user, _ in batch}
        held = await self._cache.put(batch)
        done_s = time.monotonic()
        self._lags_ms.extend(
            (done_s - begun_s) * 1_000
            for user, begun_s in since_s.items()
            if begun_s is not None and user in held
        )
        self.counts["inline"] += len(held)
        self.counts["inline_dropped"] += len(batch) - len(held)
        return len(held)

    async def repair_once(self, after_ms: int) -> int:
        """Look at marks older than `after_ms`; how many were settled. Raises StoreError."""
        async with self._deadline(), self._pool.take() as connection:
            users = [
                row[0]
                for row in await connection.rows(
                    OLD_MARKS, after_ms, self._settings.repair_batch_max
                )
            ]
            if not users:
                return 0
            await connection.begin()
            marks = dict(await connection.rows(TAKE_MARKS, _json(sorted(users)), after_ms))
            if marks:
                age_ms = max(0, after_ms - sql.RETAKEN_MS)
                await connection.execute(RENEW_MARKS, _json(sorted(marks)), age_ms)
            await connection.commit()
        held = await self._cache.versions(sorted(marks))
        if held is None:
            return 0
        self.counts["marks_checked"] += len(held)
        behind = [user for user, version in held.items() if version < marks[user]]
        held |= await self._put_from_database(behind)
        settled = [
            [user, version] for user, version in sorted(held.items()) if version >= marks[user]
        ]
        if settled:
            async with self._deadline(), self._pool.take() as connection:
                await connection.execute(DROP_MARKS, _json(settled))
        return len(settled)

    async def _put_from_database(self, users: list[int]) -> dict[int, int]:
        batch: list[tuple[int, Snapshot]] = []
        async with self._pool.take() as connection:
            for user in users:
                async with self._deadline():
                    player = await read_player(connection, user)
                if player is not None:
                    batch.append((user, snapshot_of(player)))
        held = await self._cache.put(batch)
        self.counts["repaired"] += len(held)
        return held

    def _deadline(self) -> Deadline:
        return Deadline(self._settings.mysql_call_ms)

    def _ready(self) -> bool:
        return any(player.head.version >= v for player, v, _ in self._waiting.values())

    async def _inline(self) -> None:
        refresh_s = self._settings.presence_ttl_s / 3
        every_s, rests_until_s = self._settings.relay_every_ms / 1_000, 0.0
        loop = asyncio.get_running_loop()
        refresh_at_s = loop.time() + refresh_s
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(refresh_at_s):
                    await self._wake.wait()
            if loop.time() >= refresh_at_s:
                refresh_at_s = loop.time() + refresh_s
                self._to_publish = self._seen | self._to_publish
            await asyncio.sleep(max(every_s, rests_until_s - loop.time()))  # others join
            worked_s = time.thread_time()
            await self._publish()
            await self.put_waiting()
            rests_until_s = loop.time() + REST_SHARE * (time.thread_time() - worked_s)
            if not self._cache.healthy:
                await asyncio.sleep(self._settings.repair_every_ms / 1_000)
            if not self._waiting and not self._to_publish:
                self._wake.clear()

    async def _publish(self) -> None:
        batch = list(self._to_publish.items())[: self._settings.relay_batch_max]
        if not batch:
            return
        done = await self._cache.online([(user, *seen) for user, seen in batch])
        for user, seen in batch:
            if self._to_publish.get(user) == seen and (done or user not in self._seen):
                del self._to_publish[user]

    async def _repair(self) -> None:
        while True:
            await asyncio.sleep(self._settings.repair_every_ms / 1_000)
            try:
                while await self.repair_once(self._settings.repair_after_ms):
                    pass
            except (StoreError, Conflict) as error:
                self.counts["repair_failed"] += 1
                _log.info("cache repair waits: %s", error)

    def stats(self) -> dict[str, float]:
        """Gauges and counters by name."""
        lags = sorted(self._lags_ms) or [0.0]
        gauges: dict[str, float] = {
            "waiting": len(self._waiting), "seen": len(self._seen),
            "lag_p50_ms": lags[len(lags) // 2], "lag_p99_ms": lags[len(lags) * 99 // 100],
            "lag_max_ms": lags[-1],
        }  # fmt: skip
        return {f"relay_{name}": value for name, value in (gauges | self.counts).items()}
