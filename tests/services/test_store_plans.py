"""Plans of every statement on a real MariaDB: none scans a table, however small it is, but for
those of `WHOLE`, each with its reason."""

import hashlib
import importlib
import pkgutil
import re
from collections.abc import AsyncIterator, Callable

import pytest

import mmo.store
from mmo.store import (
    StoreSettings,
    code,
    economy,
    janitor,
    leases,
    migrate,
    ranking,
    relay,
    roll_keys,
    sampler,
)
from mmo.store import raid_statements as raid_sql
from mmo.store import statements as sql
from mmo.store.connection import Connection, Statement

pytestmark = pytest.mark.services

SettingsOf = Callable[..., StoreSettings]
SEAT = '[1,1,0,1,1,1,"",1,1,1]'

GROUP_STATEMENTS: dict[str, tuple[Statement, str]] = {
    "lock heads": (sql.LOCK_HEADS, "[1,2]"),
    "move heads": (sql.MOVE_HEADS, "[[1,0,1,0,0,0,0,0],[2,0,1,0,0,0,0,0]]"),
    "count items": (economy.COUNT_ITEMS, "[[1,1,1,1,1],[2,2,1,1,1]]"),
    "change items": (economy.CHANGE_ITEMS, "[[1,1,1,1,0,0,1,1,0,0,0],[2,2,1,1,0,0,1,1,0,0,0]]"),
    "end items": (economy.END_ITEMS, "[[1,1,1,1],[2,2,1,1]]"),
    "expire items": (economy.EXPIRE_ITEMS, "[[1,1,1,1],[2,2,1,1]]"),
    "raise counters": (economy.RAISE_COUNTERS, "[[1,1,1,1,1],[2,1,1,1,1]]"),
    "move passes": (economy.MOVE_PASSES, '[[1,1,1,1,0,"[]"],[2,1,1,1,0,"[]"]]'),
    "open lines": (economy.OPEN_LINES, "[[1,1,0,1],[2,1,0,1]]"),
    "claim grants": (sql.CLAIM_GRANTS, "[[1,1,1,1],[2,1,1,1]]"),
    "are claimed": (sql.ARE_CLAIMED, "[[1,1,1,1],[2,1,1,1]]"),
    "read seats": (sql.READ_SEATS, "[1,2]"),
    "add grants": (sql.ADD_GRANTS, '[[1,1,1,""]]'),
    "head versions": (sampler.HEAD_VERSIONS, "[1,2]"),
    "keep checkpoints": (raid_sql.KEEP_CHECKPOINTS, '[[1,1,1,""],[2,1,1,""]]'),
    "keep scores": (raid_sql.KEEP_SCORES, "[[1,1,1,1],[1,2,2,1]]"),
    "mark raised": (ranking.MARK_RAISED, "[[1,1,1,1,1],[1,2,1,1,1]]"),
    "names": (ranking.NAMES, "[1,2]"),
    "renew marks of the ranking": (ranking.RENEW_MARKS, "[[1,1],[1,2]]"),
    "drop marks of the ranking": (ranking.DROP_MARKS, "[[1,1,1],[1,2,1]]"),
    "drop marks": (relay.DROP_MARKS, "[[1,1],[2,1]]"),
    "add keys of days": (roll_keys._ADD, '[[1,"aa"],[9,"aa"]]'),
    "reveal keys of days": (roll_keys._REVEAL, '[[1,1,"aa"],[2,1,"aa"]]'),
}
ROW_STATEMENTS: dict[str, tuple[Statement, tuple[object, ...]]] = {
    "renew marks": (relay.RENEW_MARKS, ("[1,2]", 4_000)),
    "find operation": (sql.FIND_OPERATION, (1, 1, 1)),
    "read grants": (sql.READ_GRANTS, ("[1,2]", 32)),
    "head": (sql.READ_HEAD, (1,)),
    "head and owned": (sql.READ_HEAD_AND_OWNED, (1,)),
    "latest operations": (sql.LATEST_OPERATIONS, (1,)),
    "highest operations": (sql.HIGHEST_OPERATIONS, (1,)),
    "lock head": (sql.LOCK_HEAD, (1,)),
    "hold head": (sql.HOLD_HEAD, (1,)),
    "claim a reservation": (sql.CLAIM_RESERVED, (11, 1, 1, 11, "j", 1)),
    "claim anywhere": (sql.CLAIM_ANYWHERE, (11, 1, 1)),
    "claim again": (sql.CLAIM_AGAIN, (11, 1, 1, 11)),
    "prepare": (sql.PREPARE_PLACE, (11, "j", 1, 1, 1, 0)),
    "open a session": (sql.OPEN_SESSION, (1, "j", 1, 1, 1, 0)),
    "end a session": (sql.END_SESSION, (1,)),
    "close a session": (sql.CLOSE_SESSION, (1, 1)),
    "account": (sql.FIND_ACCOUNT, ("1", "1")),
    "failure": (sql.COUNT_FAILURE, (1, 1)),
    "lock an account": (sql.LOCK_ACCOUNT, (1, 1, 1)),
    "charge of a refund": (economy.LOCK_CHARGE, ("1", 1)),
    "refunds of a charge": (economy.REFUNDED, ("1",)),
    "order": (economy.FIND_ORDER, ("1",)),
    "entries used up": (raid_sql.ENTRIES_USED_UP, (f"[{SEAT}]", 1)),
    "is opened": (raid_sql.IS_OPENED, (1, 1, 1, 1, 1, 1)),
    "prepare a seat": (raid_sql.PREPARE_SEAT, ("j", 1, 0, 1, 1, 1, 1, 0)),
    "claim a seat": (raid_sql.CLAIM_SEAT, (1, 1, "j", 1, 1, 1, 1, 1, 0)),
    "start a raid": (raid_sql.START_RAID, (1, 1, 1, 1, 1)),
    "lock a raid": (raid_sql.LOCK_RAID, (1,)),
    "settle a raid": (raid_sql.SETTLE_RAID, (3, 1, 1, 1, 1, 1, "", "", 1)),
    "scores": (raid_sql.READ_SCORES, (1,)),
    "refund entries": (raid_sql.REFUND_ENTRIES, (1,)),
    "free members": (raid_sql.FREE_MEMBERS, (1,)),
    "orphans": (raid_sql.ORPHANS, (1, 1, 1, 32)),
    "take a raid": (raid_sql.TAKE_RAID, (1, 1, 1, 1, 1, 1, 1, 1)),
    "runs a raid": (raid_sql.RUNS_RAID, (1, 1, 1)),
    "raid": (raid_sql.READ_RAID, (1,)),
    "card": (raid_sql.READ_CARD, (1, 1)),
    "day of a raid": (raid_sql.DAY_OF_RAID, (1,)),
    "page": (ranking.PAGE, (1, 3, 0)),
    "page of users": (ranking.OF_USERS, ("[1,2]", 1)),
    "scores of users": (ranking.SCORES_OF, ("[1,2]", 1)),
    "size": (ranking.SIZE, (1,)),
    "own score": (ranking.SCORE_OF, (1, 1)),
    "places inside": (ranking.COUNT_INSIDE, (1, -9, -1)),
    "equal places": (ranking.COUNT_EQUAL, (1, -1, 0, 3)),
    "boards": (ranking.BOARDS, ()),
    "epoch of a board": (ranking.EPOCH, (1,)),
    "chunk of a board": (ranking.CHUNK, (1, 0, 100)),
    "marks of a season": (ranking.MARKS_OF_SEASON, (1,)),
    "number of marks": (ranking.MARKS, (1,)),
    "lease": (leases.RENEW, ("r", "n", "h", 1, "l", 1, 1, 1, 1)),
    "leave": (leases.LEAVE, (1, 1)),
    "next incarnation": (leases.NEXT_INCARNATION, ()),
    "keys of days": (roll_keys._READ, (1, 2)),
    "code": (code.READ, ()),
    "settled code": (code.READ_SETTLED, ()),
    "sources": (code.BUNDLE, (hashlib.sha256(b"1").hexdigest(),)),
    "name the first code": (code.NAME_FIRST, ("h", 1)),
    "switch the code": (code.SWITCH, (2, "h", 0, 1, 2, "h", 0, 0)),
    "begin a canary": (code.BEGIN_CANARY, (2, 11, 1)),
    "end a canary": (code.END_CANARY, (2,)),
    "turn what rolls": (code.TURN_ROLLING, (2, 1, 2, 1, 1)),
    "end what rolls": (code.END_ROLLING, ()),
    "code that went back": (code.RECORD_BACK, ("note", 2)),
    "records of code": (code.RECORDS, (3, 2)),
    "generation of an operation": (code.OF_OPERATION, (1, 1, 1)),
    "a step of the schema is applied": (migrate._APPLIED, (1, 1)),
}
SPECIAL: dict[str, tuple[Statement, tuple[object, ...]]] = {
    "take marks": (relay.TAKE_MARKS, ("[1,2]", 0)),
    "take marks of the ranking": (ranking.TAKE_MARKS, ("[[1,1],[1,2]]", 0)),
    "holder of a lease": (leases.HOLDER, (1, 1)),
}
WHOLE: dict[str, tuple[Statement, str]] = {
    "old marks": (relay.OLD_MARKS, "it holds only what Redis does not have yet: nearly nothing"),
    "old marks of the ranking": (ranking.OLD_MARKS, "as those of the snapshots"),
    "leases": (leases.ALL, "a row a node, and all are wanted"),
    "who is alive": (code.ALIVE, "a row a node"),
    "forget sources": (code.FORGET_BUNDLES, "a row a code that is kept, looked at after a switch"),
    "idle transactions": (janitor.IDLE, "the server's own tables of what runs now"),
    "steps of the schema": (migrate._RECORDS, "a row a step, and all are wanted"),
}
"""Statements that read a table from end to end, and why that is little."""

