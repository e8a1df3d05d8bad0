"""The board in Redis: raised after each result, filled by itself, never needed, never believed."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.conftest import forget_all
from tests.contract.raid_books import members, opening, result
from tests.contract.stores import Cluster
from tests.services.asked import until

from mmo.cli.rebuild import _filled
from mmo.cluster.redis_servers import ManagedRedis
from mmo.contract import RankingView
from mmo.errors import OperatorError
from mmo.ops.audit_board import board_of
from mmo.state.raid import RaidMember
from mmo.store import StoreSettings, ranking
from mmo.store.board import keys_of, member_of
from mmo.store.connection import Statement
from mmo.store.durable import DurableStore

pytestmark = pytest.mark.services

MARKS = Statement("SELECT user_id, score FROM ranking_dirty WHERE season = %s ORDER BY user_id")
AGE_MARKS = Statement("UPDATE ranking_dirty SET since_ms = since_ms - 60000 WHERE season = %s")
FORGET_MARKS = Statement("DELETE FROM ranking_dirty")
OTHER_MARKS = Statement("DELETE FROM ranking_dirty WHERE season <> %s")
_seasons = itertools.count(500)
SettingsOf = Callable[..., StoreSettings]


@pytest.fixture
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """Real servers."""
    made = Cluster(request, "real")
    yield made
    await made.close()


@pytest.fixture
async def store(store_settings: SettingsOf) -> AsyncIterator[DurableStore]:
    """A store whose boards are looked at when the test asks."""
    opened = await DurableStore.open(store_settings())
    await opened.ranking.close()
    yield opened
    await opened.close()


@pytest.fixture
async def alive(store_settings: SettingsOf) -> AsyncIterator[DurableStore]:
    """A store that looks at its boards by itself."""
    opened = await DurableStore.open(store_settings())
    yield opened
    await opened.close()


@pytest.fixture
def season() -> int:
    """A season of this test."""
    return next(_seasons)


async def whole(store: DurableStore, season: int) -> None:
    """The board is whole, and this store knows it."""

    async def is_whole() -> bool:
        await store.ranking.check()
        return season in store.ranking._epochs

    await until(is_whole)


async def played(store: DurableStore, seated: list[RaidMember], season: int, *scores: int) -> None:
    """A raid ended with these scores."""
    row = opening(seated, 1, season=season)
    assert await store.write(row)
    assert await store.write(result(row, *scores))


async def in_mysql(store: DurableStore, season: int, user: int, count: int = 100) -> RankingView:
    """The first places as the books say."""
    async with store.pool.take() as connection:
        return await ranking.page(connection, season, user, 1, count)


async def in_redis(store: DurableStore, season: int, user: int, count: int = 100) -> RankingView:
    """The first places; they must come from Redis."""
    before = store.ranking.counts["read_redis"]
    view = await store.ranking_page(season, user, 1, count)
    assert store.ranking.counts["read_redis"] == before + 1
    return view


async def marks_of(store: DurableStore, season: int) -> list[tuple[Any, ...]]:
    """(user, score) of the marks."""
    async with store.pool.take() as connection:
        return await connection.rows(MARKS, season)


async def asked(store: DurableStore, *command: Any) -> Any:
    """One command at Redis, past the store."""
    (answer,) = await store.cache.many([command])
    assert not isinstance(answer, Exception), answer
    return answer


# -- put and read ----------------------------------------------------------------------------------


async def test_a_result_is_on_the_board_when_its_write_returns(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    seated = await members(cluster, store, 2)
    one, two = (member.user for member in seated)
    await played(store, seated, season, 5, 6)
    await whole(store, season)
    await played(store, seated, season, 9, 3)
    view = await in_redis(store, season, two)
    assert [(row.rank, row.user, row.score) for row in view.rows] == [(1, one, 9), (2, two, 6)]
    assert [row.name for row in view.rows] == [member.name for member in seated]
    assert (view.size, view.own_rank, view.own_score) == (2, 2, 6)
    stats = store.stats()
    assert stats["ranking_puts"] == 2 and stats["ranking_lag_p99_ms"] > 0


async def test_both_stores_give_the_same_answer_to_every_question(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    rng = random.Random(5)
    users = []
    for _ in range(6):
        seated = await members(cluster, store, 6)
        users += [member.user for member in seated]
        await played(store, seated, season, *(rng.choice((0, 1, 2, 2**53 - 1)) for _ in seated))
    await whole(store, season)
    relay, before = store.ranking, store.ranking.counts["read_mysql"]
    async with store.pool.take() as connection:
        for user in (*users, 10**9):
            start, count, around = rng.randint(1, 40), rng.randint(1, 40), rng.randint(0, 9)
            friends = rng.sample(users, 9)
            assert await relay.page(season, user, start, count) == await ranking.page(
                connection, season, user, start, count
            )
            assert await relay.around(season, user, around) == await ranking.around(
                connection, season, user, around
            )
            assert await relay.of_users(season, user, friends) == await ranking.of_users(
                connection, season, user, friends
            )
    assert relay.counts["read_mysql"] == before


async def test_a_late_put_never_lowers_a_score(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    seated = await members(cluster, store, 1)
    await played(store, seated, season, 50)
    await whole(store, season)
    board, user = store.ranking.board, seated[0].user
    for late in (49, 1, 50):
        assert await board.put(season, [(user, late)])
        assert await board.scores(season, [user, user + 10**6]) == [50, 0]


# -- filled by itself ------------------------------------------------------------------------------


async def test_the_ranking_is_loaded_at_the_start_of_a_server(
    cluster: Cluster, store_settings: SettingsOf, redis_servers: ManagedRedis, season: int
) -> None:
    first = await DurableStore.open(store_settings())
    seated = await members(cluster, first, 5)
    await played(first, seated, season, 10, 20, 30, 40, 50)
    expected = await in_mysql(first, season, seated[0].user)
    await first.close()
    forget_all(redis_servers)
    login = await DurableStore.open(store_settings())

    async def loaded() -> bool:  # by its own start: nobody tells it to look
        await login.ranking.board.state(season)
        return season in login.ranking._epochs

    await until(loaded)
    assert await in_redis(login, season, seated[0].user) == expected
    await login.close()


async def test_a_wiped_redis_is_noticed_and_filled_while_mysql_answers(
    cluster: Cluster, alive: DurableStore, redis_servers: ManagedRedis, season: int
) -> None:
    seated = await members(cluster, alive, 3)
    await played(alive, seated, season, 3, 2, 1)
    await whole(alive, season)
    forget_all(redis_servers)
    await played(alive, seated, season, 1, 9, 1)  # a lone score does not make a board
    user = seated[0].user
    view = await alive.ranking_page(season, user, 1, 9)
    assert view == await in_mysql(alive, season, user)
    assert [row.score for row in view.rows] == [9, 3, 1]

    async def filled() -> bool:  # the missed put and read woke the relay
        state = await alive.ranking.board.state(season)
        return state != (0, 0) and season in alive.ranking._epochs

    await until(filled)
    assert await in_redis(alive, season, user) == view


async def test_a_board_of_the_wrong_size_is_filled_again(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    seated = await members(cluster, store, 4)
    await played(store, seated, season, 4, 3, 2, 1)
    await whole(store, season)
    board, user = keys_of(season)[0], seated[2].user
    expected = await in_mysql(store, season, user)
    for wrong in (("ZREM", board, member_of(user)), ("ZADD", board, -99, member_of(10**9))):
        await asked(store, *wrong)
        async with store.pool.take() as connection:  # no mark is left to explain a difference
            await connection.execute(FORGET_MARKS)
        assert await store.ranking.check() == 0
        assert await store.ranking.check(sizes=True) >= 1
        assert await in_redis(store, season, user) == expected
    assert await store.ranking.check(sizes=True) == 0


async def test_a_board_of_another_epoch_answers_nothing(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    seated = await members(cluster, store, 1)
    await played(store, seated, season, 7)
    await whole(store, season)
    board, mark, _ = keys_of(season)
    await asked(store, "SET", mark, 123)  # of an older backup, or another database
    await asked(store, "ZADD", board, -1_000, member_of(10**9))
    view = await store.ranking_page(season, seated[0].user, 1, 9)
    assert [(row.user, row.score) for row in view.rows] == [(seated[0].user, 7)]
    await whole(store, season)
    assert await in_redis(store, season, seated[0].user) == view


async def test_scores_that_come_while_a_board_is_filled_are_on_it(
    cluster: Cluster, store: DurableStore, season: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "CHUNK_SCORES", 1)
    other = await cluster.store()
    assert isinstance(other, DurableStore)
    groups = [await members(cluster, store, 4) for _ in range(4)]
    for seated in groups:
        await played(store, seated, season, 1, 1, 1, 1)

    async def fills() -> None:
        for _ in range(6):
            await store.ranking.rebuild(season)

    async def plays() -> None:
        for score in range(2, 12):
            for index, seated in enumerate(groups):
                await played((store, other)[index % 2], seated, season, *[score] * 4)

    await asyncio.gather(fills(), plays())
    await whole(store, season)
    users = [member.user for seated in groups for member in seated]
    assert await store.ranking.board.scores(season, users) == [11] * 16


async def test_of_two_who_fill_a_board_one_does(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    other = await cluster.store()
    assert isinstance(other, DurableStore)
    seated = await members(cluster, store, 2)
    await played(store, seated, season, 2, 1)
    await whole(store, season)
    async with store.pool.take() as connection:
        assert await ranking.lock_board(connection, season)
        assert await other.ranking.rebuild(season) is None
        assert await store.ranking.board.state(season) != (0, 0)
        await ranking.free_board(connection, season)
    assert await other.ranking.rebuild(season) == 2
    assert await in_redis(other, season, seated[0].user) == await in_mysql(
        store, season, seated[0].user
    )


async def test_a_board_that_another_filled_since_is_left_alone(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    seated = await members(cluster, store, 1)
    await played(store, seated, season, 2)
    assert await store.ranking.rebuild(season, seen=0) == 1
    assert await store.ranking.rebuild(season, seen=0) is None
    await whole(store, season)
    assert await store.ranking.rebuild(season, seen=store.ranking._epochs[season]) == 1


async def test_many_scores_are_filled_in_chunks(store: DurableStore, season: int) -> None:
    async with store.pool.take() as connection:
        await connection.execute(
            Statement(
                "INSERT INTO ranking (season, user_id, score, raid, since_ms)"
                " SELECT %s, seq, 1 + MOD(seq * 7919, 5000), 1, 1 FROM seq_1_to_9001"
            ),
            season,
        )
    assert await store.ranking.rebuild(season) == 9_001
    state = await store.ranking.board.state(season)
    assert state is not None and state[1] == 9_001
    users = list(range(1, 9_002, 300))
    held = await store.ranking.board.scores(season, users)
    assert held == [1 + user * 7919 % 5000 for user in users]


# -- repair ----------------------------------------------------------------------------------------


async def test_what_a_put_missed_is_repaired_and_its_mark_goes_once_it_is_seen(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    seated = await members(cluster, store, 2)
    users = [member.user for member in seated]
    await played(store, seated, season, 5, 5)
    await whole(store, season)
    async with store.pool.take() as connection:
        await connection.execute(OTHER_MARKS, season)
    await asked(store, "ZREM", keys_of(season)[0], member_of(users[1]))  # a primary was lost
    assert await marks_of(store, season) == [(users[0], 5), (users[1], 5)]
    await store.ranking.repair_once(10_000)  # marks are too young
    assert len(await marks_of(store, season)) == 2
    async with store.pool.take() as connection:
        await connection.execute(AGE_MARKS, season)
    await store.ranking.repair_once(10_000)
    assert await marks_of(store, season) == [(users[1], 5)]
    assert await store.ranking.board.scores(season, users) == [5, 5]
    await store.ranking.repair_once(10_000)  # it counts as made when it was put
    assert await marks_of(store, season) == [(users[1], 5)]
    async with store.pool.take() as connection:
        await connection.execute(AGE_MARKS, season)
    await store.ranking.repair_once(10_000)
    assert await marks_of(store, season) == []


async def test_only_a_better_score_leaves_a_mark(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    seated = await members(cluster, store, 2)
    one, two = (member.user for member in seated)
    await played(store, seated, season, 5, 0)
    assert await marks_of(store, season) == [(one, 5)]
    async with store.pool.take() as connection:
        await ranking.drop_marks(connection, season, [(one, 4)])
        assert await marks_of(store, season) == [(one, 5)]
        await ranking.drop_marks(connection, season, [(one, 5)])
    await played(store, seated, season, 5, 8)
    assert await marks_of(store, season) == [(two, 8)]


async def test_marks_stay_while_the_board_is_not_whole(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    seated = await members(cluster, store, 1)
    await played(store, seated, season, 5)
    await whole(store, season)
    async with store.pool.take() as connection:
        await connection.execute(OTHER_MARKS, season)
    assert await store.ranking.board.begin(season)
    assert await store.ranking.board.scores(season, [seated[0].user]) is None
    await store.ranking.repair_once(-60_000)  # marks of other seasons go
    assert len(await marks_of(store, season)) == 1


# -- without Redis ---------------------------------------------------------------------------------


async def test_without_any_redis_the_ranking_is_asked_of_mysql(
    cluster: Cluster, store_settings: SettingsOf, season: int
) -> None:
    store = await DurableStore.open(store_settings(redis_nodes=()))
    seated = await members(cluster, store, 3)
    await played(store, seated, season, 1, 3, 2)
    user = seated[2].user
    view = await store.ranking_around(season, user, 1)
    assert [(row.rank, row.score) for row in view.rows] == [(1, 3), (2, 2), (3, 1)]
    assert (await store.ranking_of(season, user, [user])).rows[0].rank == 2
    assert store.stats()["ranking_read_mysql"] == 2
    await store.close()


# -- the operator ----------------------------------------------------------------------------------


async def wrong_places(store: DurableStore, season: int) -> list[tuple[int, str]]:
    """What the comparison of a board finds."""
    async with store.pool.take() as connection:
        epoch = (await ranking.boards(connection)).get(season, 0)
        found = await board_of(connection, store.ranking.board, season, epoch)
    return [(finding.user, finding.text) for finding in found]


async def test_a_board_that_differs_is_told_by_user(
    cluster: Cluster, store: DurableStore, season: int
) -> None:
    seated = await members(cluster, store, 4)
    users = [member.user for member in seated]
    await played(store, seated, season, 4, 3, 2, 1)
    await whole(store, season)
    assert await wrong_places(store, season) == []
    board, mark, _ = keys_of(season)
    await asked(store, "ZADD", board, -9, member_of(users[0]))  # ahead of the books
    await asked(store, "ZADD", board, 0, member_of(users[1]))  # behind, and marked for repair
    assert await wrong_places(store, season) == [
        (users[0], f"season {season}: the board says 9, the ranking 4")
    ]
    async with store.pool.take() as connection:
        await connection.execute(FORGET_MARKS)
    assert [user for user, _ in await wrong_places(store, season)] == users[:2]
    await asked(store, "ZADD", board, -1, member_of(10**9))
    assert (0, f"season {season}: the board has 5 places, the ranking 4") in await wrong_places(
        store, season
    )
    await asked(store, "DEL", mark)
    assert await wrong_places(store, season) == [(0, f"season {season}: the board is not whole")]


async def test_rebuild_by_command_fills_and_compares(
    cluster: Cluster,
    store: DurableStore,
    store_settings: SettingsOf,
    season: int,
    redis_servers: ManagedRedis,
) -> None:
    seated = await members(cluster, store, 3)
    await played(store, seated, season, 3, 2, 1)
    await whole(store, season)
    await asked(store, "ZADD", keys_of(season)[0], -99, member_of(10**9))
    filled, findings = await _filled(store_settings(), season)
    assert findings == []
    assert [(row["season"], row["scores"]) for row in filled] == [(season, 3)]
    every, findings = await _filled(store_settings(), 0)
    assert season in {row["season"] for row in every} and findings == []
    with pytest.raises(OperatorError, match="E0726"):
        await _filled(store_settings(redis_nodes=()), season)
