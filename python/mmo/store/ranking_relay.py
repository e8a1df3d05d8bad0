"""The ranking of one store: answered from Redis, raised there after each result, and kept whole.

Owns the put that follows a result, the repair of what a put missed (`ranking_dirty`), the filling
of boards that Redis has not or has not whole, and the choice between Redis and MySQL for an answer.
Several stores may run (one in every node): marks are taken with SKIP LOCKED, puts only raise, and a
named lock of MySQL lets one fill a board at a time. Called by `durable`.

A score is committed with its mark before it is put, and a board takes puts from the moment it is
swapped in; so a score is either in what was filled, or its mark is found after the swap, or its put
is taken. Only then MySQL names the new epoch, and answers come from Redis again.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from mmo.contract import RankingEntry, RankingView
from mmo.errors import StoreError
from mmo.state.raid import RaidSettled, RaidState
from mmo.store import ranking
from mmo.store.board import Board, BoardView
from mmo.store.connection import Conflict, Connection
from mmo.store.deadline import Deadline
from mmo.store.loops import end_loops, start_loop
from mmo.store.mysql_pool import MysqlPool
from mmo.store.redis_cluster import RedisCache
from mmo.store.settings import StoreSettings

SIZES_EVERY_S = 60
"""How often the sizes of board and table are compared; a mark of wholeness is looked at with every
repair."""

READS_MAX = 2
"""Answers from MySQL at once: each walks the index of a season, and commits need the other
connections."""

LAGS_KEPT = 1_024
NAMES_KEPT_MAX = 16_384
EPOCH_BITS = 62

T = TypeVar("T")

_log = logging.getLogger("mmo.store")


class RankingRelay:
    """One per store."""

    def __init__(self, settings: StoreSettings, pool: MysqlPool, cache: RedisCache) -> None:
        self._settings = settings
        self._pool = pool
        self._cache = cache
        self.board = Board(cache)
        self._epochs: dict[int, int] = {}  # of boards that are whole, as MySQL names them
        self._names: OrderedDict[int, str] = OrderedDict()
        self._lags_ms: deque[float] = deque(maxlen=LAGS_KEPT)
        self._wake = asyncio.Event()
        self._reads = asyncio.Semaphore(READS_MAX)
        self._task: asyncio.Task[None] | None = None
        self._sizes_at_s = 0.0
        self.counts: dict[str, float] = {
            "puts": 0, "put_missed": 0, "repaired": 0, "marks_checked": 0, "repair_failed": 0,
            "rebuilt": 0, "rebuilt_scores": 0, "read_redis": 0, "read_mysql": 0,
        }  # fmt: skip

    def start(self) -> None:
        """Begin to keep the boards whole; the first look is at once, so a ranking is loaded at
        start."""
        if self._settings.redis_nodes:
            self._wake.set()
            self._task = start_loop(self._keep())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            await end_loops(self._task)
            self._task = None

    # -- after a result ----------------------------------------------------------------------------

    async def raise_scores(self, row: RaidSettled) -> None:
        """Put the scores of a committed result; bounded by the time of a Redis read, never fails.
        What is missed has its mark."""
        scores = [(one.user, one.score) for one in row.scores if one.score > 0]
        if not scores or not row.season or row.state != RaidState.FINISHED:
            return
        if not self._settings.redis_nodes:
            return
        begun_s = time.monotonic()
        if await self.board.put(row.season, scores):
            self._lags_ms.append((time.monotonic() - begun_s) * 1_000)
            self.counts["puts"] += len(scores)
        else:
            self.counts["put_missed"] += len(scores)
            self._wake.set()

    # -- answers -----------------------------------------------------------------------------------

    async def page(self, season: int, user: int, start: int, count: int) -> RankingView:
        """See `Store.ranking_page`."""
        return await self._answer(
            season,
            lambda epoch: self.board.page(season, epoch, user, start, count),
            lambda connection: ranking.page(connection, season, user, start, count),
        )

    async def around(self, season: int, user: int, around: int) -> RankingView:
        """See `Store.ranking_around`."""
        return await self._answer(
            season,
            lambda epoch: self.board.around(season, epoch, user, around),
            lambda connection: ranking.around(connection, season, user, around),
        )

    async def of_users(self, season: int, user: int, users: Sequence[int]) -> RankingView:
        """See `Store.ranking_of`."""
        asked = sorted(set(users))
        return await self._answer(
            season,
            lambda epoch: self.board.of_users(season, epoch, user, asked),
            lambda connection: ranking.of_users(connection, season, user, asked),
        )

    async def _answer(
        self,
        season: int,
        of_redis: Callable[[int], Awaitable[BoardView | None]],
        of_mysql: Callable[[Connection], Awaitable[RankingView]],
    ) -> RankingView:
        epoch = self._epochs.get(season, 0)
        seen = await of_redis(epoch) if epoch else None
        if seen is not None and await self._know([user for _, user, _ in seen.rows]):
            self.counts["read_redis"] += 1
            entries = tuple(
                RankingEntry(rank, user, self._names[user], score)
                for rank, user, score in seen.rows
            )
            return RankingView(season, seen.size, seen.own_rank, seen.own_score, entries)
        if epoch:
            self._wake.set()
        self.counts["read_mysql"] += 1
        async with self._reads, self._pool.take() as connection:
            return await of_mysql(connection)

    async def _know(self, users: list[int]) -> bool:
        """Whether the names of all are kept now; names never change."""
        missing = [user for user in users if user not in self._names]
        if missing:
            async with self._pool.take() as connection:
                self._names.update(await ranking.names(connection, missing))
        for user in users:
            if user not in self._names:
                return False
            self._names.move_to_end(user)
        while len(self._names) > max(NAMES_KEPT_MAX, len(users)):
            self._names.popitem(last=False)
        return True

    # -- kept whole --------------------------------------------------------------------------------

    async def check(self, *, sizes: bool = False) -> int:
        """Look at the board of every season that has scores and fill those that are not whole; how
        many were filled. With `sizes`, one of the wrong size is not whole. Raises StoreError."""
        async with self._deadline(), self._pool.take() as connection:
            named = await ranking.boards(connection)
        filled = 0
        for season, epoch in named.items():
            state = await self.board.state(season)
            if state is None:
                self._epochs.pop(season, None)
                continue
            if epoch and state[0] == epoch and not (
                sizes and await self._is_wrong_size(season, state[1])
            ):  # fmt: skip
                self._epochs[season] = epoch
            elif await self.rebuild(season, seen=epoch) is not None:
                filled += 1
        return filled

    async def _is_wrong_size(self, season: int, size: int) -> bool:
        """Whether a board of `size`, read before, cannot become the table by repairing marks."""
        async with self._deadline(), self._pool.take() as connection:
            scores, marks = await ranking.sizes(connection, season)
        if size <= scores <= size + marks:
            return False
        _log.warning("the board of season %d has %d places, the table %d", season, size, scores)
        return True

    async def rebuild(self, season: int, *, seen: int | None = None) -> int | None:
        """Fill the board of a season from MySQL, in chunks, while answers come from MySQL; how many
        scores it has. With `seen`, only while that is the epoch: another may have filled it since.
        None: another process fills or filled it, or Redis went away. Raises StoreError."""
        self._epochs.pop(season, None)
        async with self._pool.take() as connection:
            if not await self._in_time(ranking.lock_board(connection, season)):
                return None
            try:
                if (
                    seen is not None
                    and await self._in_time(ranking.epoch_of(connection, season)) != seen
                ):
                    self._wake.set()  # look again: it may be whole
                    return None
                filled = await self._fill(connection, season)
            finally:
                if not connection.broken:
                    await self._in_time(ranking.free_board(connection, season))
        if filled is not None:
            self.counts["rebuilt"] += 1
            self.counts["rebuilt_scores"] += filled
            _log.info("the board of season %d was filled with %d scores", season, filled)
        return filled

    async def _fill(self, connection: Connection, season: int) -> int | None:
        await self._in_time(ranking.name_board(connection, season, 0))
        if not await self.board.begin(season):
            return None
        filled, after = 0, 0
        while True:
            count, last, rows = await self._in_time(ranking.chunk(connection, season, after))
            if not count:
                break
            if not await self.board.fill(season, rows):
                return None
            filled, after = filled + count, last
        if not await self._in_time(ranking.holds_board(connection, season)):
            return None
        epoch = secrets.randbits(EPOCH_BITS) | 1
        if not await self.board.end(season, epoch):
            return None
        marked = await self._in_time(ranking.marked(connection, season))
        for first in range(0, len(marked), ranking.CHUNK_SCORES):
            if not await self.board.put(season, marked[first : first + ranking.CHUNK_SCORES]):
                return None
        await self._in_time(ranking.name_board(connection, season, epoch))
        self._epochs[season] = epoch
        return filled

    async def _in_time(self, step: Awaitable[T]) -> T:
        """One step of many with the database. Raises StoreUnavailable when it takes too long."""
        async with self._deadline():
            return await step

    def _deadline(self) -> Deadline:
        return Deadline(self._settings.mysql_call_ms)

    async def repair_once(self, after_ms: int) -> int:
        """Look at marks older than `after_ms`: those whose score Redis holds go, the others are put
        and looked at again later. How many went. Raises StoreError."""
        async with self._deadline(), self._pool.take() as connection:
            marks = await ranking.take_marks(connection, after_ms, self._settings.repair_batch_max)
        gone = 0
        for season in sorted({season for season, _, _ in marks}):
            of_season = [(user, score) for of, user, score in marks if of == season]
            held = await self.board.scores(season, [user for user, _ in of_season])
            if held is None:
                continue
            self.counts["marks_checked"] += len(held)
            pairs = list(zip(of_season, held, strict=True))
            behind = [mark for mark, now in pairs if now < mark[1]]
            if behind and await self.board.put(season, behind):
                self.counts["repaired"] += len(behind)
            done = [mark for mark, now in pairs if now >= mark[1]]
            if done:
                async with self._deadline(), self._pool.take() as connection:
                    await ranking.drop_marks(connection, season, done)
            gone += len(done)
        return gone

    async def _keep(self) -> None:
        every_s = self._settings.repair_every_ms / 1_000
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                sizes = time.monotonic() >= self._sizes_at_s
                await self.check(sizes=sizes)
                if sizes:
                    self._sizes_at_s = time.monotonic() + SIZES_EVERY_S
                while await self.repair_once(self._settings.repair_after_ms):
                    pass
            except (StoreError, Conflict) as error:
                self.counts["repair_failed"] += 1
                _log.info("the repair of the ranking waits: %s", error)
            if not self._cache.healthy:
                await asyncio.sleep(every_s)

    def stats(self) -> dict[str, float]:
        """Gauges and counters by name."""
        lags = sorted(self._lags_ms) or [0.0]
        gauges: dict[str, float] = {
            "boards": len(self._epochs),
            "lag_p50_ms": lags[len(lags) // 2], "lag_p99_ms": lags[len(lags) * 99 // 100],
            "lag_max_ms": lags[-1],
        }  # fmt: skip
        return {f"ranking_{name}": value for name, value in (gauges | self.counts).items()}
