"""The one row that switches code, asked of the store in dicts and of the real one alike."""

import asyncio

import msgspec
import pytest
from tests.contract.stores import CHANNEL, Cluster, commit_of, gold

from mmo.store import CodeRow, CodeSwitch, LeaseRow, Store, Verdict

LEASE_MS = 60_000
ONE, TWO = "1" * 64, "2" * 64


def lease_of(number: int) -> LeaseRow:
    return LeaseRow(number, "channel", f"channel-{number}", 0, "127.0.0.1", 1, "127.0.0.1", 2, True)


async def switch_of(store: Store, **changed: object) -> CodeSwitch:
    """A switch that holds now."""
    row = await store.code()
    wanted = CodeSwitch("reload", row.next, TWO, row.generation, "ann@here")
    return msgspec.structs.replace(wanted, **changed)


async def test_a_switch_moves_the_row_and_is_remembered(store: Store) -> None:
    before = await store.code()
    wanted = await switch_of(store, note="a faster sword")
    assert await store.switch_code(wanted)
    row = await store.code(settled=True)
    assert (row.generation, row.bundle) == (wanted.generation, TWO)
    assert row.next == wanted.generation + 1 and row.now_ms >= before.now_ms
    record = (await store.code_records(row.generation, 5))[0]
    assert (record.generation, record.bundle, record.replaced) == (
        *(row.generation, TWO),
        before.generation,
    )
    assert (record.state, record.who, record.note) == ("reload", "ann@here", "a faster sword")


async def test_the_second_of_two_switches_is_refused(store: Store) -> None:
    wanted = await switch_of(store)
    assert await store.switch_code(wanted)
    assert not await store.switch_code(wanted)
    assert (await store.code()).generation == wanted.generation


async def test_a_switch_after_its_deadline_is_refused(cluster: Cluster, store: Store) -> None:
    row = await store.code()
    if cluster.kind == "fake":
        cluster._database.clock_ms = lambda: 1_000
        row = await store.code()
    late = await switch_of(store, deadline_ms=row.now_ms - 1)
    assert not await store.switch_code(late)
    assert (await store.code()).generation == row.generation
    assert await store.switch_code(msgspec.structs.replace(late, deadline_ms=row.now_ms + 60_000))


async def test_a_switch_is_refused_while_somebody_unknown_is_alive(store: Store) -> None:
    incarnation = await store.lease(lease_of(CHANNEL), LEASE_MS)
    known = ((CHANNEL, incarnation),)
    assert not await store.switch_code(await switch_of(store, holders=()))
    assert not await store.switch_code(
        await switch_of(store, holders=((CHANNEL, incarnation + 1),))
    )
    assert await store.switch_code(await switch_of(store, holders=known))
    assert await store.switch_code(await switch_of(store, holders=((CHANNEL, 0),)))
    await store.leave(CHANNEL, incarnation)
    assert await store.switch_code(await switch_of(store, holders=()))


async def test_what_happens_before_the_commit_of_a_switch_may_undo_it(store: Store) -> None:
    before = await store.code()

    async def raises() -> None:
        raise ValueError("a node did not pause")

    with pytest.raises(ValueError, match="did not pause"):
        await store.switch_code(await switch_of(store), raises)
    assert (await store.code(settled=True)).generation == before.generation

    async def somebody_comes() -> None:
        await store.lease(lease_of(CHANNEL), LEASE_MS)

    assert not await store.switch_code(await switch_of(store, holders=()), somebody_comes)
    row = await store.code(settled=True)
    assert (row.generation, row.next) == (before.generation, before.next), "nothing is recorded"
    called = []

    async def notes() -> None:
        called.append((await store.code()).generation)

    wanted = await switch_of(store, holders=((CHANNEL, 0),))
    assert await store.switch_code(wanted, notes)
    assert called == [before.generation], "not to be seen before the commit"


async def test_a_settled_read_waits_for_the_switch_under_way(
    cluster: Cluster, store: Store
) -> None:
    if cluster.kind == "fake":
        return  # one task at a time: nothing is ever half done
    reading: list[asyncio.Task[CodeRow]] = []

    async def others_read() -> None:
        reading.append(asyncio.create_task(store.code(settled=True)))
        await store.code()  # as long as another question takes
        assert not reading[0].done()

    wanted = await switch_of(store)
    assert await store.switch_code(wanted, others_read)
    assert (await reading[0]).generation == wanted.generation


async def test_sources_are_kept_by_their_hash(store: Store) -> None:
    packed = bytes(range(256)) * 40 + b"\x00'\"\\%s"
    digest = f"{abs(hash(packed)):064x}"
    assert await store.bundle(digest) is None
    await store.add_bundle(digest, packed)
    await store.add_bundle(digest, b"another")
    assert await store.bundle(digest) == packed


