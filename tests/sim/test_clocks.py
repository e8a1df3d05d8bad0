"""Servers whose clock is ahead of the database's: nothing is lost for ever by it."""

from tests.sim.realm import Realm

from mmo.content.tables import EQUIPMENT
from mmo.state.bag import Item
from mmo.testing.world import Client
from mmo.wire.messages.inventory import BagAsk, BagOk, ItemsExpired

HOUR_MS = 3_600_000


def lies(realm: Realm, client: Client) -> list[int]:
    """Uids of the equipment that a look at the bag shows."""
    answer = realm.asks(client, BagAsk())
    assert isinstance(answer, BagOk), answer
    return [item.uid for item in answer.equipment]


def test_rental_when_the_servers_are_ahead_then_it_ends_by_the_databases_clock(
    realm: Realm,
) -> None:
    realm.register("quokka")
    user, clock = realm.database.accounts["quokka"].user, realm.worlds[1].clock
    rented = Item(7, EQUIPMENT, 0, 1, 1, expires_ms=clock())
    realm.database.items[user] = {7: rented}
    realm.database.clock_ms = lambda: clock() - HOUR_MS
    center, _ = realm.arrive("quokka")
    client, _ = realm.travel(center, 11)
    counts = realm.worlds[11].engine.metrics.report
    tries = counts()["commits_refused_total"]
    assert lies(realm, client) == []  # no item for any rule, by the clock of the server
    realm.move(5_000)
    assert realm.database.items[user] == {7: rented}
    assert counts()["commits_refused_total"] == tries + 1  # one look, one try
    assert realm.hunt(client, 1, 1)  # and the player goes on
    realm.database.clock_ms = clock
    assert lies(realm, client) == []
    realm.settle()
    assert ItemsExpired([7]) in client.heard()
    assert realm.database.items[user].get(7) is None
