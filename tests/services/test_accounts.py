"""Accounts that an operator changes, against a real MariaDB."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest
from tests.contract.stores import commit_of

from mmo.ops import accounts
from mmo.ops.accounts import FOR_EVER_MS, AccountSeen, Changed, What
from mmo.state.growth import ExpGained
from mmo.state.place import AccountRegistered, Claim, LoginFailed, SessionOpened
from mmo.state.player import Player
from mmo.store import StoreSettings, Verdict
from mmo.store.durable import DurableStore

pytestmark = pytest.mark.services

_names = itertools.count(1)


@pytest.fixture
async def store(store_settings: Callable[..., StoreSettings]) -> AsyncIterator[DurableStore]:
    """A store without Redis."""
    opened = await DurableStore.open(store_settings(redis_nodes=()))
    yield opened
    await opened.close()


async def at_a_center(store: DurableStore) -> Player:
    """A player whom center 2 owns."""
    name = f"accounted-{next(_names)}"
    assert await store.write(AccountRegistered(name, "$hash", 1))
    known = await store.credentials(name)
    assert known is not None and known.banned_until_ms == 0
    assert await store.write(SessionOpened(known.user, 0, 2, "jti", 2**50, 1))
    claimed = await store.claim(Claim(known.user, 1, 2, "jti", now_ms=1))
    assert claimed is not None and claimed.player is not None
    return claimed.player


async def seen(store: DurableStore, user: int) -> AccountSeen:
    """The account as an operator is shown it."""
    async with store.pool.take() as connection:
        found = await accounts.read(connection, user)
    assert found is not None
    return found


def change(what: What, until_ms: int = 0, at_ms: int = 5) -> Changed:
    """One change with its reason."""
    return Changed(what, until_ms, f"why {what}", "ann@desk", at_ms)


@pytest.mark.parametrize("what", ["ban", "password"])
async def test_who_is_shut_out_or_has_a_new_password_owns_nothing_from_then_on(
    store: DurableStore, what: What
) -> None:
    player = await at_a_center(store)
    before = await seen(store, player.user)
    done = change(what, FOR_EVER_MS if what == "ban" else 0)
    assert await accounts.change(store.pool, player.user, done, "$new")
    after = await seen(store, player.user)
    assert (before.place_number, after.place_number) == (2, 0)
    assert after.session_epoch == before.session_epoch + 1
    assert await store.commit([commit_of(player, ExpGained(5, 1, 5))]) == [Verdict.FENCED]
    late = SessionOpened(player.user, before.session_epoch, 2, "late", 2**50, 1)
    assert not await store.write(late), "a login that was on its way"
    known = await store.credentials(player.head.name)
    assert known is not None
    is_ban = what == "ban"
    assert known.banned_until_ms == (FOR_EVER_MS if is_ban else 0)
    assert known.password_hash == ("$hash" if is_ban else "$new")


async def test_a_ban_is_lifted_and_every_change_stays_with_its_reason(store: DurableStore) -> None:
    player = await at_a_center(store)
    wanted: list[tuple[What, int]] = [("ban", 2**50), ("lift", 0), ("unlock", 0)]
    for at_ms, (what, until_ms) in enumerate(wanted, 1):
        assert await accounts.change(store.pool, player.user, change(what, until_ms, at_ms))
    found = await seen(store, player.user)
    assert found.banned_until_ms == 0
    assert [(one.what, one.until_ms, one.at_ms) for one in found.changes] == [
        ("unlock", 0, 3), ("lift", 0, 2), ("ban", 2**50, 1),
    ]  # fmt: skip
    assert found.changes[0] == change("unlock", 0, 3)


@pytest.mark.parametrize(("what", "is_online"), [("unlock", True), ("password", False)])
async def test_locks_are_forgotten(store: DurableStore, what: What, is_online: bool) -> None:
    player = await at_a_center(store)
    assert await store.write(LoginFailed(player.user, 20, 2**50))
    assert (await seen(store, player.user)).locked_until_ms == 2**50
    assert await accounts.change(store.pool, player.user, change(what), "$new")
    found = await seen(store, player.user)
    assert (found.failures, found.locked_until_ms) == (0, 0)
    assert bool(found.place_number) == is_online


async def test_nobody_is_changed_and_nothing_written_of_him(store: DurableStore) -> None:
    assert not await accounts.change(store.pool, 2**40, change("ban", FOR_EVER_MS))
    async with store.pool.take() as connection:
        assert await accounts.read(connection, 2**40) is None


async def test_changes_at_the_same_time_all_count(store: DurableStore) -> None:
    player = await at_a_center(store)
    before = await seen(store, player.user)
    bans = [accounts.change(store.pool, player.user, change("ban", 2**50 + n)) for n in range(8)]
    assert all(await asyncio.gather(*bans))
    after = await seen(store, player.user)
    assert after.session_epoch == before.session_epoch + 8
    assert len(after.changes) == 8 and after.banned_until_ms == after.changes[0].until_ms
