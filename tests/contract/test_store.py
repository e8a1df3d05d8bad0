"""What a node may rely on, asked of the store in dicts and of the real one alike.

Owns the questions of `mmo.store.Store`; how the real store keeps its promises under kill -9 and a
wiped Redis is asked in `services`.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator

import msgspec
import pytest

from mmo.errors import OperatorError
from mmo.state.bag import Item, ItemBorn, ItemKind, ItemStacked
from mmo.state.change import Change
from mmo.state.grant import Grant, GrantClaimed
from mmo.state.growth import ExpGained
from mmo.state.place import (
    AccountRegistered,
    Claim,
    LoginFailed,
    PlacePrepared,
    SessionClosed,
    SessionOpened,
)
from mmo.state.player import Player
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency
from mmo.store import LeaseRow, PlayerCommit, Store, Verdict, open_store
from mmo.testing.fake_store import FakeDatabase, FakeStore

CENTER, CHANNEL, RAID = 1, 11, 31
LATER_MS = 2**50


class Cluster:
    """Several servers over one database, and the way of a player into it."""

    _names = itertools.count(1)

    def __init__(self, request: pytest.FixtureRequest, kind: str) -> None:
        self.kind = kind
        self._stores: list[Store] = []
        self._database = FakeDatabase()
        self._settings = request.getfixturevalue("store_settings")() if kind == "real" else None

    async def store(self) -> Store:
        """One more server."""
        if self._settings is None:
            store: Store = FakeStore(self._database)
        else:
            store = await open_store(self._settings)
        self._stores.append(store)
        return store

    async def close(self) -> None:
        """All servers go."""
        for store in self._stores:
            await store.close()

    def name(self) -> str:
        """A name nobody has."""
        return f"player-{next(self._names)}"

    async def registered(self, store: Store) -> int:
        """A new account's user id."""
        name = self.name()
        assert await store.write(AccountRegistered(name, "$hash", 1))
        found = await store.credentials(name)
        assert found is not None
        return found.user

    async def playing(self, store: Store, number: int = CHANNEL) -> Player:
        """A new player, logged in and claimed at `number`."""
        user = await self.registered(store)
        assert await store.write(SessionOpened(user, 0, number, "login", LATER_MS, 5))
        claimed = await store.claim(Claim(user, 1, number, "login", now_ms=1))
        assert claimed is not None and claimed.player is not None
        return claimed.player


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.services)])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """The same questions to both."""
    made = Cluster(request, request.param)
    yield made
    await made.close()


@pytest.fixture
async def store(cluster: Cluster) -> Store:
    """One server's store."""
    return await cluster.store()


def commit_of(player: Player, *changes: Change, op: tuple[int, int] | None = None) -> PlayerCommit:
    """A commit decided on `player` as he is."""
    return PlayerCommit(
        player=player,
        operation=op or (0, player.head.version + 1),
        kind=410,
        request_hash=b"\x00hash\xff\x27\x5c",
        answer_opcode=411,
        answer=b"\x00\xffanswer'\"\\",
        changes=changes,
        generation=3,
        now_ms=77,
    )


def gold(amount: int) -> CoinsMoved:
    """Gold from hunting, or to the shop."""
    return CoinsMoved(Currency.GOLD, amount, Account.MINT_HUNT if amount > 0 else Account.SINK_SHOP)


def item(uid: int, count: int = 1, slot: int = 0, code: int = 301) -> Item:
    """A material."""
    return Item(uid, ItemKind.MATERIAL, slot, code, count)


async def loaded(store: Store, user: int) -> Player:
    """The player as committed."""
    player = await store.load(user)
    assert player is not None
    return player


# -- accounts and sessions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("홍길동", "O'Brien", 'say "hi"', "nul\x00inside", "back\\slash", "%s %d", "🐉"),
        *("; DROP", "-- "),
    ],
)
async def test_any_name_is_kept_as_it_is(cluster: Cluster, store: Store, name: str) -> None:
    assert await store.write(AccountRegistered(name, "$hash", 1))
    found = await store.credentials(name)
    assert found is not None and found.name == name and found.password_hash == "$hash"
    assert (await loaded(store, found.user)).head.name == name


async def test_a_name_is_taken_once(cluster: Cluster, store: Store) -> None:
    name = cluster.name()
    assert await store.write(AccountRegistered(name, "$first", 1))
    assert not await store.write(AccountRegistered(name, "$second", 2))
    found = await store.credentials(name)
    assert found is not None and found.password_hash == "$first"
    assert await store.credentials(name + " ") is None
    assert not await store.write(AccountRegistered(name + " ", "$third", 3))
    assert await store.credentials(name.upper()) is None


