"""Group commit on a real MariaDB: locks, kills. What only a real database can answer."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from mysql.connector.errors import DatabaseError
from tests.contract.stores import loaded
from tests.services.asked import PATIENT

from mmo.cluster.mysql_server import ManagedMysql
from mmo.errors import StoreUnavailable
from mmo.state.bag import Item, ItemBorn, ItemKind
from mmo.state.change import Change, Row
from mmo.state.place import Claim
from mmo.state.player import Player
from mmo.state.wallet import Account, CoinsMoved, Currency
from mmo.store import LeaseRow, PlayerCommit, StoreSettings, Verdict, loading
from mmo.store.connection import (
    IDLE_TRANSACTION_S,
    Conflict,
    Connection,
    Statement,
    StatementFailed,
)
from mmo.store.durable import DurableStore
from mmo.store.janitor import IDLE, end_idle

pytestmark = pytest.mark.services

USERS = 40
CHANNEL = 11
SettingsOf = Callable[..., StoreSettings]

ADD_PLAYER = Statement(
    "INSERT INTO account (user_id, name, password_hash, created_ms) VALUES (%s, %s, '', 0)"
)
ADD_HEAD = Statement(
    "INSERT INTO player_head (user_id, session_epoch, place_number, place_epoch)"
    " VALUES (%s, 1, 11, 2)"
)
HOLD = Statement("SELECT user_id FROM player_head WHERE user_id = %s FOR UPDATE")

_users = itertools.count(1_000)


@pytest.fixture
async def store(store_settings: SettingsOf) -> AsyncIterator[DurableStore]:
    """A store without Redis: these questions are MySQL's."""
    opened = await DurableStore.open(store_settings(redis_nodes=()))
    yield opened
    await opened.close()


async def players(store: DurableStore, count: int) -> list[Player]:
    """New players, owned by a channel."""
    users = [next(_users) for _ in range(count)]
    async with store.pool.take() as connection:
        for user in users:
            await connection.execute(ADD_PLAYER, user, f"user-{user}")
            await connection.execute(ADD_HEAD, user)
    return [await loaded(store, user) for user in users]


def earn(player: Player, counter: int, *more: Change, amount: int = 1) -> PlayerCommit:
    """One gold under the operation id (1, counter)."""
    return PlayerCommit(
        player=player,
        operation=(1, counter),
        kind=410,
        request_hash=counter.to_bytes(8, "little"),
        answer_opcode=411,
        answer=b"%d" % counter,
        changes=(CoinsMoved(Currency.GOLD, amount, Account.MINT_HUNT), *more),
        generation=1,
        now_ms=1,
    )


# -- locks -----------------------------------------------------------------------------------------


async def test_a_locked_member_never_delays_the_others(store: DurableStore) -> None:
    held, *free = await players(store, 4)
    group = [earn(player, 1) for player in (held, *free)]
    loop = asyncio.get_running_loop()
    async with store.pool.take() as other:
        await other.begin()
        await other.rows(HOLD, held.user)
        begun_s = loop.time()
        verdicts = await store.commit(group)
        assert loop.time() - begun_s < 1.0  # the lock wait would be two seconds
        assert verdicts == [Verdict.LOCKED, *[Verdict.COMMITTED] * 3]
        await other.rollback()
    assert await store.commit([earn(held, 1)]) == [Verdict.COMMITTED]


async def test_guilt_is_found_in_halves_and_costs_only_the_guilty(store: DurableStore) -> None:
    everyone = await players(store, 16)
    group = [earn(p, 1, amount=-1 if index == 5 else 1) for index, p in enumerate(everyone)]
    verdicts = await store.commit(group)
    assert [index for index, v in enumerate(verdicts) if v is Verdict.GUILTY] == [5]
    assert verdicts.count(Verdict.COMMITTED) == 15
    assert store.stats()["commit_halvings"] == 4  # 16, 8, 4, 2


async def test_a_process_stopped_in_a_transaction_frees_its_rows(store: DurableStore) -> None:
    (player,) = await players(store, 1)
    loop = asyncio.get_running_loop()
    async with store.pool.take() as stopped:
        await stopped.begin()
        await stopped.rows(HOLD, player.user)  # and then its process is paused
        deadline_s = loop.time() + IDLE_TRANSACTION_S + 5
        verdict = Verdict.LOCKED
        while verdict is Verdict.LOCKED and loop.time() < deadline_s:
            (verdict,) = await store.commit([earn(player, 1)])
        assert verdict is Verdict.COMMITTED
        with pytest.raises(StoreUnavailable):
            await stopped.rows(HOLD, player.user)


