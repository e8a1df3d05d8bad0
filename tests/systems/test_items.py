"""What a player does with his items: every wish, every refusal, and the edges of numbers."""

from typing import Any

import pytest
from tests.systems.game import (
    CHANNEL,
    CONTENT,
    NOW_MS,
    Game,
    applied,
    assert_refused,
    done,
    parts,
    player,
)

from mmo.content.tables import CONSUMABLE, EQUIPMENT, MATERIAL
from mmo.contract import Outcome, Refuse
from mmo.state.bag import Item, ItemBorn, ItemDied, ItemPlaced, ItemsSwapped, ItemStacked
from mmo.state.player import Player
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency
from mmo.systems import items
from mmo.wire.codec import encode
from mmo.wire.messages.inventory import (
    BagAsk,
    ItemDrop,
    ItemEquip,
    ItemMove,
    ItemsExpire,
    ItemSplit,
    ItemUnequip,
    ItemUse,
)
from mmo.wire.opcode import Code

OP = (1, 1)
POTION, LARGE_POTION, SCROLL = 1, 2, 3
EDGES = (-(2**63), -1, 0, 2**63 - 1)
RULES: dict[type, tuple[Any, tuple[str, ...]]] = {
    BagAsk: (items.look, ("bag", "wallet")),
    ItemsExpire: (items.expire, ("bag",)),
    ItemUse: (items.use, ("bag", "growth", "wallet")),
    ItemDrop: (items.drop, ("bag",)),
    ItemMove: (items.move, ("bag",)),
    ItemSplit: (items.split, ("bag",)),
    ItemEquip: (items.equip, ("bag",)),
    ItemUnequip: (items.unequip, ("bag",)),
}


def ask(resident: Player, message: Any, now_ms: int = NOW_MS) -> Outcome | Refuse:
    """What the rule of a message says; nothing is applied."""
    game = Game("channel", CHANNEL)
    game.now_ms = now_ms
    rule, needs = RULES[type(message)]
    outcome: Outcome | Refuse = rule(message, **parts(resident, *needs), env=game.env(1))
    return outcome


def act(resident: Player, message: Any, now_ms: int = NOW_MS) -> Outcome:
    """A wish that must be granted, applied."""
    outcome = done(ask(resident, message, now_ms))
    applied(resident, outcome)
    return outcome


def bag_of(resident: Player) -> list[tuple[int, int, int, int, int]]:
    """(uid, kind, slot, code, count) of everything."""
    return [(i.uid, i.kind, i.slot, i.code, i.count) for i in resident.bag.items()]


def sword(uid: int, slot: int, *, code: int = 3, **more: Any) -> Item:
    """A piece of equipment."""
    return Item(uid, EQUIPMENT, slot, code, 1, **more)


# -- looking ---------------------------------------------------------------------------------------


def test_bag_when_looked_at_then_shows_three_kinds_and_three_balances() -> None:
    held = (sword(1, 0), Item(2, CONSUMABLE, 4, POTION, 7), Item(3, MATERIAL, 9, 2, 30))
    resident = player(gold=5, cash=6, mileage=7, items=held)
    outcome = done(ask(resident, BagAsk()))
    reply = outcome.replies[0]
    kinds = (reply.equipment, reply.consumables, reply.materials)
    assert [[view.uid for view in kind] for kind in kinds] == [[1], [2], [3]]
    assert (reply.gold, reply.cash, reply.mileage) == (5, 6, 7)
    assert not outcome.changes and not outcome.tells


def test_bag_when_something_expired_then_it_is_not_shown_and_leaves() -> None:
    rented, lasting = sword(1, 0, expires_ms=NOW_MS), sword(2, 1, expires_ms=NOW_MS + 1)
    resident = player(items=(rented, lasting))
    outcome = done(ask(resident, BagAsk()))
    assert [view.uid for view in outcome.replies[0].equipment] == [2]
    (tell,) = outcome.tells
    gone = act(resident, tell.message)
    assert list(gone.changes) == [ItemDied(rented, Account.SINK_EXPIRED)]
    assert gone.row_refused == Outcome()  # the database's clock may say otherwise: nothing happens
    assert gone.replies[0].uids == [1]
    assert bag_of(resident) == [(2, EQUIPMENT, 1, 3, 1)]


def test_rental_when_nothing_is_over_then_nothing_happens() -> None:
    resident = player(items=(sword(1, 0, expires_ms=NOW_MS + 1), sword(2, 1)))
    assert ask(resident, ItemsExpire(1)) == Outcome()


