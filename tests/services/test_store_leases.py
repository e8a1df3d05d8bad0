"""Server numbers and killed processes: real processes, a real kill -9, a real database."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from mmo.errors import OperatorError, StoreUnavailable
from mmo.store import LeaseRow, StoreSettings
from mmo.store.connection import Statement
from mmo.store.durable import DurableStore

pytestmark = pytest.mark.services
SettingsOf = Callable[..., StoreSettings]

ROW = LeaseRow(11, "channel", "channel-1", 0, "host", 1, "link", 2, alive=False)
LEASE_MS = 60_000
HOLDER = """
import asyncio, sys, msgspec
from mmo.store import LeaseRow, StoreSettings, open_store

async def hold():
    settings, row = msgspec.json.decode(sys.stdin.readline(), type=tuple[StoreSettings, LeaseRow])
    store = await open_store(settings)
    print(await store.lease(row, 60_000), flush=True)
    await asyncio.get_running_loop().create_future()

asyncio.run(hold())
"""


@pytest.fixture
async def store(store_settings: SettingsOf) -> AsyncIterator[DurableStore]:
    """The server that comes after."""
    opened = await DurableStore.open(store_settings(redis_nodes=()))
    yield opened
    await opened.close()


async def test_a_killed_server_is_back_at_once_a_living_one_keeps_its_number(
    store: DurableStore, store_settings: SettingsOf
) -> None:
    told = msgspec.json.encode((store_settings(redis_nodes=()), ROW)) + b"\n"
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, stdin=pipe, stdout=pipe
    )
    try:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.write(told)
        incarnation = int(await holder.stdout.readline())
        with pytest.raises(OperatorError, match="E0702"):
            await store.lease(ROW, LEASE_MS)
        assert [row.alive for row in await store.leases() if row.number == ROW.number] == [True]
    finally:
        holder.send_signal(signal.SIGKILL)
        await holder.wait()
    async with asyncio.timeout(5):
        taken = 0
        while not taken:  # the server notices the closed socket within milliseconds
            try:
                taken = await store.lease(ROW, LEASE_MS)
            except OperatorError as held:
                assert held.code == "E0702"
    assert taken > incarnation


async def test_a_holder_that_lost_its_connection_keeps_its_number_by_renewing(
    store: DurableStore, store_settings: SettingsOf
) -> None:
    row = msgspec.structs.replace(ROW, number=12)
    held = msgspec.structs.replace(row, incarnation=await store.lease(row, LEASE_MS))
    other = await DurableStore.open(store_settings(redis_nodes=()))
    async with store._leases._pool.take() as connection:
        number = connection.server_id
    async with other.pool.take() as connection:
        await connection.execute(Statement("KILL %s"), number)
    while True:
        try:
            assert await store.lease(held, LEASE_MS) == held.incarnation
            break
        except StoreUnavailable as error:
            assert "went away" in str(error)  # the first renewal meets the cut line
    with pytest.raises(OperatorError, match="E0702"):
        await other.lease(row, LEASE_MS)
    await other.close()


async def test_a_holder_that_vanished_with_its_connection_standing_keeps_no_number(
    store: DurableStore, store_settings: SettingsOf
) -> None:
    row = msgspec.structs.replace(ROW, number=14)
    silent = await DurableStore.open(store_settings(redis_nodes=()))
    held = await silent.lease(row, 0)
    async with silent._leases._pool.take() as connection:
        number = connection.server_id
    assert await store.lease(row, LEASE_MS) > held
    async with store.pool.take() as connection:
        left = await connection.rows(
            Statement("SELECT id FROM information_schema.processlist WHERE id = %s"), number
        )
    assert not left
    await silent.close()


async def test_a_renewal_that_comes_after_the_lease_was_given_back_revives_nothing(
    store: DurableStore,
) -> None:
    row = msgspec.structs.replace(ROW, number=15)
    held = await store.lease(row, LEASE_MS)
    await store.leave(row.number, held)
    assert await store.lease(msgspec.structs.replace(row, incarnation=held), LEASE_MS) == held
    assert not [one for one in await store.leases() if one.number == row.number and one.alive]


async def test_two_processes_at_one_moment_get_one_number(store_settings: SettingsOf) -> None:
    row = msgspec.structs.replace(ROW, number=13)
    stores = [await DurableStore.open(store_settings(redis_nodes=())) for _ in range(4)]
    taken = await asyncio.gather(
        *(store.lease(row, LEASE_MS) for store in stores), return_exceptions=True
    )
    assert sum(isinstance(one, int) for one in taken) == 1
    refused = [one for one in taken if not isinstance(one, int)]
    assert all(isinstance(one, OperatorError) and one.code == "E0702" for one in refused), refused
    for store in stores:
        await store.close()
