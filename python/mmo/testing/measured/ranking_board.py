"""A season with a million scores: its books, its board, and what questions to it cost.

Owns the throw-away scores, the questions (from a seed) and the clock around each. Every question
goes through the product's store; the same places are asked of Redis by its bare driver. The
answers are compared with MySQL's. Run as a process by `bench ranking`.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from mmo.ops.audit_board import boards
from mmo.state.raid import EndReason, RaidScore, RaidSettled, RaidState
from mmo.store import migrate, ranking
from mmo.store.board import keys_of, member_of
from mmo.store.connection import Connection, Statement
from mmo.store.durable import DurableStore
from mmo.store.mysql_pool import MysqlPool
from mmo.store.ranking_relay import RankingRelay
from mmo.store.redis_cluster import RedisCache
from mmo.store.settings import StoreSettings

SEASON = 1
PAGE_ROWS, AROUND_ROWS, FRIENDS = 3, 2, 20
TOP_PLACES = 300
ROUNDS = 4
FALLBACKS = 25  # questions to MySQL, which answers only while Redis cannot
COMPARED = 60
SCORE_STEP, SCORES_APART = 7_919, 100_003

ADD_ACCOUNTS = Statement(
    "INSERT INTO account (user_id, name, password_hash, created_ms)"
    " SELECT seq, CONCAT('player ', seq), '', 0 FROM seq_1_to_10000000 WHERE seq <= %s"
)
ADD_SCORES = Statement(
    "INSERT INTO ranking (season, user_id, score, raid, since_ms)"
    f" SELECT {SEASON}, user_id, 1 + MOD(user_id * {SCORE_STEP}, {SCORES_APART}), user_id, 1"
    " FROM account"
)

Question = Callable[[], Awaitable[Any]]


async def prepare(settings: StoreSettings, scores: int) -> dict[str, Any]:
    """The schema, the accounts 1..`scores` with a score each, and how long the board took to
    fill."""
    await migrate.apply(settings)
    connection = await Connection.open(settings, 0.0)
    await connection.execute(ADD_ACCOUNTS, scores)
    added = await connection.execute(ADD_SCORES)
    await connection.close()
    cache = RedisCache(settings)
    async with MysqlPool(settings, connections_max=2) as pool:
        begun_s = time.perf_counter()
        filled = await RankingRelay(settings, pool, cache).rebuild(SEASON)
        took_s = time.perf_counter() - begun_s
    await cache.close()
    assert filled == added, f"{filled} of {added} scores are on the board"
    return {"scores": added, "rebuild_s": round(took_s, 2)}


class Asked:
    """One store with the questions of a seed."""

    def __init__(self, store: DurableStore, scores: int) -> None:
        self._store = store
        self._scores = scores
        self._rng = random.Random(1)

    def user(self) -> int:
        """Somebody on the board."""
        return self._rng.randint(1, self._scores)

    async def page(self) -> None:
        """A page anywhere, with the asker's own place: the names of its rows come from MySQL."""
        await self._store.ranking_page(
            SEASON, self.user(), self._rng.randint(1, self._scores), PAGE_ROWS
        )

    async def top(self) -> None:
        """A page of the top, whose names are known."""
        await self._store.ranking_page(
            SEASON, self.user(), self._rng.randint(1, TOP_PLACES), PAGE_ROWS
        )

    async def own(self) -> None:
        """The asker's own place alone."""
        await self._store.ranking_page(SEASON, self.user(), self._scores + 1, 1)

    async def around(self) -> None:
        """The asker's place with his neighbours."""
        await self._store.ranking_around(SEASON, self.user(), AROUND_ROWS)

    async def friends(self) -> None:
        """Twenty friends."""
        users = [self.user() for _ in range(FRIENDS)]
        await self._store.ranking_of(SEASON, self.user(), users)

    async def bare(self) -> None:
        """The same as a page, by the driver alone: rows, own rank and score, size."""
        board, _, _ = keys_of(SEASON)
        first = self._rng.randint(1, self._scores) - 1
        member = member_of(self.user())
        pipeline = self._store.cache._opened().pipeline()
        pipeline.execute_command("ZRANGE", board, first, first + PAGE_ROWS - 1, "WITHSCORES")
        pipeline.execute_command("ZRANK", board, member)
        pipeline.execute_command("ZSCORE", board, member)
        pipeline.execute_command("ZCARD", board)
        await pipeline.execute()

    async def raised(self) -> None:
        """The put of one result of eight members, as after its commit."""
        users = self._rng.sample(range(1, self._scores + 1), 8)
        row = RaidSettled(
            raid=1, number=1, incarnation=1, state=RaidState.FINISHED, reason=EndReason.DEFEATED,
            season=SEASON, hp=0, inputs_hash=b"", replay=b"", generation=1, now_ms=1,
            scores=tuple(RaidScore(user, seat, 1, b"") for seat, user in enumerate(users)),
        )  # fmt: skip
        await self._store.ranking.raise_scores(row)

    async def fallback_page(self) -> None:
        """A page out of MySQL, as while Redis is away."""
        start = self._rng.randint(1, self._scores)
        async with self._store.pool.take() as connection:
            await ranking.page(connection, SEASON, self.user(), start, PAGE_ROWS)

    async def differing(self) -> int:
        """How many of some answers are not MySQL's."""
        wrong = 0
        async with self._store.pool.take() as connection:
            for _ in range(COMPARED):
                user, start = self.user(), self._rng.randint(1, self._scores)
                told = await self._store.ranking_page(SEASON, user, start, PAGE_ROWS)
                wrong += told != await ranking.page(connection, SEASON, user, start, PAGE_ROWS)
        return wrong


