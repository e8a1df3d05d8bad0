"""The three inventories: items by uid, limited slots of each kind."""

from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from mmo.state.change import Change

if TYPE_CHECKING:
    from mmo.state.player import Player


class ItemKind(IntEnum):
    """The three inventories by number, as in the reference game."""

    EQUIPMENT = 0
    CONSUMABLE = 1
    MATERIAL = 2


class Item(msgspec.Struct, frozen=True, gc=False):
    """One instance. `uid` is unique in the cluster for ever; `slot` counts from 0 within its
    kind; `expires_ms` is the unix time at which a rented item is no more, 0: never; `attempts`
    counts enhancement tries, failed ones too."""

    uid: int
    kind: int
    slot: int
    code: int
    count: int
    enhance: int = 0
    equipped: bool = False
    expires_ms: int = 0
    attempts: int = 0


class Bag:
    """Items of one player by uid. Rules only read; changes mutate through `put` and `take`."""

    __slots__ = ("_by_slot", "_items", "_worn")

    def __init__(self, items: "tuple[Item, ...] | list[Item]" = ()) -> None:
        self._items: dict[int, Item] = {}
        self._by_slot: dict[tuple[int, int], int] = {}
        self._worn: int | None = None
        for item in items:
            self.put(item)

    def put(self, item: Item) -> None:
        """Add or replace the item of this uid. Its slot must be free or its own."""
        old = self._items.get(item.uid)
        if old is not None:
            del self._by_slot[old.kind, old.slot]
        holder = self._by_slot.get((item.kind, item.slot))
        assert holder is None or holder == item.uid, f"slot {item.kind}/{item.slot} is taken"
        self._items[item.uid] = item
        self._by_slot[item.kind, item.slot] = item.uid
        if item.equipped:
            self._worn = item.uid
        elif self._worn == item.uid:
            self._worn = None

    def take(self, uid: int) -> Item:
        """Remove and return the item."""
        item = self._items.pop(uid)
        del self._by_slot[item.kind, item.slot]
        if self._worn == uid:
            self._worn = None
        return item

    def worn(self) -> Item | None:
        """The equipment that is put on."""
        return None if self._worn is None else self._items[self._worn]

    def get(self, uid: int) -> Item | None:
        """The item of this uid."""
        return self._items.get(uid)

    def at(self, kind: int, slot: int) -> Item | None:
        """The item in a slot."""
        uid = self._by_slot.get((kind, slot))
        return None if uid is None else self._items[uid]

    def items(self, kind: int | None = None) -> list[Item]:
        """All items, or those of a kind, by kind and slot."""
        chosen = [i for i in self._items.values() if kind is None or i.kind == kind]
        return sorted(chosen, key=lambda item: (item.kind, item.slot))

    def free_slot(self, kind: int, slots_max: int) -> int | None:
        """Lowest free slot of a kind, None when all `slots_max` are taken."""
        for slot in range(slots_max):
            if (kind, slot) not in self._by_slot:
                return slot
        return None

    def stack_with_room(self, kind: int, code: int, room: int, stack_max: int) -> Item | None:
        """The fullest stack of `code` that still takes `room` more."""
        fitting = [
            item
            for item in self._items.values()
            if item.kind == kind and item.code == code and item.count + room <= stack_max
        ]
        return max(fitting, key=lambda item: (item.count, -item.slot), default=None)


class ItemBorn(Change, frozen=True):
    """A new instance, with where it came from (`wallet.Account`-like source number of content)."""

    item: Item
    source: int

    def apply(self, player: "Player") -> None:
        player.bag.put(self.item)


class ItemStacked(Change, frozen=True):
    """An existing stack grew (or shrank) by `delta` to `item.count`."""

    item: Item  # after the change
    delta: int
    source: int

    def apply(self, player: "Player") -> None:
        player.bag.put(self.item)


class ItemPlaced(Change, frozen=True):
    """An existing item changed its slot, or was put on or taken off; nothing else."""

    item: Item  # after the change

    def apply(self, player: "Player") -> None:
        player.bag.put(self.item)


class ItemsSwapped(Change, frozen=True):
    """Two items of one kind changed slots with each other."""

    first: Item  # after the change
    second: Item

    def apply(self, player: "Player") -> None:
        player.bag.take(self.first.uid)
        player.bag.take(self.second.uid)
        player.bag.put(self.first)
        player.bag.put(self.second)


class ItemDied(Change, frozen=True):
    """The whole item is gone: used up, dropped, merged away or expired. Guard of the store for a
    death by expiry: the days of the item are over by the database's clock."""

    item: Item  # as it was
    source: int

    def apply(self, player: "Player") -> None:
        player.bag.take(self.item.uid)


class ItemEnhanced(Change, frozen=True):
    """One attempt was made: `item` after it, `attempts` counted; with the roll that decided."""

    item: Item
    enhance_before: int
    roll_ppm: int
    chance_ppm: int
    table: int  # odds table number
    day: int  # YYYYMMDD of the key

    def apply(self, player: "Player") -> None:
        player.bag.put(self.item)
