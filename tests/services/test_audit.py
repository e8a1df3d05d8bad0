"""The audit against a real MariaDB: honest books pass, every kind of wrong row is found and named.

Owns a database without keys and constraints, into which each test plants one lie by
plain SQL; the constraints that make most of these lies impossible in production are the store's
tests.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.conftest import settings_for

from mmo.cluster.mysql_server import ManagedMysql
from mmo.content import load_content
from mmo.ops.audit import Report, audit, known_of
from mmo.state.grant import Bundle
from mmo.state.roll import commitment, day_key, roll
from mmo.store.connection import Statement
from mmo.store.mysql_pool import MysqlPool
from mmo.store.settings import StoreSettings

pytestmark = pytest.mark.services

BUNDLE = msgspec.msgpack.encode(Bundle(gold=7)).hex()
REFUND = msgspec.msgpack.encode(Bundle(cash=-50)).hex()
CASH = msgspec.msgpack.encode(Bundle(cash=50)).hex()
SCORE, LOWER = (msgspec.msgpack.encode(Bundle(score=score)).hex() for score in (40, 30))
SECRET, DAY = b"the roll secret of these books, 32 bytes", 20260101
ITEM = "user_id, uid, kind, slot, code, count"
KEYLESS = (
    "ALTER TABLE player_head DROP FOREIGN KEY head_account",
    "ALTER TABLE player_head DROP CONSTRAINT head_level, DROP CONSTRAINT head_exp",
    "ALTER TABLE event_log DROP PRIMARY KEY",
    "ALTER TABLE event_origin DROP FOREIGN KEY event_origin_head",
    "ALTER TABLE reward_grant DROP PRIMARY KEY",
    "ALTER TABLE item DROP PRIMARY KEY",
    "ALTER TABLE enhance_log DROP PRIMARY KEY, DROP CONSTRAINT enhance_log_step",
    "ALTER TABLE pass_claim DROP FOREIGN KEY pass_claim_progress",
    "ALTER TABLE pass_claim DROP PRIMARY KEY",
    "ALTER TABLE payment_order DROP FOREIGN KEY payment_order_account",
    "ALTER TABLE raid_member DROP FOREIGN KEY raid_member_raid,"
    " DROP FOREIGN KEY raid_member_account",
    "ALTER TABLE payment_order DROP PRIMARY KEY, DROP CONSTRAINT payment_order_amount",
)
TABLES = (
    *("item", "item_ledger", "ledger", "event_log", "reward_grant", "cache_dirty", "node_lease"),
    *("enhance_log", "counter", "pass_claim", "pass_progress", "payment_order", "roll_key"),
    *("raid_member", "raid", "raid_busy", "ranking", "ranking_dirty"),
    *("event_origin", "player_head", "account"),
)


def tries(uid: int, count: int, chances: list[int]) -> str:
    """Rows of `enhance_log` for the first attempts on an item, as the key of the day rolls."""
    rows, level = [], 0
    for attempt in range(1, count + 1):
        rolled = roll(day_key(SECRET, DAY), uid, attempt, 1)
        after = level + (rolled < chances[level])
        rows.append(
            f"({uid}, {attempt}, 1, 1, {DAY}, 1, {level}, {after}, {chances[level]}, {rolled})"
        )
        level = after
    return ", ".join(rows)


def enhanced(uid: int, count: int, chances: list[int]) -> int:
    """The level after those attempts."""
    return int(tries(uid, count, chances).split(", ")[-3])


HONEST = (
    "INSERT INTO account (user_id, name, password_hash, created_ms)"
    " VALUES (1, 'a', 'x', 1), (2, 'b', 'x', 1)",
    "INSERT INTO node_lease (number, role, name, incarnation, host, client_port, link_host,"
    " link_port, until_ms) VALUES (11, 'channel', 'channel-1', 5, 'x', 1, 'x', 2, 9)",
    "INSERT INTO player_head (user_id, version, session_epoch, place_number, level, exp, gold)"
    " VALUES (1, 3, 4, 11, 3, 1, 12), (2, 0, 0, 0, 1, 0, 0)",
    "INSERT INTO event_log (user_id, operation_epoch, operation_counter, version, kind,"
    " request_hash, answer_opcode, answer, changes, generation, created_ms)"
    " VALUES (1, -5, 1, 1, 410, REPEAT('a', 8), 411, '', '', 1, 1),"
    " (1, 4, 1, 2, 9, REPEAT('a', 8), 0, '', '', 1, 1),"
    " (1, 0, 3, 3, 412, REPEAT('a', 8), 0, '', '', 1, 1)",
    "INSERT INTO ledger VALUES (1, 1, 0, 1, 0, 10), (1, 2, 0, 101, 0, -5), (1, 3, 0, 2, 0, 7)",
    f"INSERT INTO item ({ITEM}) VALUES (1, 900, {{kind}}, 0, {{code}}, 2)",
    "INSERT INTO item_ledger VALUES (1, 1, 0, 900, {code}, {kind}, 1, 3),"
    " (1, 2, 0, 900, {code}, {kind}, 101, -1)",
    "INSERT INTO reward_grant (user_id, source_kind, source_id, bundle, created_ms,"
    f" claimed_version) VALUES (1, 410, 1, UNHEX('{BUNDLE}'), 1, 3),"
    f" (2, 410, 2, UNHEX('{BUNDLE}'), 1, NULL)",
    f"INSERT INTO roll_key VALUES ({DAY}, UNHEX('{commitment(day_key(SECRET, DAY)).hex()}'),"
    " NULL, 1, NULL)",
    f"INSERT INTO item ({ITEM}, enhance, attempts, equipped)"
    " VALUES (1, 910, 0, 5, {sword}, 1, {level}, 3, 1)",
    "INSERT INTO item_ledger VALUES (1, 1, 1, 910, {sword}, 0, 1, 1)",
    "INSERT INTO enhance_log VALUES {tries}",
    "INSERT INTO pass_progress VALUES (1, 1, 3, 0, 0, '[]')",
    "INSERT INTO pass_claim VALUES (1, 1, 2, 0, 1, {season})",
    "INSERT INTO payment_order VALUES ('o-1', 7, 2, 50, NULL, 1), ('r-1', 8, 2, -50, 'o-1', 1)",
    "INSERT INTO reward_grant (user_id, source_kind, source_id, bundle, created_ms)"
    f" VALUES (2, 1, 7, UNHEX('{CASH}'), 1), (2, 2, 8, UNHEX('{REFUND}'), 1)",
)

RAID = (
    "raid, kind, map, seed, state, reason, number, incarnation, season, generation, day, opened_ms"
)
SEAT = "raid, user_id, seat, session_epoch, center, ticket, name, level, attack, day, score"
RAIDS = (
    f"INSERT INTO raid ({RAID}, checkpoint, replay, inputs_hash) VALUES"
    " (70, 1, 1, 1, 3, 1, 31, 1, 1, 1, 20260101, 1, '', 'fought', UNHEX(SHA2('fought', 256))),"
    " (71, 1, 1, 1, 3, 1, 31, 1, 1, 1, 20260101, 1, '', '', UNHEX(SHA2('purged', 256))),"
    " (72, 1, 1, 1, 4, 4, 31, 1, 1, 1, 20260101, 1, '', '', NULL),"
    " (73, 1, 1, 1, 2, 0, 31, 1, 1, 1, 20260101, 1, '', '', NULL)",
    f"INSERT INTO raid_member ({SEAT}) VALUES"
    " (70, 1, 0, 1, 1, 1, 'a', 1, 1, 20260101, 40), (70, 2, 1, 1, 1, 1, 'b', 1, 1, 20260101, 0),"
    " (71, 1, 0, 1, 1, 1, 'a', 1, 1, 20260101, 30),"
    " (72, 1, 0, 1, 1, 1, 'a', 1, 1, 0, NULL),"
    " (73, 2, 0, 1, 1, 1, 'b', 1, 1, 20260101, NULL)",
    "INSERT INTO raid_busy VALUES (2, 73)",
    "INSERT INTO ranking (season, user_id, score, raid, since_ms) VALUES (1, 1, 40, 70, 1)",
    "INSERT INTO ranking_dirty VALUES (1, 1, 40, 1)",
    "INSERT INTO reward_grant (user_id, source_kind, source_id, bundle, created_ms)"
    f" VALUES (1, 4, 70, UNHEX('{SCORE}'), 1), (1, 4, 71, UNHEX('{LOWER}'), 1)",
)
"""Of user 1: two finished raids and an aborted one; user 2 scored nothing and is in a raid."""

PLANTED = {
    "ranking": "DELETE FROM ranking",
    "ranking-raid": "UPDATE ranking SET raid = 71",
    "ranking-mark": "UPDATE ranking_dirty SET score = 41",
    "score-best": "UPDATE player_head SET score_best = 41 WHERE user_id = 1",
    "raid-reward": "DELETE FROM reward_grant WHERE source_kind = 4 AND source_id = 71",
    "raid-grant": "UPDATE reward_grant SET source_id = 72 WHERE source_id = 71",
    "raid-busy": "INSERT INTO raid_busy VALUES (1, 71)",
    "raid-entry": "UPDATE raid_member SET day = 20260101 WHERE raid = 72",
    "raid-seats": "UPDATE raid_member SET seat = 1 WHERE raid = 71",
    "raid-scored": "UPDATE raid_member SET score = NULL WHERE raid = 70 AND user_id = 2",
    "raid-score": "UPDATE raid_member SET score = 41 WHERE raid = 70 AND user_id = 1",
    "raid-result": "DELETE FROM raid_member WHERE raid = 72",
    "raid-inputs": "UPDATE raid SET replay = 'forged' WHERE raid = 70",
    "attempt": "DELETE FROM enhance_log WHERE attempt = 2",
    "attempt-step": "UPDATE enhance_log SET enhance_after = enhance_after + 1 WHERE attempt = 1",
    "enhance": "UPDATE item SET enhance = enhance + 1 WHERE uid = 910",
    "odds": "UPDATE enhance_log SET chance_ppm = chance_ppm - 1 WHERE attempt = 3",
    "roll": "UPDATE enhance_log SET roll_ppm = roll_ppm + 1 WHERE attempt = 1",
    "roll-day": "UPDATE enhance_log SET day = day + 10000 WHERE attempt = 1",
    "roll-key": "UPDATE roll_key SET commitment = UNHEX(REPEAT('ab', 32))",
    "worn": "UPDATE item SET equipped = 1 WHERE uid = 900",
    "transfer": "UPDATE item_ledger SET source = 200 WHERE version = 2 AND line = 0",
    "pass-claim": "UPDATE pass_progress SET level = 1",
    "pass-season": "UPDATE pass_claim SET claimed_ms = 5",
    "pass-unique": "INSERT INTO pass_claim SELECT * FROM pass_claim",
    "payment-grant": "DELETE FROM reward_grant WHERE source_kind = 1",
    "grant-payment": "UPDATE reward_grant SET source_kind = 1 WHERE user_id = 1",
    "refund": "UPDATE payment_order SET amount = -51 WHERE order_id = 'r-1'",
    "payment-unique": "UPDATE payment_order SET order_id = 'o-1'",
    "payment-amount": "UPDATE payment_order SET amount = 60 WHERE order_id = 'o-1'",
    "balance": "UPDATE player_head SET gold = gold + 1 WHERE user_id = 1",
    "currency": "UPDATE player_head SET mileage = 3 WHERE user_id = 2",
    "ledger-line": "UPDATE ledger SET account = 77 WHERE user_id = 1 AND version = 1",
    "item-count": "UPDATE item SET count = 3 WHERE uid = 900",
    "item-code": "DELETE FROM item WHERE uid = 900",
    "item-identity": "UPDATE item SET code = code + 1 WHERE uid = 900",
    "item-owner": f"INSERT INTO item ({ITEM}) SELECT 2, uid, kind, slot, code, count FROM item",
    "item-slot": f"INSERT INTO item ({ITEM})"
    " SELECT user_id, 901, kind, slot, code, count FROM item",
    "item-master": "UPDATE item SET slot = 9999 WHERE uid = 900",
    "version": "DELETE FROM event_log WHERE user_id = 1 AND version = 2",
    "operation": "INSERT INTO event_log SELECT * FROM event_log WHERE version = 2",
    "operation-epoch": "UPDATE event_log SET operation_epoch = 9 WHERE version = 2",
    "line-version": "UPDATE item_ledger SET version = 8 WHERE version = 1",
    "origin": "INSERT INTO event_origin VALUES (1, 2, 9, 0, 0, 1, 1, '')",
    "floor": "UPDATE player_head SET operation_floor_epoch = 2 WHERE user_id = 1",
    "grant-unique": "INSERT INTO reward_grant SELECT * FROM reward_grant WHERE source_id = 2",
    "grant-paid": "UPDATE reward_grant SET claimed_version = 2 WHERE user_id = 1",
    "level": "UPDATE player_head SET level = 16 WHERE user_id = 2",
    "orphan": f"INSERT INTO item ({ITEM}) VALUES (99, 990, 1, 0, 201, 1)",
    "headless": "DELETE FROM account WHERE user_id = 2",
    "place": "UPDATE player_head SET place_number = 77 WHERE user_id = 1",
    "cache-mark": "INSERT INTO cache_dirty VALUES (1, 4, 1)",
}
MORE = {
    "a score changed by hand": ("ranking", "UPDATE raid_member SET score = 50 WHERE raid = 71"),
    "a rank raised by hand": ("ranking", "UPDATE ranking SET score = 50"),
    "a rank of nothing": (
        "ranking-raid",
        "INSERT INTO ranking (season, user_id, score, raid, since_ms) VALUES (2, 2, 9, 70, 1)",
    ),
    "a mark of nobody": ("ranking-mark", "INSERT INTO ranking_dirty VALUES (3, 2, 1, 1)"),
    "a best score that was not kept": (
        "score-best",
        "UPDATE reward_grant SET claimed_version = 3 WHERE source_id = 70",
    ),
    "a reward twice": (
        "raid-reward",
        "INSERT INTO reward_grant SELECT * FROM reward_grant WHERE source_id = 70",
    ),
    "a member who is free": ("raid-busy", "DELETE FROM raid_busy"),
    "busy in nothing": ("raid-busy", "UPDATE raid_busy SET raid = 99"),
    "an entry lost": ("raid-entry", "UPDATE raid_member SET day = 0 WHERE raid = 70"),
    "a score before the end": ("raid-result", "UPDATE raid_member SET score = 1 WHERE raid = 73"),
    "a head without its rise of the log": ("version", "UPDATE player_head SET version = 4"),
    "a log that begins late": ("version", "UPDATE event_log SET version = version + 1"),
    "an origin that is the head": (
        "origin",
        "INSERT INTO event_origin VALUES (1, 3, 12, 0, 0, 1, 1, '')",
    ),
    "an origin of nobody": ("orphan", "INSERT INTO event_origin VALUES (99, 1, 0, 0, 0, 1, 1, '')"),
    "ids refused of a session to come": (
        "floor",
        "UPDATE player_head SET operation_floor_epoch = 5 WHERE user_id = 1",
    ),
    "a sink that pays": ("ledger-line", "UPDATE ledger SET amount = 5 WHERE account = 101"),
    "a fourth currency": ("ledger-line", "UPDATE ledger SET currency = 3 WHERE account = 1"),
    "a claim at a version that never was": (
        "line-version",
        "UPDATE reward_grant SET claimed_version = 9 WHERE user_id = 2",
    ),
    "a grant that gave an item more": (
        "grant-paid",
        "UPDATE item_ledger SET source = 2 WHERE version = 1 AND line = 1",
    ),
    "an attempt of no one": ("orphan", "UPDATE enhance_log SET user_id = 99 WHERE attempt = 1"),
    "an attempt at no version": ("line-version", "UPDATE enhance_log SET version = 8"),
    "a paid reward unpaid": ("pass-claim", "UPDATE pass_claim SET line = 1"),
    "a refund of another's charge": (
        "refund",
        "UPDATE payment_order SET user_id = 1 WHERE order_id = 'r-1'",
    ),
    "a grant paid twice": ("grant-paid", "INSERT INTO ledger VALUES (1, 2, 1, 2, 0, 7)"),
    "experience above the need": ("level", "UPDATE player_head SET exp = 5000 WHERE user_id = 1"),
    "experience at the top": ("level", "UPDATE player_head SET level = 15, exp = 1"),
    "an unknown item": ("item-master", "UPDATE item SET code = 999999"),
    "a stack over its limit": ("item-master", "UPDATE item SET count = 999999999"),
    "a reservation nowhere": ("place", "UPDATE player_head SET reservation_number = 78"),
    "an account without a head": ("orphan", "DELETE FROM player_head WHERE user_id = 2"),
}

Ask = Callable[..., Report]


@pytest.fixture(scope="module")
def settings(mysql_server: ManagedMysql, fresh_database: Callable[..., str]) -> StoreSettings:
    """A migrated database of our own."""
    return settings_for(mysql_server, None, fresh_database())


@pytest.fixture(scope="module")
def ask(settings: StoreSettings) -> Ask:
    """`ask(lie…, honest=True)`: honest books, then the lies by plain SQL, then the audit."""
    content = load_content()
    kind, code = next((r.kind, r.code) for r in content.items.values() if r.stack_max >= 3)
    chances = [step.chance_ppm for step in content.enhance.step]
    named = {
        "kind": kind,
        "code": code,
        "sword": next(r.code for r in content.items.values() if r.kind == 0),
        "tries": tries(910, 3, chances),
        "level": enhanced(910, 3, chances),
        "season": content.passes.seasons[1].starts_ms,
    }

    async def prepare() -> None:
        async with MysqlPool(settings) as pool, pool.take() as connection:
            for text in KEYLESS:
                await connection.execute(Statement.verbatim(text))

    async def run(lies: tuple[str, ...], honest: bool) -> Report:
        async with MysqlPool(settings) as pool:
            async with pool.take() as connection:
                texts = [f"DELETE FROM {name}" for name in TABLES]
                texts += [t.format(**named) for t in (*HONEST, *RAIDS)] if honest else []
                for text in (*texts, *lies):
                    await connection.execute(Statement.verbatim(text))
            return await audit(pool, known_of(content, (1, 2, 11, 12, 21, 31, 41)), SECRET)

    asyncio.run(prepare())

    def answer(*lies: str, honest: bool = True) -> Report:
        return asyncio.run(run(lies, honest))

    return answer


def test_honest_books_are_balanced_and_counted(ask: Ask) -> None:
    report = ask()
    assert report.findings == []
    assert report.balanced and not report.empty
    assert (report.players, report.ledger_lines, report.items["live"]) == (2, 3, 2)
    assert report.items["rolls"] == 3
    gold = report.currencies["gold"]
    assert (gold.minted, gold.burned, gold.held) == (17, 5, 12)


PURGED = (
    "INSERT INTO event_origin VALUES (1, 1, 10, 0, 0, 1, 1, '')",
    "UPDATE player_head SET operation_floor_epoch = 4 WHERE user_id = 1",
)


def test_purged_books_are_balanced_while_and_after_lines_go(ask: Ask) -> None:
    assert ask(*PURGED).findings == []
    assert ask(*PURGED, "DELETE FROM event_log WHERE version = 1").findings == []


def test_more_than_was_purged_is_missed(ask: Ask) -> None:
    more = "DELETE FROM event_log WHERE version IN (1, 2)"
    found = {finding.check for finding in ask(*PURGED, more).findings}
    assert {"version", "line-version"} <= found


def test_books_without_a_player_are_nothing_to_check(ask: Ask) -> None:
    report = ask(honest=False)
    assert report.empty and report.ledger_lines == 0


@pytest.mark.parametrize("check", PLANTED)
def test_a_planted_wrong_row_is_found_and_named(ask: Ask, check: str) -> None:
    report = ask(PLANTED[check])
    assert not report.balanced
    assert check in {finding.check for finding in report.findings}, report.findings


@pytest.mark.parametrize("lie", MORE)
def test_every_way_to_break_a_rule_is_found(ask: Ask, lie: str) -> None:
    check, text = MORE[lie]
    assert check in {finding.check for finding in ask(text).findings}


def test_a_finding_names_the_player_and_what_is_wrong(ask: Ask) -> None:
    finding = next(f for f in ask(PLANTED["balance"]).findings if f.check == "balance")
    assert finding.user == 1
    assert finding.text == "currency 0: he holds 13, his ledger lines add up to 12"


def test_many_findings_are_told_in_part(ask: Ask) -> None:
    rows = ", ".join(f"({user}, 1, 0, 1, 0, 1)" for user in range(100, 200))
    found = [f for f in ask(f"INSERT INTO ledger VALUES {rows}").findings if f.check == "orphan"]
    assert len(found) == 51 and "more than 50" in found[-1].text


def test_the_audit_changes_nothing_and_leaves_no_transaction(
    ask: Ask, settings: StoreSettings
) -> None:
    ask()

    async def counted(work: Callable[[MysqlPool], Awaitable[object]]) -> list[tuple[object, ...]]:
        async with MysqlPool(settings) as pool:
            await work(pool)
            async with pool.take() as connection:
                open_ones = await connection.rows(
                    Statement.verbatim("SELECT COUNT(*) FROM information_schema.innodb_trx")
                )
                return open_ones + await connection.rows(
                    Statement.verbatim(f"CHECKSUM TABLE {', '.join(TABLES)}")
                )

    async def nothing(pool: MysqlPool) -> None:
        del pool

    known = known_of(load_content(), (11,))
    before = asyncio.run(counted(nothing))
    after = asyncio.run(counted(lambda pool: audit(pool, known)))
    assert before[0] == after[0] == (0,)
    assert before == after
