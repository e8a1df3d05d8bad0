"""The ranking in MySQL: best scores as maxima, the board's order, and the marks of its repair.

Owns the statements on `ranking` and `ranking_dirty` and the answers read from them; Redis, which
repeats the board, is `board`. Called by `raids` within a result, by `durable` and by `board`.

The order of the board is one for both stores: the higher score first; of equal scores the lower
user id, which is the older account. MySQL scans the index `board` as it lies.
"""

from collections.abc import Sequence

import msgspec

from mmo.contract import RankingEntry, RankingView
from mmo.state.raid import RaidSettled
from mmo.store.connection import Connection, Statement
from mmo.store.statements import NOW_MS

_json = msgspec.json.Encoder().encode

_SCORES = """
    JSON_TABLE(%s, '$[*]' COLUMNS (
        season INT PATH '$[0]', user_id BIGINT PATH '$[1]', score BIGINT PATH '$[2]',
        raid BIGINT PATH '$[3]', since_ms BIGINT PATH '$[4]')) g
"""
RAISE_SCORES = Statement(f"""
    INSERT INTO ranking (season, user_id, score, raid, since_ms)
    SELECT g.season, g.user_id, g.score, g.raid, g.since_ms FROM {_SCORES}
    ON DUPLICATE KEY UPDATE
        raid = IF(VALUES(score) > ranking.score, VALUES(raid), ranking.raid),
        since_ms = IF(VALUES(score) > ranking.score, VALUES(since_ms), ranking.since_ms),
        score = GREATEST(ranking.score, VALUES(score))
""")
"""`score` last: what stands before it compares with the old one."""

MARK_RAISED = Statement(f"""
    INSERT INTO ranking_dirty (season, user_id, score, since_ms)
    SELECT r.season, r.user_id, r.score, {NOW_MS}
    FROM {_SCORES}
    STRAIGHT_JOIN ranking r FORCE INDEX (PRIMARY)
        ON r.season = g.season AND r.user_id = g.user_id AND r.raid = g.raid
    ON DUPLICATE KEY UPDATE score = VALUES(score)
""")
"""Only of those whose best is this raid's; the mark keeps the time of its oldest change."""

_PLACES = """
    SELECT p.user_id, a.name, p.score FROM ({}) p
    STRAIGHT_JOIN account a FORCE INDEX (PRIMARY) ON a.user_id = p.user_id
    ORDER BY p.board_order, p.user_id
"""
PAGE = Statement(
    _PLACES.format("""
        SELECT r.user_id, r.score, r.board_order FROM ranking r FORCE INDEX (board)
        WHERE r.season = %s ORDER BY r.board_order, r.user_id LIMIT %s OFFSET %s
    """)
)
OF_USERS = Statement(
    _PLACES.format("""
        SELECT r.user_id, r.score, r.board_order
        FROM JSON_TABLE(%s, '$[*]' COLUMNS (user_id BIGINT PATH '$')) g
        STRAIGHT_JOIN ranking r FORCE INDEX (PRIMARY) ON r.season = %s AND r.user_id = g.user_id
    """)
)
SIZE = Statement("SELECT COUNT(*) FROM ranking FORCE INDEX (board) WHERE season = %s")
SCORE_OF = Statement("""
    SELECT score FROM ranking FORCE INDEX (PRIMARY) WHERE season = %s AND user_id = %s
""")
BETTER = Statement("""
    SELECT (SELECT COUNT(*) FROM ranking r FORCE INDEX (board)
            WHERE r.season = %s AND r.board_order < %s)
         + (SELECT COUNT(*) FROM ranking t FORCE INDEX (board)
            WHERE t.season = %s AND t.board_order = %s AND t.user_id < %s)
""")
"""Places before one's own: a walk over the index, as long as the place is high in number."""


async def raise_scores(connection: Connection, row: RaidSettled) -> None:
    """Within a result's transaction: the best scores of its season, and their marks."""
    if not row.season:
        return
    rows = [
        [row.season, one.user, one.score, row.raid, row.now_ms]
        for one in sorted(row.scores, key=lambda one: one.user)
        if one.score > 0
    ]
    if rows:
        await connection.execute(RAISE_SCORES, _json(rows))
        await connection.execute(MARK_RAISED, _json(rows))


async def page(
    connection: Connection, season: int, user: int, start: int, count: int
) -> RankingView:
    """See `Store.ranking_page`."""
    rows = await connection.rows(PAGE, season, count, start - 1)
    entries = tuple(RankingEntry(start + i, *row) for i, row in enumerate(rows))
    return await _view(connection, season, user, entries)


async def around(connection: Connection, season: int, user: int, around: int) -> RankingView:
    """See `Store.ranking_around`."""
    view = await _view(connection, season, user, ())
    if not view.own_rank:
        return view
    start = max(1, view.own_rank - around)
    rows = await connection.rows(PAGE, season, view.own_rank + around - start + 1, start - 1)
    entries = tuple(RankingEntry(start + i, *row) for i, row in enumerate(rows))
    return msgspec.structs.replace(view, rows=entries)


async def of_users(
    connection: Connection, season: int, user: int, users: Sequence[int]
) -> RankingView:
    """See `Store.ranking_of`."""
    rows = await connection.rows(OF_USERS, _json(sorted(set(users))), season)
    entries = tuple(
        [
            RankingEntry(await _rank(connection, season, one, score), one, name, score)
            for one, name, score in rows
        ]
    )
    return await _view(connection, season, user, entries)


async def _view(
    connection: Connection, season: int, user: int, entries: tuple[RankingEntry, ...]
) -> RankingView:
    size = await connection.row(SIZE, season)
    own = await connection.row(SCORE_OF, season, user)
    rank = await _rank(connection, season, user, own[0]) if own else 0
    return RankingView(season, size[0] if size else 0, rank, own[0] if own else 0, entries)


async def _rank(connection: Connection, season: int, user: int, score: int) -> int:
    better = await connection.row(BETTER, season, -score, season, -score, user)
    return int(better[0]) + 1 if better else 1
