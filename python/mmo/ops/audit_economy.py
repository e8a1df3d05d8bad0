"""What the books of the economy must satisfy: rolls, passes, payments, items between stacks.

Owns these rules and their words, as `audit_checks` owns those of money and items; shares no
statement with the store. Rolls are recomputed here, so a row that no key explains is found. Run by
`audit` in its snapshot.
"""

from collections.abc import Iterator, Mapping

import msgspec

from mmo.ops.audit_checks import ROWS_MAX, Check
from mmo.state.grant import Bundle, SourceKind
from mmo.state.roll import commitment, day_key, roller
from mmo.state.wallet import Account
from mmo.store.connection import Connection, Statement

PAGE_ROWS = 5_000
GRANT_ACCOUNTS = (
    *(Account.MINT_GRANT, Account.MINT_PAYMENT, Account.MINT_CORRECTION),
    *(Account.SINK_REFUND, Account.SINK_CORRECTION),
)
"""Accounts on the other side of what grants give and take."""

ATTEMPTS = Statement(f"""
    SELECT e.user_id, e.uid, e.tries, e.first_try, e.last_try, COALESCE(i.attempts, e.last_try)
    FROM (
        SELECT MAX(user_id) AS user_id, uid, COUNT(*) AS tries, MIN(attempt) AS first_try,
               MAX(attempt) AS last_try, COUNT(DISTINCT user_id) AS owners
        FROM enhance_log GROUP BY uid
    ) e LEFT JOIN item i ON i.uid = e.uid
    WHERE e.tries <> e.last_try OR e.first_try <> 1 OR e.owners <> 1
       OR COALESCE(i.attempts, e.last_try) <> e.last_try
    LIMIT {ROWS_MAX + 1}
""")

ROLL_DAYS = Statement(f"""
    SELECT e.user_id, e.uid, e.attempt, e.day
    FROM enhance_log e LEFT JOIN roll_key k ON k.day = e.day
    WHERE k.day IS NULL
    LIMIT {ROWS_MAX + 1}
""")

ATTEMPT_STEPS = Statement(f"""
    SELECT user_id, uid, attempt, enhance_before, enhance_after, COALESCE(earlier, enhance_before),
           chance_ppm, roll_ppm
    FROM (
        SELECT e.*, LAG(enhance_after) OVER (PARTITION BY uid ORDER BY attempt) AS earlier
        FROM enhance_log e
    ) s
    WHERE (earlier IS NOT NULL AND earlier <> enhance_before)
       OR enhance_after <> enhance_before + (CASE WHEN roll_ppm < chance_ppm THEN 1 ELSE 0 END)
    LIMIT {ROWS_MAX + 1}
""")

ENHANCED = Statement(f"""
    SELECT i.user_id, i.uid, i.enhance, i.attempts, COALESCE(e.enhance_after, -1)
    FROM item i
    LEFT JOIN enhance_log e ON e.uid = i.uid AND e.attempt = i.attempts
    WHERE (i.attempts > 0 AND (e.uid IS NULL OR e.enhance_after <> i.enhance))
    LIMIT {ROWS_MAX + 1}
""")

ODDS = Statement(f"""
    SELECT e.user_id, e.uid, e.attempt, e.odds_table, e.enhance_before, e.chance_ppm,
           COALESCE(c.chance_ppm, -1)
    FROM enhance_log e
    LEFT JOIN JSON_TABLE(%s, '$[*]' COLUMNS(
        odds_table INT PATH '$[0]', step INT PATH '$[1]', chance_ppm INT PATH '$[2]'
    )) c ON c.odds_table = e.odds_table AND c.step = e.enhance_before
    WHERE e.odds_table = (SELECT odds_table FROM JSON_TABLE(%s, '$[0]' COLUMNS(
              odds_table INT PATH '$[0]')) t)
      AND (c.chance_ppm IS NULL OR c.chance_ppm <> e.chance_ppm)
    LIMIT {ROWS_MAX + 1}
""")

WORN = Statement(f"""
    SELECT user_id, MIN(kind), COUNT(*) FROM item WHERE equipped <> 0
    GROUP BY user_id HAVING COUNT(*) > 1 OR MIN(kind) <> 0 OR MAX(kind) <> 0
    LIMIT {ROWS_MAX + 1}
""")