READS = re.compile(r"(?:FROM|JOIN)\s+(?!JSON_TABLE\b)[\w(]|^UPDATE\s+(?!JSON_TABLE\b)\w")
FOUR_ROWS = (
    "INSERT INTO account SELECT seq, seq, '', 0, 0, 0, 0 FROM seq_1_to_4",
    "INSERT INTO player_head (user_id) SELECT seq FROM seq_1_to_4",
    "INSERT INTO event_log SELECT seq, 1, 1, 1, 1, '', 1, '', '', 1, 1 FROM seq_1_to_4",
    "INSERT INTO item SELECT seq, seq, 1, 1, 1, 1, 0, 0, 0, 0 FROM seq_1_to_4",
    "INSERT INTO counter SELECT seq, 1, 1, 1, 1 FROM seq_1_to_4",
    "INSERT INTO pass_progress SELECT seq, 1, 1, 1, 0, '[]' FROM seq_1_to_4",
    "INSERT INTO pass_claim SELECT seq, 1, 1, 0, 1, 1 FROM seq_1_to_4",
    "INSERT INTO payment_order SELECT seq, seq, seq, 5, NULL, 1 FROM seq_1_to_4",
    "INSERT INTO reward_grant SELECT seq, 1, 1, '', 1, NULL FROM seq_1_to_4",
    "INSERT INTO cache_dirty SELECT seq, 1, 1 FROM seq_1_to_4",
    "INSERT INTO raid SELECT seq, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, '', NULL, ''"
    " FROM seq_1_to_4",
    "INSERT INTO raid_member SELECT 1, seq, seq, 1, 1, 1, '', 1, 1, 1, '', 0, NULL FROM seq_1_to_4",
    "INSERT INTO raid_busy SELECT seq, 1 FROM seq_1_to_4",
    "INSERT INTO ranking (season, user_id, score, raid, since_ms)"
    " SELECT 1, seq, seq, 1, 1 FROM seq_1_to_4",
    "INSERT INTO ranking_dirty SELECT 1, seq, seq, 1 FROM seq_1_to_4",
    "INSERT INTO ranking_board SELECT seq, 1 FROM seq_1_to_4",
    "INSERT INTO node_lease SELECT seq, 'r', seq, 1, 'h', 1, 'h', 1, 1 FROM seq_1_to_4",
    "INSERT INTO roll_key SELECT seq, UNHEX(SHA2(seq, 256)), NULL, 1, NULL FROM seq_1_to_4",
    "INSERT INTO code_bundle SELECT SHA2(seq, 256), '', 1 FROM seq_1_to_4",
    "INSERT INTO code_record SELECT seq, SHA2(seq, 256), 1, 's', '', '', 1 FROM seq_1_to_4",
)
READ_WHOLE = ("ranking_board", "index")
"""It has a row a season, and who looks for boards wants all of them."""
BY_INDEX = {"eq_ref", "ref", "range", "const", "system"}