async def asked_for(window_s: float, question: Question, counted_max: int = 0) -> list[float]:
    """Milliseconds of each of the questions that fit into the window, one after the other."""
    taken: list[float] = []
    end_s = time.perf_counter() + window_s
    while not counted_max or len(taken) < counted_max:
        begun_s = time.perf_counter()
        if begun_s >= end_s and not counted_max:
            break
        await question()
        taken.append((time.perf_counter() - begun_s) * 1_000)
    return taken


async def measure(settings: StoreSettings, scores: int, window_s: float) -> dict[str, Any]:
    """Every question in rotating rounds; latencies by question, what was checked."""
    store = await DurableStore.open(settings)
    while SEASON not in store.ranking._epochs:
        await store.ranking.check()
    asked = Asked(store, scores)
    questions: dict[str, Question] = {
        "page": asked.page,
        "bare": asked.bare,
        "top": asked.top,
        "own": asked.own,
        "around": asked.around,
        "friends": asked.friends,
        "raised": asked.raised,
    }
    names = list(questions)
    taken: dict[str, list[list[float]]] = {name: [] for name in names}
    for at in range(ROUNDS):
        first = at % len(names)
        for name in [*names[first:], *names[:first]]:
            of_round = window_s / (ROUNDS * len(names))
            taken[name].append(await asked_for(of_round, questions[name]))
    before = store.ranking.counts["read_mysql"]
    differing = await asked.differing()
    fallback = await asked_for(0, asked.fallback_page, FALLBACKS)
    async with store.pool.take() as connection:
        found = await boards(connection, store.ranking.board)
    counts = store.stats()
    await store.close()
    return {
        "rounds": taken,
        "fallback": fallback,
        "differing": differing,
        "findings": [finding.text for finding in found],
        "read_mysql": before,
        "put_missed": counts["ranking_put_missed"],
    }


def main() -> None:
    """Command line of the process; prints one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("act", choices=("prepare", "measure"))
    parser.add_argument("--store", type=Path, required=True, help="StoreSettings as JSON")
    parser.add_argument("--scores", type=int, required=True)
    parser.add_argument("--for", dest="window_s", type=float, default=10.0)
    given = parser.parse_args()
    settings = msgspec.json.decode(given.store.read_bytes(), type=StoreSettings)
    if given.act == "prepare":
        found = asyncio.run(prepare(settings, given.scores))
    else:
        found = asyncio.run(measure(settings, given.scores, given.window_s))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
