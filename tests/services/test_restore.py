"""Restore against a real MariaDB: a player is what his log says; a correction brings it back."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from tests.contract.stores import commit_of
from tests.systems.game import CHANNEL, Game, parts

from mmo.content import load_content
from mmo.contract import Outcome
from mmo.ops.accounts import users_of
from mmo.ops.rebuild import Log, LogIncomplete, read_log, replay, until
from mmo.ops.restore import Restoration, restoration
from mmo.state.bag import Item, ItemBorn, ItemEnhanced, ItemPlaced, ItemStacked
from mmo.state.change import Change
from mmo.state.counters import CounterKind, CounterRaised
from mmo.state.grant import BundleItem, SourceKind
from mmo.state.growth import ExpGained
from mmo.state.pass_progress import MissionCount, PassLineOpened, PassMoved, PassRewardClaimed
from mmo.state.place import AccountRegistered, Claim, SessionOpened
from mmo.state.player import Player
from mmo.state.wallet import Account, CoinsMoved, Currency
from mmo.store import StoreSettings, Verdict
from mmo.store.connection import Connection, Statement
from mmo.store.durable import DurableStore
from mmo.store.loading import snapshot_of
from mmo.systems.grants import claim_grant
from mmo.wire.messages.hunt import GrantClaim

pytestmark = pytest.mark.services

CONTENT = load_content()
SWORD, POTIONS = 1, 5
_names = itertools.count(1)
LIES = {
    "gold": Statement("UPDATE player_head SET gold = gold - 40, mileage = 3 WHERE user_id = %s"),
    "item": Statement("DELETE FROM item WHERE user_id = %s AND kind = 0"),
    "more": Statement("UPDATE item SET count = count + 4 WHERE user_id = %s AND kind = 1"),
}


@pytest.fixture
async def store(store_settings: Callable[..., StoreSettings]) -> AsyncIterator[DurableStore]:
    """A store without Redis: the log is MySQL's."""
    opened = await DurableStore.open(store_settings(redis_nodes=()))
    yield opened
    await opened.close()


async def newcomer(store: DurableStore) -> Player:
    """A player at a center."""
    name = f"restored-{next(_names)}"
    assert await store.write(AccountRegistered(name, "$hash", 1))
    known = await store.credentials(name)
    assert known is not None
    assert await store.write(SessionOpened(known.user, 0, 2, "jti", 2**50, 1))
    claimed = await store.claim(Claim(known.user, 1, 2, "jti", now_ms=1))
    assert claimed is not None and claimed.player is not None
    return claimed.player


async def done(store: DurableStore, player: Player, at_ms: int, *changes: Change) -> Player:
    """The player after a commit at a moment."""
    commit = msgspec.structs.replace(commit_of(player, *changes), now_ms=at_ms)
    assert await store.commit([commit]) == [Verdict.COMMITTED]
    after = await store.load(player.user)
    assert after is not None
    return after


async def lived(store: DurableStore) -> Player:
    """Three commits at 10, 20 and 30 seconds: one of every kind of change."""
    player = await newcomer(store)
    sword = Item(player.user << 8, 0, 0, SWORD, 1)
    potions = Item(player.user << 8 | 1, 1, 0, 1, POTIONS)
    born = [ItemBorn(one, Account.MINT_HUNT) for one in (sword, potions)]
    mint = CoinsMoved(Currency.GOLD, 100, Account.MINT_HUNT)
    player = await done(store, player, 10_000, mint, ExpGained(5, 2, 4), *born)
    tried = msgspec.structs.replace(sword, enhance=1, attempts=1)
    worn = msgspec.structs.replace(tried, equipped=True)
    missions = (MissionCount(1, 2, 0),)
    player = await done(
        store,
        player,
        20_000,
        ItemEnhanced(tried, 0, 7, 800_000, 1, 20260101),
        ItemPlaced(worn),
        CounterRaised(CounterKind.SHOP_DAILY, 3, 20_000, 2, is_new=True),
        PassMoved(1, 2, 5, False, missions, is_new=True),
    )
    less = msgspec.structs.replace(potions, count=POTIONS - 2)
    return await done(
        store,
        player,
        30_000,
        PassLineOpened(1, 0, 2**50),
        PassRewardClaimed(1, 1, 0, 0, 2**50),
        ItemStacked(less, -2, Account.SINK_USE),
        CoinsMoved(Currency.GOLD, -30, Account.SINK_SHOP),
    )


async def restored(
    store: DurableStore, user: int, at_ms: int, *, book: bool = False
) -> Restoration:
    """What a restore would book, or booked."""
    found = await restoration(store.pool, CONTENT, user, at_ms, book=book)
    assert found is not None
    return found


async def test_the_log_alone_rebuilds_the_player(store: DurableStore) -> None:
    player = await lived(store)
    async with store.pool.take() as connection:
        log = await read_log(connection, player.user)
    assert snapshot_of(replay(player.user, log)) == snapshot_of(player)
    assert [event.version for event in until(log, 20_999).events] == [1, 2]
    early = replay(player.user, until(log, 19_999))
    assert (early.wallet.gold, early.growth.level, len(early.bag.items())) == (100, 2, 2)
    assert replay(player.user, until(log, 9_999)).bag.items() == []


async def test_an_honest_player_needs_no_correction_now(store: DurableStore) -> None:
    player = await lived(store)
    found = await restored(store, player.user, 30_999)
    assert found.grant is None and found.then == found.now


