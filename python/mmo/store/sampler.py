"""The sampler: compares what Redis shows with what MySQL decided, player by player, all the time.

Owns the choice of players (those this server committed lately), the comparison and its counts;
repairs nothing, which is the relay's work. Runs in every store with Redis; told in `stats`.

Order is everything here. Redis is read, then MySQL, then, after the time within which a commit must
show, Redis again. So a snapshot of the first reading that is newer than the head was put before its
commit, which must never be; and one of the second reading that is older than the head is late.
"""

import asyncio
import logging
import random
from collections import OrderedDict

import msgspec

from mmo.store.connection import Statement
from mmo.store.mysql_pool import MysqlPool
from mmo.store.redis_cluster import RedisCache
from mmo.store.settings import StoreSettings

SHOWN_WITHIN_S = 0.05
USERS_KEPT_MAX = 4_096

HEAD_VERSIONS = Statement("""
    SELECT h.user_id, h.version
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (user_id BIGINT PATH '$')) g
    STRAIGHT_JOIN player_head h FORCE INDEX (PRIMARY) ON h.user_id = g.user_id
""")

_log = logging.getLogger("mmo.store")
_json = msgspec.json.Encoder().encode


class Sampler:
    """One per store."""

    def __init__(self, settings: StoreSettings, pool: MysqlPool, cache: RedisCache) -> None:
        self._players = settings.sample_players
        self._pool = pool
        self._cache = cache
        self._random = random.Random()
        self._committed: OrderedDict[int, None] = OrderedDict()
        self.counts: dict[str, float] = {"compared": 0, "absent": 0, "late": 0, "ahead": 0}
        self.behind = 0  # versions, at most, in the last comparison

    def saw(self, user: int) -> None:
        """A player committed; the longest unseen of too many is forgotten."""
        self._committed[user] = None
        self._committed.move_to_end(user)
        if len(self._committed) > USERS_KEPT_MAX:
            self._committed.popitem(last=False)

    async def compare(self) -> int:
        """One comparison; how many players it covered. Raises StoreError; a Redis that does not
        answer compares nothing."""
        chosen = min(self._players, len(self._committed))
        users = sorted(self._random.sample(list(self._committed), chosen))
        if not users or not self._cache.healthy:
            return 0
        before = await self._cache.versions(users)
        async with self._pool.take() as connection:
            heads = dict(await connection.rows(HEAD_VERSIONS, _json(users)))
        await asyncio.sleep(SHOWN_WITHIN_S)
        after = await self._cache.versions(users)
        if before is None or after is None:
            return 0
        compared = [user for user in users if user in heads and user in before and user in after]
        self.behind = max((max(0, heads[user] - after[user]) for user in compared), default=0)
        for user in compared:
            self._judge(user, before[user], heads[user], after[user])
        self.counts["compared"] += len(compared)
        return len(compared)

    def _judge(self, user: int, before: int, head: int, after: int) -> None:
        if before > head:
            self.counts["ahead"] += 1
            _log.error("user %d: the cache held version %d, the truth %d", user, before, head)
        if not after:
            self.counts["absent"] += 1
        elif after < head:
            self.counts["late"] += 1

    def stats(self) -> dict[str, float]:
        """Counters by name, and how far Redis was behind the last time that it was looked at."""
        counts = {f"sample_{name}": value for name, value in self.counts.items()}
        return {**counts, "sample_behind_versions": self.behind}
