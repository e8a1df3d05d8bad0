"""Plans of every statement on a real MariaDB: none scans a table, however small it is."""

from collections.abc import AsyncIterator, Callable

import pytest

from mmo.store import StoreSettings, economy, leases, ranking, relay, sampler
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
    "claim a reservation": (sql.CLAIM_RESERVED, (11, 1, 1, 11, "j", 1)),
    "claim anywhere": (sql.CLAIM_ANYWHERE, (11, 1, 1)),
    "claim again": (sql.CLAIM_AGAIN, (11, 1, 1, 11)),
    "prepare": (sql.PREPARE_PLACE, (11, "j", 1, 1, 1, 0)),
    "open a session": (sql.OPEN_SESSION, (1, "j", 1, 1, 1, 0)),
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
}
SPECIAL: dict[str, tuple[Statement, tuple[object, ...]]] = {
    "take marks": (relay.TAKE_MARKS, ("[1,2]", 0)),
    "take marks of the ranking": (ranking.TAKE_MARKS, ("[[1,1],[1,2]]", 0)),
    "holder of a lease": (leases.HOLDER, (1, 1)),
}
FOUR_ROWS = (
    "INSERT INTO account SELECT seq, seq, '', 0, 0, 0 FROM seq_1_to_4",
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
)
REAL_TABLES = {
    *("a", "h", "i", "r", "c", "p", "l", "account", "player_head", "event_log", "node_lease"),
    *("payment_order", "raid", "raid_member", "raid_busy", "ranking", "ranking_dirty"),
    *("ranking_board", "b", "d", "k", "m", "t"),
}
READ_WHOLE = ("ranking_board", "index")
"""It has a row a season, and who looks for boards wants all of them."""
BY_INDEX = {"eq_ref", "ref", "range", "const", "system"}


async def plan_of(connection: Connection, statement: Statement, values: tuple[object, ...]) -> str:
    """The access of every table, such as `g:ALL h:eq_ref`."""
    explained = Statement("EXPLAIN " + statement.text)
    rows = await connection.rows(explained, *values)
    return " ".join(f"{row[2]}:{row[3]}" for row in rows if row[2])


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
            *("ranking", "ranking_dirty"),
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
    accesses = [entry.split(":") for entry in plan.split()]
    real = [(table, access) for table, access in accesses if table in REAL_TABLES]
    wrong = [found for found in real if found[1] not in BY_INDEX and found != READ_WHOLE]
    assert real and not wrong, plan


async def test_the_plan_check_can_fail(explainer: Connection) -> None:
    scan = Statement("SELECT user_id FROM player_head h WHERE h.gold = %s")
    assert await plan_of(explainer, scan, (1,)) == "h:ALL"
