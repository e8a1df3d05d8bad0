"""Commits, operations, grants and the sweep, asked of the dicts and of the real store alike."""

import asyncio

import msgspec
import pytest
from tests.contract.stores import (
    CENTER,
    CHANNEL,
    LATER_MS,
    Cluster,
    commit_of,
    gold,
    item,
    loaded,
)

from mmo.state.bag import ItemBorn, ItemStacked
from mmo.state.change import Change
from mmo.state.grant import Grant, GrantClaimed
from mmo.state.growth import ExpGained
from mmo.state.place import SessionOpened
from mmo.state.score import ScoreRaised
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency
from mmo.store import Store, Verdict

# -- commits ---------------------------------------------------------------------------------------


async def test_a_commit_makes_all_of_it_true(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    changes = (
        ExpGained(120, 3, 20),
        gold(50),
        CoinsMoved(Currency.CASH, 7, Account.MINT_GRANT),
        CoinsMoved(Currency.MILEAGE, 9, Account.MINT_GRANT),
        gold(-20),
        ItemBorn(item(901, 2), 1),
        ItemStacked(item(901, 5), 3, 1),
        ItemBorn(item(902, 1, slot=1, code=302), 1),
    )
    before = (player.head, player.growth, player.wallet, player.bag.items())
    assert await store.commit([commit_of(player, *changes, op=(1, 1))]) == [Verdict.COMMITTED]
    assert (player.head, player.growth, player.wallet, player.bag.items()) == before
    after = await loaded(store, player.user)
    for change in changes:
        change.apply(player)
    assert (after.growth, after.wallet) == (player.growth, player.wallet)
    assert after.bag.items() == player.bag.items() and len(after.bag.items()) == 2
    assert after.head == msgspec.structs.replace(player.head, version=1)
    record = after.operations.records[1, 1]
    assert (record.answer, record.answer_opcode) == (b"\x00\xffanswer'\"\\", 411)
    assert record.request_hash == b"\x00hash\xff\x27\x5c"
    assert await store.find_operation(player.user, 1, 1) == record
    assert await store.find_operation(player.user, 1, 2) is None
    assert await store.find_operation(player.user, 1, 1, settled=True) == record
    assert await store.find_operation(player.user, 1, 2, settled=True) is None


async def test_stacks_grow_and_shrink_over_commits(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    born = ItemBorn(item(911, 2), 1)
    assert await store.commit([commit_of(player, born)]) == [Verdict.COMMITTED]
    player = await loaded(store, player.user)
    more = (ItemStacked(item(911, 6), 4, 1), ItemStacked(item(911, 5), -1, 101))
    assert await store.commit([commit_of(player, *more)]) == [Verdict.COMMITTED]
    player = await loaded(store, player.user)
    assert [one.count for one in player.bag.items()] == [5]
    wrong = ItemStacked(item(911, 9), 1, 1)  # would need 8 there
    assert await store.commit([commit_of(player, wrong)]) == [Verdict.GUILTY]
    assert [one.count for one in (await loaded(store, player.user)).bag.items()] == [5]


async def test_a_moved_version_is_stale(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    assert await store.commit([commit_of(player, gold(1), op=(1, 1))]) == [Verdict.COMMITTED]
    assert await store.commit([commit_of(player, gold(1), op=(1, 2))]) == [Verdict.STALE]
    assert (await loaded(store, player.user)).wallet.gold == 1


@pytest.mark.parametrize("op", [(1, 1), (-7, 1)])
async def test_an_operation_never_runs_twice(
    cluster: Cluster, store: Store, op: tuple[int, int]
) -> None:
    player = await cluster.playing(store)
    assert await store.commit([commit_of(player, gold(1), op=op)]) == [Verdict.COMMITTED]
    player = await loaded(store, player.user)
    assert player.operations.highest[op[0]] == 1
    assert await store.commit([commit_of(player, gold(1), op=op)]) == [Verdict.STALE]
    assert (await loaded(store, player.user)).wallet.gold == 1


async def test_an_operation_of_a_purged_session_is_not_done(cluster: Cluster, store: Store) -> None:
    """Whoever loaded the player before the purge knows nothing of it."""
    player = await cluster.playing(store)
    await cluster.refuse_before(player.user, 2)
    assert await store.commit([commit_of(player, gold(1), op=(1, 5))]) == [Verdict.STALE]
    again = await loaded(store, player.user)
    assert (again.head.operation_floor_epoch, again.wallet.gold) == (2, 0)
    assert await store.commit([commit_of(player, gold(1), op=(2, 1))]) == [Verdict.COMMITTED]
    again = await loaded(store, player.user)
    assert await store.commit([commit_of(again, gold(1), op=(-7, 1))]) == [Verdict.COMMITTED]


async def test_two_owners_at_once_only_one_commits(cluster: Cluster) -> None:
    first, second = await cluster.store(), await cluster.store()
    player = await cluster.playing(first)
    twin = await loaded(second, player.user)
    verdicts = await asyncio.gather(
        first.commit([commit_of(player, gold(1), op=(1, 1))]),
        second.commit([commit_of(twin, gold(1), op=(1, 2))]),
    )
    flat = [verdict for group in verdicts for verdict in group]
    assert flat.count(Verdict.COMMITTED) == 1
    assert set(flat) <= {Verdict.COMMITTED, Verdict.STALE, Verdict.LOCKED}
    assert (await loaded(first, player.user)).wallet.gold == 1


async def test_each_member_is_judged_alone_and_in_order(cluster: Cluster, store: Store) -> None:
    good = [await cluster.playing(store) for _ in range(3)]
    fenced, stale, guilty = [await cluster.playing(store) for _ in range(3)]
    assert await store.commit([commit_of(stale, gold(1))]) == [Verdict.COMMITTED]
    assert await store.write(SessionOpened(fenced.user, 1, CENTER, "x", LATER_MS, 5))
    group = [
        *(commit_of(guilty, gold(-1)), commit_of(good[2], gold(1)), commit_of(fenced, gold(1))),
        *(commit_of(good[0], gold(1)), commit_of(stale, gold(1)), commit_of(good[1], gold(1))),
    ]
    done = Verdict.COMMITTED
    assert await store.commit(group) == [
        *(Verdict.GUILTY, done, Verdict.FENCED, done, Verdict.STALE, done)
    ]
    for player in good:
        assert (await loaded(store, player.user)).head.version == 1
    after = await loaded(store, guilty.user)
    assert (after.head.version, after.wallet.gold) == (0, 0)
    assert not after.operations.records


GUILTY: dict[str, tuple[Change, ...]] = {
    "more than he has": (gold(-1),),
    "more than a wallet holds": (gold(COINS_MAX), gold(1)),
    "mileage below nothing": (CoinsMoved(Currency.MILEAGE, -1, Account.SINK_SHOP),),
    "cash below its floor": (CoinsMoved(Currency.CASH, -COINS_MAX - 1, Account.SINK_CORRECTION),),
    "an entry of nothing": (CoinsMoved(Currency.GOLD, 0, Account.MINT_HUNT),),
    "exp below nothing": (ExpGained(-5, 1, -5),),
    "a level that is none": (ExpGained(1, 0, 0),),
    "an item of none": (ItemBorn(item(950, 0), 1),),
    "a slot that is none": (ItemBorn(item(951, 1, slot=-1), 1),),
    "a slot far away": (ItemBorn(item(952, 1, slot=10_000), 1),),
    "a stack that is not there": (ItemStacked(item(953, 2), 1, 1),),
    "a grant that is not there": (GrantClaimed(1, 999),),
    "good changes before a bad one": (gold(5), ItemBorn(item(954), 1), GrantClaimed(1, 999)),
}


@pytest.mark.parametrize("case", GUILTY)
async def test_broken_constraints_change_nothing(cluster: Cluster, store: Store, case: str) -> None:
    player = await cluster.playing(store)
    innocent = await cluster.playing(store)
    group = [commit_of(player, *GUILTY[case], op=(1, 1)), commit_of(innocent, gold(3))]
    assert await store.commit(group) == [Verdict.GUILTY, Verdict.COMMITTED]
    after = await loaded(store, player.user)
    assert after.head == player.head and after.wallet == player.wallet
    assert after.bag.items() == [] and not after.operations.records
    assert await store.find_operation(player.user, 1, 1) is None
    assert (await loaded(store, innocent.user)).wallet.gold == 3


async def test_an_owned_uid_is_not_born_again(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    born = ItemBorn(item(961), 1)
    assert await store.commit([commit_of(player, born)]) == [Verdict.COMMITTED]
    player = await loaded(store, player.user)
    again = ItemBorn(item(961, slot=1), 1)
    assert await store.commit([commit_of(player, again)]) == [Verdict.GUILTY]


async def test_the_book_holds_what_decides_a_repeat(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    for counter in range(1, 71):
        commit = commit_of(player, gold(1), op=(1, counter))
        assert await store.commit([commit]) == [Verdict.COMMITTED]
        player.head = msgspec.structs.replace(player.head, version=counter)
    after = await loaded(store, player.user)
    assert (after.head.version, after.wallet.gold) == (70, 70)
    assert after.operations.highest == {1: 70}
    assert list(after.operations.records) == [(1, counter) for counter in range(7, 71)]
    old = await store.find_operation(player.user, 1, 1)
    assert old is not None and old.counter == 1


async def test_highest_counters_of_older_sessions_are_known(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    for version, op in enumerate([(1, 5), (-3, 9), (0, 3)]):
        player.head = msgspec.structs.replace(player.head, version=version)
        assert await store.commit([commit_of(player, gold(1), op=op)]) == [Verdict.COMMITTED]
    after = await loaded(store, player.user)
    assert after.operations.highest == {1: 5, -3: 9}
    assert list(after.operations.records) == [(1, 5)]


async def test_a_big_group_commits_whole(cluster: Cluster, store: Store) -> None:
    players = [await cluster.playing(store) for _ in range(24)]
    group = [commit_of(player, gold(2), ItemBorn(item(971), 1)) for player in reversed(players)]
    assert await store.commit(group) == [Verdict.COMMITTED] * 24
    assert [(await loaded(store, player.user)).wallet.gold for player in players] == [2] * 24


# -- grants and the sweep --------------------------------------------------------------------------


async def test_a_grant_is_there_once_and_claimed_once(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    user = player.user
    bundle = b"\x00\x93bundle\xff"
    assert await store.grant([Grant(user, 1, 5, bundle), Grant(user, 1, 5, b"other")]) == 1
    assert await store.grant([Grant(user, 1, 5, b"new"), Grant(user, 2, 5, b"")]) == 1
    assert await store.grant([]) == 0
    swept = await store.sweep([user])
    first, second = swept.grants
    assert (first.source_kind, first.source_id) == (1, 5) and second == Grant(user, 2, 5, b"")
    claim = commit_of(player, GrantClaimed(1, 5), gold(5))
    assert await store.commit([claim]) == [Verdict.COMMITTED]
    assert [grant.source_kind for grant in (await store.sweep([user])).grants] == [2]
    again = await loaded(store, user)
    claim = commit_of(again, GrantClaimed(1, 5), gold(5))
    assert await store.commit([claim]) == [Verdict.STALE], "offered by a look older than the player"
    assert (await loaded(store, user)).wallet.gold == 5
    assert await store.grant([Grant(user, 1, 5, bundle)]) == 0


async def test_grants_of_one_player_never_hide_those_of_another(
    cluster: Cluster, store: Store
) -> None:
    hoarder, other = await cluster.playing(store), await cluster.playing(store)
    grants = [Grant(hoarder.user, 3, number, b"x") for number in range(4_200)]
    assert await store.grant([*grants, Grant(other.user, 3, 1, b"y")]) == 4_201
    found = (await store.sweep([hoarder.user, other.user])).grants
    assert [grant.bundle for grant in found if grant.user == other.user] == [b"y"]
    assert len([grant for grant in found if grant.user == hoarder.user]) == 32


async def test_a_best_score_is_kept_with_its_commit(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    assert await store.commit([commit_of(player, ScoreRaised(41))]) == [Verdict.COMMITTED]
    again = await loaded(store, player.user)
    assert again.score.best == 41
    lower = commit_of(again, ScoreRaised(17))
    assert await store.commit([lower]) == [Verdict.COMMITTED]
    assert (await loaded(store, player.user)).score.best == 41


async def test_the_sweep_sees_places_and_a_bounded_number_of_grants(
    cluster: Cluster, store: Store
) -> None:
    player = await cluster.playing(store)
    other = await cluster.registered(store)
    await store.grant([Grant(player.user, 1, number, b"x") for number in range(40)])
    swept = await store.sweep([other, player.user, player.user, 10**15])
    assert sorted((seat.user, seat.place_number) for seat in swept.seats) == sorted(
        [(player.user, CHANNEL), (other, 0)]
    )
    seat = next(seat for seat in swept.seats if seat.user == player.user)
    assert (seat.session_epoch, seat.place_epoch) == (1, player.head.place_epoch)
    assert len(swept.grants) == 32
    empty = await store.sweep([])
    assert (empty.seats, empty.grants) == ((), ())