@pytest.mark.parametrize(
    "message",
    [
        ItemDrop(OP, 1, 1),
        ItemMove(OP, 1, 5),
        ItemEquip(OP, 1),
        ItemUnequip(OP, 1),
        ItemSplit(OP, 1, 1),
        ItemUse(OP, 1, 1),
    ],
)
def test_rental_when_its_days_are_over_then_no_rule_knows_the_item(message: Any) -> None:
    resident = player(items=(sword(1, 0, expires_ms=NOW_MS, equipped=True),))
    assert_refused(ask(resident, message), Code.ITEM_UNKNOWN)


@pytest.mark.parametrize("uid", [*EDGES, 7])
@pytest.mark.parametrize(
    "make",
    [
        lambda uid: ItemDrop(OP, uid, 1),
        lambda uid: ItemMove(OP, uid, 0),
        lambda uid: ItemEquip(OP, uid),
        lambda uid: ItemUnequip(OP, uid),
        lambda uid: ItemSplit(OP, uid, 1),
        lambda uid: ItemUse(OP, uid, 1),
    ],
)
def test_item_when_it_is_not_his_then_every_wish_is_refused(make: Any, uid: int) -> None:
    resident = player(items=(sword(1, 0),))
    assert_refused(ask(resident, make(uid)), Code.ITEM_UNKNOWN)


# -- using -----------------------------------------------------------------------------------------


def test_use_when_a_potion_then_gives_its_exp_and_one_is_gone() -> None:
    resident = player(items=(Item(1, CONSUMABLE, 0, LARGE_POTION, 3),))
    outcome = act(resident, ItemUse(OP, 1))
    reply = outcome.replies[0]
    assert (reply.count_left, reply.exp_gained, reply.gold_gained) == (2, 5, 0)
    assert (reply.level, reply.exp) == (resident.growth.level, resident.growth.exp) == (3, 2)
    assert outcome.changes[0] == ItemStacked(
        Item(1, CONSUMABLE, 0, LARGE_POTION, 2), -1, Account.SINK_USE
    )
    assert bag_of(resident) == [(1, CONSUMABLE, 0, LARGE_POTION, 2)]


def test_use_when_all_of_a_stack_then_the_item_is_no_more() -> None:
    resident = player(items=(Item(1, CONSUMABLE, 0, SCROLL, 3),))
    outcome = act(resident, ItemUse(OP, 1, 3))
    assert outcome.replies[0].count_left == 0 and outcome.replies[0].gold_gained == 30
    assert CoinsMoved(Currency.GOLD, 30, Account.MINT_USE) in outcome.changes
    assert resident.wallet.gold == 30 and bag_of(resident) == []


@pytest.mark.parametrize("count", [*EDGES, 4])
def test_use_when_the_count_is_not_there_then_is_refused(count: int) -> None:
    resident = player(items=(Item(1, CONSUMABLE, 0, POTION, 3),))
    assert_refused(ask(resident, ItemUse(OP, 1, count)), Code.COUNT_INVALID)


@pytest.mark.parametrize("item", [sword(1, 0), Item(1, MATERIAL, 0, 1, 5)])
def test_use_when_the_item_gives_nothing_then_is_refused(item: Item) -> None:
    assert_refused(ask(player(items=(item,)), ItemUse(OP, 1)), Code.NOT_USABLE)


def test_use_when_at_the_highest_level_then_a_potion_is_kept() -> None:
    resident = player(level=15, items=(Item(1, CONSUMABLE, 0, POTION, 3),))
    assert_refused(ask(resident, ItemUse(OP, 1)), Code.NOT_USABLE)


def test_use_when_the_purse_would_overflow_then_is_refused() -> None:
    resident = player(gold=COINS_MAX - 9, items=(Item(1, CONSUMABLE, 0, SCROLL, 3),))
    assert_refused(ask(resident, ItemUse(OP, 1)), Code.COINS_LIMIT)


# -- dropping --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "left"), [(1, 4), (4, 1), (5, 0)])
def test_drop_when_part_or_all_then_exactly_that_is_gone(count: int, left: int) -> None:
    resident = player(items=(Item(1, MATERIAL, 3, 1, 5),))
    outcome = act(resident, ItemDrop(OP, 1, count))
    assert outcome.replies[0].count_left == left
    assert bag_of(resident) == ([(1, MATERIAL, 3, 1, left)] if left else [])
    assert outcome.changes[0].source == Account.SINK_DROP


