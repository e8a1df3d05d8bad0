"""What the books of the ranking must satisfy beyond its scores, which `audit_raids` compares.

Owns these rules and their words; shares no statement with the store. The board in Redis is compared
by `audit_board`, for it is not in the snapshot of the books. Run by `audit` in its snapshot.
"""

from mmo.ops.audit_checks import ROWS_MAX, Check
from mmo.state.raid import RaidState
from mmo.store.connection import Statement

_FINISHED = int(RaidState.FINISHED)

RANKED_RAIDS = Statement(f"""
    SELECT k.user_id, k.season, k.score, k.raid
    FROM ranking k
    LEFT JOIN raid_member m ON m.raid = k.raid AND m.user_id = k.user_id AND m.score = k.score
    LEFT JOIN raid r ON r.raid = m.raid AND r.season = k.season AND r.state = {_FINISHED}
    WHERE r.raid IS NULL
    LIMIT {ROWS_MAX + 1}
""")

MARKS = Statement(f"""
    SELECT d.user_id, d.season, d.score, COALESCE(k.score, 0)
    FROM ranking_dirty d LEFT JOIN ranking k ON k.season = d.season AND k.user_id = d.user_id
    WHERE COALESCE(k.score, 0) < d.score
    LIMIT {ROWS_MAX + 1}
""")

CHECKS = (
    Check(
        "ranking-raid",
        RANKED_RAIDS,
        "season {1}: ranked with {2} for raid {3}, no finished raid of his with that score",
    ),
    Check("ranking-mark", MARKS, "season {1}: a mark of {2}, ranked with {3}"),
)