async def test_where_the_server_does_not_the_janitor_frees_them(store: DurableStore) -> None:
    player, busy = await players(store, 2)
    async with store.pool.take() as stopped, store.pool.take() as working:
        await stopped.execute(Statement("SET SESSION idle_transaction_timeout = 0"))  # as on MySQL
        await stopped.begin()
        await stopped.rows(HOLD, player.user)
        await working.begin()
        await working.rows(HOLD, busy.user)
        async with store.pool.take() as connection:
            assert await end_idle(connection, 3_600) == 0
            async with asyncio.timeout(10):
                while not await connection.rows(IDLE, 1):
                    await working.rows(HOLD, busy.user)
            assert await end_idle(connection, 1) == 1
        with pytest.raises(StoreUnavailable):
            await stopped.rows(HOLD, player.user)
        assert await working.rows(HOLD, busy.user) == [(busy.user,)]
    assert await store.commit([earn(player, 1)]) == [Verdict.COMMITTED]


async def test_crossing_grants_and_commits_end_without_an_outage(store: DurableStore) -> None:
    everyone = await players(store, 8)

    async def rounds(mine: list[Player], first: int) -> int:
        done = 0
        for counter in range(1, 21):
            born = [
                ItemBorn(
                    Item(first + counter * 100 + p.user, ItemKind.MATERIAL, counter, 301, 1), 1
                )
                for p in mine
            ]
            group = [earn(p, counter, b) for p, b in zip(mine, born, strict=True)]
            verdicts = await store.commit(group)
            assert verdicts == [Verdict.COMMITTED] * len(mine)
            done += len(mine)
            for p in mine:
                p.head = msgspec.structs.replace(p.head, version=p.head.version + 1)
        return done

    halves = await asyncio.gather(rounds(everyone[::2], 10**9), rounds(everyone[1::2], 2 * 10**9))
    assert sum(halves) == 160
    assert {(await loaded(store, p.user)).wallet.gold for p in everyone} == {20}


# -- kill -9 ---------------------------------------------------------------------------------------


class Worker:
    """One player who earns under rising operation ids and repeats what is in doubt, as a node does.
    `acknowledged` holds the counters for which the store said yes or the record was found."""

    def __init__(self, store: DurableStore, player: Player) -> None:
        self.store = store
        self.player = player
        self.acknowledged: set[int] = set()
        self.in_doubt = 0

    async def earn(self, counter: int) -> None:
        """Until the operation is known to be done."""
        certain = True
        while True:
            try:
                if not certain:
                    self.player = await loaded(self.store, self.player.user)
                    found = await self.store.find_operation(self.player.user, 1, counter)
                    if found is not None:
                        assert found.answer == b"%d" % counter
                        break
                (verdict,) = await self.store.commit([earn(self.player, counter)])
            except StoreUnavailable:
                certain = False
                self.in_doubt += 1
                await asyncio.sleep(0)
                continue
            if verdict is Verdict.COMMITTED:
                head = self.player.head
                self.player.head = msgspec.structs.replace(head, version=head.version + 1)
                break
            certain = False
        self.acknowledged.add(counter)


async def test_kill_9_of_the_database_loses_and_doubles_nothing(
    store: DurableStore, mysql_server: ManagedMysql
) -> None:
    workers = [Worker(store, player) for player in await players(store, 6)]
    per_kill, kills = 30, 3
    for kill in range(kills):
        first = kill * per_kill + 1
        reached = asyncio.Event()

        async def run(worker: Worker, first: int = first, reached: asyncio.Event = reached) -> None:
            for counter in range(first, first + per_kill):
                await worker.earn(counter)
                if counter == first + 5:
                    reached.set()

        running = [asyncio.create_task(run(worker)) for worker in workers]
        await reached.wait()
        mysql_server.kill()
        mysql_server.start()  # here: a server dies with the thread that started it
        await asyncio.gather(*running)
    total = per_kill * kills
    assert sum(worker.in_doubt for worker in workers) > 0, "no kill met a commit"
    for worker in workers:
        after = await loaded(store, worker.player.user)
        assert worker.acknowledged == set(range(1, total + 1))
        assert (after.wallet.gold, after.head.version) == (total, total)
        assert after.operations.highest == {1: total}
    counted = Statement(
        "SELECT COUNT(*), COUNT(DISTINCT version) FROM event_log WHERE user_id = %s"
    )
    async with store.pool.take() as connection:
        for worker in workers:
            assert await connection.row(counted, worker.player.user) == (total, total)


