"""Redis repeats what MySQL decided: fenced, repaired, never needed and never believed."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from tests.services.asked import until

from mmo.cluster.redis_servers import SERVERS, ManagedRedis
from mmo.state.bag import Item, ItemBorn, ItemKind
from mmo.state.place import AccountRegistered, Claim, SessionOpened
from mmo.state.player import Player, Snapshot
from mmo.state.wallet import Account, CoinsMoved, Currency
from mmo.store import PlayerCommit, StoreSettings, Verdict
from mmo.store.connection import Statement
from mmo.store.durable import DurableStore
from mmo.store.loading import snapshot_of
from mmo.store.redis_cluster import blob_of, online_key, snapshot_key
from mmo.store.statements import NOW_MS, RETAKEN_MS

pytestmark = pytest.mark.services

CHANNEL = 11
LATER_MS = 2**50
SettingsOf = Callable[..., StoreSettings]

MARKS = Statement("SELECT user_id, version FROM cache_dirty WHERE user_id = %s")
AGED = Statement("UPDATE cache_dirty SET since_ms = since_ms - 60000 WHERE user_id = %s")
AGE = Statement(f"SELECT {NOW_MS} - since_ms FROM cache_dirty WHERE user_id = %s")
_names = itertools.count(1)


@pytest.fixture
async def store(store_settings: SettingsOf) -> AsyncIterator[DurableStore]:
    """A store whose relay does only what the test asks."""
    opened = await DurableStore.open(store_settings())
    yield opened
    await opened.close()


async def playing(store: DurableStore) -> Player:
    """A new player at the channel."""
    name = f"cached-{next(_names)}"
    assert await store.write(AccountRegistered(name, "", 1))
    found = await store.credentials(name)
    assert found is not None
    assert await store.write(SessionOpened(found.user, 0, CHANNEL, "jti", LATER_MS, 1))
    return await claimed(store, found.user, "jti")


async def claimed(store: DurableStore, user: int, jti: str = "") -> Player:
    """CLAIM (or resume) at the channel."""
    outcome = await store.claim(Claim(user, 1, CHANNEL, jti, now_ms=1))
    assert outcome is not None and outcome.player is not None
    return outcome.player


async def earn(store: DurableStore, player: Player, *, applied: bool = True) -> None:
    """One gold and one item, committed and (as a node does) applied."""
    version = player.head.version + 1
    changes = (
        CoinsMoved(Currency.GOLD, 1, Account.MINT_HUNT),
        ItemBorn(Item(player.user * 1_000 + version, ItemKind.MATERIAL, version, 301, 1), 1),
    )
    commit = PlayerCommit(player, (0, version), 410, b"12345678", 411, b"", changes, 1, 1)
    assert await store.commit([commit]) == [Verdict.COMMITTED]
    if applied:
        for change in changes:
            change.apply(player)
        player.head = msgspec.structs.replace(player.head, version=version)


async def mark_of(store: DurableStore, user: int) -> int | None:
    """Version of the player's dirty mark."""
    async with store.pool.take() as connection:
        row = await connection.row(MARKS, user)
    return None if row is None else int(row[1])


async def held_version(store: DurableStore, user: int) -> int:
    """What Redis holds, 0 nothing."""
    held = await store.cache.versions([user])
    return -1 if held is None else held.get(user, -1)


async def settle(store: DurableStore) -> None:
    """Repair until no mark is left to settle."""
    while await store.relay.repair_once(0):
        pass


# -- inline puts and the fence ---------------------------------------------------------------------


async def test_a_version_that_is_no_number_counts_as_none_and_is_replaced(
    store: DurableStore,
) -> None:
    player = await playing(store)
    await earn(store, player)
    pipeline = store.cache._opened().pipeline()
    pipeline.execute_command("HSET", snapshot_key(player.user), "version", "not a number")
    await pipeline.execute()
    assert await held_version(store, player.user) == 0
    assert await store.relay.put_waiting() == 1
    assert await held_version(store, player.user) == 1
    await settle(store)
    assert await mark_of(store, player.user) is None


