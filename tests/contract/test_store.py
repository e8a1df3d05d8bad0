"""Accounts, sessions, places and leases, asked of the store in dicts and of the real one alike.

Owns these questions of `mmo.store.Store`; how the real store keeps its promises under kill -9 and a
wiped Redis is asked in `services`.
"""

import asyncio
import itertools

import msgspec
import pytest
from tests.contract.stores import CENTER, CHANNEL, LATER_MS, Cluster, commit_of, gold, loaded

from mmo.errors import OperatorError
from mmo.state.place import (
    AccountRegistered,
    Claim,
    LoginFailed,
    PlacePrepared,
    SessionClosed,
    SessionOpened,
)
from mmo.store import LeaseRow, Store, Verdict

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
    of_another = PlacePrepared(player.user, 1, CHANNEL, "m", LATER_MS, owner_number=77)
    assert not await store.write(of_another), "who does not own him sends nobody away"
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
    held = await first.lease(row, 0)  # and its connection stands
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