async def test_what_was_used_since_then_comes_back(store: DurableStore) -> None:
    player = await lived(store)
    found = await restored(store, player.user, 20_999)
    assert (found.correction.gold, found.correction.items) == (30, (BundleItem(1, 1, 2),))
    early = await restored(store, player.user, 5_000)
    assert early.correction.gold == -70
    assert set(early.correction.items) == {
        BundleItem(0, SWORD, -1, enhance=1),
        BundleItem(1, 1, -3),
    }
    before = await restored(store, player.user, 15_000)
    assert set(before.correction.items) == {
        *(BundleItem(0, SWORD, 1), BundleItem(0, SWORD, -1, enhance=1), BundleItem(1, 1, 2)),
    }
    assert early.correction.exp == 0 and "experience" in early.kept[0]


@pytest.mark.parametrize("lie", LIES)
async def test_a_correction_mends_what_was_done_by_hand_and_is_booked_once(
    store: DurableStore, lie: str
) -> None:
    player = await lived(store)
    async with store.pool.take() as connection:
        await connection.execute(LIES[lie], player.user)
    first = await restored(store, player.user, 30_999, book=True)
    assert first.grant is not None and first.grant.source_kind == SourceKind.CORRECTION
    assert first.booked
    again = await restored(store, player.user, 30_999, book=True)
    assert again.grant is None, "what waits for the player counts as his"
    broken = await store.load(player.user)
    assert broken is not None
    outcome = claimed(broken, first.grant.source_kind, first.grant.source_id, first.grant.bundle)
    mended = await done(store, broken, 40_000, *outcome.changes)
    assert mended.wallet == player.wallet
    held = {(one.kind, one.code, one.enhance): one.count for one in mended.bag.items()}
    assert held == {(one.kind, one.code, one.enhance): one.count for one in player.bag.items()}


async def test_a_correction_claimed_while_another_restore_reads_is_not_booked_again(
    store: DurableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = await lived(store)
    async with store.pool.take() as connection:
        await connection.execute(LIES["gold"], player.user)
    first = await restored(store, player.user, 30_999, book=True)

    async def read_slowly(connection: Connection, user: int) -> Log:
        log = await read_log(connection, user)
        broken = await store.load(user)
        assert broken is not None and first.grant is not None
        grant = first.grant
        outcome = claimed(broken, grant.source_kind, grant.source_id, grant.bundle)
        await done(store, broken, 40_000, *outcome.changes)
        return log

    monkeypatch.setattr("mmo.ops.restore.read_log", read_slowly)
    again = await restored(store, player.user, 30_999, book=True)
    assert again.grant is None and not again.booked


async def test_of_restores_at_once_each_sees_what_the_other_booked(store: DurableStore) -> None:
    player = await lived(store)
    async with store.pool.take() as connection:
        await connection.execute(LIES["gold"], player.user)
    moments = (30_999, 20_999)
    await asyncio.gather(*(restored(store, player.user, at_ms, book=True) for at_ms in moments))
    left = [await restored(store, player.user, at_ms) for at_ms in moments]
    assert [one.grant is None for one in left].count(True) == 1, "he is as at one of them"


def claimed(player: Player, source_kind: int, source_id: int, bundle: bytes) -> Outcome:
    """What the owner's rule makes of the grant."""
    outcome = claim_grant(
        GrantClaim(player.user, source_kind, source_id, bundle),
        **parts(player, "growth", "wallet", "bag", "score", "pass_progress"),
        env=Game("channel", CHANNEL).env(player.user),
    )
    assert outcome.changes
    return outcome


async def test_a_gap_in_the_log_is_told(store: DurableStore) -> None:
    player = await lived(store)
    gone = Statement("DELETE FROM event_log WHERE user_id = %s AND version = 2")
    async with store.pool.take() as connection:
        await connection.execute(gone, player.user)
    with pytest.raises(LogIncomplete, match="version 3 where 2"):
        await restored(store, player.user, 1)


async def test_players_are_found_by_name_and_by_id(store: DurableStore) -> None:
    player = await newcomer(store)
    async with store.pool.take() as connection:
        for text in (player.head.name, f"name={player.head.name}"):
            assert await users_of(connection, text) == [player.user]
        for text in (str(player.user), f"id={player.user}"):
            assert await users_of(connection, text) == [player.user]
        assert await users_of(connection, "nobody at all") == []
    assert await restoration(store.pool, CONTENT, 10**15, 1, book=False) is None


async def test_a_name_of_digits_is_not_taken_for_the_id_of_another(store: DurableStore) -> None:
    player = await newcomer(store)
    digits = str(player.user)
    assert await store.write(AccountRegistered(digits, "$hash", 1))
    known = await store.credentials(digits)
    assert known is not None
    async with store.pool.take() as connection:
        assert await users_of(connection, digits) == sorted([player.user, known.user])
        assert await users_of(connection, f"name={digits}") == [known.user]
        assert await users_of(connection, f"id={digits}") == [player.user]


async def test_who_calls_himself_like_an_id_is_not_taken_for_another(store: DurableStore) -> None:
    player = await newcomer(store)
    other = f"id={player.user}"
    assert await store.write(AccountRegistered(other, "$hash", 1))
    known = await store.credentials(other)
    assert known is not None
    async with store.pool.take() as connection:
        assert await users_of(connection, other) == [player.user, known.user]
        assert await users_of(connection, f"name={other}") == [known.user]
        assert await users_of(connection, str(player.user)) == [player.user]
        for nobody in ("id=", "id=²", "9" * 5_000, "id=" + "9" * 19, "name="):
            assert await users_of(connection, nobody) == []
