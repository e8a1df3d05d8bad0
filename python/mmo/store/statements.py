"""Every SQL text that moves a player, as a module constant that fits any group size.

Owns the texts only; nothing here runs. A statement over a group takes ONE value: a JSON list of its
rows, sorted by user id, opened by JSON_TABLE (MariaDB 10.6 and MySQL 8.0, both and later).
`STRAIGHT_JOIN ... FORCE INDEX (PRIMARY)` is no taste: on a small table the optimiser prefers a full
scan, which meets rows that other players' transactions have locked. A test explains each of them on
tables of four rows. Blobs travel as hex, last in their row: each path is looked for from its start.
"""

from mmo.store.connection import Statement

NOW_MS = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
"""The clock of the database: leases and dirty marks, which several machines compare."""

RETAKEN_MS = 1_000
"""The mark of a snapshot that a relay took and did not settle, because its way to Redis is ill or
it died, is old again after this long: another one takes it."""

# -- group commit, step 2 to 4 ---------------------------------------------------------------------

LOCK_HEADS = Statement("""
    SELECT JSON_ARRAYAGG(
        JSON_ARRAY(h.user_id, h.version, h.place_epoch, h.operation_floor_epoch))
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (user_id BIGINT PATH '$')) g
    STRAIGHT_JOIN player_head h FORCE INDEX (PRIMARY) ON h.user_id = g.user_id
    FOR UPDATE SKIP LOCKED
""")

MOVE_HEADS = Statement("""
    UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', version BIGINT PATH '$[1]',
        level INT PATH '$[2]', exp BIGINT PATH '$[3]', gold BIGINT PATH '$[4]',
        cash BIGINT PATH '$[5]', mileage BIGINT PATH '$[6]', score_best BIGINT PATH '$[7]')) g
    STRAIGHT_JOIN player_head h FORCE INDEX (PRIMARY)
        ON h.user_id = g.user_id AND h.version = g.version
    SET h.version = h.version + 1, h.level = g.level, h.exp = g.exp, h.gold = h.gold + g.gold,
        h.cash = h.cash + g.cash, h.mileage = h.mileage + g.mileage, h.score_best = g.score_best
""")

ADD_EVENTS = Statement("""
    INSERT INTO event_log (user_id, operation_epoch, operation_counter, version, kind, request_hash,
        answer_opcode, answer, changes, generation, created_ms)
    SELECT g.user_id, g.operation_epoch, g.operation_counter, g.version, g.kind,
        UNHEX(g.request_hash), g.answer_opcode, UNHEX(g.answer), UNHEX(g.changes), g.generation,
        g.created_ms
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', operation_epoch BIGINT PATH '$[1]',
        operation_counter BIGINT PATH '$[2]', version BIGINT PATH '$[3]', kind INT PATH '$[4]',
        answer_opcode INT PATH '$[5]', generation BIGINT PATH '$[6]',
        created_ms BIGINT PATH '$[7]', request_hash CHAR(16) CHARACTER SET ascii PATH '$[8]',
        answer MEDIUMTEXT CHARACTER SET ascii PATH '$[9]',
        changes MEDIUMTEXT CHARACTER SET ascii PATH '$[10]')) g
""")

ADD_COINS = Statement("""
    INSERT INTO ledger (user_id, version, line, account, currency, amount)
    SELECT g.user_id, g.version, g.line, g.account, g.currency, g.amount
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', version BIGINT PATH '$[1]', line INT PATH '$[2]',
        account INT PATH '$[3]', currency INT PATH '$[4]', amount BIGINT PATH '$[5]')) g
""")

ADD_ITEM_LINES = Statement("""
    INSERT INTO item_ledger (user_id, version, line, uid, code, kind, source, delta)
    SELECT g.user_id, g.version, g.line, g.uid, g.code, g.kind, g.source, g.delta
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', version BIGINT PATH '$[1]', line INT PATH '$[2]',
        uid BIGINT PATH '$[3]', code INT PATH '$[4]', kind INT PATH '$[5]',
        source INT PATH '$[6]', delta BIGINT PATH '$[7]')) g
""")

