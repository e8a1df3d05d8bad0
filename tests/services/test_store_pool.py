"""The pool of connections against a real MariaDB: order, deadlines, what is broken."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from tests.services.asked import PATIENT

from mmo.errors import StoreUnavailable
from mmo.store import StoreSettings
from mmo.store.connection import (
    Conflict,
    ConstraintBroken,
    Statement,
    StatementFailed,
)
from mmo.store.mysql_pool import MysqlPool

pytestmark = pytest.mark.services
SettingsOf = Callable[..., StoreSettings]

ONE = Statement("SELECT 1")
ME = Statement("SELECT CONNECTION_ID()")
KILL = Statement("KILL %s")
COUNT = Statement("SELECT COUNT(*) FROM account")
ADD = Statement("INSERT INTO account (name, password_hash, created_ms) VALUES (%s, '', 0)")


@pytest.fixture
async def pool(store_settings: SettingsOf) -> AsyncIterator[MysqlPool]:
    """Two connections at most."""
    async with MysqlPool(store_settings(mysql_connections_max=2)) as made:
        yield made


async def my_id(pool: MysqlPool) -> int:
    """The server's id of the connection that was lent."""
    async with pool.take() as connection:
        row = await connection.row(ME)
        assert row is not None
        return int(row[0])


async def waiters(pool: MysqlPool, count: int) -> None:
    """Return once so many wait."""
    for _ in range(1_000):
        if pool.stats()["mysql_waiters"] == count:
            return
        await asyncio.sleep(0)
    pytest.fail(f"there never were {count} waiters")


async def test_nothing_is_opened_before_it_is_needed(pool: MysqlPool) -> None:
    assert pool.stats()["mysql_opened"] == 0
    first, second = await my_id(pool), await my_id(pool)
    assert first == second and pool.stats()["mysql_opened"] == 1


async def test_waiters_are_served_in_the_order_they_came(pool: MysqlPool) -> None:
    order: list[int] = []
    first, second = pool.take(), pool.take()
    await first.__aenter__()
    await second.__aenter__()

    async def waits(number: int) -> None:
        async with pool.take():
            order.append(number)

    waiting = [asyncio.create_task(waits(number)) for number in range(20)]
    await waiters(pool, 20)
    await first.__aexit__(None, None, None)
    await second.__aexit__(None, None, None)
    await asyncio.gather(*waiting)
    assert order == list(range(20))
    assert pool.stats()["mysql_opened"] == 2 and pool.stats()["mysql_waited"] == 20


async def test_a_wait_ends_at_its_deadline(store_settings: SettingsOf) -> None:
    async with MysqlPool(store_settings(mysql_connections_max=1, mysql_wait_ms=50)) as pool:
        loop = asyncio.get_running_loop()
        async with pool.take():
            begun_s = loop.time()
            with pytest.raises(StoreUnavailable, match="no free MySQL connection"):
                async with pool.take():
                    pytest.fail("two lent one")
            assert 0.04 < loop.time() - begun_s < 1.0
        assert await my_id(pool) > 0
        assert pool.stats()["mysql_wait_expired"] == 1


async def test_a_cancelled_waiter_passes_its_turn_on(pool: MysqlPool) -> None:
    first, second = pool.take(), pool.take()
    lent = {(await one.__aenter__()).server_id for one in (first, second)}
    tasks = [asyncio.create_task(my_id(pool)) for _ in range(3)]
    await waiters(pool, 3)
    tasks[0].cancel()
    await first.__aexit__(None, None, None)
    tasks[1].cancel()  # it holds the turn already and never used it
    assert await tasks[2] > 0
    await second.__aexit__(None, None, None)
    assert pool.stats()["mysql_in_use"] == 0 and pool.stats()["mysql_waiters"] == 0
    async with pool.take() as one, pool.take() as two:
        assert {one.server_id, two.server_id} == lent


async def test_an_open_transaction_is_undone_on_return(pool: MysqlPool) -> None:
    async with pool.take() as connection:
        before = await connection.rows(COUNT)
        await connection.begin()
        await connection.execute(ADD, "undone")
        assert await connection.rows(COUNT) != before
    async with pool.take() as connection:
        assert await connection.rows(COUNT) == before


async def test_a_broken_constraint_keeps_the_connection(pool: MysqlPool) -> None:
    before = await my_id(pool)
    with pytest.raises(ConstraintBroken) as broken:
        async with pool.take() as connection:
            await connection.begin()
            await connection.execute(ADD, "twice")
            await connection.execute(ADD, "twice")
    assert broken.value.number == 1062
    assert await my_id(pool) == before
    async with pool.take() as connection:
        await connection.execute(ADD, "twice")  # the first was rolled back


