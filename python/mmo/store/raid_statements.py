"""SQL of raids: opening, seats, start, checkpoints, result, takeover, and what is read of them.

Owns the texts only, in the forms that `statements` explains. A raid's row is its lock and its
fence: who writes for a raid names the server number and incarnation that run it. Used by `raids`.
"""

from mmo.store.connection import Statement
from mmo.store.statements import NOW_MS

_UNSETTLED = "state IN (1, 2)"

# -- opening ---------------------------------------------------------------------------------------

ADD_RAID = Statement("""
    INSERT INTO raid (raid, kind, map, seed, state, number, incarnation, season, generation, day,
        opened_ms, checkpoint, replay)
    VALUES (%s, %s, %s, %s, 1, %s, %s, %s, %s, %s, %s, '', '')
""")
_MEMBERS = """
    JSON_TABLE(%s, '$[*]' COLUMNS (
        raid BIGINT PATH '$[0]', user_id BIGINT PATH '$[1]', seat INT PATH '$[2]',
        session_epoch BIGINT PATH '$[3]', center INT PATH '$[4]', ticket BIGINT PATH '$[5]',
        name VARCHAR(64) CHARACTER SET utf8mb4 PATH '$[6]', level INT PATH '$[7]',
        attack BIGINT PATH '$[8]', day INT PATH '$[9]')) g
"""
ADD_BUSY = Statement(f"""
    INSERT INTO raid_busy (user_id, raid) SELECT g.user_id, g.raid FROM {_MEMBERS}
""")
ENTRIES_USED_UP = Statement("""
    SELECT m.user_id
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        raid BIGINT PATH '$[0]', user_id BIGINT PATH '$[1]', day INT PATH '$[9]')) g
    STRAIGHT_JOIN raid n FORCE INDEX (PRIMARY) ON n.raid = g.raid
    STRAIGHT_JOIN raid_member m FORCE INDEX (of_day) ON m.user_id = g.user_id AND m.day = g.day
    STRAIGHT_JOIN raid r FORCE INDEX (PRIMARY) ON r.raid = m.raid AND r.kind = n.kind
    GROUP BY m.user_id HAVING COUNT(*) >= %s LIMIT 1
""")
"""Counted by kind: that of the new raid, whose row is there already and whose seats are not."""

ADD_MEMBERS = Statement(f"""
    INSERT INTO raid_member (raid, user_id, seat, session_epoch, center, ticket, name, level,
        attack, day)
    SELECT g.raid, g.user_id, g.seat, g.session_epoch, g.center, g.ticket, g.name, g.level,
        g.attack, g.day
    FROM {_MEMBERS}
""")
IS_OPENED = Statement(f"""
    SELECT raid FROM raid FORCE INDEX (PRIMARY)
    WHERE raid = %s AND kind = %s AND map = %s AND seed = %s AND number = %s AND incarnation = %s
        AND {_UNSETTLED}
""")

# -- seats and start -------------------------------------------------------------------------------

PREPARE_SEAT = Statement(f"""
    UPDATE raid_member SET jti = %s, expires_ms = %s, session_epoch = %s
    WHERE raid = %s AND user_id = %s
        AND EXISTS (SELECT 1 FROM raid r FORCE INDEX (PRIMARY) WHERE r.raid = %s AND r.{_UNSETTLED})
        AND EXISTS (SELECT 1 FROM player_head h FORCE INDEX (PRIMARY)
            WHERE h.user_id = %s AND h.session_epoch = %s)
""")
CLAIM_SEAT = Statement(f"""
    UPDATE raid_member SET jti = ''
    WHERE raid = %s AND user_id = %s AND jti = %s AND jti <> '' AND expires_ms > %s
        AND EXISTS (SELECT 1 FROM raid r FORCE INDEX (PRIMARY)
            WHERE r.raid = %s AND r.number = %s AND r.incarnation = %s AND r.{_UNSETTLED})
        AND EXISTS (SELECT 1 FROM player_head h FORCE INDEX (PRIMARY)
            WHERE h.user_id = %s AND h.session_epoch = %s)
""")
START_RAID = Statement("""
    UPDATE raid SET state = 2, started_ms = %s
    WHERE raid = %s AND number = %s AND incarnation = %s
        AND (state = 1 OR (state = 2 AND started_ms = %s))
""")
"""Matches also when it started exactly so already: a lost answer may be asked again."""

KEEP_CHECKPOINTS = Statement(f"""
    UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (
        raid BIGINT PATH '$[0]', incarnation BIGINT PATH '$[1]', tick BIGINT PATH '$[2]',
        checkpoint LONGTEXT CHARACTER SET ascii PATH '$[3]')) g
    STRAIGHT_JOIN raid r FORCE INDEX (PRIMARY)
        ON r.raid = g.raid AND r.incarnation = g.incarnation AND r.{_UNSETTLED}
        AND r.checkpoint_tick <= g.tick
    SET r.checkpoint_tick = g.tick, r.checkpoint = UNHEX(g.checkpoint)
""")

# -- result ----------------------------------------------------------------------------------------

