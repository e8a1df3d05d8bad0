"""Raids over a whole cluster in one process: waiting, matching, fight, books; and losses."""

from collections.abc import Iterator

import pytest
from tests.sim.realm import Realm

from mmo.testing.world import Client
from mmo.wire.messages.raid_queue import (
    RaidMatched,
    RaidQueue,
    RaidQueueOk,
)


@pytest.fixture
def realm() -> Iterator[Realm]:
    realm = Realm()
    yield realm
    realm.close()


def arrivals(realm: Realm, *names: str) -> list[Client]:
    """New players in the lobby."""
    for name in names:
        realm.register(name)
    return [realm.arrive(name)[0] for name in names]


def heard(client: Client, kind: type) -> list[object]:
    """What a client heard of one kind since the last look."""
    return [message for message in client.heard() if isinstance(message, kind)]


def test_raid_when_two_wait_then_both_have_a_seat_and_a_token(realm: Realm) -> None:
    players = arrivals(realm, "anna", "ben")
    for client in players:
        assert isinstance(realm.asks(client, RaidQueue(1)), RaidQueueOk)
    realm.move(500)
    found = [heard(client, RaidMatched) for client in players]
    assert all(len(one) == 1 for one in found)
