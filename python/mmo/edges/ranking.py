"""The ranking: pages, one's own neighbours and friends are read before a rule answers.

Owns the choice of the season (0 asks for the running one), the limits of the content, and the
reading. Runs at the center and the channel server; the rule is `systems.ranking`.
"""

from mmo.contract import Outside, RankingView, Sender, edge
from mmo.wire.messages.ranking import (
    RankingAround,
    RankingFriends,
    RankingPage,
    RankingRead,
    RankingRow,
)
from mmo.wire.opcode import Op

USERS_END = 1 << 63
"""No user id of the database is as high."""


@edge(Op.RANKING_PAGE, by="user", deadline_ms=3_000, rate="list")
async def page(message: RankingPage, outside: Outside, sender: Sender) -> RankingRead:
    """Places from `start` on, as many as asked and allowed."""
    ranking = outside.content.ranking
    season = message.season or ranking.season_at(outside.now_ms())
    if season not in ranking.seasons:
        return _nothing(season)
    count = min(message.count, ranking.page_rows_max)
    return _read(await outside.ranking_page(season, sender.user, message.start, count))


@edge(Op.RANKING_AROUND, by="user", deadline_ms=3_000, rate="list")
async def around(message: RankingAround, outside: Outside, sender: Sender) -> RankingRead:
    """The asker's place and his neighbours."""
    ranking = outside.content.ranking
    season = message.season or ranking.season_at(outside.now_ms())
    if season not in ranking.seasons:
        return _nothing(season)
    rows = min(message.around, ranking.around_rows_max)
    return _read(await outside.ranking_around(season, sender.user, rows))


@edge(Op.RANKING_FRIENDS, by="user", deadline_ms=3_000, rate="list")
async def friends(message: RankingFriends, outside: Outside, sender: Sender) -> RankingRead:
    """The board of the named users; of too many the first ones."""
    ranking = outside.content.ranking
    season = message.season or ranking.season_at(outside.now_ms())
    if season not in ranking.seasons:
        return _nothing(season)
    users = [user for user in message.users if 0 < user < USERS_END][: ranking.friends_max]
    return _read(await outside.ranking_of(season, sender.user, users))


def _nothing(season: int) -> RankingRead:
    return RankingRead(season, 0, 0, 0, [])


def _read(view: RankingView) -> RankingRead:
    rows = [RankingRow(row.rank, row.user, row.name, row.score) for row in view.rows]
    return RankingRead(view.season, view.size, view.own_rank, view.own_score, rows)
