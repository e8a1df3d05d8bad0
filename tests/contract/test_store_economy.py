"""Items, rolls, counters, passes and payments, asked of the dicts and of the real store alike."""

import itertools

import msgspec
import pytest
from tests.contract.stores import (
    LATER_MS,
    LONG_AGO_MS,
    Cluster,
    commit_of,
    gold,
    item,
    loaded,
)

from mmo.state.bag import (
    Item,
    ItemBorn,
    ItemDied,
    ItemEnhanced,
    ItemKind,
    ItemPlaced,
    ItemsSwapped,
    ItemStacked,
)
from mmo.state.change import Change
from mmo.state.counters import Counter, CounterKind, CounterRaised
from mmo.state.grant import Bundle, SourceKind
from mmo.state.pass_progress import MissionCount, PassLineOpened, PassMoved, PassRewardClaimed
from mmo.state.place import PaymentBooked, SessionOpened
from mmo.state.player import Player
from mmo.state.roll import DayKey
from mmo.state.wallet import Account
from mmo.store import Store, Verdict

DAY, TABLE = 20260101, 1
_uids = itertools.count(50_000)
_orders = itertools.count(1)


def sword(slot: int = 0, **fields: object) -> Item:
    """Equipment with a uid nobody has: rolls are unique by uid for ever."""
    made = Item(next(_uids), ItemKind.EQUIPMENT, slot, 101, 1)
    return msgspec.structs.replace(made, **fields)


def tried(item: Item, roll_ppm: int, chance_ppm: int = 500_000) -> ItemEnhanced:
    """The next attempt on `item`."""
    success = roll_ppm < chance_ppm
    after = msgspec.structs.replace(
        item, enhance=item.enhance + success, attempts=item.attempts + 1
    )
    return ItemEnhanced(after, item.enhance, roll_ppm, chance_ppm, TABLE, DAY)


def born(*items: Item) -> tuple[Change, ...]:
    """Births from a hunt."""
    return tuple(ItemBorn(one, Account.MINT_HUNT) for one in items)


async def done(store: Store, player: Player, *changes: Change) -> Player:
    """The player after a commit that must succeed; what the changes apply is what is loaded."""
    assert await store.commit([commit_of(player, *changes)]) == [Verdict.COMMITTED]
    for change in changes:
        change.apply(player)
    player.head = msgspec.structs.replace(player.head, version=player.head.version + 1)
    after = await loaded(store, player.user)
    assert after.bag.items() == player.bag.items()
    assert [one.equipped is True for one in after.bag.items()] == [
        one.equipped for one in player.bag.items()
    ]
    assert (after.counters, after.pass_progress) == (player.counters, player.pass_progress)
    assert (after.head, after.wallet) == (player.head, player.wallet)
    return after


async def refused(
    store: Store, player: Player, *changes: Change, verdict: Verdict = Verdict.GUILTY
) -> None:
    """A commit that changes nothing and gets `verdict`; its neighbour in the group gets through."""
    assert await store.commit([commit_of(player, *changes)]) == [verdict]
    after = await loaded(store, player.user)
    assert (after.head, after.wallet, after.bag.items()) == (
        *(player.head, player.wallet),
        player.bag.items(),
    )
    assert (after.counters, after.pass_progress) == (player.counters, player.pass_progress)


# -- items -----------------------------------------------------------------------------------------