async def plan_of(connection: Connection, statement: Statement, values: tuple[object, ...]) -> str:
    """The access of every table, such as `g:ALL h:eq_ref`."""
    explained = Statement("EXPLAIN " + statement.text)
    rows = await connection.rows(explained, *values)
    return " ".join(f"{row[2]}:{row[3]}" for row in rows if row[2])


def real_tables(plan: str) -> list[tuple[str, str]]:
    """Tables and how they are read, without the values of the statement (`g`, a JSON_TABLE) and
    what it made itself (`<derived2>`)."""
    accesses = [tuple(entry.split(":")) for entry in plan.split()]
    return [(table, way) for table, way in accesses if table != "g" and not table.startswith("<")]


def of_the_store() -> dict[str, Statement]:
    """Every statement of the package that reads a table, by its module and name."""
    found = {}
    for one in pkgutil.iter_modules(mmo.store.__path__):
        module = importlib.import_module(f"mmo.store.{one.name}")
        for name, value in vars(module).items():
            if isinstance(value, Statement) and READS.search(value.text):
                found[f"{one.name}.{name}"] = value
    return found


@pytest.fixture(scope="module")
def four_rows(
    store_settings: SettingsOf, fresh_database: Callable[..., str]
) -> tuple[StoreSettings, str]:
    """Settings of a database in which every table has four rows."""
    name = fresh_database()
    settings = store_settings(mysql_database=name)
    return settings, name


