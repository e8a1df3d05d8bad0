"""SQL of the economy's effects within a group: items, rolls, counters, season passes.

Owns the texts only, in the forms that `statements` explains: one JSON value for any number of rows,
`FORCE INDEX` against full scans. An update or delete repeats what the item was before, so a change
that was decided on another truth matches nothing and its group is rolled back. Used by `players`.
"""

from mmo.store.connection import Statement
from mmo.store.statements import NOW_MS

ADD_ITEMS = Statement("""
    INSERT INTO item (user_id, uid, kind, slot, code, count, enhance, expires_ms, equipped,
        attempts)
    SELECT g.user_id, g.uid, g.kind, g.slot, g.code, g.count, g.enhance, g.expires_ms, g.equipped,
        g.attempts
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', uid BIGINT PATH '$[1]', kind INT PATH '$[2]',
        slot INT PATH '$[3]', code INT PATH '$[4]', count BIGINT PATH '$[5]',
        enhance INT PATH '$[6]', expires_ms BIGINT PATH '$[7]', equipped INT PATH '$[8]',
        attempts INT PATH '$[9]')) g
""")

COUNT_ITEMS = Statement("""
    UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', uid BIGINT PATH '$[1]', code INT PATH '$[2]',
        count_before BIGINT PATH '$[3]', count BIGINT PATH '$[4]')) g
    STRAIGHT_JOIN item i FORCE INDEX (PRIMARY)
        ON i.user_id = g.user_id AND i.uid = g.uid
        AND i.code = g.code AND i.count = g.count_before
    SET i.count = g.count
""")
"""What most purchases and kills do to a stack; `CHANGE_ITEMS` is for what changes more."""

CHANGE_ITEMS = Statement("""
    UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', uid BIGINT PATH '$[1]', code INT PATH '$[2]',
        count_before BIGINT PATH '$[3]', enhance_before INT PATH '$[4]',
        attempts_before INT PATH '$[5]', slot INT PATH '$[6]', count BIGINT PATH '$[7]',
        enhance INT PATH '$[8]', attempts INT PATH '$[9]', equipped INT PATH '$[10]')) g
    STRAIGHT_JOIN item i FORCE INDEX (PRIMARY)
        ON i.user_id = g.user_id AND i.uid = g.uid AND i.code = g.code
        AND i.count = g.count_before AND i.enhance = g.enhance_before
        AND i.attempts = g.attempts_before
    SET i.slot = g.slot, i.count = g.count, i.enhance = g.enhance, i.attempts = g.attempts,
        i.equipped = g.equipped
""")

_END = """
    DELETE i FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', uid BIGINT PATH '$[1]', code INT PATH '$[2]',
        count_before BIGINT PATH '$[3]')) g
    STRAIGHT_JOIN item i FORCE INDEX (PRIMARY)
        ON i.user_id = g.user_id AND i.uid = g.uid
        AND i.code = g.code AND i.count = g.count_before
"""
END_ITEMS = Statement(_END)
EXPIRE_ITEMS = Statement(_END + f" WHERE 0 < i.expires_ms AND i.expires_ms <= {NOW_MS}")
"""The clock of the database decides whether the days of a rented item are over: no item is lost to
a node whose clock is ahead."""

ADD_ROLLS = Statement("""
    INSERT INTO enhance_log (uid, attempt, user_id, version, day, odds_table, enhance_before,
        enhance_after, chance_ppm, roll_ppm)
    SELECT g.uid, g.attempt, g.user_id, g.version, g.day, g.odds_table, g.enhance_before,
        g.enhance_after, g.chance_ppm, g.roll_ppm
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        uid BIGINT PATH '$[0]', attempt INT PATH '$[1]', user_id BIGINT PATH '$[2]',
        version BIGINT PATH '$[3]', day INT PATH '$[4]', odds_table INT PATH '$[5]',
        enhance_before INT PATH '$[6]', enhance_after INT PATH '$[7]',
        chance_ppm INT PATH '$[8]', roll_ppm INT PATH '$[9]')) g
""")

