"""Where items go: stacks first, lowest free slots, all or nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.systems.game import CONTENT, NOW_MS, Game

from mmo.content.tables import CONSUMABLE, EQUIPMENT, MATERIAL
from mmo.state.bag import Bag, Item, ItemBorn, ItemStacked
from mmo.state.wallet import Account
from mmo.systems.inventory import attack_power, bag_views, place_items


def place(bag: Bag, *wanted: tuple[int, int, int]) -> list[Any] | None:
    """Place and make it true."""
    game = Game("channel", 11)
    placed = place_items(CONTENT, bag, wanted, game.new_uid, Account.MINT_GRANT)
    for placement in placed or ():
        bag.put(placement.item)
    return placed


def test_item_when_new_then_takes_the_lowest_free_slot() -> None:
    bag = Bag([Item(1, EQUIPMENT, 0, 1, 1), Item(2, EQUIPMENT, 2, 1, 1)])
    placed = place(bag, (EQUIPMENT, 3, 1))
    assert placed is not None
    assert [(type(p), p.item.slot) for p in placed] == [(ItemBorn, 1)]


def test_item_when_equipment_of_the_same_code_then_never_stacks() -> None:
    bag = Bag()
    assert place(bag, (EQUIPMENT, 1, 3)) is not None
    assert [item.slot for item in bag.items(EQUIPMENT)] == [0, 1, 2]
    assert {item.count for item in bag.items()} == {1}


def test_item_when_it_stacks_then_the_fullest_stack_takes_it_first() -> None:
    bag = Bag([Item(1, MATERIAL, 0, 1, 10), Item(2, MATERIAL, 1, 1, 990)])
    placed = place(bag, (MATERIAL, 1, 12))
    assert placed is not None
    assert [(p.item.uid, p.delta, p.item.count) for p in placed] == [(2, 9, 999), (1, 3, 13)]
    assert all(isinstance(p, ItemStacked) for p in placed)


def test_item_when_stacks_are_full_then_a_new_one_begins() -> None:
    bag = Bag([Item(1, CONSUMABLE, 0, 1, 99)])
    placed = place(bag, (CONSUMABLE, 1, 1))
    assert placed is not None
    assert [(p.item.slot, p.item.count) for p in placed] == [(1, 1)]


@pytest.mark.parametrize(
    "wanted",
    [
        (EQUIPMENT, 1, 11),  # one more than slots
        (CONSUMABLE, 1, 99 * 10 + 1),  # one more than ten full stacks
        (EQUIPMENT, 999, 1),  # no such code
        (3, 1, 1),  # no such kind
        (-1, 1, 1),
        (MATERIAL, 1, 0),
        (MATERIAL, 1, -5),
        (MATERIAL, 1, 2**63 - 1),
    ],
)
def test_items_when_they_do_not_all_fit_then_nothing_is_placed(
    wanted: tuple[int, int, int],
) -> None:
    bag = Bag()
    assert place(bag, (CONSUMABLE, 2, 1), wanted) is None
    assert bag.items() == []


def test_items_when_the_same_code_comes_twice_then_each_item_is_touched_once() -> None:
    bag = Bag()
    placed = place(bag, (MATERIAL, 1, 5), (MATERIAL, 1, 6))
    assert placed is not None
    assert [(type(p), p.item.count) for p in placed] == [(ItemBorn, 11)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([EQUIPMENT, CONSUMABLE, MATERIAL]),
            st.integers(1, 4),
            st.integers(1, 400),
        ),
        max_size=12,
    )
)
def test_items_when_placed_in_any_order_then_counts_add_up_and_limits_hold(
    wanted: list[tuple[int, int, int]],
) -> None:
    bag, expected = Bag(), dict[tuple[int, int], int]()
    for kind, code, count in wanted:
        if place(bag, (kind, code, count)) is not None:
            expected[kind, code] = expected.get((kind, code), 0) + count
    held = dict[tuple[int, int], int]()
    for item in bag.items():
        row = CONTENT.item(item.kind, item.code)
        assert row is not None
        assert 0 < item.count <= row.stack_max
        assert 0 <= item.slot < CONTENT.slots[item.kind]
        held[item.kind, item.code] = held.get((item.kind, item.code), 0) + item.count
    assert held == expected


def test_attack_power_when_bare_hands_then_is_zero() -> None:
    assert attack_power(CONTENT, Bag(), NOW_MS) == 0
    assert attack_power(CONTENT, Bag([Item(1, EQUIPMENT, 1, 3, 1)]), NOW_MS) == 0


def test_attack_power_when_equipped_then_is_the_items_and_its_enhancement() -> None:
    bag = Bag([Item(1, EQUIPMENT, 0, 3, 1, 4, True)])
    assert attack_power(CONTENT, bag, NOW_MS) == 6 + 4 * CONTENT.combat.damage_per_enhance


def test_bag_when_shown_then_has_the_three_kinds_by_slot() -> None:
    bag = Bag(
        [
            Item(3, MATERIAL, 4, 1, 7),
            Item(1, EQUIPMENT, 1, 2, 1, enhance=3),
            Item(2, CONSUMABLE, 0, 1, 5),
            Item(4, EQUIPMENT, 0, 1, 1),
        ]
    )
    equipment, consumables, materials = bag_views(bag, NOW_MS)
    assert [(view.code, view.slot, view.enhance) for view in equipment] == [(1, 0, 0), (2, 1, 3)]
    assert [(view.code, view.count) for view in consumables] == [(1, 5)]
    assert [(view.code, view.slot, view.count) for view in materials] == [(1, 4, 7)]