async def test_a_commit_is_put_once_its_node_applied_it(store: DurableStore) -> None:
    player = await playing(store)
    await earn(store, player, applied=False)
    assert await store.relay.put_waiting() == 0
    assert await held_version(store, player.user) == 0
    player.head = msgspec.structs.replace(player.head, version=1)
    assert await store.relay.put_waiting() == 1
    assert await store.cache.read(player.user) == snapshot_of(player)


async def test_many_commits_of_a_player_are_one_put(store: DurableStore) -> None:
    player = await playing(store)
    for _ in range(5):
        await earn(store, player)
    assert await store.relay.put_waiting() == 1
    assert await held_version(store, player.user) == 5


async def test_the_fence_refuses_what_is_older(store: DurableStore) -> None:
    player = await playing(store)
    for _ in range(2):
        await earn(store, player)
    new = snapshot_of(player)
    old = msgspec.structs.replace(new, version=1, gold=1)
    assert await store.cache.put([(player.user, new)]) == {player.user: 2}
    assert await store.cache.put([(player.user, old)]) == {player.user: 2}
    assert await store.cache.read(player.user) == new
    assert store.stats()["redis_put_fenced"] == 1


async def test_the_running_relay_puts_by_itself(store_settings: SettingsOf) -> None:
    store = await DurableStore.open(store_settings(relay_every_ms=1))
    player = await playing(store)
    await earn(store, player)

    async def there() -> bool:
        return await held_version(store, player.user) == 1

    await until(there)
    await store.close()


async def test_the_running_repair_settles_by_itself(store_settings: SettingsOf) -> None:
    store = await DurableStore.open(store_settings(repair_every_ms=1))
    player = await playing(store)
    await earn(store, player)

    async def settled() -> bool:
        return await mark_of(store, player.user) is None

    await until(settled)
    assert await held_version(store, player.user) == 1
    await store.close()


async def test_closing_puts_what_waits(store_settings: SettingsOf, store: DurableStore) -> None:
    other = await DurableStore.open(store_settings())
    player = await playing(other)
    await earn(other, player)
    await other.online(player.user, "online", CHANNEL)
    await other.close()
    assert await held_version(store, player.user) == 1


# -- what a claim believes -------------------------------------------------------------------------


async def test_a_claim_takes_items_from_a_snapshot_of_its_version(store: DurableStore) -> None:
    player = await playing(store)
    await earn(store, player)
    snapshot = snapshot_of(player)
    witness = Item(77, ItemKind.MATERIAL, 50, 301, 1)  # shows that the snapshot was used
    await store.cache.put([(player.user, msgspec.structs.replace(snapshot, items=[witness]))])
    assert (await claimed(store, player.user)).bag.items() == [witness]


@pytest.mark.parametrize(
    "lie", [{"version": 7}, {"gold": 999}, {"level": 9}, {"exp": 3}, {"cash": 1}, {"score_best": 2}]
)
async def test_a_claim_ignores_a_snapshot_that_does_not_fit(
    store: DurableStore, lie: dict[str, int]
) -> None:
    player = await playing(store)
    await earn(store, player)
    false = msgspec.structs.replace(snapshot_of(player), items=[], **lie)
    await store.cache.put([(player.user, false)])
    again = await claimed(store, player.user)
    assert (again.wallet, again.growth) == (player.wallet, player.growth)
    assert again.bag.items() == player.bag.items() and len(again.bag.items()) == 1


@pytest.mark.parametrize("blob", [b"", b"\xc1garbage", b"\x91\x01", b"x" * (2 << 20)])
async def test_a_blob_that_is_none_is_counted_and_not_used(
    store: DurableStore, redis_servers: ManagedRedis, blob: bytes
) -> None:
    player = await playing(store)
    await earn(store, player)
    client = store.cache._opened()
    await client.hset(snapshot_key(player.user), mapping={"version": b"1", "blob": blob})
    again = await claimed(store, player.user)
    assert again.bag.items() == player.bag.items()
    assert store.stats()["redis_blobs_refused"] == 1


async def test_a_snapshot_of_another_player_is_refused(store: DurableStore) -> None:
    player, other = await playing(store), await playing(store)
    await earn(store, player)
    blob = blob_of(other.user, snapshot_of(player))
    client = store.cache._opened()
    await client.hset(snapshot_key(player.user), mapping={"version": b"1", "blob": blob})
    assert await store.cache.read(player.user) is None
    assert store.stats()["redis_blobs_refused"] == 1