_COUNTERS = """
    JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', kind INT PATH '$[1]', counter_key BIGINT PATH '$[2]',
        time_window BIGINT PATH '$[3]', count BIGINT PATH '$[4]')) g
"""
ADD_COUNTERS = Statement(f"""
    INSERT INTO counter (user_id, kind, counter_key, time_window, count)
    SELECT g.user_id, g.kind, g.counter_key, g.time_window, g.count FROM {_COUNTERS}
""")
RAISE_COUNTERS = Statement(f"""
    UPDATE {_COUNTERS}
    STRAIGHT_JOIN counter c FORCE INDEX (PRIMARY)
        ON c.user_id = g.user_id AND c.kind = g.kind AND c.counter_key = g.counter_key
    SET c.time_window = g.time_window, c.count = g.count
""")

_PASSES = """
    JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', pass_id INT PATH '$[1]', level INT PATH '$[2]',
        exp BIGINT PATH '$[3]', paid INT PATH '$[4]',
        missions TEXT CHARACTER SET ascii PATH '$[5]')) g
"""
ADD_PASSES = Statement(f"""
    INSERT INTO pass_progress (user_id, pass_id, level, exp, paid, missions)
    SELECT g.user_id, g.pass_id, g.level, g.exp, g.paid, g.missions FROM {_PASSES}
""")
MOVE_PASSES = Statement(f"""
    UPDATE {_PASSES}
    STRAIGHT_JOIN pass_progress p FORCE INDEX (PRIMARY)
        ON p.user_id = g.user_id AND p.pass_id = g.pass_id
    SET p.level = g.level, p.exp = g.exp, p.paid = g.paid, p.missions = g.missions
""")

OPEN_LINES = Statement(f"""
    UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', pass_id INT PATH '$[1]', starts_ms BIGINT PATH '$[2]',
        ends_ms BIGINT PATH '$[3]')) g
    STRAIGHT_JOIN pass_progress p FORCE INDEX (PRIMARY)
        ON p.user_id = g.user_id AND p.pass_id = g.pass_id
    SET p.paid = 1
    WHERE g.starts_ms <= {NOW_MS} AND {NOW_MS} < g.ends_ms
""")
"""A line is bought while its season runs, by the same clock as its rewards are claimed."""

CLAIM_REWARDS = Statement(f"""
    INSERT INTO pass_claim (user_id, pass_id, level, line, version, claimed_ms)
    SELECT g.user_id, g.pass_id, g.level, g.line, g.version, {NOW_MS}
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (
        user_id BIGINT PATH '$[0]', pass_id INT PATH '$[1]', level INT PATH '$[2]',
        line INT PATH '$[3]', version BIGINT PATH '$[4]', starts_ms BIGINT PATH '$[5]',
        ends_ms BIGINT PATH '$[6]')) g
    WHERE g.starts_ms <= {NOW_MS} AND {NOW_MS} < g.ends_ms
""")
"""The clock of the database decides whether a claim falls into its season: one clock for all nodes,
and one moment a statement."""

# -- payments: rows of the payment service, each in a transaction of its own -----------------------

LOCK_CHARGE = Statement("""
    SELECT amount FROM payment_order FORCE INDEX (PRIMARY)
    WHERE order_id = %s AND user_id = %s AND refund_of IS NULL FOR UPDATE
""")
REFUNDED = Statement("""
    SELECT COALESCE(CAST(SUM(amount) AS SIGNED), 0) FROM payment_order FORCE INDEX (refunds)
    WHERE refund_of = %s
""")
ADD_ORDER = Statement("""
    INSERT INTO payment_order (order_id, user_id, amount, refund_of, created_ms)
    VALUES (%s, %s, %s, NULLIF(%s, ''), %s)
""")
ADD_ORDER_GRANT = Statement(f"""
    INSERT INTO reward_grant (user_id, source_kind, source_id, bundle, created_ms)
    VALUES (%s, %s, %s, UNHEX(%s), {NOW_MS})
""")
FIND_ORDER = Statement("""
    SELECT user_id, amount, COALESCE(refund_of, ''), created_ms
    FROM payment_order FORCE INDEX (PRIMARY) WHERE order_id = %s
""")
