"""What the books must satisfy, one statement a rule, in plain SQL that only the audit uses.

Owns the rules and their words. Shares no statement with the store, so a wrong statement there
cannot excuse itself here. Decides nothing about when or on which connection it runs: `audit` does.
"""

import msgspec

from mmo.store.connection import Statement

ROWS_MAX = 50
"""Findings of one rule that are told; one more says that there are others."""


class Check(msgspec.Struct, frozen=True):
    """One rule: every row that `statement` returns breaks it. The first column is the user id;
    `words` is filled with the columns by position."""

    name: str
    statement: Statement
    words: str
    values: tuple[str, ...] = ()  # names of `Known` texts bound in order


class Known(msgspec.Struct, frozen=True):
    """What the rules compare with, as JSON texts for JSON_TABLE."""

    levels: str  # need of each level by position, the last is the highest level
    items: str  # [kind, code, stack_max] a row
    slots: str  # slots of each kind by position
    accounts: str  # account numbers of the ledger
    nodes: str  # server numbers of the configuration
    odds: str  # [table, level before, chance in ppm] a row
    seasons: str  # [pass, starts_ms, ends_ms] a row


BALANCES = Statement(f"""
    SELECT h.user_id, c.currency, c.held, COALESCE(l.amount, 0)
    FROM (
        SELECT user_id, 0 AS currency, gold AS held FROM player_head
        UNION ALL SELECT user_id, 1, cash FROM player_head
        UNION ALL SELECT user_id, 2, mileage FROM player_head
    ) c
    JOIN player_head h ON h.user_id = c.user_id
    LEFT JOIN (
        SELECT user_id, currency, SUM(amount) AS amount FROM ledger GROUP BY user_id, currency
    ) l ON l.user_id = c.user_id AND l.currency = c.currency
    WHERE c.held <> COALESCE(l.amount, 0)
    LIMIT {ROWS_MAX + 1}
""")

LEDGER_FORM = Statement(f"""
    SELECT l.user_id, l.version, l.line, l.account, l.currency, l.amount
    FROM ledger l
    LEFT JOIN JSON_TABLE(%s, '$[*]' COLUMNS(account INT PATH '$')) a ON a.account = l.account
    WHERE a.account IS NULL
       OR l.currency NOT BETWEEN 0 AND 2
       OR (l.account >= 100 AND l.amount > 0 AND l.account <> 103)
       OR (l.account < 100 AND l.amount < 0 AND l.currency <> 1)
    LIMIT {ROWS_MAX + 1}
""")

ITEM_SUMS = Statement(f"""
    SELECT u.user_id, u.uid, COALESCE(i.count, 0), COALESCE(g.delta, 0)
    FROM (SELECT user_id, uid FROM item UNION SELECT user_id, uid FROM item_ledger) u
    LEFT JOIN item i ON i.user_id = u.user_id AND i.uid = u.uid
    LEFT JOIN (
        SELECT user_id, uid, SUM(delta) AS delta FROM item_ledger GROUP BY user_id, uid
    ) g ON g.user_id = u.user_id AND g.uid = u.uid
    WHERE COALESCE(i.count, 0) <> COALESCE(g.delta, 0)
    LIMIT {ROWS_MAX + 1}
""")

ITEM_IDENTITY = Statement(f"""
    SELECT i.user_id, i.uid, i.kind, i.code, g.kind, g.code
    FROM item i JOIN item_ledger g ON g.user_id = i.user_id AND g.uid = i.uid
    WHERE g.kind <> i.kind OR g.code <> i.code
    LIMIT {ROWS_MAX + 1}
""")

ITEM_OWNERS = Statement(f"""
    SELECT MIN(user_id), uid, COUNT(*), MAX(user_id)
    FROM item GROUP BY uid HAVING COUNT(*) > 1
    LIMIT {ROWS_MAX + 1}
""")

ITEM_SLOTS = Statement(f"""
    SELECT user_id, kind, slot, COUNT(*)
    FROM item GROUP BY user_id, kind, slot HAVING COUNT(*) > 1
    LIMIT {ROWS_MAX + 1}
""")

ITEM_MASTER = Statement(f"""
    SELECT i.user_id, i.uid, i.kind, i.code, i.count, i.slot
    FROM item i
    LEFT JOIN JSON_TABLE(%s, '$[*]' COLUMNS(
        kind INT PATH '$[0]', code INT PATH '$[1]', stack_max BIGINT PATH '$[2]'
    )) m ON m.kind = i.kind AND m.code = i.code
    LEFT JOIN JSON_TABLE(%s, '$[*]' COLUMNS(
        place FOR ORDINALITY, slots INT PATH '$'
    )) s ON s.place = i.kind + 1
    WHERE m.code IS NULL OR i.count > m.stack_max OR s.slots IS NULL OR i.slot >= s.slots
    LIMIT {ROWS_MAX + 1}
""")