async def test_a_read_given_up_half_way_never_answers_the_next(store: DurableStore) -> None:
    users = range(10**10, 10**10 + 20)
    await store.cache.put([(user, Snapshot(1, 1, 0, user, 0, 0, 0, [])) for user in users])
    loop = asyncio.get_running_loop()
    for steps in range(60):
        given_up = loop.create_task(store.cache.read(users[steps % 20]))
        for _ in range(steps % 15):
            await asyncio.sleep(0)
        given_up.cancel()
        user = users[(steps + 7) % 20]
        snapshot = await store.cache.read(user)
        assert snapshot is None or snapshot.gold == user
    assert await store.cache.read(users[0]) is not None
    assert store.stats()["redis_blobs_refused"] == 0


# -- repair ----------------------------------------------------------------------------------------


async def test_repair_puts_what_the_inline_put_missed(
    store_settings: SettingsOf, store: DurableStore
) -> None:
    player = await playing(store)
    await earn(store, player)
    await earn(store, player)  # this process dies before any put
    assert await mark_of(store, player.user) == 2
    other = await DurableStore.open(store_settings())
    await settle(other)
    snapshot = await other.cache.read(player.user)
    assert snapshot == snapshot_of(player)
    assert await mark_of(store, player.user) is None
    await other.close()


async def test_a_mark_younger_than_a_failover_is_left_alone(store: DurableStore) -> None:
    player = await playing(store)
    await earn(store, player)
    assert await store.relay.repair_once(60_000) == 0
    assert await mark_of(store, player.user) == 1


async def test_a_mark_that_moved_on_meanwhile_stays(store: DurableStore) -> None:
    player = await playing(store)
    await earn(store, player)
    await store.relay.put_waiting()
    put = store.cache.versions

    async def slowly(users: list[int]) -> dict[int, int] | None:
        held = await put(users)
        await earn(store, player)  # between the look and the removal
        return held

    store.cache.versions = slowly  # type: ignore[method-assign,assignment]
    await store.relay.repair_once(0)
    assert await mark_of(store, player.user) == 2
    store.cache.versions = put  # type: ignore[method-assign]
    await settle(store)
    assert await held_version(store, player.user) == 2


async def test_several_relays_share_the_marks(
    store_settings: SettingsOf, store: DurableStore
) -> None:
    other = await DurableStore.open(store_settings())
    players = [await playing(store) for _ in range(10)]
    for player in players:
        await earn(store, player)
    await asyncio.gather(settle(store), settle(other))
    held = await store.cache.versions([player.user for player in players])
    assert held == {player.user: 1 for player in players}
    for player in players:
        assert await mark_of(store, player.user) is None
    await other.close()


# -- Redis in trouble ------------------------------------------------------------------------------


async def test_wiped_in_the_middle_nobody_notices_and_it_heals(
    store: DurableStore, redis_servers: ManagedRedis
) -> None:
    player = await playing(store)
    await earn(store, player)
    await store.relay.put_waiting()
    redis_servers.wipe()
    assert await held_version(store, player.user) == 0
    await earn(store, player)
    again = await claimed(store, player.user)
    assert again.wallet.gold == 2 and again.bag.items() == player.bag.items()
    await settle(store)
    assert await store.cache.read(player.user) == snapshot_of(player)


async def test_without_any_redis_players_play(store_settings: SettingsOf) -> None:
    nowhere = (("127.0.0.1", 1), ("127.0.0.1", 2))
    store = await DurableStore.open(store_settings(redis_nodes=nowhere))
    player = await playing(store)
    await earn(store, player)
    await store.online(player.user, "online", CHANNEL)
    again = await claimed(store, player.user)
    assert again.bag.items() == player.bag.items()
    assert await store.relay.put_waiting() == 0
    assert await store.relay.repair_once(0) == 0
    assert await mark_of(store, player.user) == 1  # kept for better times
    figures = store.stats()
    assert figures["redis_healthy"] == 0 and figures["redis_failures"] > 0
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    await store.close()
    assert loop.time() - begun_s < 2.0