TRANSFERS = Statement(f"""
    SELECT user_id, version, kind, code, SUM(delta) FROM item_ledger
    WHERE source = {int(Account.TRANSFER)}
    GROUP BY user_id, version, kind, code HAVING SUM(delta) <> 0
    LIMIT {ROWS_MAX + 1}
""")

PASS_CLAIMS = Statement(f"""
    SELECT c.user_id, c.pass_id, c.level, c.line, COALESCE(p.level, -1), COALESCE(p.paid, 0)
    FROM pass_claim c
    LEFT JOIN pass_progress p ON p.user_id = c.user_id AND p.pass_id = c.pass_id
    WHERE p.user_id IS NULL OR c.level > p.level OR (c.line = 1 AND p.paid = 0)
       OR c.line NOT BETWEEN 0 AND 1
    LIMIT {ROWS_MAX + 1}
""")

PASS_SEASONS = Statement(f"""
    SELECT c.user_id, c.pass_id, c.level, c.line, c.claimed_ms
    FROM pass_claim c
    JOIN JSON_TABLE(%s, '$[*]' COLUMNS(
        pass_id INT PATH '$[0]', starts_ms BIGINT PATH '$[1]', ends_ms BIGINT PATH '$[2]'
    )) s ON s.pass_id = c.pass_id
    WHERE c.claimed_ms < s.starts_ms OR c.claimed_ms >= s.ends_ms
    LIMIT {ROWS_MAX + 1}
""")

PASS_REPEATS = Statement(f"""
    SELECT user_id, pass_id, level, line, COUNT(*) FROM pass_claim
    GROUP BY user_id, pass_id, level, line HAVING COUNT(*) > 1
    LIMIT {ROWS_MAX + 1}
""")

PAYMENT_GRANTS = Statement(f"""
    SELECT o.user_id, o.order_id, o.amount, COUNT(g.user_id)
    FROM payment_order o
    LEFT JOIN reward_grant g ON g.user_id = o.user_id AND g.source_id = o.number
        AND g.source_kind = (CASE WHEN o.refund_of IS NULL
            THEN {int(SourceKind.PAYMENT)} ELSE {int(SourceKind.REFUND)} END)
    GROUP BY o.user_id, o.order_id, o.number, o.amount HAVING COUNT(g.user_id) <> 1
    LIMIT {ROWS_MAX + 1}
""")

GRANT_PAYMENTS = Statement(f"""
    SELECT g.user_id, g.source_kind, g.source_id
    FROM reward_grant g LEFT JOIN payment_order o ON o.number = g.source_id
        AND o.user_id = g.user_id
    WHERE g.source_kind IN ({int(SourceKind.PAYMENT)}, {int(SourceKind.REFUND)})
      AND o.number IS NULL
    LIMIT {ROWS_MAX + 1}
""")

REFUNDS = Statement(f"""
    SELECT r.user_id, r.refund_of, SUM(r.amount), COALESCE(MAX(c.amount), 0)
    FROM payment_order r
    LEFT JOIN payment_order c ON c.order_id = r.refund_of AND c.user_id = r.user_id
        AND c.refund_of IS NULL
    WHERE r.refund_of IS NOT NULL
    GROUP BY r.user_id, r.refund_of
    HAVING COALESCE(MAX(c.amount), 0) + SUM(r.amount) < 0
    LIMIT {ROWS_MAX + 1}
""")

ORDER_REPEATS = Statement(f"""
    SELECT MIN(user_id), order_id, COUNT(*) FROM payment_order
    GROUP BY order_id HAVING COUNT(*) > 1
    LIMIT {ROWS_MAX + 1}
""")

