"""What a player does with his items: look, use, drop, move, split, put on, take off.

Installed wherever players are owned. A client names a uid and a wish; slots, contents and what a
use gives are decided here. A rented item whose days are over is no item for any rule from that
moment; its row leaves with the next look at the bag or the next arrival, or when its slot is
needed.
"""

from msgspec.structs import replace

from mmo.content import Content
from mmo.content.tables import EQUIPMENT
from mmo.contract import Env, Outcome, Refuse, handles
from mmo.state.bag import Bag, Item, ItemBorn, ItemDied, ItemPlaced, ItemsSwapped, ItemStacked
from mmo.state.change import Change
from mmo.state.growth import Growth
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency, Wallet
from mmo.systems.growth import gain_exp
from mmo.systems.inventory import (
    attack_power,
    bag_views,
    expired,
    expired_items,
    expiry,
    item_view,
    no_room,
)
from mmo.wire.messages.inventory import (
    BagAsk,
    BagOk,
    ItemDrop,
    ItemDropOk,
    ItemEquip,
    ItemEquipOk,
    ItemMove,
    ItemMoveOk,
    ItemsExpire,
    ItemsExpired,
    ItemSplit,
    ItemSplitOk,
    ItemUnequip,
    ItemUnequipOk,
    ItemUse,
    ItemUseOk,
)
from mmo.wire.opcode import Code, Op

_ITEM_UNKNOWN = Refuse(Code.ITEM_UNKNOWN)
_SLOT_INVALID = Refuse(Code.SLOT_INVALID)
_COUNT_INVALID = Refuse(Code.COUNT_INVALID)
_NOT_USABLE = Refuse(Code.NOT_USABLE)

MOVED, SWAPPED, MERGED = 1, 2, 3


def live_item(bag: Bag, uid: int, now_ms: int) -> Item | None:
    """The item of `uid`, None when there is none or its rental days are over."""
    item = bag.get(uid)
    return None if item is None or expired(item, now_ms) else item


def less(item: Item, count: int, source: Account) -> ItemStacked | ItemDied:
    """`count` (1..item.count) taken from an item; the last one ends it."""
    if count == item.count:
        return ItemDied(item, source)
    return ItemStacked(replace(item, count=item.count - count), -count, source)


@handles(Op.BAG, needs=("bag", "wallet"), rate="list")
def look(message: BagAsk, *, bag: Bag, wallet: Wallet, env: Env) -> Outcome:
    """The three inventories and balances; what has expired leaves."""
    reply = BagOk(*bag_views(bag, env.now_ms), wallet.gold, wallet.cash, wallet.mileage)
    return Outcome(replies=(reply,), tells=expiry(bag, env))


@handles(Op.ITEMS_EXPIRE, by="node", needs=("bag",))
def expire(message: ItemsExpire, *, bag: Bag, env: Env) -> Outcome:
    """Rented items whose days are over die in one commit; the player is told which. When their
    days go on by the database's clock, nothing happens until the next look or arrival."""
    over = expired_items(bag, env.now_ms)
    if not over:
        return Outcome()
    return Outcome(
        replies=(ItemsExpired([item.uid for item in over]),),
        changes=[ItemDied(item, Account.SINK_EXPIRED) for item in over],
        row_refused=Outcome(),
    )


@handles(Op.ITEM_USE, needs=("bag", "growth", "wallet"), mutates=True)
def use(
    message: ItemUse, *, bag: Bag, growth: Growth, wallet: Wallet, env: Env
) -> Outcome | Refuse:
    """Use up `count` of a stack for what content says it gives."""
    content: Content = env.content
    item = live_item(bag, message.uid, env.now_ms)
    if item is None:
        return _ITEM_UNKNOWN
    row = content.item(item.kind, item.code)
    if row is None or not (row.use_exp or row.use_gold):
        return _NOT_USABLE
    if not 1 <= message.count <= item.count:
        return _COUNT_INVALID
    gold = row.use_gold * message.count
    if wallet.gold + gold > COINS_MAX:
        return Refuse(Code.COINS_LIMIT)
    grown = gain_exp(content.levels, growth, row.use_exp * message.count)
    if grown is None and not gold:
        return _NOT_USABLE  # at the highest level it would be lost for nothing
    changes: list[Change] = [less(item, message.count, Account.SINK_USE)]
    if grown is not None:
        changes.append(grown)
    if gold:
        changes.append(CoinsMoved(Currency.GOLD, gold, Account.MINT_USE))
    reply = ItemUseOk(
        uid=item.uid,
        count_left=item.count - message.count,
        exp_gained=0 if grown is None else grown.gained,
        gold_gained=gold,
        level=growth.level if grown is None else grown.level,
        exp=growth.exp if grown is None else grown.exp,
        gold=wallet.gold + gold,
    )
    return Outcome(replies=(reply,), changes=changes)