LOCK_RAID = Statement("""
    SELECT state, number, incarnation, reason, hp, season, inputs_hash
    FROM raid FORCE INDEX (PRIMARY) WHERE raid = %s FOR UPDATE
""")
SETTLE_RAID = Statement("""
    UPDATE raid SET state = %s, reason = %s, season = %s, hp = %s, generation = %s, ended_ms = %s,
        inputs_hash = UNHEX(%s), replay = UNHEX(%s), checkpoint = ''
    WHERE raid = %s
""")
KEEP_SCORES = Statement("""
    UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (
        raid BIGINT PATH '$[0]', user_id BIGINT PATH '$[1]', seat INT PATH '$[2]',
        score BIGINT PATH '$[3]')) g
    STRAIGHT_JOIN raid_member m FORCE INDEX (PRIMARY)
        ON m.raid = g.raid AND m.user_id = g.user_id AND m.seat = g.seat
    SET m.score = g.score
""")
READ_SCORES = Statement("""
    SELECT user_id, seat, score FROM raid_member FORCE INDEX (PRIMARY)
    WHERE raid = %s AND score IS NOT NULL
""")
REFUND_ENTRIES = Statement("UPDATE raid_member SET day = 0 WHERE raid = %s")
FREE_MEMBERS = Statement("""
    DELETE b FROM raid_member m FORCE INDEX (PRIMARY)
    STRAIGHT_JOIN raid_busy b FORCE INDEX (PRIMARY) ON b.user_id = m.user_id AND b.raid = m.raid
    WHERE m.raid = %s
""")

# -- takeover --------------------------------------------------------------------------------------

_SEATS = """
    (SELECT JSON_ARRAYAGG(JSON_ARRAY(m.user_id, m.seat, m.session_epoch, m.center, m.ticket, m.name,
        m.level, m.attack, m.score)) FROM raid_member m FORCE INDEX (PRIMARY)
     WHERE m.raid = r.raid)
"""
ORPHANS = Statement(f"""
    SELECT r.raid, r.kind, r.map, r.seed, r.state, r.number, r.incarnation, r.season, r.generation,
        {_SEATS}, r.checkpoint, r.takeovers, r.opened_ms
    FROM raid r FORCE INDEX (of_state)
    LEFT JOIN node_lease l FORCE INDEX (PRIMARY) ON l.number = r.number
        AND l.incarnation = r.incarnation AND l.until_ms > {NOW_MS}
    WHERE r.{_UNSETTLED} AND NOT (r.number = %s AND r.incarnation = %s)
        AND (r.number = %s OR l.number IS NULL)
    ORDER BY r.opened_ms, r.raid LIMIT %s
""")
TAKE_RAID = Statement(f"""
    UPDATE raid r SET r.number = %s, r.incarnation = %s, r.takeovers = r.takeovers + 1
    WHERE r.raid = %s AND r.number = %s AND r.incarnation = %s AND r.{_UNSETTLED}
        AND (r.number = %s OR NOT EXISTS (SELECT 1 FROM node_lease l FORCE INDEX (PRIMARY)
            WHERE l.number = %s AND l.incarnation = %s AND l.until_ms > {NOW_MS}))
""")
RUNS_RAID = Statement(f"""
    SELECT raid FROM raid FORCE INDEX (PRIMARY)
    WHERE raid = %s AND number = %s AND incarnation = %s AND takeovers > 0 AND {_UNSETTLED}
""")

# -- what is read ----------------------------------------------------------------------------------

READ_RAID = Statement(f"""
    SELECT r.raid, r.kind, r.map, r.seed, r.state, r.reason, r.number, r.incarnation, r.season,
        r.generation, r.hp, {_SEATS}, r.inputs_hash, r.replay, r.opened_ms, r.started_ms, r.ended_ms
    FROM raid r FORCE INDEX (PRIMARY) WHERE r.raid = %s
""")
READ_CARD = Statement("""
    SELECT h.user_id, a.name, h.session_epoch, h.level, h.score_best,
        (SELECT JSON_ARRAYAGG(JSON_ARRAY(i.code, i.enhance, i.expires_ms))
         FROM item i FORCE INDEX (PRIMARY) WHERE i.user_id = h.user_id AND i.equipped),
        COALESCE(b.raid, 0), COALESCE(r.kind, 0), COALESCE(m.seat, 0), COALESCE(r.number, 0),
        (SELECT JSON_ARRAYAGG(e.kind) FROM raid_member d FORCE INDEX (of_day)
         STRAIGHT_JOIN raid e FORCE INDEX (PRIMARY) ON e.raid = d.raid
         WHERE d.user_id = h.user_id AND d.day = %s AND d.day > 0)
    FROM player_head h FORCE INDEX (PRIMARY)
    STRAIGHT_JOIN account a FORCE INDEX (PRIMARY) ON a.user_id = h.user_id
    LEFT JOIN raid_busy b FORCE INDEX (PRIMARY) ON b.user_id = h.user_id
    LEFT JOIN raid r FORCE INDEX (PRIMARY) ON r.raid = b.raid
    LEFT JOIN raid_member m FORCE INDEX (PRIMARY) ON m.raid = b.raid AND m.user_id = h.user_id
    WHERE h.user_id = %s
""")
DAY_OF_RAID = Statement("SELECT day FROM raid FORCE INDEX (PRIMARY) WHERE raid = %s")
