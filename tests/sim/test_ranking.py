"""The ranking over a whole cluster in one process: who asks where he is, and outages."""

from collections.abc import Iterator

import pytest
from tests.sim.realm import Realm

from mmo.testing.fake_raids import FakeRank
from mmo.wire.messages.ranking import (
    RankingAround,
    RankingFriends,
    RankingOk,
    RankingPage,
    RankingRow,
)
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

SEASON = 1


@pytest.fixture
def realm() -> Iterator[Realm]:
    realm = Realm()
    yield realm
    realm.close()


def ranked(realm: Realm, *scores: int) -> list[str]:
    """New players with these best scores; their names."""
    names = []
    for user, score in enumerate(scores, 1):
        names.append(f"player{user}")
        realm.register(names[-1])
        realm.database.raid_tables.ranking[SEASON, user] = FakeRank(score, user, 1)
    return names


def test_ranking_when_asked_at_the_center_then_all_three_questions_are_answered(
    realm: Realm,
) -> None:
    names = ranked(realm, 10, 40, 30, 30)
    anna = realm.arrive(names[0])[0]
    rows = [RankingRow(1, 2, names[1], 40), RankingRow(2, 3, names[2], 30)]
    last = [RankingRow(3, 4, names[3], 30), RankingRow(4, 1, names[0], 10)]
    assert realm.asks(anna, RankingPage(1, 2, SEASON)) == RankingOk(SEASON, 4, 4, 10, rows)
    assert realm.asks(anna, RankingAround(1, SEASON)) == RankingOk(SEASON, 4, 4, 10, last)
    assert realm.asks(anna, RankingFriends([2, 1], SEASON)) == RankingOk(
        SEASON, 4, 4, 10, [rows[0], last[1]]
    )
    for season in (77, 0):  # no such season; at this clock's time none runs
        refused = realm.asks(anna, RankingPage(1, 3, season))
        assert isinstance(refused, Refused) and refused.code == Code.RANKING_SEASON_UNKNOWN


def test_ranking_when_the_database_is_away_then_is_refused_for_now(realm: Realm) -> None:
    (name,) = ranked(realm, 10)
    anna = realm.arrive(name)[0]
    realm.database.is_down = True
    refused = realm.asks(anna, RankingPage(1, 3, SEASON))
    assert isinstance(refused, Refused) and refused.code == Code.RETRY_LATER
    realm.database.is_down = False
    assert isinstance(realm.asks(anna, RankingPage(1, 3, SEASON)), RankingOk)
