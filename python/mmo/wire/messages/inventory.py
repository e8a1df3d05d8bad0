"""The three inventories: looking, using, dropping, moving, splitting, equipping.

A client names item uids and wishes; the server finds slots and decides contents.
"""

from typing import Annotated

import msgspec

from mmo.wire.codec import OperationId, message
from mmo.wire.messages.presence import ItemView
from mmo.wire.opcode import Op

Uid = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


@message(Op.BAG)
class BagAsk(msgspec.Struct, array_like=True, frozen=True):
    pass


@message(Op.BAG_OK)
class BagOk(msgspec.Struct, array_like=True, frozen=True):
    equipment: list[ItemView]
    consumables: list[ItemView]
    materials: list[ItemView]
    gold: int
    cash: int
    mileage: int


@message(Op.ITEM_USE)
class ItemUse(msgspec.Struct, array_like=True, frozen=True):
    op: OperationId
    uid: Uid
    count: Count = 1


@message(Op.ITEM_USE_OK)
class ItemUseOk(msgspec.Struct, array_like=True, frozen=True):
    uid: int
    count_left: int  # 0: the stack is gone
    exp_gained: int
    gold_gained: int
    level: int
    exp: int
    gold: int = 0  # balance after it


@message(Op.ITEM_DROP)
class ItemDrop(msgspec.Struct, array_like=True, frozen=True):
    op: OperationId
    uid: Uid
    count: Count


@message(Op.ITEM_DROP_OK)
class ItemDropOk(msgspec.Struct, array_like=True, frozen=True):
    uid: int
    count_left: int


@message(Op.ITEM_MOVE)
class ItemMove(msgspec.Struct, array_like=True, frozen=True):
    """To `slot` of the same kind: a free slot moves, another item swaps, the same stackable code
    merges."""

    op: OperationId
    uid: Uid
    slot: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


@message(Op.ITEM_MOVE_OK)
class ItemMoveOk(msgspec.Struct, array_like=True, frozen=True):
    result: int  # 1 moved, 2 swapped, 3 merged
    items: list[ItemView]  # every item that changed, as it is now
    gone: list[int]  # uids that are no more (merged away)


@message(Op.ITEM_SPLIT)
class ItemSplit(msgspec.Struct, array_like=True, frozen=True):
    """Take `count` from a stack into a free slot that the server finds."""

    op: OperationId
    uid: Uid
    count: Count


@message(Op.ITEM_SPLIT_OK)
class ItemSplitOk(msgspec.Struct, array_like=True, frozen=True):
    items: list[ItemView]


@message(Op.ITEM_EQUIP)
class ItemEquip(msgspec.Struct, array_like=True, frozen=True):
    """Wear an equipment item; what was worn comes off in the same commit."""

    op: OperationId
    uid: Uid


@message(Op.ITEM_EQUIP_OK)
class ItemEquipOk(msgspec.Struct, array_like=True, frozen=True):
    items: list[ItemView]
    attack_power: int


@message(Op.ITEM_UNEQUIP)
class ItemUnequip(msgspec.Struct, array_like=True, frozen=True):
    op: OperationId
    uid: Uid


@message(Op.ITEM_UNEQUIP_OK)
class ItemUnequipOk(msgspec.Struct, array_like=True, frozen=True):
    items: list[ItemView]
    attack_power: int


@message(Op.ITEMS_EXPIRE)
class ItemsExpire(msgspec.Struct, array_like=True, frozen=True):
    """Internal: rental items of the lane's player whose days are over."""

    user: int


@message(Op.ITEMS_EXPIRED)
class ItemsExpired(msgspec.Struct, array_like=True, frozen=True):
    uids: list[int]