async def test_sources_that_nobody_needs_are_forgotten(cluster: Cluster, store: Store) -> None:
    if cluster.kind == "fake":
        ticks = iter(range(1_000, 9_000, 10))
        cluster._database.clock_ms = lambda: next(ticks)
    names = [f"{number:064x}" for number in (0xA, 0xB, 0xC)]
    for name in names:
        await store.add_bundle(name, b"packed")
    assert await store.switch_code(await switch_of(store, bundle=names[0]))
    oldest = (await store.code()).generation + 1
    assert await store.switch_code(await switch_of(store, bundle=names[1]))
    await store.code()
    assert await store.forget_bundles(oldest, 60_000) == 0, "what was stored just now may be next"
    assert await store.forget_bundles(oldest, -1_000) >= 2
    assert [await store.bundle(name) for name in names] == [None, b"packed", None]


async def test_every_operation_names_the_generation_that_decided_it(
    cluster: Cluster, store: Store
) -> None:
    player = await cluster.playing(store)
    user = player.head.user
    assert await store.commit([commit_of(player, gold(5), op=(1, 7))]) == [Verdict.COMMITTED]
    assert await store.code_of_operation(user, 1, 7) == 3
    assert await store.code_of_operation(user, 1, 8) == 0


async def test_the_first_code_is_named_once(store: Store) -> None:
    row = await store.code()
    first = CodeSwitch("first", row.generation, ONE, row.generation, "ann@here")
    if row.bundle:  # the database of these tests has seen a switch before
        assert not await store.switch_code(first)
        return
    assert await store.switch_code(first)
    assert not await store.switch_code(msgspec.structs.replace(first, bundle=TWO))
    assert (await store.code()).bundle == ONE


async def test_a_canary_is_one_node_until_it_goes_back(store: Store) -> None:
    row = await store.code()
    canary = await switch_of(store, kind="canary", canary_number=CHANNEL)
    assert await store.switch_code(canary)
    tried = await store.code()
    assert (tried.generation, tried.canary, tried.canary_number) == (
        *(row.generation, canary.generation),
        CHANNEL,
    )
    assert tried.next == canary.generation + 1
    assert tried.allows(canary.generation, CHANNEL) and tried.allows(row.generation, 2)
    assert not tried.allows(canary.generation, 2)
    assert not await store.switch_code(await switch_of(store)), "a reload does not come in between"
    assert not await store.switch_code(canary)
    assert await store.end_canary(canary.generation, "errors")
    assert not await store.end_canary(canary.generation, "errors")
    record = (await store.code_records(canary.generation, 1))[0]
    assert (record.state, record.note) == ("back", "errors")
    assert (await store.code()).next == canary.generation + 1, "its number names it for ever"


async def test_a_good_canary_becomes_the_code_of_all(store: Store) -> None:
    canary = await switch_of(store, kind="canary", canary_number=CHANNEL)
    assert await store.switch_code(canary)
    assert await store.switch_code(msgspec.structs.replace(canary, kind="reload"))
    row = await store.code()
    assert (row.generation, row.canary) == (canary.generation, 0)
    assert (await store.code_records(row.generation, 1))[0].state == "reload"


async def test_a_rolling_restart_goes_back_to_where_it_came_from(store: Store) -> None:
    first = await switch_of(store, bundle=ONE)
    assert await store.switch_code(first)
    rolling = await switch_of(store, kind="rolling")
    assert await store.switch_code(rolling)
    assert not await store.turn_rolling(first.generation, rolling.generation)
    assert await store.turn_rolling(rolling.generation, first.generation)
    row = await store.code()
    assert (row.generation, row.bundle, row.rolling_from) == (
        *(first.generation, ONE),
        rolling.generation,
    )
    assert row.next == rolling.generation + 1
    assert row.allows(first.generation, 1) and row.allows(rolling.generation, 1)
    await store.end_rolling()
    assert not await store.turn_rolling(first.generation, 0)
    assert not (await store.code()).allows(rolling.generation, 1)


@pytest.mark.parametrize("kind", ["reload", "rolling"])
async def test_other_code_under_the_number_of_a_canary_is_refused(store: Store, kind: str) -> None:
    """Who read the row before the canary began has the same next number in mind."""
    other = await switch_of(store, kind=kind, bundle=ONE)
    canary = await switch_of(store, kind="canary", canary_number=CHANNEL)
    assert await store.switch_code(canary)
    assert not await store.switch_code(other)
    assert (await store.code()).canary == canary.generation
    assert (await store.code_records(canary.generation, 1))[0].bundle == canary.bundle
    assert await store.end_canary(canary.generation, "over")


async def test_during_a_rolling_restart_two_generations_may_decide(store: Store) -> None:
    row = await store.code()
    rolling = await switch_of(store, kind="rolling")
    assert await store.switch_code(rolling)
    mixed = await store.code()
    assert mixed.allows(row.generation, 1) and mixed.allows(rolling.generation, 1)
    assert not mixed.allows(row.generation - 1, 1)
    assert not await store.switch_code(await switch_of(store))
    await store.end_rolling()
    assert not (await store.code()).allows(row.generation, 1)
    assert await store.switch_code(await switch_of(store))


@pytest.mark.parametrize("generation", [3, 4])
def test_without_a_rolling_restart_one_generation_decides(generation: int) -> None:
    row = CodeRow(3, ONE, 4, 0, 0, 0, 0)
    assert row.allows(generation, 1) == (generation == 3)
