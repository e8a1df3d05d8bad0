"""Which code a start runs: named once, changed by the next start, never under living servers."""

import asyncio

import pytest

from mmo.cli.publishing import name_at_start, name_first, who
from mmo.config.load import load_config
from mmo.errors import OperatorError
from mmo.node.bundle import Bundle
from mmo.store import LeaseRow
from mmo.testing.fake_store import FakeDatabase, FakeStore

OWN = (1, 2, 11)


def bundle(text: str) -> Bundle:
    return Bundle({"systems/a.py": text}, {})


@pytest.fixture
def store() -> FakeStore:
    """One process of a cluster that never ran."""
    return FakeStore(FakeDatabase(clock_ms=lambda: 1_000))


def started(store: FakeStore, text: str) -> str:
    return asyncio.run(name_at_start(store, bundle(text), OWN))


def alive(store: FakeStore, number: int) -> None:
    row = LeaseRow(number, "channel", f"channel-{number}", 0, "h", 1, "h", 2, True)
    asyncio.run(store.lease(row, 60_000))


def test_the_first_start_names_the_code_of_the_disk(store: FakeStore) -> None:
    assert started(store, "one") == "generation 1"
    row = store.database.code
    assert (row.generation, row.bundle) == (1, bundle("one").digest)
    assert store.database.generations[1].state == "first" and who() in (
        store.database.generations[1].who,
    )


def test_a_start_with_the_same_code_changes_nothing(store: FakeStore) -> None:
    started(store, "one")
    assert started(store, "one") == "generation 1"
    assert list(store.database.generations) == [1]


def test_a_start_with_other_code_is_another_generation(store: FakeStore) -> None:
    started(store, "one")
    assert started(store, "two") == "generation 2"
    assert store.database.code.bundle == bundle("two").digest
    assert store.database.generations[2].state == "start"


def test_the_code_of_other_living_servers_goes_on(store: FakeStore) -> None:
    started(store, "one")
    alive(store, 77)
    assert "generation 1 goes on" in started(store, "two")
    assert store.database.code.bundle == bundle("one").digest


def test_leases_of_this_home_do_not_hold_up_its_start(store: FakeStore) -> None:
    started(store, "one")
    alive(store, 11)
    assert started(store, "two") == "generation 2"


def test_a_canary_and_a_rolling_restart_end_with_all_servers(store: FakeStore) -> None:
    started(store, "one")
    row = store.database.code
    row.rolling_from = 1
    row.generation, row.bundle = 2, bundle("two").digest
    assert started(store, "two") == "generation 2"
    assert row.rolling_from == 0


def test_the_first_node_without_a_supervisor_names_the_code(store: FakeStore) -> None:
    config = load_config(environment={}).config
    named, number = asyncio.run(name_first(store, config))
    assert number == 1 and store.database.code.bundle == named.digest
    again, number = asyncio.run(name_first(store, config))
    assert (again.digest, number) == (named.digest, 1)
    store.database.bundles.clear()
    with pytest.raises(OperatorError) as raised:
        asyncio.run(name_first(store, config))
    assert raised.value.code == "E0421"
