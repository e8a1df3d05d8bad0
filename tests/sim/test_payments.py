"""A payment in the simulated cluster: the owner is told at once, wherever the player is."""

import pytest
from tests.sim.realm import Realm

from mmo.node.payments import Payments
from mmo.wire.messages.cash import CashChanged, PaymentNotice

CASH = 41


def pay(realm: Realm, order: str, user: int, amount: int, refund_of: str = "") -> str:
    """A notice that the door let in; what became of it, when no time has passed."""
    world = realm.worlds[CASH]
    notice = PaymentNotice(order, user, amount, refund_of)
    fate = world.run(Payments(world.engine).book(notice))
    realm.settle()
    return str(fate)


@pytest.mark.parametrize("place", [0, 11])
def test_payment_when_booked_then_the_owner_is_told_before_any_sweep(
    realm: Realm, place: int
) -> None:
    realm.register("quokka")
    client, welcome = realm.arrive("quokka")
    if place:
        client, welcome = realm.travel(client, place)
    assert pay(realm, "order-1", welcome.user, 300) == "booked"
    assert CashChanged(300, 300) in client.heard()
    assert pay(realm, "order-1", welcome.user, 300) == "known"
    assert pay(realm, "order-2", welcome.user, 200, "order-1") == "booked"
    assert [told for told in client.heard() if isinstance(told, CashChanged)] == [
        CashChanged(100, -200)
    ]


def test_payment_when_the_player_is_away_then_waits_for_his_next_arrival(realm: Realm) -> None:
    realm.register("quokka")
    center, welcome = realm.arrive("quokka")
    center.leaves()
    realm.move(15_000)
    assert pay(realm, "order-1", welcome.user, 300) == "booked"
    back, again = realm.arrive("quokka")
    realm.move(2_000)
    heard = [told for told in back.heard() if isinstance(told, CashChanged)]
    assert again.cash == 0 and heard == [CashChanged(300, 300)]
    back.leaves()
    realm.move(15_000)
    _, later = realm.arrive("quokka")
    assert later.cash == 300


def test_refund_when_it_overtakes_its_charge_then_both_are_booked_in_the_end(realm: Realm) -> None:
    realm.register("quokka")
    client, welcome = realm.arrive("quokka")
    assert pay(realm, "order-2", welcome.user, 300, "order-1") == "early"
    assert pay(realm, "order-1", welcome.user, 300) == "booked"
    assert pay(realm, "order-2", welcome.user, 300, "order-1") == "booked"
    told = [told for told in client.heard() if isinstance(told, CashChanged)]
    assert told == [CashChanged(300, 300), CashChanged(0, -300)]