async def test_items_keep_all_that_they_are(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    rented = sword(1, expires_ms=2**45, enhance=3, attempts=9)
    player = await done(store, player, *born(sword(0, equipped=True), rented))
    assert player.bag.items()[1] == rented and player.bag.worn() is not None


async def test_items_move_swap_and_are_worn(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    first, second = sword(0), sword(1)
    player = await done(store, player, *born(first, second))
    moved = msgspec.structs.replace(first, slot=7)
    player = await done(store, player, ItemPlaced(moved))
    swap = ItemsSwapped(
        msgspec.structs.replace(moved, slot=1), msgspec.structs.replace(second, slot=7)
    )
    player = await done(store, player, swap)
    worn = msgspec.structs.replace(swap.first, equipped=True)
    player = await done(store, player, ItemPlaced(worn))
    other = msgspec.structs.replace(swap.second, equipped=True)
    off = msgspec.structs.replace(worn, equipped=False)
    player = await done(store, player, ItemPlaced(off), ItemPlaced(other))
    assert player.bag.worn() == other


async def test_an_item_dies_once(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    one, two = item(next(_uids), 4), item(next(_uids), 2, slot=1)
    player = await done(store, player, *born(one, two))
    player = await done(store, player, ItemDied(one, Account.SINK_DROP))
    await refused(store, player, ItemDied(one, Account.SINK_DROP))
    wrong = msgspec.structs.replace(two, count=3)
    await refused(store, player, ItemDied(wrong, Account.SINK_DROP))
    await done(store, player, ItemDied(two, Account.SINK_USE), *born(item(next(_uids))))


@pytest.mark.parametrize("expires_ms", [0, LATER_MS], ids=["never", "later"])
async def test_the_clock_of_the_database_ends_a_rental(
    cluster: Cluster, store: Store, expires_ms: int
) -> None:
    player, other, third = [await cluster.playing(store) for _ in range(3)]
    over = [sword(slot, expires_ms=LONG_AGO_MS) for slot in range(3)]
    mine = sword(3, expires_ms=expires_ms)
    player = await done(store, player, *born(over[0], mine))
    other = await done(store, other, *born(over[1]))
    dies = ItemDied(mine, Account.SINK_EXPIRED)
    await refused(store, player, gold(5), dies, verdict=Verdict.REFUSED)
    group = [
        commit_of(other, ItemDied(over[1], Account.SINK_EXPIRED), gold(5)),
        commit_of(player, ItemDied(over[0], Account.SINK_EXPIRED), dies),
        commit_of(third, gold(5)),
    ]
    assert await store.commit(group) == [Verdict.COMMITTED, Verdict.REFUSED, Verdict.COMMITTED]
    assert (await loaded(store, other.user)).bag.items() == []
    assert (await loaded(store, player.user)).bag.items() == [over[0], mine]
    player = await done(store, player, ItemDied(over[0], Account.SINK_EXPIRED), *born(over[2]))
    await done(store, player, ItemDied(mine, Account.SINK_DROP))  # no other death asks the clock


async def test_one_item_may_change_often_in_a_commit(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    stack, other = item(next(_uids), 5), item(next(_uids), 3, slot=1)
    player = await done(store, player, *born(stack, other))
    less = msgspec.structs.replace(stack, count=2)
    placed = msgspec.structs.replace(less, slot=4)
    born_and_gone = item(next(_uids), 1, slot=9)
    await done(
        store,
        player,
        ItemStacked(less, -3, Account.TRANSFER),
        ItemPlaced(placed),
        ItemStacked(msgspec.structs.replace(other, count=6), 3, Account.TRANSFER),
        ItemDied(msgspec.structs.replace(other, count=6), Account.SINK_DROP),
        *born(born_and_gone),
        ItemDied(born_and_gone, Account.SINK_DROP),
    )


async def test_a_change_of_another_truth_changes_nothing(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    mine = sword(0, enhance=2, attempts=5)
    player = await done(store, player, *born(mine))
    wrong: tuple[Change, ...] = (
        ItemPlaced(sword(3)),
        ItemPlaced(msgspec.structs.replace(mine, enhance=3)),
        ItemPlaced(msgspec.structs.replace(mine, attempts=4)),
        ItemPlaced(msgspec.structs.replace(mine, count=2)),
        ItemPlaced(msgspec.structs.replace(mine, code=102)),
        ItemPlaced(msgspec.structs.replace(mine, slot=10_000)),
        ItemsSwapped(mine, sword(3)),
        tried(msgspec.structs.replace(mine, attempts=4), 1),
        tried(msgspec.structs.replace(mine, enhance=1), 1),
    )
    for change in wrong:
        await refused(store, player, gold(1), change)


async def test_attempts_succeed_or_fail_and_are_never_repeated(
    cluster: Cluster, store: Store
) -> None:
    player = await cluster.playing(store)
    mine = sword()
    player = await done(store, player, *born(mine), gold(10))
    failed = tried(mine, 500_000)
    player = await done(store, player, failed, gold(-5))
    assert (failed.item.enhance, failed.item.attempts) == (0, 1)
    player = await done(store, player, tried(failed.item, 499_999), gold(-5))
    assert [(one.enhance, one.attempts) for one in player.bag.items()] == [(1, 2)]
    await refused(store, player, tried(mine, 1))
    lie = msgspec.structs.replace(tried(player.bag.items()[0], 900_000), roll_ppm=1)
    await refused(store, player, lie)


# -- counters and passes ---------------------------------------------------------------------------


async def test_counters_begin_rise_and_start_again(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    kind = CounterKind.SHOP_DAILY
    player = await done(
        store,
        player,
        CounterRaised(kind, 7, 100, 1, is_new=True),
        CounterRaised(kind, 7, 100, 3, is_new=False),
        CounterRaised(kind, 8, 100, 2, is_new=True),
    )
    player = await done(store, player, CounterRaised(kind, 7, 101, 1, is_new=False))
    assert player.counters == {(kind, 7): Counter(101, 1), (kind, 8): Counter(100, 2)}
    await refused(store, player, CounterRaised(kind, 7, 101, 2, is_new=True))
    await refused(store, player, CounterRaised(kind, 9, 101, 2, is_new=False))


async def test_passes_move_and_rewards_are_claimed_once(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    missions = (MissionCount(1, 2, 0), MissionCount(4, 0, 3))
    player = await done(store, player, PassMoved(3, 0, 40, False, missions, is_new=True))
    player = await done(
        store,
        player,
        PassMoved(3, 2, 5, False, (), is_new=False),
        PassMoved(3, 2, 5, True, missions, is_new=False),
    )
    claim = PassRewardClaimed(3, 1, 0, 0, LATER_MS)
    player = await done(store, player, claim, gold(5))
    player = await done(store, player, msgspec.structs.replace(claim, line=1), gold(5))
    assert player.pass_progress[3].claimed == {(1, 0), (1, 1)}
    assert player.pass_progress[3].missions == missions
    await refused(store, player, claim, gold(5))
    await refused(store, player, msgspec.structs.replace(claim, pass_id=9))
    await refused(store, player, PassMoved(3, 3, 0, True, (), is_new=True))
    await refused(store, player, PassMoved(4, 3, 0, True, (), is_new=False))


@pytest.mark.parametrize("window", [(LATER_MS - 1, LATER_MS), (-10, 0)], ids=["early", "late"])
async def test_the_clock_of_the_database_closes_a_season(
    cluster: Cluster, store: Store, window: tuple[int, int]
) -> None:
    player, other, third = [await cluster.playing(store) for _ in range(3)]
    moved = PassMoved(3, 2, 0, False, (), is_new=True)
    for one in (player, other, third):
        await done(store, one, moved)
    claim = PassRewardClaimed(3, 1, 0, *window)
    await refused(store, player, claim, gold(5), verdict=Verdict.REFUSED)
    running = PassRewardClaimed(3, 1, 0, 0, LATER_MS)
    group = [
        commit_of(other, running, gold(5)),
        commit_of(player, gold(5), claim),
        commit_of(third, gold(5)),
    ]
    assert await store.commit(group) == [Verdict.COMMITTED, Verdict.REFUSED, Verdict.COMMITTED]
    assert (await loaded(store, player.user)).wallet.gold == 0
    assert (await loaded(store, other.user)).pass_progress[3].claimed == {(1, 0)}


@pytest.mark.parametrize("window", [(LATER_MS - 1, LATER_MS), (-10, 0)], ids=["early", "late"])
async def test_a_line_is_bought_while_its_season_runs(
    cluster: Cluster, store: Store, window: tuple[int, int]
) -> None:
    player, other = await cluster.playing(store), await cluster.playing(store)
    player = await done(store, player, PassMoved(3, 2, 1, False, (), is_new=True), gold(9))
    await refused(store, player, gold(-9), PassLineOpened(3, *window), verdict=Verdict.REFUSED)
    player = await done(store, player, gold(-9), PassLineOpened(3, 0, LATER_MS))
    assert player.pass_progress[3].paid
    new = PassMoved(3, 0, 0, False, (), is_new=True)
    await refused(store, other, new, PassLineOpened(3, *window), verdict=Verdict.REFUSED)
    other = await done(store, other, new, PassLineOpened(3, 0, LATER_MS))
    assert other.pass_progress[3].paid


async def test_the_login_of_the_session_is_known(cluster: Cluster, store: Store) -> None:
    user = await cluster.registered(store)
    assert await store.write(SessionOpened(user, 0, 1, "one", LATER_MS, 50))
    assert await store.write(SessionOpened(user, 1, 1, "two", LATER_MS, 60))
    head = (await loaded(store, user)).head
    assert (head.last_login_ms, head.login_ms) == (50, 60)


# -- payments --------------------------------------------------------------------------------------


def order(user: int, amount: int, refund_of: str = "") -> PaymentBooked:
    """An order with a number nobody has."""
    return PaymentBooked(f"order-{next(_orders)}", user, amount, refund_of, 5)


async def test_an_order_is_booked_once_with_its_grant(cluster: Cluster, store: Store) -> None:
    user = await cluster.registered(store)
    paid = order(user, 500)
    assert await store.write(paid)
    assert not await store.write(paid)
    assert not await store.write(msgspec.structs.replace(paid, amount=900))
    assert await store.payment(paid.order) == paid
    assert await store.payment("order-unknown") is None
    (grant,) = (await store.sweep([user])).grants
    assert (grant.user, grant.source_kind) == (user, SourceKind.PAYMENT)
    assert msgspec.msgpack.decode(grant.bundle, type=Bundle) == Bundle(cash=500)


async def test_refunds_give_back_what_was_paid_and_no_more(cluster: Cluster, store: Store) -> None:
    user, other = await cluster.registered(store), await cluster.registered(store)
    paid = order(user, 500)
    assert await store.write(paid)
    first = order(user, -200, paid.order)
    assert await store.write(first)
    assert not await store.write(order(user, -301, paid.order))
    assert not await store.write(order(other, -1, paid.order))
    assert not await store.write(order(user, -1, first.order))
    assert not await store.write(order(user, -1, "order-unknown"))
    assert await store.write(order(user, -300, paid.order))
    bundles = [
        msgspec.msgpack.decode(grant.bundle, type=Bundle).cash
        for grant in (await store.sweep([user])).grants
    ]
    assert sorted(bundles) == [-300, -200, 500]


async def test_an_order_of_nobody_or_nothing_is_refused(cluster: Cluster, store: Store) -> None:
    user = await cluster.registered(store)
    paid = order(user, 500)
    assert await store.write(paid)
    for wrong in (order(10**15, 5), order(user, 0), order(user, -5), order(user, 5, paid.order)):
        assert not await store.write(wrong), wrong
        assert await store.payment(wrong.order) is None


# -- keys of the rolls -----------------------------------------------------------------------------


async def test_a_day_is_promised_once_and_revealed_when_its_time_has_come(
    cluster: Cluster, store: Store
) -> None:
    other = await cluster.store()
    first, second = (bytes([number]) * 32 for number in (1, 2))
    assert await store.publish_keys([(20250103, second), (20250102, first)]) == []
    assert await other.publish_keys([(20250102, first), (20250103, first)]) == [20250103]
    assert await other.roll_keys(20250102, 9) == [
        DayKey(20250102, first),
        DayKey(20250103, second),
    ]
    key = b"\x00\xff" * 16
    assert await store.reveal_keys([(20250102, key, LATER_MS), (20250109, key, 0)]) == 0
    assert await store.reveal_keys([(20250102, key, 0)]) == 1
    assert await other.reveal_keys([(20250102, first, 0)]) == 0
    assert (await other.roll_keys(20250101, 1)) == [DayKey(20250102, first, key)]
