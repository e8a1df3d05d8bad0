"""The three inventories: where items go, how they look, what is in hand.

Pure helpers of the systems that give or show items. Slots, stacks and codes come from content and
are decided here, never by a client.
"""

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from mmo.content import Content
from mmo.content.tables import CONSUMABLE, EQUIPMENT, MATERIAL
from mmo.contract import Env, Outcome, Tell
from mmo.state.bag import Bag, Item, ItemBorn, ItemStacked
from mmo.wire.messages.inventory import ItemsExpire
from mmo.wire.messages.presence import ItemView
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

Placement = ItemBorn | ItemStacked


def item_view(item: Item) -> ItemView:
    """An item as the client sees it."""
    return ItemView(
        item.uid,
        item.kind,
        item.slot,
        item.code,
        item.count,
        item.enhance,
        item.equipped,
        item.expires_ms,
    )


def item_of(placement: Placement) -> Item:
    """The item as it is after a placement."""
    return placement.item


def expired(item: Item, now_ms: int) -> bool:
    """Whether the days of a rented item are over."""
    return 0 < item.expires_ms <= now_ms


def expired_items(bag: Bag, now_ms: int) -> list[Item]:
    """The rented items whose days are over."""
    return [item for item in bag.items() if expired(item, now_ms)]


def expiry(bag: Bag, env: Env) -> tuple[Tell, ...]:
    """What lets expired items leave in a commit of their own; nothing when there are none."""
    if not expired_items(bag, env.now_ms):
        return ()
    return (Tell(0, ItemsExpire(env.sender.user)),)


def bag_views(bag: Bag, now_ms: int) -> tuple[list[ItemView], list[ItemView], list[ItemView]]:
    """Equipment, consumables and materials by slot, without what has expired."""
    kinds = (EQUIPMENT, CONSUMABLE, MATERIAL)
    equipment, consumables, materials = (
        [item_view(item) for item in bag.items(kind) if not expired(item, now_ms)] for kind in kinds
    )
    return equipment, consumables, materials


def no_room(bag: Bag, env: Env) -> Outcome:
    """BAG_FULL. Rented items whose days are over leave now, so that the next try finds their
    slots."""
    return Outcome(replies=(Refused(Code.BAG_FULL),), tells=expiry(bag, env))


def attack_power(content: Content, bag: Bag, now_ms: int) -> int:
    """Attack power of the equipment that is put on; 0 for bare hands or when its days are over."""
    item = bag.worn()
    worn = () if item is None else ((item.code, item.enhance, item.expires_ms),)
    return attack_power_of(content, worn, now_ms)


def attack_power_of(content: Content, worn: Iterable[tuple[int, int, int]], now_ms: int) -> int:
    """Attack power of worn equipment as (code, enhancement, expires_ms), as a card names it;
    what has expired gives none."""
    power = 0
    for code, enhance, expires_ms in worn:
        if 0 < expires_ms <= now_ms:
            continue
        row = content.item(EQUIPMENT, code)
        power += 0 if row is None else row.attack_power
        power += enhance * content.combat.damage_per_enhance
    return power


def place_items(
    content: Content,
    bag: Bag,
    wanted: Iterable[tuple[int, int, int]],
    new_uid: Callable[[], int],
    source: int,
    expires_ms: int = 0,
) -> list[Placement] | None:
    """Where the `(kind, code, count)` of `wanted` go: onto stacks first, the fullest before others,
    then into the lowest free slots; each item appears at most once in the answer. All or nothing:
    None when they do not all fit, or one of them is no item of the master. `source` is the ledger
    account they come from; rented items (`expires_ms` not 0) stack only with their like."""
    items = {(item.kind, item.slot): item for item in bag.items()}
    placements: list[Placement] = []
    counts: dict[tuple[int, int], int] = {}
    for kind, code, count in wanted:
        if count < 1:
            return None
        counts[kind, code] = counts.get((kind, code), 0) + count
    for (kind, code), left in counts.items():
        row = content.item(kind, code)
        if row is None:
            return None
        stacks = [
            item
            for item in items.values()
            if (item.kind, item.code, item.expires_ms) == (kind, code, expires_ms)
            and item.count < row.stack_max
        ]
        for stack in sorted(stacks, key=lambda item: (-item.count, item.slot)):
            if not left:
                break
            moved = min(left, row.stack_max - stack.count)
            grown = replace(stack, count=stack.count + moved)
            items[kind, stack.slot] = grown
            placements.append(ItemStacked(grown, moved, source))
            left -= moved
        for slot in range(content.slots[kind]):
            if not left:
                break
            if (kind, slot) in items:
                continue
            moved = min(left, row.stack_max)
            born = Item(new_uid(), kind, slot, code, moved, expires_ms=expires_ms)
            items[kind, slot] = born
            placements.append(ItemBorn(born, source))
            left -= moved
        if left:
            return None
    return placements