@pytest.fixture
async def explainer(four_rows: tuple[StoreSettings, str]) -> AsyncIterator[Connection]:
    """A connection into that database."""
    connection = await Connection.open(four_rows[0], 0.0)
    if not await connection.rows(Statement("SELECT 1 FROM account")):
        for text in FOUR_ROWS:
            await connection.execute(Statement.verbatim(text))
        for table in (
            *("account", "player_head", "event_log", "item", "reward_grant", "counter"),
            *("pass_progress", "pass_claim", "payment_order", "raid", "raid_member", "raid_busy"),
            *("ranking", "ranking_dirty", "cache_dirty", "node_lease", "roll_key"),
            *("code_bundle", "code_record"),
        ):
            await connection.rows(Statement.verbatim(f"ANALYZE TABLE {table}"))
    yield connection
    await connection.close()


@pytest.mark.parametrize("name", [*GROUP_STATEMENTS, *ROW_STATEMENTS, *SPECIAL])
async def test_no_statement_scans_even_a_table_of_four_rows(
    explainer: Connection, name: str
) -> None:
    one = GROUP_STATEMENTS.get(name)
    statement, values = (one[0], (one[1],)) if one else ROW_STATEMENTS.get(name) or SPECIAL[name]
    plan = await plan_of(explainer, statement, values)
    real = real_tables(plan)
    wrong = [found for found in real if found[1] not in BY_INDEX and found != READ_WHOLE]
    assert real and not wrong, plan


def test_every_statement_that_reads_a_table_is_explained_or_named_with_its_reason() -> None:
    planned = [*GROUP_STATEMENTS.values(), *ROW_STATEMENTS.values(), *SPECIAL.values()]
    known = {id(statement) for statement, _ in (*planned, *WHOLE.values())}
    every = of_the_store()
    assert {id(statement) for statement in every.values()} >= known
    assert not [name for name, statement in every.items() if id(statement) not in known]


@pytest.mark.parametrize("name", WHOLE)
async def test_what_reads_a_table_whole_still_does(explainer: Connection, name: str) -> None:
    statement, _ = WHOLE[name]
    values = [1] * statement.text.count("%s")
    real = real_tables(await plan_of(explainer, statement, tuple(values)))
    assert [way for _, way in real if way not in BY_INDEX], "it needs no reason any more"


async def test_the_plan_check_can_fail(explainer: Connection) -> None:
    scan = Statement("SELECT user_id FROM player_head h WHERE h.gold = %s")
    assert await plan_of(explainer, scan, (1,)) == "h:ALL"
