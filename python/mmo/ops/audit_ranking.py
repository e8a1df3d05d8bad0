"""What the books of raids and of the ranking must satisfy: one result, its grants, the best score.

Owns these rules and their words, as `audit_checks` owns those of money and items; shares no
statement with the store. The board in Redis is compared by `audit_board`, for it is not in the
snapshot of the books. Run by `audit` in its snapshot.
"""

from mmo.ops.audit_checks import ROWS_MAX, Check
from mmo.state.grant import SourceKind
from mmo.state.raid import RaidState
from mmo.store.connection import Statement

_FINISHED, _ABORTED = int(RaidState.FINISHED), int(RaidState.ABORTED)
_GRANT = int(SourceKind.RAID)

BEST_SCORES = Statement(f"""
    SELECT b.user_id, b.season, b.best, COALESCE(k.score, 0)
    FROM (
        SELECT m.user_id, r.season, MAX(m.score) AS best
        FROM raid_member m JOIN raid r ON r.raid = m.raid
        WHERE r.state = {_FINISHED} AND r.season > 0 AND m.score > 0
        GROUP BY m.user_id, r.season
    ) b LEFT JOIN ranking k ON k.season = b.season AND k.user_id = b.user_id
    WHERE COALESCE(k.score, 0) <> b.best
    LIMIT {ROWS_MAX + 1}
""")

RANKED_RAIDS = Statement(f"""
    SELECT k.user_id, k.season, k.score, k.raid
    FROM ranking k
    LEFT JOIN raid_member m ON m.raid = k.raid AND m.user_id = k.user_id AND m.score = k.score
    LEFT JOIN raid r ON r.raid = m.raid AND r.season = k.season AND r.state = {_FINISHED}
    WHERE r.raid IS NULL
    LIMIT {ROWS_MAX + 1}
""")

RANKING_MARKS = Statement(f"""
    SELECT d.user_id, d.season, d.score, COALESCE(k.score, 0)
    FROM ranking_dirty d LEFT JOIN ranking k ON k.season = d.season AND k.user_id = d.user_id
    WHERE COALESCE(k.score, 0) < d.score
    LIMIT {ROWS_MAX + 1}
""")

HEAD_SCORES = Statement(f"""
    SELECT h.user_id, h.score_best, COALESCE(s.claimed, 0), COALESCE(s.best, 0)
    FROM player_head h LEFT JOIN (
        SELECT m.user_id, MAX(m.score) AS best,
               MAX(CASE WHEN g.claimed_version IS NOT NULL THEN m.score ELSE 0 END) AS claimed
        FROM raid_member m JOIN raid r ON r.raid = m.raid AND r.state = {_FINISHED}
        LEFT JOIN reward_grant g
            ON g.user_id = m.user_id AND g.source_kind = {_GRANT} AND g.source_id = m.raid
        GROUP BY m.user_id
    ) s ON s.user_id = h.user_id
    WHERE h.score_best < COALESCE(s.claimed, 0) OR h.score_best > COALESCE(s.best, 0)
    LIMIT {ROWS_MAX + 1}
""")

RAID_REWARDS = Statement(f"""
    SELECT m.user_id, m.raid, m.score, COUNT(g.user_id)
    FROM raid_member m JOIN raid r ON r.raid = m.raid AND r.state = {_FINISHED}
    LEFT JOIN reward_grant g
        ON g.user_id = m.user_id AND g.source_kind = {_GRANT} AND g.source_id = m.raid
    GROUP BY m.user_id, m.raid, m.score
    HAVING COUNT(g.user_id) > 1 OR (COUNT(g.user_id) = 0 AND m.score > 0)
    LIMIT {ROWS_MAX + 1}
""")

GRANTED_RAIDS = Statement(f"""
    SELECT g.user_id, g.source_id
    FROM reward_grant g
    LEFT JOIN raid_member m ON m.raid = g.source_id AND m.user_id = g.user_id
    LEFT JOIN raid r ON r.raid = m.raid AND r.state = {_FINISHED}
    WHERE g.source_kind = {_GRANT} AND r.raid IS NULL
    LIMIT {ROWS_MAX + 1}
""")

BUSY = Statement(f"""
    SELECT b.user_id, b.raid, COALESCE(r.state, 0)
    FROM raid_busy b
    LEFT JOIN raid_member m ON m.raid = b.raid AND m.user_id = b.user_id
    LEFT JOIN raid r ON r.raid = m.raid
    WHERE r.raid IS NULL OR r.state >= {_FINISHED}
    LIMIT {ROWS_MAX + 1}
""")

NOT_BUSY = Statement(f"""
    SELECT m.user_id, m.raid, r.state
    FROM raid r JOIN raid_member m ON m.raid = r.raid
    LEFT JOIN raid_busy b ON b.user_id = m.user_id AND b.raid = m.raid
    WHERE r.state < {_FINISHED} AND b.user_id IS NULL
    LIMIT {ROWS_MAX + 1}
""")

ENTRIES = Statement(f"""
    SELECT m.user_id, m.raid, m.day, (CASE WHEN r.state = {_ABORTED} THEN 0 ELSE r.day END)
    FROM raid_member m JOIN raid r ON r.raid = m.raid
    WHERE m.day <> (CASE WHEN r.state = {_ABORTED} THEN 0 ELSE r.day END)
    LIMIT {ROWS_MAX + 1}
""")

RESULTS = Statement(f"""
    SELECT 0, r.raid, r.state, COUNT(m.user_id), COUNT(m.score)
    FROM raid r LEFT JOIN raid_member m ON m.raid = r.raid
    GROUP BY r.raid, r.state
    HAVING COUNT(m.user_id) = 0 OR (r.state < {_FINISHED} AND COUNT(m.score) > 0)
    LIMIT {ROWS_MAX + 1}
""")

INPUTS = Statement(f"""
    SELECT 0, raid FROM raid
    WHERE state = {_FINISHED} AND OCTET_LENGTH(replay) > 0
        AND (inputs_hash IS NULL OR inputs_hash <> UNHEX(SHA2(replay, 256)))
    LIMIT {ROWS_MAX + 1}
""")

CHECKS: tuple[Check, ...] = (
    Check("ranking", BEST_SCORES, "season {1}: his best raid is {2}, the ranking says {3}"),
    Check(
        "ranking-raid",
        RANKED_RAIDS,
        "season {1}: raid {3}, which gave {2}, is no finished raid of his with that score",
    ),
    Check("ranking-mark", RANKING_MARKS, "season {1}: a mark of {2}, the ranking says {3}"),
    Check(
        "score-best",
        HEAD_SCORES,
        "his head says {1}; claimed rewards say at least {2}, his raids at most {3}",
    ),
    Check("raid-reward", RAID_REWARDS, "raid {1} with score {2} has {3} grants, not one"),
    Check("raid-grant", GRANTED_RAIDS, "a grant of raid {1}, which he did not finish"),
    Check("raid-busy", BUSY, "busy in raid {1} of state {2}, which he is not in any more"),
    Check("raid-busy", NOT_BUSY, "in raid {1} of state {2} without being busy"),
    Check("raid-entry", ENTRIES, "raid {1} counts on day {2}, not {3}"),
    Check("raid-result", RESULTS, "raid {1} of state {2} has {3} members and {4} scores"),
    Check("raid-inputs", INPUTS, "raid {1}: its inputs are not those of its hash"),
)