async def test_a_new_player_begins_with_nothing(cluster: Cluster, store: Store) -> None:
    player = await loaded(store, await cluster.registered(store))
    assert (player.head.version, player.head.place_number, player.head.session_epoch) == (0, 0, 0)
    assert (player.growth.level, player.growth.exp, player.wallet.gold) == (1, 0, 0)
    assert player.bag.items() == [] and not player.operations.records
    assert await store.load(10**15) is None


async def test_a_login_needs_the_epoch_it_read(cluster: Cluster, store: Store) -> None:
    user = await cluster.registered(store)
    assert await store.write(SessionOpened(user, 0, CENTER, "one", LATER_MS, 50))
    assert not await store.write(SessionOpened(user, 0, CENTER, "two", LATER_MS, 51))
    assert await store.write(SessionOpened(user, 1, CENTER, "three", LATER_MS, 60))
    head = (await loaded(store, user)).head
    assert (head.session_epoch, head.place_epoch, head.place_number) == (2, 2, 0)
    assert head.last_login_ms == 50


async def test_failures_are_counted_locked_and_forgiven(cluster: Cluster, store: Store) -> None:
    user = await cluster.registered(store)
    name = (await loaded(store, user)).head.name
    assert await store.write(LoginFailed(user, 1, 0))
    assert await store.write(LoginFailed(user, 1, 0))  # decided on the same count as the first
    found = await store.credentials(name)
    assert found is not None and (found.failures, found.locked_until_ms) == (2, 0)
    assert await store.write(LoginFailed(user, 0, 900))
    assert await store.write(LoginFailed(user, 0, 800))
    found = await store.credentials(name)
    assert found is not None and (found.failures, found.locked_until_ms) == (0, 900)
    assert await store.write(SessionOpened(user, 0, CENTER, "jti", LATER_MS, 5))
    found = await store.credentials(name)
    assert found is not None and (found.failures, found.locked_until_ms) == (0, 0)
    assert found.session_epoch == 1
    assert not await store.write(LoginFailed(10**15, 1, 0))


# -- places ----------------------------------------------------------------------------------------


async def test_a_reservation_is_claimed_once(cluster: Cluster, store: Store) -> None:
    user = await cluster.registered(store)
    await store.write(SessionOpened(user, 0, CENTER, "jti", 1_000, 5))
    wrong = (
        Claim(user, 1, CENTER, "other", now_ms=999),
        Claim(user, 1, CHANNEL, "jti", now_ms=999),
        Claim(user, 0, CENTER, "jti", now_ms=999),
        Claim(user, 2, CENTER, "jti", now_ms=999),
        Claim(user, 1, CENTER, "jti", now_ms=1_000),
        Claim(10**15, 1, CENTER, "jti", now_ms=999),
    )
    for claim in wrong:
        assert await store.claim(claim) is None, claim
    claimed = await store.claim(Claim(user, 1, CENTER, "jti", now_ms=999))
    assert claimed is not None and claimed.player is not None
    assert claimed.previous_number == 0
    assert (claimed.head.place_number, claimed.head.place_epoch) == (CENTER, 2)
    assert claimed.player.head == claimed.head
    assert await store.claim(Claim(user, 1, CENTER, "jti", now_ms=999)) is None


async def test_the_old_owner_owns_until_the_claim(cluster: Cluster) -> None:
    center, channel = await cluster.store(), await cluster.store()
    player = await cluster.playing(center, CENTER)
    assert await center.write(PlacePrepared(player.user, 1, CHANNEL, "move", LATER_MS))
    assert await center.commit([commit_of(player, gold(5))]) == [Verdict.COMMITTED]
    claimed = await channel.claim(Claim(player.user, 1, CHANNEL, "move", now_ms=1))
    assert claimed is not None and claimed.player is not None
    assert (claimed.previous_number, claimed.player.wallet.gold) == (CENTER, 5)
    late = await loaded(center, player.user)
    late.head = msgspec.structs.replace(late.head, place_epoch=player.head.place_epoch)
    assert await center.commit([commit_of(late, gold(7))]) == [Verdict.FENCED]
    assert await channel.commit([commit_of(claimed.player, gold(-5))]) == [Verdict.COMMITTED]
    assert (await loaded(center, player.user)).wallet.gold == 0