async def test_a_silent_database_is_an_outage_within_the_deadline(
    store_settings: SettingsOf, mysql_server: ManagedMysql
) -> None:
    store = await DurableStore.open(store_settings(redis_nodes=()))
    hasty = await DurableStore.open(store_settings(redis_nodes=()))
    hasty._settings = msgspec.structs.replace(hasty._settings, mysql_call_ms=400)
    (player,) = await players(store, 1)
    loop = asyncio.get_running_loop()
    mysql_server.pause()
    try:
        begun_s = loop.time()
        with pytest.raises(StoreUnavailable):
            await hasty.commit([earn(player, 1)])
        assert loop.time() - begun_s < 2.0
        with pytest.raises(StoreUnavailable):
            await hasty.load(player.user)
    finally:
        mysql_server.resume()
    await hasty.close()
    worker = Worker(store, await loaded(store, player.user))
    await worker.earn(1)
    assert (await loaded(store, player.user)).wallet.gold == 1
    await store.close()


async def test_what_is_asked_of_a_commit_under_way_is_not_answered_before_it_is_decided(
    store: DurableStore,
) -> None:
    """A plain read sees nothing of it, and would call it undone."""
    [player] = await players(store, 1)
    async with store.pool.take() as other:
        await other.execute(PATIENT)
        await other.begin()
        await other.row(HOLD, player.user)
        assert await store.find_operation(player.user, 1, 1) is None
        with pytest.raises(Conflict):
            await store.find_operation(player.user, 1, 1, settled=True)
        await other.rollback()
    assert await store.find_operation(player.user, 1, 1, settled=True) is None


async def test_a_claim_that_is_overtaken_before_it_has_read_the_player_does_not_own_him(
    store: DurableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers must never hold the same epoch of a place."""
    [player] = await players(store, 1)
    read = loading.read_player
    overtaken: list[int] = []

    async def reads_late(connection: Connection, user: int, snapshot: Any = None) -> Any:
        if not overtaken:
            overtaken.append(user)
            assert await store.claim(Claim(user, 1, number=2, lobby=True)) is not None
        return await read(connection, user, snapshot)

    monkeypatch.setattr(loading, "read_player", reads_late)
    claimed = await store.claim(Claim(player.user, 1, number=CHANNEL, lobby=True))
    assert claimed is not None and claimed.player is None
    assert (claimed.head.place_number, claimed.head.place_epoch) == (2, 4)


async def test_a_lease_reads_the_code_while_everything_else_keeps_the_pool_busy(
    store: DurableStore,
) -> None:
    row = LeaseRow(31, "raid", "raid-31", 0, "h", 1, "h", 2, True)
    await store.lease(row, 5_000)
    async with contextlib.AsyncExitStack() as all_of_it:
        for _ in range(store.pool._size_max):
            await all_of_it.enter_async_context(store.pool.take())
        assert (await store.code()).generation >= 1
    await store.leave(31, store._leases._incarnation)


@pytest.mark.parametrize("number", [3, 1021, 1026, 1030, 1114, 1180])
async def test_a_disk_that_fails_is_an_outage_and_no_bug(store: DurableStore, number: int) -> None:
    async with store.pool.take() as connection:
        told = connection._sorted(DatabaseError(msg="No space left on device", errno=number))
        assert isinstance(told, StoreUnavailable)
        connection.broken = False


async def test_a_change_that_no_row_can_be_made_of_is_guilty_alone(store: DurableStore) -> None:
    """A number is missing in it, or it is none of the store's: the others of the group go on."""
    first, second, third = await players(store, 3)
    missing = CoinsMoved(Currency.GOLD, None, Account.MINT_GRANT)  # type: ignore[arg-type]
    group = [
        earn(first, 1, amount=5),
        earn(second, 1, missing),
        earn(third, 1, Change()),
    ]
    verdicts = await store.commit(group)
    assert verdicts == [Verdict.COMMITTED, Verdict.GUILTY, Verdict.GUILTY]
    assert (await loaded(store, first.user)).wallet.gold == 5
    with pytest.raises(StatementFailed, match="Row is no row of the store"):
        await store.write(Row())