CLAIM_GRANTS = Statement("""
    UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', source_kind INT PATH '$[1]', source_id BIGINT PATH '$[2]',
        version BIGINT PATH '$[3]')) g
    STRAIGHT_JOIN reward_grant r FORCE INDEX (PRIMARY)
        ON r.user_id = g.user_id AND r.source_kind = g.source_kind AND r.source_id = g.source_id
        AND r.claimed_version IS NULL
    SET r.claimed_version = g.version
""")
ARE_CLAIMED = Statement("""
    SELECT 1 FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', source_kind INT PATH '$[1]', source_id BIGINT PATH '$[2]')) g
    STRAIGHT_JOIN reward_grant r FORCE INDEX (PRIMARY)
        ON r.user_id = g.user_id AND r.source_kind = g.source_kind AND r.source_id = g.source_id
    WHERE r.claimed_version IS NOT NULL LIMIT 1
""")

MARK_DIRTY = Statement(f"""
    INSERT INTO cache_dirty (user_id, version, since_ms)
    SELECT g.user_id, g.version, {NOW_MS}
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', version BIGINT PATH '$[1]')) g
    ON DUPLICATE KEY UPDATE version = VALUES(version)
""")

# -- what a member of a group may meet afterwards --------------------------------------------------

FIND_OPERATION = Statement("""
    SELECT request_hash, answer_opcode, answer, version FROM event_log FORCE INDEX (PRIMARY)
    WHERE user_id = %s AND operation_epoch = %s AND operation_counter = %s
""")

# -- load ------------------------------------------------------------------------------------------

_HEAD = """
    SELECT h.user_id, a.name, h.version, h.session_epoch, h.place_number, h.place_epoch,
        h.operation_floor_epoch, h.last_login_ms, h.login_ms, h.level, h.exp, h.gold, h.cash,
        h.mileage, h.score_best
"""
_OWNED = """
    (SELECT JSON_ARRAYAGG(JSON_ARRAY(i.uid, i.kind, i.slot, i.code, i.count, i.enhance,
        i.equipped, i.expires_ms, i.attempts)) FROM item i WHERE i.user_id = h.user_id),
    (SELECT JSON_ARRAYAGG(JSON_ARRAY(c.kind, c.counter_key, c.time_window, c.count))
     FROM counter c WHERE c.user_id = h.user_id),
    (SELECT JSON_ARRAYAGG(JSON_ARRAY(p.pass_id, p.level, p.exp, p.paid, p.missions))
     FROM pass_progress p WHERE p.user_id = h.user_id),
    (SELECT JSON_ARRAYAGG(JSON_ARRAY(l.pass_id, l.level, l.line))
     FROM pass_claim l WHERE l.user_id = h.user_id)
"""
_FROM_HEAD = "FROM player_head h JOIN account a ON a.user_id = h.user_id WHERE h.user_id = %s"

READ_HEAD = Statement(f"{_HEAD} {_FROM_HEAD}")
READ_HEAD_AND_OWNED = Statement(f"{_HEAD}, {_OWNED} {_FROM_HEAD}")
"""One statement, so one read view: what is owned is that of exactly this version."""

LATEST_OPERATIONS = Statement("""
    SELECT operation_epoch, operation_counter, request_hash, answer_opcode, answer
    FROM event_log FORCE INDEX (PRIMARY) WHERE user_id = %s AND operation_epoch > 0
    ORDER BY operation_epoch DESC, operation_counter DESC LIMIT 64
""")
HIGHEST_OPERATIONS = Statement("""
    SELECT operation_epoch, MAX(operation_counter) FROM event_log FORCE INDEX (PRIMARY)
    WHERE user_id = %s GROUP BY operation_epoch
""")

# -- places ----------------------------------------------------------------------------------------

LOCK_HEAD = Statement("""
    SELECT session_epoch, place_number, place_epoch, reservation_number, reservation_jti,
        reservation_expires_ms
    FROM player_head FORCE INDEX (PRIMARY) WHERE user_id = %s FOR UPDATE
""")
HOLD_HEAD = Statement("""
    SELECT version FROM player_head FORCE INDEX (PRIMARY) WHERE user_id = %s FOR UPDATE NOWAIT
""")
_TAKE = """
    UPDATE player_head SET place_number = %s, place_epoch = place_epoch + 1,
        reservation_number = 0, reservation_jti = '', reservation_expires_ms = 0
    WHERE user_id = %s AND session_epoch = %s
"""
CLAIM_RESERVED = Statement(f"""{_TAKE}
    AND reservation_number = %s AND reservation_jti = %s AND reservation_jti <> ''
    AND reservation_expires_ms > %s
""")
CLAIM_ANYWHERE = Statement(_TAKE)
CLAIM_AGAIN = Statement(f"{_TAKE} AND place_number = %s")