async def test_a_reservation_needs_its_session(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    assert not await store.write(PlacePrepared(player.user, 0, CHANNEL, "m", LATER_MS))
    assert await store.write(PlacePrepared(player.user, 1, CHANNEL, "m", LATER_MS))
    assert await store.write(SessionOpened(player.user, 1, CENTER, "login", LATER_MS, 5))
    assert await store.claim(Claim(player.user, 2, CHANNEL, "m", now_ms=1)) is None
    assert await store.claim(Claim(player.user, 1, CHANNEL, "m", now_ms=1)) is None


async def test_two_claims_at_one_moment_one_wins(cluster: Cluster) -> None:
    first, second = await cluster.store(), await cluster.store()
    user = await cluster.registered(first)
    await first.write(SessionOpened(user, 0, CENTER, "jti", LATER_MS, 5))
    claim = Claim(user, 1, CENTER, "jti", now_ms=1)
    won = await asyncio.gather(*(s.claim(claim) for s in (first, second, first, second)))
    assert sum(one is not None for one in won) == 1


async def test_a_session_resumes_where_the_player_is(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store, CHANNEL)
    again = await store.claim(Claim(player.user, 1, CHANNEL))
    assert again is not None and again.player is not None
    assert again.head.place_epoch == player.head.place_epoch + 1
    elsewhere = await store.claim(Claim(player.user, 1, CENTER))
    assert elsewhere is not None and elsewhere.player is None
    assert (elsewhere.head.place_number, elsewhere.previous_number) == (CHANNEL, CHANNEL)
    assert elsewhere.head.place_epoch == again.head.place_epoch
    assert await store.claim(Claim(player.user, 9, CHANNEL)) is None


async def test_the_lobby_takes_from_wherever(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store, CHANNEL)
    taken = await store.claim(Claim(player.user, 1, CENTER, lobby=True))
    assert taken is not None and taken.player is not None
    assert (taken.previous_number, taken.head.place_number) == (CHANNEL, CENTER)
    assert await store.commit([commit_of(player, gold(1))]) == [Verdict.FENCED]


async def test_a_logout_fences_everything(cluster: Cluster, store: Store) -> None:
    player = await cluster.playing(store)
    assert not await store.write(SessionClosed(player.user, 0))
    assert await store.write(SessionClosed(player.user, 1))
    assert not await store.write(SessionClosed(player.user, 1))
    assert await store.commit([commit_of(player, gold(1))]) == [Verdict.FENCED]
    assert await store.claim(Claim(player.user, 1, CHANNEL)) is None
    assert (await loaded(store, player.user)).head.place_number == 0


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
    assert await store.commit([claim]) == [Verdict.GUILTY]
    assert (await loaded(store, user)).wallet.gold == 5
    assert await store.grant([Grant(user, 1, 5, bundle)]) == 0


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


# -- leases ----------------------------------------------------------------------------------------

_numbers = itertools.count(1_000)


def server(incarnation: int = 0, name: str = "raid-1") -> LeaseRow:
    """A server with a number nobody has."""
    number = next(_numbers)
    return LeaseRow(number, "raid", name, incarnation, "host", 1, "link", 2, alive=False)


async def test_a_number_belongs_to_one_living_process(cluster: Cluster) -> None:
    first, second = await cluster.store(), await cluster.store()
    row = server(name="raid-held")
    held = await first.lease(row, 60_000)
    with pytest.raises(OperatorError, match=r"E0702 .*raid-held") as refused:
        await second.lease(row, 60_000)
    assert refused.value.code == "E0702"
    renewed = msgspec.structs.replace(row, incarnation=held, client_port=99)
    assert await first.lease(renewed, 60_000) == held
    seen = {one.number: one for one in await second.leases()}[row.number]
    assert seen == msgspec.structs.replace(renewed, alive=True)


async def test_a_number_is_free_after_leaving(cluster: Cluster) -> None:
    first, second = await cluster.store(), await cluster.store()
    row = server()
    held = await first.lease(row, 60_000)
    await second.leave(row.number, held + 1_000)  # somebody else's word counts nothing
    assert {one.number: one.alive for one in await second.leases()}[row.number]
    await first.leave(row.number, held)
    assert not {one.number: one.alive for one in await second.leases()}[row.number]
    assert await second.lease(row, 60_000) > held
    with pytest.raises(OperatorError, match="E0702"):
        await first.lease(msgspec.structs.replace(row, incarnation=held), 60_000)


async def test_an_ended_lease_is_taken_over(cluster: Cluster) -> None:
    first, second = await cluster.store(), await cluster.store()
    row = server()
    held = await first.lease(row, 0)
    if cluster.kind == "real":
        await first.close()  # its connection is gone; the fake needs only the clock
    assert await second.lease(row, 60_000) > held


async def test_every_start_gets_an_incarnation_of_its_own(cluster: Cluster, store: Store) -> None:
    taken = [await store.lease(server(), 60_000) for _ in range(3)]
    assert len(set(taken)) == 3 and taken == sorted(taken) and taken[0] > 0


async def test_presence_and_figures_never_fail(cluster: Cluster, store: Store) -> None:
    await store.online(1, "online", CHANNEL)
    await store.online(1, "offline", CENTER)
    await store.online(1, "offline", CHANNEL)
    player = await cluster.playing(store)
    await store.commit([commit_of(player, gold(1))])
    assert store.stats()["commit_groups"] >= 1
