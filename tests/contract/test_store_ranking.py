"""The ranking of a season, asked of the dicts and of the real store alike."""

import msgspec
from tests.contract.raid_books import aborted, leased, members, opening, result, season_number
from tests.contract.stores import Cluster

from mmo.contract import RankingView
from mmo.state.raid import RaidMember, RaidState
from mmo.store import Store


async def played(
    store: Store, seated: list[RaidMember], season: int, *scores: int, **fields: object
) -> None:
    """One raid of these members ended with these scores."""
    row = opening(seated, await leased(store), season=season)
    assert await store.write(row)
    assert await store.write(result(row, *scores, **fields))


def places(view: RankingView) -> list[tuple[int, int, int]]:
    """(rank, user, score) of its rows."""
    return [(row.rank, row.user, row.score) for row in view.rows]


async def test_the_board_shows_the_best_first(cluster: Cluster, store: Store) -> None:
    season = season_number()
    seated = await members(cluster, store, 5)
    users = [member.user for member in seated]
    await played(store, seated, season, 30, 50, 0, 2**53 - 1, 40)
    view = await store.ranking_page(season, users[0], 1, 3)
    assert places(view) == [(1, users[3], 2**53 - 1), (2, users[1], 50), (3, users[4], 40)]
    assert [row.name for row in view.rows] == [seated[i].name for i in (3, 1, 4)]
    assert (view.season, view.size, view.own_rank, view.own_score) == (season, 4, 4, 30)
    view = await store.ranking_page(season, users[2], 4, 3)  # no score: no place
    assert (places(view), view.own_rank, view.own_score) == ([(4, users[0], 30)], 0, 0)
    assert places(await store.ranking_page(season, users[2], 5, 3)) == []


async def test_the_best_score_only_rises(cluster: Cluster, store: Store) -> None:
    season = season_number()
    seated = await members(cluster, store, 2)
    one, two = (member.user for member in seated)
    for scores, best in [((30, 20), (30, 20)), ((10, 25), (30, 25)), ((31, 5), (31, 25))]:
        await played(store, seated, season, *scores)
        view = await store.ranking_page(season, one, 1, 10)
        assert places(view) == [(1, one, best[0]), (2, two, best[1])]


async def test_equal_scores_stand_by_user_id(cluster: Cluster, store: Store) -> None:
    season = season_number()
    seated = await members(cluster, store, 12)
    users = sorted(member.user for member in seated)
    await played(store, seated[::-1], season, *[77] * 12)
    view = await store.ranking_page(season, users[9], 1, 100)
    assert places(view) == [(rank, user, 77) for rank, user in enumerate(users, 1)]
    assert view.own_rank == 10


async def test_seasons_are_apart_and_none_is_none(cluster: Cluster, store: Store) -> None:
    first, second = season_number(), season_number()
    seated = await members(cluster, store, 1)
    user = seated[0].user
    await played(store, seated, first, 9)
    await played(store, seated, second, 4)
    await played(store, seated, 0, 1_000)
    for season, score in ((first, 9), (second, 4)):
        assert places(await store.ranking_page(season, user, 1, 9)) == [(1, user, score)]
    for season in (0, 10**6):
        assert await store.ranking_page(season, user, 1, 9) == RankingView(season, 0, 0, 0, ())


async def test_only_finished_raids_count(cluster: Cluster, store: Store) -> None:
    season = season_number()
    seated = await members(cluster, store, 1)
    row = opening(seated, await leased(store), season=season)
    assert await store.write(row)
    assert await store.write(
        msgspec.structs.replace(aborted(row), scores=result(row, 50).scores, season=season)
    )
    found = await store.raid(row.raid)
    assert found is not None and found.state is RaidState.ABORTED
    assert (await store.ranking_page(season, seated[0].user, 1, 9)).size == 0


async def test_neighbours_on_both_sides(cluster: Cluster, store: Store) -> None:
    season = season_number()
    seated = await members(cluster, store, 7)
    users = [member.user for member in seated]
    await played(store, seated, season, *range(70, 0, -10))

    async def ranks(index: int, around: int) -> list[int]:
        view = await store.ranking_around(season, users[index], around)
        assert (view.own_rank, view.own_score, view.size) == (index + 1, 70 - 10 * index, 7)
        assert [row.user for row in view.rows] == [users[row.rank - 1] for row in view.rows]
        return [row.rank for row in view.rows]

    assert await ranks(3, 2) == [2, 3, 4, 5, 6]
    assert await ranks(0, 2) == [1, 2, 3]
    assert await ranks(6, 2) == [5, 6, 7]
    assert await ranks(2, 0) == [3]
    assert await ranks(2, 50) == [1, 2, 3, 4, 5, 6, 7]
    (stranger,) = await members(cluster, store, 1)
    view = await store.ranking_around(season, stranger.user, 2)
    assert view == RankingView(season, 7, 0, 0, ())


async def test_the_board_of_friends(cluster: Cluster, store: Store) -> None:
    season = season_number()
    seated = await members(cluster, store, 5)
    users = [member.user for member in seated]
    await played(store, seated, season, 10, 50, 0, 40, 40)
    view = await store.ranking_of(
        season, users[0], [users[0], users[4], users[1], users[2], users[1], 10**9]
    )
    assert places(view) == [(1, users[1], 50), (3, users[4], 40), (4, users[0], 10)]
    assert (view.size, view.own_rank, view.own_score) == (4, 4, 10)
    assert (await store.ranking_of(season, users[0], [])).rows == ()