PREPARE_PLACE = Statement("""
    UPDATE player_head
    SET reservation_number = %s, reservation_jti = %s, reservation_expires_ms = %s
    WHERE user_id = %s AND session_epoch = %s AND %s IN (0, place_number)
""")
OPEN_SESSION = Statement("""
    UPDATE player_head h JOIN account a ON a.user_id = h.user_id
    SET h.session_epoch = h.session_epoch + 1, h.place_epoch = h.place_epoch + 1,
        h.place_number = 0, h.reservation_number = %s, h.reservation_jti = %s,
        h.reservation_expires_ms = %s, h.last_login_ms = h.login_ms, h.login_ms = %s,
        a.failures = 0, a.locked_until_ms = 0
    WHERE h.user_id = %s AND h.session_epoch = %s
""")
END_SESSION = Statement("""
    UPDATE player_head
    SET session_epoch = session_epoch + 1, place_epoch = place_epoch + 1, place_number = 0,
        reservation_number = 0, reservation_jti = '', reservation_expires_ms = 0
    WHERE user_id = %s
""")
CLOSE_SESSION = Statement(f"{END_SESSION.text} AND session_epoch = %s")

# -- accounts --------------------------------------------------------------------------------------

ADD_ACCOUNT = Statement("INSERT INTO account (name, password_hash, created_ms) VALUES (%s, %s, %s)")
ADD_HEAD = Statement("INSERT INTO player_head (user_id) VALUES (%s)")
FIND_ACCOUNT = Statement("""
    SELECT a.user_id, a.name, a.password_hash, h.session_epoch, a.locked_until_ms, a.failures,
           a.banned_until_ms
    FROM account a JOIN player_head h ON h.user_id = a.user_id
    WHERE a.name = %s AND LENGTH(a.name) = LENGTH(%s)
""")
"""Twice the name: the collation takes 'ann ' for 'ann', which is right for who registers and wrong
for who logs in."""
COUNT_FAILURE = Statement("""
    UPDATE account SET failures = GREATEST(failures + 1, %s) WHERE user_id = %s
""")
LOCK_ACCOUNT = Statement("""
    UPDATE account SET failures = %s, locked_until_ms = GREATEST(locked_until_ms, %s)
    WHERE user_id = %s
""")

# -- sweep and grants ------------------------------------------------------------------------------

READ_SEATS = Statement("""
    SELECT JSON_ARRAYAGG(
        JSON_ARRAY(h.user_id, h.session_epoch, h.place_number, h.place_epoch))
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (user_id BIGINT PATH '$')) g
    STRAIGHT_JOIN player_head h FORCE INDEX (PRIMARY) ON h.user_id = g.user_id
""")
READ_GRANTS = Statement("""
    SELECT r.user_id, r.source_kind, r.source_id, r.bundle
    FROM (
        SELECT k.user_id, k.source_kind, k.source_id, ROW_NUMBER() OVER (
            PARTITION BY k.user_id ORDER BY k.source_kind, k.source_id) AS place
        FROM JSON_TABLE(%s, '$[*]' COLUMNS (user_id BIGINT PATH '$')) g
        STRAIGHT_JOIN reward_grant k FORCE INDEX (unclaimed)
            ON k.user_id = g.user_id AND k.claimed_version IS NULL
    ) n
    STRAIGHT_JOIN reward_grant r FORCE INDEX (PRIMARY)
        ON r.user_id = n.user_id AND r.source_kind = n.source_kind AND r.source_id = n.source_id
    WHERE n.place <= %s
""")
"""So many a user: whoever has thousands that cannot be claimed delays nobody but himself. They are
counted in the index; only those chosen are read."""
ADD_GRANTS = Statement(f"""
    INSERT INTO reward_grant (user_id, source_kind, source_id, bundle, created_ms)
    SELECT g.user_id, g.source_kind, g.source_id, UNHEX(g.bundle), {NOW_MS}
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', source_kind INT PATH '$[1]', source_id BIGINT PATH '$[2]',
        bundle MEDIUMTEXT CHARACTER SET ascii PATH '$[3]')) g
    LEFT JOIN reward_grant r FORCE INDEX (PRIMARY)
        ON r.user_id = g.user_id AND r.source_kind = g.source_kind AND r.source_id = g.source_id
    WHERE r.user_id IS NULL
""")