CHECKS = (
    Check(
        "attempt",
        ATTEMPTS,
        "item {1}: {2} attempts from number {3} to {4}, the item counts {5}",
    ),
    Check(
        "attempt-step",
        ATTEMPT_STEPS,
        "item {1} attempt {2}: from +{3} to +{4} after +{5}, roll {7} against {6}",
    ),
    Check(
        "enhance",
        ENHANCED,
        "item {1}: is +{2} after {3} attempts, the last one says +{4}",
    ),
    Check(
        "odds",
        ODDS,
        "item {1} attempt {2}: table {3} promises {6} at +{4}, {5} was used",
        ("odds",) * 2,
    ),
    Check("roll-day", ROLL_DAYS, "item {1} attempt {2}: no key was published for its day, {3}"),
    Check("worn", WORN, "{2} items are worn at once, of kind {1}"),
    Check("transfer", TRANSFERS, "version {1}: kind {2} code {3} moved between stacks makes {4}"),
    Check(
        "pass-claim",
        PASS_CLAIMS,
        "pass {1} level {2} line {3}: claimed at level {4}, paid {5}",
    ),
    Check("pass-season", PASS_SEASONS, "pass {1} level {2} line {3}: claimed at {4}", ("seasons",)),
    Check("pass-unique", PASS_REPEATS, "pass {1} level {2} line {3}: claimed {4} times"),
    Check("payment-grant", PAYMENT_GRANTS, "order {1} of {2}: has {3} grants"),
    Check("grant-payment", GRANT_PAYMENTS, "grant {1}/{2}: no order stands behind it"),
    Check("refund", REFUNDS, "order {1}: {2} refunded of {3} paid"),
    Check("payment-unique", ORDER_REPEATS, "order {1}: booked {2} times"),
)

_KEYS = Statement("SELECT day, commitment, roll_key FROM roll_key")
_ROLLS = Statement("""
    SELECT user_id, uid, attempt, day, odds_table, roll_ppm FROM enhance_log
    WHERE uid >= %s AND (uid > %s OR attempt > %s) ORDER BY uid, attempt LIMIT %s
""")
_ORDERS_PAID = Statement("""
    SELECT o.user_id, o.order_id, o.amount, g.bundle FROM payment_order o
    JOIN reward_grant g ON g.user_id = o.user_id AND g.source_id = o.number
        AND g.source_kind = (CASE WHEN o.refund_of IS NULL THEN 1 ELSE 2 END)
""")
_decode_bundle = msgspec.msgpack.Decoder(Bundle).decode
Found = tuple[str, int, str]  # check, user, text


async def keys_of(connection: Connection, master: bytes) -> tuple[dict[int, bytes], list[Found]]:
    """The key of each published day: derived from the cluster's secret where it is given, else as
    revealed; with what does not fit its commitment."""
    keys: dict[int, bytes] = {}
    found: list[Found] = []
    for day, published, revealed in await connection.rows(_KEYS):
        key = bytes(revealed) if revealed else day_key(master, day) if master else b""
        if key:
            keys[int(day)] = key
            if commitment(key) != bytes(published):
                found.append(("roll-key", 0, f"day {day}: the key is not the one promised"))
    return keys, found


async def rolls(connection: Connection, keys: Mapping[int, bytes]) -> tuple[int, list[Found]]:
    """Recompute every recorded roll whose day's key is known; how many, and those that differ."""
    found: list[Found] = []
    roll_of = {day: roller(key) for day, key in keys.items()}
    checked = uid = attempt = 0
    while page := await connection.rows(_ROLLS, uid, uid, attempt, PAGE_ROWS):
        for user, uid, attempt, day, table, rolled in page:
            roll = roll_of.get(day)
            if roll is None:
                continue
            checked += 1
            due = roll(uid, attempt, table)
            if due != rolled and len(found) <= ROWS_MAX:
                text = f"item {uid} attempt {attempt}: roll {rolled}, the key of {day} gives {due}"
                found.append(("roll", user, text))
    return checked, found


async def orders(connection: Connection) -> list[Found]:
    """Each order's grant carries exactly its amount of cash."""
    return list(_unpaid(await connection.rows(_ORDERS_PAID)))


def _unpaid(rows: list[tuple[object, ...]]) -> Iterator[Found]:
    for user, order, amount, bundle in rows:
        given = _decode_bundle(bytes(bundle))  # type: ignore[call-overload]
        if given != Bundle(cash=int(str(amount))):
            yield "payment-amount", int(str(user)), f"order {order}: {amount}, its grant {given}"