VERSIONS = Statement(f"""
    SELECT h.user_id, h.version, COALESCE(e.log_lines, 0), COALESCE(e.first_version, 0),
           COALESCE(e.last_version, 0), COALESCE(b.version, 0)
    FROM player_head h
    LEFT JOIN event_origin b ON b.user_id = h.user_id
    LEFT JOIN (
        SELECT user_id, COUNT(DISTINCT version) AS versions, COUNT(*) AS log_lines,
               MIN(version) AS first_version, MAX(version) AS last_version
        FROM event_log GROUP BY user_id
    ) e ON e.user_id = h.user_id
    WHERE (h.version <> COALESCE(e.last_version, 0))
       OR (e.log_lines <> e.versions)
       OR (e.log_lines <> e.last_version - e.first_version + 1)
       OR (e.first_version < 1 OR e.first_version > COALESCE(b.version, 0) + 1)
    LIMIT {ROWS_MAX + 1}
""")

OPERATIONS = Statement(f"""
    SELECT user_id, operation_epoch, operation_counter, COUNT(*)
    FROM event_log GROUP BY user_id, operation_epoch, operation_counter HAVING COUNT(*) > 1
    LIMIT {ROWS_MAX + 1}
""")

EPOCHS = Statement(f"""
    SELECT e.user_id, e.operation_epoch, e.operation_counter, h.session_epoch
    FROM event_log e JOIN player_head h ON h.user_id = e.user_id
    WHERE e.operation_epoch > h.session_epoch
    LIMIT {ROWS_MAX + 1}
""")

LINE_VERSIONS = Statement(f"""
    SELECT l.user_id, l.book, l.version
    FROM (
        SELECT user_id, 'ledger' AS book, version FROM ledger
        UNION SELECT user_id, 'item_ledger', version FROM item_ledger
        UNION SELECT user_id, 'reward_grant', claimed_version
              FROM reward_grant WHERE claimed_version IS NOT NULL
        UNION SELECT user_id, 'enhance_log', version FROM enhance_log
        UNION SELECT user_id, 'pass_claim', version FROM pass_claim
    ) l
    JOIN player_head h ON h.user_id = l.user_id
    LEFT JOIN event_origin b ON b.user_id = l.user_id
    LEFT JOIN event_log e ON e.user_id = l.user_id AND e.version = l.version
    WHERE e.version IS NULL AND (l.version > COALESCE(b.version, 0) OR l.version < 1)
    LIMIT {ROWS_MAX + 1}
""")

ORIGINS = Statement(f"""
    SELECT b.user_id, b.version, h.version, b.gold, COALESCE(l.gold, 0), b.cash,
           COALESCE(l.cash, 0), b.mileage, COALESCE(l.mileage, 0)
    FROM event_origin b
    JOIN player_head h ON h.user_id = b.user_id
    LEFT JOIN (
        SELECT r.user_id, SUM(CASE WHEN r.currency = 0 THEN r.amount ELSE 0 END) AS gold,
               SUM(CASE WHEN r.currency = 1 THEN r.amount ELSE 0 END) AS cash,
               SUM(CASE WHEN r.currency = 2 THEN r.amount ELSE 0 END) AS mileage
        FROM ledger r JOIN event_origin x ON x.user_id = r.user_id AND r.version <= x.version
        GROUP BY r.user_id
    ) l ON l.user_id = b.user_id
    WHERE b.version >= h.version OR b.gold <> COALESCE(l.gold, 0)
       OR b.cash <> COALESCE(l.cash, 0) OR b.mileage <> COALESCE(l.mileage, 0)
    LIMIT {ROWS_MAX + 1}
""")

FLOORS = Statement(f"""
    SELECT h.user_id, h.operation_floor_epoch, COALESCE(b.version, 0), h.session_epoch
    FROM player_head h LEFT JOIN event_origin b ON b.user_id = h.user_id
    WHERE (h.operation_floor_epoch > 0) <> (b.user_id IS NOT NULL)
       OR h.operation_floor_epoch > h.session_epoch
    LIMIT {ROWS_MAX + 1}
""")

GRANT_ROWS = Statement(f"""
    SELECT user_id, source_kind, source_id, COUNT(*)
    FROM reward_grant GROUP BY user_id, source_kind, source_id HAVING COUNT(*) > 1
    LIMIT {ROWS_MAX + 1}
""")

LEVELS = Statement(f"""
    SELECT h.user_id, h.level, h.exp
    FROM player_head h
    JOIN (SELECT MAX(place) - 1 AS level_max FROM JSON_TABLE(%s, '$[*]' COLUMNS(
        place FOR ORDINALITY, need BIGINT PATH '$'
    )) t) top
    LEFT JOIN JSON_TABLE(%s, '$[*]' COLUMNS(
        place FOR ORDINALITY, need BIGINT PATH '$'
    )) n ON n.place = h.level + 1
    WHERE h.level < 1 OR h.level > top.level_max OR h.exp < 0
       OR (h.level = top.level_max AND h.exp <> 0)
       OR (h.level < top.level_max AND h.exp >= n.need)
    LIMIT {ROWS_MAX + 1}
""")

