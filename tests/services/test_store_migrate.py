"""Migrations against a real MariaDB: applied once, resumed where they stopped, never drifted."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmo.errors import OperatorError
from mmo.store import StoreSettings, migrate, open_store
from mmo.store.connection import Connection, Statement

pytestmark = pytest.mark.services

PACKAGE_FILES = Path(migrate.__file__).parent / "sql"
FIRST = """
-- mmo:irreversible
CREATE TABLE one (id BIGINT PRIMARY KEY, note VARCHAR(20));
INSERT INTO one VALUES (1, 'semi;colon -- "''x'), (2, '%s');
"""
SECOND = "CREATE TABLE two (id BIGINT PRIMARY KEY);\nALTER TABLE two ADD COLUMN more INT;\n"


@pytest.fixture
def empty(
    store_settings: Callable[..., StoreSettings], fresh_database: Callable[..., str]
) -> StoreSettings:
    """A database with nothing in it."""
    return store_settings(mysql_database=fresh_database(migrated=False), redis_nodes=())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two migration files."""
    (tmp_path / "0001_first.sql").write_text(FIRST)
    (tmp_path / "0002_second.sql").write_text(SECOND)
    return tmp_path


async def ask(settings: StoreSettings, text: str) -> list[tuple[object, ...]]:
    """Rows of any query."""
    connection = await Connection.open(settings, 0.0)
    try:
        return await connection.rows(Statement.verbatim(text))
    finally:
        await connection.close()


async def test_plan_changes_nothing_and_apply_runs_it_once(
    empty: StoreSettings, files: Path
) -> None:
    planned = await migrate.plan(empty, files)
    assert [(step.version, step.number) for step in planned] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert planned[0].notes == ("irreversible",)
    assert await ask(empty, "SHOW TABLES") == []
    seen: list[str] = []
    assert await migrate.apply(empty, lambda step: seen.append(step.name), files) == 4
    assert seen == ["first", "first", "second", "second"]
    assert await migrate.apply(empty, None, files) == 0
    assert await migrate.plan(empty, files) == []
    assert await ask(empty, "SELECT note FROM one ORDER BY id") == [
        ("semi;colon -- \"'x",),
        ("%s",),
    ]


async def test_a_failed_file_goes_on_at_its_statement(empty: StoreSettings, files: Path) -> None:
    second = files / "0002_second.sql"
    second.write_text(SECOND.replace("ADD COLUMN more INT", "ADD COLUMN more NO_SUCH_TYPE"))
    with pytest.raises(OperatorError, match=r"E0207 .*0002_second statement 2"):
        await migrate.apply(empty, None, files)
    second.write_text(SECOND)
    with pytest.raises(OperatorError, match="E0203"):  # begun with another text
        await migrate.apply(empty, None, files)
    await forget(empty, 2, 2)
    assert await migrate.apply(empty, None, files) == 1
    assert await ask(empty, "SELECT more FROM two") == []


async def forget(settings: StoreSettings, version: int, number: int) -> None:
    """Drop the record of a statement that failed and was rewritten."""
    connection = await Connection.open(settings, 0.0)
    text = Statement("DELETE FROM mmo_migration WHERE version = %s AND statement = %s")
    await connection.execute(text, version, number)
    await connection.close()


@pytest.mark.parametrize("point", [1, 2, 3, 4])
async def test_a_migrator_that_died_is_resumed(
    empty: StoreSettings, files: Path, point: int
) -> None:
    """It died after its statement ran and before it was recorded as done."""
    await migrate.apply(empty, None, files)
    died = migrate.steps(files)[point - 1]
    connection = await Connection.open(empty, 0.0)
    if died.text.startswith("INSERT"):  # rows and record are one transaction: both or none
        await connection.execute(Statement("DELETE FROM one"))
        await forget(empty, died.version, died.number)
    else:
        undone = Statement(
            "UPDATE mmo_migration SET applied_ms = NULL WHERE version = %s AND statement = %s"
        )
        await connection.execute(undone, died.version, died.number)
    await connection.close()
    assert [step.number for step in await migrate.plan(empty, files)] == [died.number]
    assert await migrate.apply(empty, None, files) == 1
    assert await migrate.plan(empty, files) == []
    assert await ask(empty, "SELECT COUNT(*) FROM one") == [(2,)]


async def test_a_file_changed_after_it_ran_is_named(empty: StoreSettings, files: Path) -> None:
    await migrate.apply(empty, None, files)
    (files / "0001_first.sql").write_text(FIRST + "-- a comment is no change\n")
    assert await migrate.plan(empty, files) == []
    (files / "0001_first.sql").write_text(FIRST.replace("VARCHAR(20)", "VARCHAR(21)"))
    with pytest.raises(OperatorError, match=r"E0203 .*0001_first statement 1") as drift:
        await migrate.plan(empty, files)
    assert drift.value.fix


async def test_a_database_ahead_of_the_code_is_refused(empty: StoreSettings, files: Path) -> None:
    await migrate.apply(empty, None, files)
    (files / "0002_second.sql").unlink()
    with pytest.raises(OperatorError, match="E0205"):
        await migrate.plan(empty, files)


async def test_nodes_refuse_a_schema_that_is_behind(empty: StoreSettings) -> None:
    with pytest.raises(OperatorError, match="E0204"):
        await open_store(empty)
    await migrate.apply(empty)
    store = await open_store(empty)
    assert await store.leases() == []
    await store.close()


async def test_a_database_of_before_the_raids_keeps_its_players(
    empty: StoreSettings, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    before.mkdir()
    for file in PACKAGE_FILES.glob("*.sql"):
        if file.name < "0004":
            shutil.copy(file, before)
    await migrate.apply(empty, None, before)
    connection = await Connection.open(empty, 0.0)
    for text in (
        "INSERT INTO account (name, password_hash, created_ms) VALUES ('ann', '', 1)",
        "INSERT INTO player_head (user_id, level, gold) VALUES (1, 7, 50)",
    ):
        await connection.execute(Statement.verbatim(text))
    await connection.close()
    planned = await migrate.plan(empty)
    assert {step.version for step in planned} == {
        step.version for step in migrate.steps() if step.version >= 4
    }
    assert planned[0].text.startswith("CREATE TABLE raid ")
    assert await ask(empty, "SHOW TABLES LIKE 'raid%'") == []
    assert await migrate.apply(empty) == len(planned)
    store = await open_store(empty)
    player = await store.load(1)
    assert player is not None and (player.growth.level, player.wallet.gold) == (7, 50)
    card = await store.card(1, 20260101)
    assert card is not None and (card.name, card.raid, card.entries) == ("ann", 0, ())
    assert (await store.ranking_page(1, 1, 1, 3)).size == 0
    await store.close()


async def test_two_migrators_at_once_are_one(empty: StoreSettings, files: Path) -> None:
    done = await asyncio.gather(*(migrate.apply(empty, None, files) for _ in range(3)))
    assert sorted(done) == [0, 0, 4]


async def test_file_names_are_checked(empty: StoreSettings, files: Path) -> None:
    (files / "2_bad.sql").write_text("SELECT 1")
    with pytest.raises(OperatorError, match=r"E0203 .*2_bad\.sql"):
        await migrate.plan(empty, files)
    (files / "2_bad.sql").rename(files / "0002_again.sql")
    with pytest.raises(OperatorError, match="E0203"):
        await migrate.plan(empty, files)