@pytest.mark.parametrize("count", [*EDGES, 6])
def test_drop_when_the_count_is_not_there_then_is_refused(count: int) -> None:
    resident = player(items=(Item(1, MATERIAL, 3, 1, 5),))
    assert_refused(ask(resident, ItemDrop(OP, 1, count)), Code.COUNT_INVALID)


def test_drop_when_equipment_then_only_when_not_worn_and_its_slot_is_free_again() -> None:
    resident = player(items=(sword(1, 0, equipped=True), sword(2, 1)))
    assert_refused(ask(resident, ItemDrop(OP, 1, 1)), Code.EQUIPPED)
    act(resident, ItemDrop(OP, 2, 1))
    assert resident.bag.free_slot(EQUIPMENT, 10) == 1


# -- moving, swapping, merging, splitting ----------------------------------------------------------


def test_move_when_the_slot_is_free_then_only_the_slot_changes() -> None:
    worn = sword(1, 0, enhance=4, equipped=True, attempts=9)
    resident = player(items=(worn,))
    outcome = act(resident, ItemMove(OP, 1, 9))
    (change,) = outcome.changes
    assert isinstance(change, ItemPlaced)
    assert outcome.replies[0].result == items.MOVED
    after = resident.bag.get(1)
    assert after is not None
    assert (after.slot, after.enhance, after.equipped, after.attempts) == (9, 4, True, 9)
    assert resident.bag.worn() == after


def test_move_when_another_item_is_there_then_both_swap_in_one_change() -> None:
    resident = player(items=(sword(1, 0, enhance=4), sword(2, 5, equipped=True)))
    outcome = act(resident, ItemMove(OP, 1, 5))
    (change,) = outcome.changes
    assert isinstance(change, ItemsSwapped)
    assert outcome.replies[0].result == items.SWAPPED
    assert [(view.uid, view.slot) for view in outcome.replies[0].items] == [(1, 5), (2, 0)]
    assert bag_of(resident) == [(2, EQUIPMENT, 0, 3, 1), (1, EQUIPMENT, 5, 3, 1)]
    assert resident.bag.worn() == resident.bag.get(2)


@pytest.mark.parametrize(
    ("first", "second", "left", "grown"),
    [(5, 10, 0, 15), (99, 98, 98, 99), (1, 98, 0, 99), (98, 1, 0, 99)],
)
def test_move_when_the_same_stackable_is_there_then_as_much_as_fits_merges(
    first: int, second: int, left: int, grown: int
) -> None:
    held = (Item(1, CONSUMABLE, 0, POTION, first), Item(2, CONSUMABLE, 1, POTION, second))
    resident = player(items=held)
    outcome = act(resident, ItemMove(OP, 1, 1))
    reply = outcome.replies[0]
    assert reply.result == items.MERGED
    assert reply.gone == ([] if left else [1])
    counts = {item.uid: item.count for item in resident.bag.items()}
    assert counts == ({1: left, 2: grown} if left else {2: grown})
    # Between two stacks of one player nothing is born and nothing dies.
    assert [change.source for change in outcome.changes] == [Account.TRANSFER] * 2
    moved = [-c.item.count if isinstance(c, ItemDied) else c.delta for c in outcome.changes]
    assert sum(moved) == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Item(1, CONSUMABLE, 0, POTION, 9), Item(2, CONSUMABLE, 1, POTION, 99)),  # full
        (Item(1, CONSUMABLE, 0, POTION, 9), Item(2, CONSUMABLE, 1, SCROLL, 1)),  # another code
        (Item(1, CONSUMABLE, 0, POTION, 9, expires_ms=NOW_MS + 5), Item(2, 1, 1, POTION, 9)),
        (sword(1, 0), sword(2, 1)),  # equipment never stacks
    ],
)
def test_move_when_stacks_may_not_merge_then_they_swap(first: Item, second: Item) -> None:
    outcome = act(player(items=(first, second)), ItemMove(OP, 1, 1))
    assert outcome.replies[0].result == items.SWAPPED


def test_move_when_a_full_item_has_the_slot_of_another_kind_then_they_do_not_meet() -> None:
    resident = player(items=(Item(1, MATERIAL, 0, 1, 1), sword(2, 5)))
    assert act(resident, ItemMove(OP, 1, 5)).replies[0].result == items.MOVED


@pytest.mark.parametrize("slot", [-(2**63), -1, 10, 11, 65_535, 2**63 - 1, 3])
def test_move_when_the_slot_is_none_or_its_own_then_is_refused(slot: int) -> None:
    resident = player(items=(Item(1, MATERIAL, 3, 1, 5),))
    assert_refused(ask(resident, ItemMove(OP, 1, slot)), Code.SLOT_INVALID)


