"""What the result of a raid must satisfy beside the ranking: its seats, scores and their rewards.

Owns these rules and their words, as `audit_ranking` owns those of best scores, entries and who is
kept by a raid; shares no statement with the store. Whether a result is what its battle gives is
`replay`'s question. Run by `audit` in its snapshot.
"""

import msgspec

from mmo.ops.audit_checks import ROWS_MAX, Check
from mmo.state.grant import Bundle, SourceKind
from mmo.state.raid import RaidState
from mmo.store.connection import Connection, Statement

_FINISHED = int(RaidState.FINISHED)

SEATS = Statement(f"""
    SELECT COALESCE(MIN(m.user_id), 0), r.raid, COUNT(m.user_id), COALESCE(MAX(m.seat), -1)
    FROM raid r LEFT JOIN raid_member m ON m.raid = r.raid
    GROUP BY r.raid
    HAVING COUNT(m.user_id) = 0 OR MAX(m.seat) <> COUNT(m.user_id) - 1 OR MIN(m.seat) <> 0
    LIMIT {ROWS_MAX + 1}
""")

SCORED = Statement(f"""
    SELECT m.user_id, m.raid, r.state, COALESCE(m.score, -1)
    FROM raid_member m JOIN raid r ON r.raid = m.raid
    WHERE (r.state = {_FINISHED} AND m.score IS NULL)
       OR (r.state <> {_FINISHED} AND m.score IS NOT NULL)
    LIMIT {ROWS_MAX + 1}
""")

CHECKS = (
    Check("raid-seats", SEATS, "raid {1}: {2} members up to seat {3}"),
    Check("raid-scored", SCORED, "raid {1} in state {2}: score {3}"),
)

_RESULTS = Statement(f"""
    SELECT m.user_id, m.raid, m.score, g.bundle
    FROM raid r JOIN raid_member m ON m.raid = r.raid
    LEFT JOIN reward_grant g ON g.user_id = m.user_id AND g.source_id = m.raid
        AND g.source_kind = {int(SourceKind.RAID)}
    WHERE r.state = {_FINISHED} AND (m.score > 0 OR g.user_id IS NOT NULL)
""")
_decode_bundle = msgspec.msgpack.Decoder(Bundle).decode
Found = tuple[str, int, str]  # check, user, text


async def results(connection: Connection) -> tuple[int, list[Found]]:
    """Each score has a reward that says the same, and each reward its score: how many were
    compared, and what differs."""
    found: list[Found] = []
    rows = await connection.rows(_RESULTS)
    for user, raid, score, bundle in rows:
        given = None if bundle is None else _decode_bundle(bytes(bundle)).score
        if given != (score or 0) and len(found) <= ROWS_MAX:
            text = f"raid {raid}: scored {score}, his reward says {given}"
            found.append(("raid-score", int(user), text))
    return len(rows), found