ORPHANS = Statement(f"""
    SELECT r.user_id, r.book
    FROM (
        SELECT user_id, 'account' AS book FROM account
        UNION SELECT user_id, 'event_log' FROM event_log
        UNION SELECT user_id, 'event_origin' FROM event_origin
        UNION SELECT user_id, 'ledger' FROM ledger
        UNION SELECT user_id, 'item' FROM item
        UNION SELECT user_id, 'item_ledger' FROM item_ledger
        UNION SELECT user_id, 'reward_grant' FROM reward_grant
        UNION SELECT user_id, 'cache_dirty' FROM cache_dirty
        UNION SELECT user_id, 'enhance_log' FROM enhance_log
        UNION SELECT user_id, 'counter' FROM counter
        UNION SELECT user_id, 'pass_progress' FROM pass_progress
        UNION SELECT user_id, 'pass_claim' FROM pass_claim
        UNION SELECT user_id, 'payment_order' FROM payment_order
    ) r
    LEFT JOIN player_head h ON h.user_id = r.user_id
    WHERE h.user_id IS NULL
    LIMIT {ROWS_MAX + 1}
""")

HEADLESS = Statement(f"""
    SELECT h.user_id, h.version
    FROM player_head h LEFT JOIN account a ON a.user_id = h.user_id
    WHERE a.user_id IS NULL
    LIMIT {ROWS_MAX + 1}
""")

PLACES = Statement(f"""
    SELECT h.user_id, h.place_number, h.reservation_number
    FROM player_head h
    LEFT JOIN (
        SELECT number FROM node_lease
        UNION SELECT number FROM JSON_TABLE(%s, '$[*]' COLUMNS(number INT PATH '$')) t
    ) p ON p.number = h.place_number
    LEFT JOIN (
        SELECT number FROM node_lease
        UNION SELECT number FROM JSON_TABLE(%s, '$[*]' COLUMNS(number INT PATH '$')) t
    ) r ON r.number = h.reservation_number
    WHERE (h.place_number <> 0 AND p.number IS NULL)
       OR (h.reservation_number <> 0 AND r.number IS NULL)
       OR (h.place_number <> 0 AND h.session_epoch = 0)
    LIMIT {ROWS_MAX + 1}
""")

CACHE_MARKS = Statement(f"""
    SELECT d.user_id, d.version, h.version
    FROM cache_dirty d JOIN player_head h ON h.user_id = d.user_id
    WHERE d.version > h.version
    LIMIT {ROWS_MAX + 1}
""")

CHECKS = (
    Check("balance", BALANCES, "currency {1}: he holds {2}, his ledger lines add up to {3}"),
    Check(
        "ledger-line",
        LEDGER_FORM,
        "version {1} line {2}: account {3}, currency {4}, amount {5} is no entry of the house",
        ("accounts",),
    ),
    Check("item-count", ITEM_SUMS, "item {1}: {2} in the bag, births less deaths are {3}"),
    Check(
        "item-identity",
        ITEM_IDENTITY,
        "item {1}: is kind {2} code {3}, but a line of its book says kind {4} code {5}",
    ),
    Check("item-owner", ITEM_OWNERS, "item {1}: has {2} owners, user {3} too"),
    Check("item-slot", ITEM_SLOTS, "kind {1} slot {2}: holds {3} items"),
    Check(
        "item-master",
        ITEM_MASTER,
        "item {1}: kind {2} code {3} count {4} slot {5} is not allowed by the tables",
        ("items", "slots"),
    ),
    Check(
        "version",
        VERSIONS,
        "head is at version {1}, the log has {2} lines from version {3} to {4}, purged up to {5}",
    ),
    Check(
        "origin",
        ORIGINS,
        "purged up to version {1} of {2} with gold {3}, cash {5}, mileage {7}; the ledger says"
        " {4}, {6}, {8}",
    ),
    Check("floor", FLOORS, "ids before session {1} of {3} are refused, purged up to version {2}"),
    Check("operation", OPERATIONS, "operation {1}/{2}: is in the log {3} times"),
    Check("operation-epoch", EPOCHS, "operation {1}/{2}: is of a session after session {3}"),
    Check("line-version", LINE_VERSIONS, "{1}: names version {2}, which the log does not have"),
    Check("grant-unique", GRANT_ROWS, "grant {1}/{2}: exists {3} times"),
    Check("level", LEVELS, "level {1} with experience {2} is outside the table", ("levels",) * 2),
    Check("orphan", ORPHANS, "{1}: has rows of a user without a head"),
    Check("headless", HEADLESS, "the head (version {1}) has no account"),
    Check("place", PLACES, "place {1}, reservation {2}: no such server", ("nodes",) * 2),
    Check("cache-mark", CACHE_MARKS, "marked for version {1}, the head is at {2}"),
)
