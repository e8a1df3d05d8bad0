"""Entries of a day in the books, asked of the dicts and of the real store alike."""

import msgspec
from tests.contract.raid_books import DAY, KIND, aborted, opened, opening, raids_of, result
from tests.contract.stores import Cluster

from mmo.store import Store


async def test_entries_of_a_day_end_and_aborted_ones_come_back(
    cluster: Cluster, store: Store
) -> None:
    row = await opened(cluster, store, entries_max=2)
    assert await store.write(aborted(row))
    assert await raids_of(store, row) == [(0, 0)] * 2
    for used in (1, 2):
        row = opening(row.members, row.incarnation, entries_max=2)
        assert await store.write(row)
        assert await raids_of(store, row) == [(row.raid, used)] * 2
        assert await store.write(result(row, 1, 1))
    again = opening(row.members, row.incarnation, entries_max=2)
    assert not await store.write(again)
    assert await store.raid(again.raid) is None
    assert await raids_of(store, row) == [(0, 2)] * 2
    assert await raids_of(store, row, DAY + 1) == [(0, 0)] * 2
    assert await store.write(msgspec.structs.replace(again, day=DAY + 1))
    assert await raids_of(store, row, DAY + 1) == [(again.raid, 1)] * 2


async def test_entries_of_a_kind_end_and_those_of_another_do_not(
    cluster: Cluster, store: Store
) -> None:
    other = await opened(cluster, store, kind=KIND + 1)
    assert await store.write(result(other, 1, 1))
    for used in (1, 2):
        row = opening(other.members, other.incarnation, entries_max=2)
        assert await store.write(row)
        assert await raids_of(store, row) == [(row.raid, used)] * 2
        assert await raids_of(store, other) == [(row.raid, 1)] * 2
        assert await store.write(result(row, 1, 1))
    assert not await store.write(opening(other.members, other.incarnation, entries_max=2))
    again = opening(other.members, other.incarnation, kind=KIND + 1, entries_max=2)
    assert await store.write(again)
    card = await store.card(other.members[0].user, DAY)
    assert card is not None and card.entries == (KIND, KIND, KIND + 1, KIND + 1)