def test_split_when_there_is_room_then_two_stacks_hold_what_one_held() -> None:
    held = Item(1, CONSUMABLE, 0, POTION, 9, expires_ms=NOW_MS + 5)
    resident = player(items=(held, Item(2, CONSUMABLE, 1, POTION, 1)))
    outcome = act(resident, ItemSplit(OP, 1, 4))
    left, born = outcome.changes
    assert isinstance(left, ItemStacked) and isinstance(born, ItemBorn)
    assert (left.item.count, left.delta, born.item.count, born.item.slot) == (5, -4, 4, 2)
    assert born.item.expires_ms == NOW_MS + 5 and born.item.uid not in (1, 2)
    assert {left.source, born.source} == {Account.TRANSFER}


@pytest.mark.parametrize("count", [*EDGES, 5, 6])
def test_split_when_nothing_would_be_left_or_taken_then_is_refused(count: int) -> None:
    resident = player(items=(Item(1, CONSUMABLE, 0, POTION, 5),))
    assert_refused(ask(resident, ItemSplit(OP, 1, count)), Code.COUNT_INVALID)


def test_split_when_no_slot_is_free_or_it_is_equipment_then_is_refused() -> None:
    full = tuple(Item(n + 1, CONSUMABLE, n, POTION, 5) for n in range(10))
    assert_refused(ask(player(items=full), ItemSplit(OP, 1, 1)), Code.BAG_FULL)
    assert_refused(ask(player(items=(sword(1, 0),)), ItemSplit(OP, 1, 1)), Code.NOT_STACKABLE)


# -- wearing ---------------------------------------------------------------------------------------


def test_equip_when_nothing_is_worn_then_its_power_counts() -> None:
    resident = player(items=(sword(1, 0, code=5, enhance=2),))
    reply = act(resident, ItemEquip(OP, 1)).replies[0]
    row = CONTENT.item(EQUIPMENT, 5)
    assert row is not None
    assert reply.attack_power == row.attack_power + 2 * CONTENT.combat.damage_per_enhance
    assert resident.bag.worn() == resident.bag.get(1)


def test_equip_when_another_is_worn_then_it_comes_off_first_in_the_same_commit() -> None:
    resident = player(items=(sword(1, 0, equipped=True), sword(2, 1)))
    outcome = act(resident, ItemEquip(OP, 2))
    assert [(c.item.uid, c.item.equipped) for c in outcome.changes] == [(1, False), (2, True)]
    assert [item.uid for item in resident.bag.items() if item.equipped] == [2]


def test_equip_when_what_was_worn_has_expired_then_it_comes_off_all_the_same() -> None:
    resident = player(items=(sword(1, 0, equipped=True, expires_ms=NOW_MS), sword(2, 1)))
    act(resident, ItemEquip(OP, 2))
    assert [item.uid for item in resident.bag.items() if item.equipped] == [2]


def test_equip_when_worn_already_or_no_equipment_then_is_refused() -> None:
    resident = player(items=(sword(1, 0, equipped=True), Item(2, MATERIAL, 0, 1, 1)))
    assert_refused(ask(resident, ItemEquip(OP, 1)), Code.EQUIPPED)
    assert_refused(ask(resident, ItemEquip(OP, 2)), Code.NOT_EQUIPMENT)


def test_unequip_when_worn_then_bare_hands_are_left() -> None:
    resident = player(items=(sword(1, 0, equipped=True),))
    assert act(resident, ItemUnequip(OP, 1)).replies[0].attack_power == 0
    assert resident.bag.worn() is None
    assert_refused(ask(resident, ItemUnequip(OP, 1)), Code.ITEM_STALE)


def test_wishes_when_a_client_names_them_then_no_field_says_code_or_contents() -> None:
    """A client names a uid and a wish: no message of his can state what an item is."""
    wishes = (ItemUse, ItemDrop, ItemMove, ItemSplit, ItemEquip, ItemUnequip)
    assert {name for wish in wishes for name in wish.__struct_fields__} == {
        "op", "uid", "count", "slot",
    }  # fmt: skip


def test_bag_when_full_of_everything_then_its_answer_is_far_below_the_frame_limit() -> None:
    full = tuple(
        Item(2**62 + kind * 10 + slot, kind, slot, 1, 1 if kind == EQUIPMENT else 999)
        for kind in (EQUIPMENT, CONSUMABLE, MATERIAL)
        for slot in range(CONTENT.slots[kind])
    )
    reply = done(ask(player(items=full), BagAsk())).replies[0]
    assert len(encode(reply)) < 2_048
