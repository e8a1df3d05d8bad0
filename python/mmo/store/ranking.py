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
        SELECT r.user_id, CAST(-r.board_order AS SIGNED) AS score, r.board_order
        FROM ranking r FORCE INDEX (board)
        WHERE r.season = %s ORDER BY r.board_order, r.user_id LIMIT %s OFFSET %s
    """)
)
"""The page comes from the index alone, or each place that is left out would cost its row."""

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
SCORES_OF = Statement("""
    SELECT r.user_id, r.score
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (user_id BIGINT PATH '$')) g
    STRAIGHT_JOIN ranking r FORCE INDEX (PRIMARY) ON r.season = %s AND r.user_id = g.user_id
""")
COUNT_INSIDE = Statement("""
    SELECT COUNT(*) FROM ranking FORCE INDEX (board)
    WHERE season = %s AND board_order > %s AND board_order < %s
""")
COUNT_EQUAL = Statement("""
    SELECT COUNT(*) FROM ranking FORCE INDEX (board)
    WHERE season = %s AND board_order = %s AND user_id >= %s AND user_id < %s
""")
"""A place is found by a walk over the index from the top: as long as the place is high in number,
and one walk for any number of users."""

BIGINT_MAX = 2**63 - 1
NAMES = Statement("""
    SELECT JSON_ARRAYAGG(JSON_ARRAY(a.user_id, a.name))
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (user_id BIGINT PATH '$')) g
    STRAIGHT_JOIN account a FORCE INDEX (PRIMARY) ON a.user_id = g.user_id
""")

# -- the board in Redis ----------------------------------------------------------------------------

BOARDS = Statement("""
    SELECT s.season, COALESCE(k.epoch, 0)
    FROM (SELECT season FROM ranking FORCE INDEX (PRIMARY) GROUP BY season
          UNION SELECT season FROM ranking_board) s
    LEFT JOIN ranking_board k ON k.season = s.season
""")
EPOCH = Statement("SELECT epoch FROM ranking_board FORCE INDEX (PRIMARY) WHERE season = %s")
NAME_BOARD = Statement("""
    INSERT INTO ranking_board (season, epoch) VALUES (%s, %s)
    ON DUPLICATE KEY UPDATE epoch = VALUES(epoch)
""")
_LOCK = "CONCAT('mmo-ranking:', DATABASE(), ':', %s)"
LOCK_BOARD = Statement(f"SELECT GET_LOCK({_LOCK}, 0)")
HOLDS_BOARD = Statement(f"SELECT IS_USED_LOCK({_LOCK}) = CONNECTION_ID()")
FREE_BOARD = Statement(f"DO RELEASE_LOCK({_LOCK})")
CHUNK = Statement("""
    SELECT COUNT(*), MAX(p.user_id), JSON_ARRAYAGG(JSON_ARRAY(p.board_order, p.member))
    FROM (SELECT r.user_id, r.board_order, LPAD(r.user_id, 19, '0') AS member
          FROM ranking r FORCE INDEX (PRIMARY) WHERE r.season = %s AND r.user_id > %s
          ORDER BY r.user_id LIMIT %s) p
""")
"""As Redis takes it: the text goes from one server to the other and is never opened here."""

MARKS_OF_SEASON = Statement("""
    SELECT user_id, score FROM ranking_dirty FORCE INDEX (PRIMARY) WHERE season = %s
""")
MARKS = Statement("""
    SELECT COUNT(*) FROM ranking_dirty FORCE INDEX (PRIMARY) WHERE season = %s
""")
OLD_MARKS = Statement(
    f"SELECT season, user_id FROM ranking_dirty WHERE since_ms <= {NOW_MS} - %s LIMIT %s"
)
_MARK_KEYS = """
    JSON_TABLE(%s, '$[*]' COLUMNS (season INT PATH '$[0]', user_id BIGINT PATH '$[1]')) g
    STRAIGHT_JOIN ranking_dirty c FORCE INDEX (PRIMARY)
        ON c.season = g.season AND c.user_id = g.user_id
"""
TAKE_MARKS = Statement(f"""
    SELECT c.season, c.user_id, c.score FROM {_MARK_KEYS}
    WHERE c.since_ms <= {NOW_MS} - %s
    FOR UPDATE SKIP LOCKED
""")
RENEW_MARKS = Statement(f"UPDATE {_MARK_KEYS} SET c.since_ms = {NOW_MS}")
DROP_MARKS = Statement("""
    DELETE c FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        season INT PATH '$[0]', user_id BIGINT PATH '$[1]', score BIGINT PATH '$[2]')) g
    STRAIGHT_JOIN ranking_dirty c FORCE INDEX (PRIMARY)
        ON c.season = g.season AND c.user_id = g.user_id AND c.score <= g.score
