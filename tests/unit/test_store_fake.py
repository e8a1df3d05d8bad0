"""The faults of the store in dicts: before or after the deed, the same for the same seed."""

import asyncio

import pytest

from mmo.errors import StoreUnavailable
from mmo.state.place import AccountRegistered
from mmo.state.wallet import Account, CoinsMoved, Currency
from mmo.store import PlayerCommit, Verdict
from mmo.testing.fake_store import FakeDatabase, FakeStore, Faults


async def registered(store: FakeStore) -> PlayerCommit:
    """A commit of one gold for a new player."""
    assert await store.write(AccountRegistered("one", "", 1))
    player = await store.load(1)
    assert player is not None
    gold = (CoinsMoved(Currency.GOLD, 1, Account.MINT_HUNT),)
    return PlayerCommit(player, (1, 1), 410, b"12345678", 411, b"", gold, 1, 1)


async def test_a_fault_before_leaves_nothing_one_after_leaves_everything() -> None:
    store = FakeStore()
    commit = await registered(store)
    store.faults.next_before = 1
    with pytest.raises(StoreUnavailable):
        await store.commit([commit])
    assert await store.find_operation(1, 1, 1) is None
    store.faults.next_after = 1
    with pytest.raises(StoreUnavailable):
        await store.commit([commit])
    assert await store.find_operation(1, 1, 1) is not None
    assert await store.commit([commit]) == [Verdict.STALE]


async def test_a_database_that_is_down_is_down_for_all() -> None:
    database = FakeDatabase()
    stores = [FakeStore(database), FakeStore(database)]
    commit = await registered(stores[0])
    database.is_down = True
    for store in stores:
        with pytest.raises(StoreUnavailable):
            await store.load(1)
    database.is_down = False
    database.locked.add(1)
    assert await stores[1].commit([commit]) == [Verdict.LOCKED]
    database.locked.clear()
    assert await stores[1].commit([commit]) == [Verdict.COMMITTED]


def pattern(seed: int) -> list[bool]:
    """Which of fifty calls fail."""

    async def calls() -> list[bool]:
        store = FakeStore(faults=Faults(seed, before=0.3, after=0.2))
        failed = []
        for number in range(50):
            try:
                await store.write(AccountRegistered(f"user-{number}", "", 1))
                failed.append(False)
            except StoreUnavailable:
                failed.append(True)
        return failed

    return asyncio.run(calls())


def test_the_same_seed_fails_the_same_calls() -> None:
    assert pattern(7) == pattern(7)
    assert pattern(7) != pattern(8)
    assert 0 < sum(pattern(7)) < 50
