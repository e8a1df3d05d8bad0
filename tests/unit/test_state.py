"""Aggregates and their changes: what is put comes out, what cannot be is a bug at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmo.state.bag import Bag, Item, ItemBorn, ItemKind, ItemStacked
from mmo.state.change import Change, Effect
from mmo.state.growth import ExpGained, Growth
from mmo.state.player import (
    OPERATIONS_KEPT_MAX,
    Head,
    OperationBook,
    OperationRecord,
    Player,
)
from mmo.state.score import Score
from mmo.state.wallet import Account, CoinsMoved, Currency, Wallet


def fresh() -> Player:
    """A player who owns nothing."""
    return Player(
        Head(70_000, "quokka", 1, 1, 11, 1), Growth(), Wallet(), Bag(), Score(), OperationBook()
    )


def test_bag_when_items_are_put_and_taken_then_slots_follow() -> None:
    bag = Bag([Item(1, ItemKind.MATERIAL, 0, 5, 3)])
    bag.put(Item(1, ItemKind.MATERIAL, 2, 5, 3))
    assert bag.at(ItemKind.MATERIAL, 0) is None
    assert bag.at(ItemKind.MATERIAL, 2) == bag.get(1) == Item(1, ItemKind.MATERIAL, 2, 5, 3)
    assert bag.free_slot(ItemKind.MATERIAL, 3) == 0
    assert bag.take(1).uid == 1
    assert bag.items() == [] and bag.at(ItemKind.MATERIAL, 2) is None


def test_bag_when_a_slot_is_taken_then_another_item_there_is_a_bug() -> None:
    bag = Bag([Item(1, 0, 0, 5, 1)])
    with pytest.raises(AssertionError):
        bag.put(Item(2, 0, 0, 6, 1))
    bag.put(Item(2, 1, 0, 6, 1))  # the same slot of another kind is another slot


def test_bag_when_full_then_has_no_free_slot() -> None:
    bag = Bag([Item(slot + 1, 1, slot, 5, 1) for slot in range(10)])
    assert bag.free_slot(1, 10) is None
    assert bag.free_slot(0, 10) == 0


def test_stack_when_room_is_asked_then_the_fullest_that_fits_is_found() -> None:
    bag = Bag([Item(1, 1, 0, 5, 97), Item(2, 1, 1, 5, 90), Item(3, 1, 2, 6, 99)])
    found = [bag.stack_with_room(1, 5, room, 99) for room in (2, 3, 9, 10)]
    assert [item.uid if item else None for item in found] == [1, 2, 2, None]


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Currency)), st.integers(-(10**12), 10**12)), max_size=30
    )
)
def test_wallet_when_coins_move_then_each_currency_is_the_sum_of_its_entries(
    entries: list[tuple[Currency, int]],
) -> None:
    player = fresh()
    for currency, amount in entries:
        CoinsMoved(currency, amount, Account.MINT_HUNT).apply(player)
    for currency in Currency:
        assert player.wallet.of(currency) == sum(n for c, n in entries if c == currency)


def test_changes_when_applied_then_replace_the_part_and_leave_the_old_value_alone() -> None:
    player = fresh()
    before = player.growth
    ExpGained(3, 3, 0).apply(player)
    assert (before, player.growth) == (Growth(1, 0), Growth(3, 0))
    ItemBorn(Item(1, 2, 0, 5, 3), Account.MINT_HUNT).apply(player)
    ItemStacked(Item(1, 2, 0, 5, 7), 4, Account.MINT_HUNT).apply(player)
    assert player.bag.get(1) == Item(1, 2, 0, 5, 7)


def test_change_when_its_class_forgot_to_apply_itself_then_is_a_bug() -> None:
    class Forgetful(Change, frozen=True):
        pass

    class ForgetfulEffect(Effect, frozen=True):
        pass

    with pytest.raises(AssertionError):
        Forgetful().apply(fresh())
    with pytest.raises(AssertionError):
        ForgetfulEffect().apply(object())


def test_operations_when_more_than_kept_then_the_oldest_go_and_the_highest_counter_stays() -> None:
    book = OperationBook()
    for counter in range(1, OPERATIONS_KEPT_MAX + 11):
        book.add(OperationRecord(4, counter, b"12345678", 201, b""))
    assert len(book.records) == OPERATIONS_KEPT_MAX
    assert (4, 10) not in book.records and (4, 11) in book.records
    assert book.highest == {4: OPERATIONS_KEPT_MAX + 10}