""")

CHUNK_SCORES = 2_000
"""Of one step of filling a board: some milliseconds for each of MySQL, Redis and the loop."""


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
    own = await connection.row(SCORE_OF, season, user)
    scores = {one: score for one, _, score in rows} | ({user: own[0]} if own else {})
    ranks = await _ranks(connection, season, scores)
    entries = tuple(RankingEntry(ranks[one], one, name, score) for one, name, score in rows)
    size = await connection.row(SIZE, season)
    own_score = own[0] if own else 0
    return RankingView(season, size[0] if size else 0, ranks.get(user, 0), own_score, entries)


async def _view(
    connection: Connection, season: int, user: int, entries: tuple[RankingEntry, ...]
) -> RankingView:
    size = await connection.row(SIZE, season)
    own = await connection.row(SCORE_OF, season, user)
    ranks = await _ranks(connection, season, {user: own[0]} if own else {})
    own_score = own[0] if own else 0
    return RankingView(season, size[0] if size else 0, ranks.get(user, 0), own_score, entries)


async def _ranks(connection: Connection, season: int, scores: dict[int, int]) -> dict[int, int]:
    """Places of users with these scores: the index is walked once, from each to the next."""

    async def count(statement: Statement, *values: int) -> int:
        row = await connection.row(statement, season, *values)
        return int(row[0]) if row else 0

    ranks: dict[int, int] = {}
    rank, order, last = 1, -BIGINT_MAX, 0
    for user in sorted(scores, key=lambda one: (-scores[one], one)):
        below = -scores[user]
        if below == order:
            rank += await count(COUNT_EQUAL, order, last, user)
        else:
            rank += await count(COUNT_EQUAL, order, last, BIGINT_MAX)
            rank += await count(COUNT_INSIDE, order, below)
            rank += await count(COUNT_EQUAL, below, 0, user)
        ranks[user], order, last = rank, below, user
    return ranks


async def names(connection: Connection, users: Sequence[int]) -> dict[int, str]:
    """Account names by user; who does not exist is left out."""
    row = await connection.row(NAMES, _json(sorted(set(users))))
    return dict(msgspec.json.decode(row[0])) if row and row[0] else {}


async def scores_of(connection: Connection, season: int, users: Sequence[int]) -> dict[int, int]:
    """Scores of a season by user; who has none is left out."""
    rows = await connection.rows(SCORES_OF, _json(sorted(set(users))), season)
    return {row[0]: row[1] for row in rows}


async def boards(connection: Connection) -> dict[int, int]:
    """Seasons that have scores, or had a board, with the epoch of the board that counts."""
    return dict(await connection.rows(BOARDS))


async def sizes(connection: Connection, season: int) -> tuple[int, int]:
    """(scores, marks) of a season; the marks are counted later, so none of the scores is missed."""
    scores = await connection.row(SIZE, season)
    marks = await connection.row(MARKS, season)
    return (scores[0] if scores else 0, marks[0] if marks else 0)


async def lock_board(connection: Connection, season: int) -> bool:
    """Whether this connection may fill the board now; freed with the connection at the latest."""
    return await connection.row(LOCK_BOARD, season) == (1,)


async def holds_board(connection: Connection, season: int) -> bool:
    """Whether it still may."""
    return await connection.row(HOLDS_BOARD, season) == (1,)


async def free_board(connection: Connection, season: int) -> None:
    """Others may fill it."""
    await connection.execute(FREE_BOARD, season)


async def epoch_of(connection: Connection, season: int) -> int:
    """The epoch of the board that counts; 0: none."""
    row = await connection.row(EPOCH, season)
    return row[0] if row else 0


async def name_board(connection: Connection, season: int, epoch: int) -> None:
    """The board that counts from here on; 0: none."""
    await connection.execute(NAME_BOARD, season, epoch)


async def chunk(connection: Connection, season: int, after: int) -> tuple[int, int, str]:
    """(count, last user, JSON for Redis) of the scores of users above `after`."""
    row = await connection.row(CHUNK, season, after, CHUNK_SCORES)
    return (row[0], row[1], row[2]) if row and row[0] else (0, after, "[]")


async def marked(connection: Connection, season: int) -> list[tuple[int, int]]:
    """(user, score) of all marks of a season."""
    return [(row[0], row[1]) for row in await connection.rows(MARKS_OF_SEASON, season)]


async def take_marks(
    connection: Connection, after_ms: int, marks_max: int
) -> list[tuple[int, int, int]]:
    """(season, user, score) of marks older than `after_ms`; they count as made now, so that no
    other relay looks at them too."""
    keys = [list(row) for row in await connection.rows(OLD_MARKS, after_ms, marks_max)]
    if not keys:
        return []
    await connection.begin()
    taken = [
        (row[0], row[1], row[2])
        for row in await connection.rows(TAKE_MARKS, _json(sorted(keys)), after_ms)
    ]
    if taken:
        await connection.execute(RENEW_MARKS, _json(sorted(mark[:2] for mark in taken)))
    await connection.commit()
    return taken


async def drop_marks(connection: Connection, season: int, done: Sequence[tuple[int, int]]) -> None:
    """Marks whose score, or a better one, is in Redis; one that rose meanwhile stays."""
    rows = [[season, user, score] for user, score in sorted(done)]
    await connection.execute(DROP_MARKS, _json(rows))
