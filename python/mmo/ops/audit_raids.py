"""What the books of the raids must satisfy: one end, its scores, its rewards, the best of them.

Owns these rules and their words, as `audit_checks` owns those of money and items; shares no
statement with the store. Whether a result is what its battle gives is `replay`'s question. Run by
`audit` in its snapshot.
"""

import msgspec

from mmo.ops.audit_checks import ROWS_MAX, Check
from mmo.state.grant import Bundle, SourceKind
from mmo.state.raid import RaidState
from mmo.store.connection import Connection, Statement

_FINISHED, _ABORTED = int(RaidState.FINISHED), int(RaidState.ABORTED)
_GRANT = int(SourceKind.RAID)

SEATS = Statement(f"""
    SELECT COALESCE(MIN(m.user_id), 0), r.raid, COUNT(m.user_id), COALESCE(MAX(m.seat), -1)
    FROM raid r LEFT JOIN raid_member m ON m.raid = r.raid
    GROUP BY r.raid
    HAVING COUNT(m.user_id) = 0 OR MAX(m.seat) <> COUNT(m.user_id) - 1 OR MIN(m.seat) <> 0
    LIMIT {ROWS_MAX + 1}
""")

SCORED = Statement(f"""
    SELECT m.user_id, m.raid, r.state, COALESCE(m.score, -1), m.day
    FROM raid_member m JOIN raid r ON r.raid = m.raid
    WHERE (r.state = {_FINISHED} AND m.score IS NULL)
       OR (r.state <> {_FINISHED} AND m.score IS NOT NULL)
       OR (r.state = {_ABORTED} AND m.day <> 0)
    LIMIT {ROWS_MAX + 1}
""")

BUSY = Statement(f"""
    SELECT b.user_id, b.raid, COALESCE(r.state, 0)
    FROM raid_busy b
    LEFT JOIN raid r ON r.raid = b.raid
    LEFT JOIN raid_member m ON m.raid = b.raid AND m.user_id = b.user_id
    WHERE r.raid IS NULL OR r.state >= {_FINISHED} OR m.user_id IS NULL
    LIMIT {ROWS_MAX + 1}
""")

FREE = Statement(f"""
    SELECT m.user_id, m.raid
    FROM raid r JOIN raid_member m ON m.raid = r.raid
    LEFT JOIN raid_busy b ON b.user_id = m.user_id AND b.raid = m.raid
    WHERE r.state < {_FINISHED} AND b.user_id IS NULL
    LIMIT {ROWS_MAX + 1}
""")

HASHES = Statement(f"""
    SELECT 0, raid FROM raid
    WHERE state = {_FINISHED} AND (inputs_hash IS NULL
       OR HEX(inputs_hash) <> UPPER(SHA2(replay, 256)))
    LIMIT {ROWS_MAX + 1}
""")

FOREIGN_GRANTS = Statement(f"""
    SELECT g.user_id, g.source_id, COALESCE(r.state, 0)
    FROM reward_grant g
    LEFT JOIN raid_member m ON m.raid = g.source_id AND m.user_id = g.user_id
    LEFT JOIN raid r ON r.raid = m.raid
    WHERE g.source_kind = {_GRANT} AND (r.raid IS NULL OR r.state <> {_FINISHED})
    LIMIT {ROWS_MAX + 1}
""")

BEST = Statement(f"""
    SELECT k.user_id, k.season, COALESCE(b.score, 0), COALESCE(s.score, 0)
    FROM (
        SELECT season, user_id FROM ranking
        UNION SELECT r.season, m.user_id FROM raid r JOIN raid_member m ON m.raid = r.raid
        WHERE r.state = {_FINISHED} AND r.season > 0 AND m.score > 0
    ) k
    LEFT JOIN ranking b ON b.season = k.season AND b.user_id = k.user_id
    LEFT JOIN (
        SELECT r.season, m.user_id, MAX(m.score) AS score
        FROM raid r JOIN raid_member m ON m.raid = r.raid
        WHERE r.state = {_FINISHED} AND r.season > 0 GROUP BY r.season, m.user_id
    ) s ON s.season = k.season AND s.user_id = k.user_id
    WHERE COALESCE(b.score, 0) <> COALESCE(s.score, 0)
    LIMIT {ROWS_MAX + 1}
""")

CHECKS = (
    Check("raid-seats", SEATS, "raid {1}: {2} members up to seat {3}"),
    Check("raid-scored", SCORED, "raid {1} in state {2}: score {3}, entry of day {4}"),
    Check("raid-busy", BUSY, "is kept by raid {1}, which is in state {2} or not his"),
    Check("raid-free", FREE, "is in raid {1}, which is not settled, and free for another"),
    Check("raid-hash", HASHES, "raid {1}: its record is not the one that its result was made of"),
    Check("raid-grant", FOREIGN_GRANTS, "holds a reward of raid {1}, which is in state {2}"),
    Check("raid-best", BEST, "season {1}: ranked with {2}, his best result is {3}"),
)

_RESULTS = Statement(f"""
    SELECT m.user_id, m.raid, m.score, g.bundle, g.claimed_version IS NOT NULL
    FROM raid r JOIN raid_member m ON m.raid = r.raid
    LEFT JOIN reward_grant g ON g.user_id = m.user_id AND g.source_id = m.raid
        AND g.source_kind = {_GRANT}
    WHERE r.state = {_FINISHED} AND (m.score > 0 OR g.user_id IS NOT NULL)
""")
_HEADS = Statement("SELECT user_id, score_best FROM player_head")
_decode_bundle = msgspec.msgpack.Decoder(Bundle).decode
Found = tuple[str, int, str]  # check, user, text


async def results(connection: Connection) -> tuple[int, list[Found]]:
    """Each score has its reward and each reward its score; a head's best is the best of what its
    owner claimed. How many results were compared, and what differs."""
    found: list[Found] = []
    best: dict[int, int] = {}
    rows = await connection.rows(_RESULTS)
    for user, raid, score, bundle, claimed in rows:
        given = None if bundle is None else _decode_bundle(bytes(bundle)).score
        if given != (score or 0):
            text = f"raid {raid}: scored {score}, his reward says {given}"
            found.append(("raid-score", int(user), text))
        if claimed and given:
            best[int(user)] = max(best.get(int(user), 0), given)
    for user, score in await connection.rows(_HEADS):
        if best.get(int(user), 0) != int(score):
            text = f"best score {score}, the best that he claimed is {best.get(int(user), 0)}"
            found.append(("score-best", int(user), text))
    return len(rows), found[: ROWS_MAX + 1]