async def test_any_other_failure_destroys_it(pool: MysqlPool) -> None:
    before = await my_id(pool)
    with pytest.raises(StatementFailed):
        async with pool.take() as connection:
            await connection.execute(Statement("SELECT FROM nothing"))
    after = await my_id(pool)
    with pytest.raises(RuntimeError):
        async with pool.take():
            raise RuntimeError
    assert len({before, after, await my_id(pool)}) == 3
    assert pool.stats()["mysql_closed_broken"] == 2


async def test_a_call_cut_off_in_the_middle_is_never_answered_to_another(pool: MysqlPool) -> None:
    await my_id(pool)  # what is cut off is the call, not the connect
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), pool.take() as connection:
            await connection.rows(Statement("SELECT SLEEP(30), 'late answer'"))
    async with pool.take() as connection:
        assert await connection.rows(ONE) == [(1,)]
    assert pool.stats()["mysql_closed_broken"] == 1


async def test_a_killed_connection_is_an_outage_and_replaced(pool: MysqlPool) -> None:
    with pytest.raises(StoreUnavailable):
        async with pool.take() as victim, pool.take() as other:
            await other.execute(KILL, victim.server_id)
            await victim.rows(ONE)
    async with pool.take() as connection:
        assert await connection.rows(ONE) == [(1,)]


async def test_idle_ones_are_pinged_and_the_dead_replaced(store_settings: SettingsOf) -> None:
    settings = store_settings(mysql_connections_max=2, mysql_ping_idle_ms=0)
    async with MysqlPool(settings) as pool, MysqlPool(settings) as other:
        before = await my_id(pool)
        async with other.take() as connection:
            await connection.execute(KILL, before)
        assert await my_id(pool) != before
        assert pool.stats()["mysql_closed_ping"] == 1


async def test_old_ones_are_replaced(store_settings: SettingsOf) -> None:
    async with MysqlPool(store_settings(mysql_recycle_ms=0)) as pool:
        assert await my_id(pool) != await my_id(pool)
        assert pool.stats()["mysql_closed_age"] == 1


async def test_a_connection_held_too_long_names_who_took_it(store_settings: SettingsOf) -> None:
    async with MysqlPool(store_settings(mysql_leak_ms=0)) as pool:
        async with pool.take():
            (leak,) = pool.leaks()
            assert "test_store_pool.py:" in leak
            assert pool.leaks() == []
        assert pool.stats()["mysql_leaks"] == 1


async def test_a_closed_pool_refuses_who_comes_and_who_waits(store_settings: SettingsOf) -> None:
    pool = MysqlPool(store_settings(mysql_connections_max=1))
    lent = pool.take()
    await lent.__aenter__()
    waiting = asyncio.create_task(my_id(pool))
    await waiters(pool, 1)
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await waiting
    with pytest.raises(StoreUnavailable):
        await my_id(pool)


async def test_a_server_that_is_not_there_is_an_outage(store_settings: SettingsOf) -> None:
    async with MysqlPool(store_settings(mysql_socket="/nowhere/server.sock")) as pool:
        failed = await asyncio.gather(*(my_id(pool) for _ in range(6)), return_exceptions=True)
        assert all(isinstance(error, StoreUnavailable) for error in failed)
        assert pool.stats()["mysql_in_use"] == 0
    async with MysqlPool(store_settings(mysql_password="wrong")) as pool:
        with pytest.raises(StoreUnavailable):
            await my_id(pool)


async def test_a_lock_wait_is_a_conflict_and_the_session_is_as_designed(pool: MysqlPool) -> None:
    asked = Statement(
        "SELECT @@innodb_lock_wait_timeout, @@idle_transaction_timeout, @@tx_isolation,"
        " @@autocommit, @@sql_mode LIKE '%%STRICT_ALL%%', @@collation_connection, @@time_zone"
    )
    async with pool.take() as one, pool.take() as two:
        row = await one.row(Statement.verbatim(asked.text.replace("%%", "%")))
        assert row == (2, 3, "READ-COMMITTED", 1, 1, "utf8mb4_bin", "+00:00")
        await one.execute(ADD, "contended")
        lock = Statement("SELECT * FROM account WHERE name = %s FOR UPDATE")
        await one.execute(PATIENT)
        await one.begin()
        await one.rows(lock, "contended")
        await two.begin()
        with pytest.raises(Conflict):
            await two.rows(lock, "contended")
        await two.rollback()


async def test_several_statements_in_one_text_are_refused(pool: MysqlPool) -> None:
    with pytest.raises(StatementFailed, match="1064"):
        async with pool.take() as connection:
            await connection.rows(Statement.verbatim("SELECT 1; SELECT 2"))


@pytest.mark.parametrize(
    "value",
    ["", "a\x00b", "it's", '"', "\\", "\\'", "%s", "\x1a", "한글🐉", "' OR 1=1 -- ", None, -5],
)
async def test_values_travel_as_they_are(pool: MysqlPool, value: object) -> None:
    async with pool.take() as connection:
        assert await connection.rows(Statement("SELECT %s"), value) == [(value,)]