async def test_a_mark_that_a_relay_could_not_settle_is_soon_old_for_the_others(
    store_settings: SettingsOf,
) -> None:
    store = await DurableStore.open(store_settings(redis_nodes=(("127.0.0.1", 1),)))
    player = await playing(store)
    await earn(store, player)
    async with store.pool.take() as connection:
        await connection.execute(AGED, player.user)
    assert await store.relay.repair_once(5_000) == 0
    async with store.pool.take() as connection:
        aged = await connection.row(AGE, player.user)
    assert aged is not None and aged[0] >= 5_000 - RETAKEN_MS
    await store.close()


async def test_a_killed_primary_converges_by_itself(
    store: DurableStore, redis_servers: ManagedRedis
) -> None:
    players = [await playing(store) for _ in range(6)]
    for player in players:
        await earn(store, player)
    await store.relay.put_waiting()
    (dead, *_) = redis_servers.primary_numbers()
    redis_servers.kill(dead)
    try:
        for player in players:
            await earn(store, player)
            again = await claimed(store, player.user)
            assert again.wallet.gold == 2
            player.head = again.head
        users = [player.user for player in players]

        async def converged() -> bool:
            await store.relay.put_waiting()
            await store.relay.repair_once(0)
            return await store.cache.versions(users) == dict.fromkeys(users, 2)

        await until(converged)
    finally:
        redis_servers.start_one(dead)
        redis_servers.wait_serving()
    assert len(redis_servers.primary_numbers()) == SERVERS // 2


# -- presence --------------------------------------------------------------------------------------


async def seen_of(store: DurableStore, user: int) -> bytes | None:
    """The published word about a player."""
    answer = await store.cache._opened().get(online_key(user))
    return answer.encode() if isinstance(answer, str) else answer


async def test_presence_is_published_kept_and_taken_back_by_its_server_only(
    store_settings: SettingsOf, store: DurableStore
) -> None:
    other = await DurableStore.open(store_settings())
    user = next(_names) + 10**9
    await store.online(user, "online", CHANNEL)
    await store.relay._publish()
    assert await seen_of(store, user) == b"online:11"
    await other.online(user, "moving", 1)
    await other.relay._publish()
    await store.online(user, "offline", CHANNEL)
    await store.relay._publish()
    assert await seen_of(store, user) == b"moving:1"
    await other.close()  # takes back what it said
    assert await seen_of(store, user) is None


async def test_snapshots_of_one_player_share_one_slot(store: DurableStore) -> None:
    client = store.cache._opened()
    await client.initialize()
    assert client.keyslot(snapshot_key(7)) == client.keyslot(online_key(7))
    assert client.keyslot(snapshot_key(7)) != client.keyslot(snapshot_key(8))


# -- the sampler -----------------------------------------------------------------------------------


async def sampled(store: DurableStore) -> dict[str, float]:
    """The counts of one more comparison."""
    before = dict(store.sampler.counts)
    await store.sampler.compare()
    return {name: count - before[name] for name, count in store.sampler.counts.items()}


async def test_the_sampler_tells_what_shows_what_is_late_and_what_is_gone(
    store_settings: SettingsOf,
) -> None:
    store = await DurableStore.open(store_settings(sample_players=10))
    try:
        assert await store.sampler.compare() == 0
        shown, late, gone = [await playing(store) for _ in range(3)]
        for player in (shown, late, gone):
            await earn(store, player)
        assert await store.relay.put_waiting() == 3
        assert await sampled(store) == {"compared": 3, "absent": 0, "late": 0, "ahead": 0}
        await earn(store, late)
        await store.cache.many([("DEL", snapshot_key(gone.user))])
        assert await sampled(store) == {"compared": 3, "absent": 1, "late": 1, "ahead": 0}
        ahead = msgspec.structs.replace(snapshot_of(shown), version=shown.head.version + 1)
        await store.cache.put([(shown.user, ahead)])
        assert (await sampled(store))["ahead"] == 1
        assert 0 < store.stats()["relay_lag_p99_ms"] <= store.stats()["relay_lag_max_ms"]
    finally:
        await store.close()