@handles(Op.ITEM_DROP, needs=("bag",), mutates=True)
def drop(message: ItemDrop, *, bag: Bag, env: Env) -> Outcome | Refuse:
    """Throw `count` of an item away for ever; worn equipment must come off first."""
    item = live_item(bag, message.uid, env.now_ms)
    if item is None:
        return _ITEM_UNKNOWN
    if item.equipped:
        return Refuse(Code.EQUIPPED)
    if not 1 <= message.count <= item.count:
        return _COUNT_INVALID
    return Outcome(
        replies=(ItemDropOk(item.uid, item.count - message.count),),
        changes=[less(item, message.count, Account.SINK_DROP)],
    )


@handles(Op.ITEM_MOVE, needs=("bag",), mutates=True)
def move(message: ItemMove, *, bag: Bag, env: Env) -> Outcome | Refuse:
    """To another slot of the same kind: moved, swapped with what is there, or merged into it."""
    content: Content = env.content
    item = live_item(bag, message.uid, env.now_ms)
    if item is None:
        return _ITEM_UNKNOWN
    if not 0 <= message.slot < content.slots[item.kind] or message.slot == item.slot:
        return _SLOT_INVALID
    other = bag.at(item.kind, message.slot)
    if other is None:
        moved = replace(item, slot=message.slot)
        return _moved(MOVED, [moved], [ItemPlaced(moved)])
    row = content.item(other.kind, other.code)
    room = 0 if row is None else row.stack_max - other.count
    if other.code == item.code and other.expires_ms == item.expires_ms and room > 0:
        return _merged(item, other, min(room, item.count))
    first, second = replace(item, slot=other.slot), replace(other, slot=item.slot)
    return _moved(SWAPPED, [first, second], [ItemsSwapped(first, second)])


def _merged(item: Item, other: Item, count: int) -> Outcome:
    """`count` of `item` onto the stack `other`."""
    grown = replace(other, count=other.count + count)
    taken = less(item, count, Account.TRANSFER)
    changes: list[Change] = [taken, ItemStacked(grown, count, Account.TRANSFER)]
    if isinstance(taken, ItemDied):
        return _moved(MERGED, [grown], changes, gone=[item.uid])
    return _moved(MERGED, [taken.item, grown], changes)


def _moved(
    result: int, items: list[Item], changes: list[Change], gone: list[int] | None = None
) -> Outcome:
    views = [item_view(item) for item in items]
    return Outcome(replies=(ItemMoveOk(result, views, gone or []),), changes=changes)


@handles(Op.ITEM_SPLIT, needs=("bag",), mutates=True)
def split(message: ItemSplit, *, bag: Bag, env: Env) -> Outcome | Refuse:
    """Part of a stack into the lowest free slot."""
    content: Content = env.content
    item = live_item(bag, message.uid, env.now_ms)
    if item is None:
        return _ITEM_UNKNOWN
    if item.kind == EQUIPMENT:
        return Refuse(Code.NOT_STACKABLE)
    if not 1 <= message.count < item.count:
        return _COUNT_INVALID
    slot = bag.free_slot(item.kind, content.slots[item.kind])
    if slot is None:
        return no_room(bag, env)
    left = replace(item, count=item.count - message.count)
    born = replace(item, uid=env.new_uid(), slot=slot, count=message.count)
    return Outcome(
        replies=(ItemSplitOk([item_view(left), item_view(born)]),),
        changes=[
            ItemStacked(left, -message.count, Account.TRANSFER),
            ItemBorn(born, Account.TRANSFER),
        ],
    )


@handles(Op.ITEM_EQUIP, needs=("bag",), mutates=True)
def equip(message: ItemEquip, *, bag: Bag, env: Env) -> Outcome | Refuse:
    """Put an equipment item on; what was worn comes off in the same commit."""
    item = live_item(bag, message.uid, env.now_ms)
    if item is None:
        return _ITEM_UNKNOWN
    if item.kind != EQUIPMENT:
        return Refuse(Code.NOT_EQUIPMENT)
    if item.equipped:
        return Refuse(Code.EQUIPPED)
    off = [replace(worn, equipped=False) for worn in bag.items(EQUIPMENT) if worn.equipped]
    items = [*off, replace(item, equipped=True)]
    power = attack_power(env.content, Bag(items), env.now_ms)
    return Outcome(
        replies=(ItemEquipOk([item_view(each) for each in items], power),),
        changes=[ItemPlaced(each) for each in items],  # off first: one item is worn at a time
    )


@handles(Op.ITEM_UNEQUIP, needs=("bag",), mutates=True)
def unequip(message: ItemUnequip, *, bag: Bag, env: Env) -> Outcome | Refuse:
    """Take a worn item off."""
    item = live_item(bag, message.uid, env.now_ms)
    if item is None:
        return _ITEM_UNKNOWN
    if not item.equipped:
        return Refuse(Code.ITEM_STALE)
    off = replace(item, equipped=False)
    return Outcome(replies=(ItemUnequipOk([item_view(off)], 0),), changes=[ItemPlaced(off)])
