"""The item master: every item of the three kinds, checked.

Owns `items.toml` in its checked form; never knows who holds an item.
"""

import msgspec

from mmo.content.faults import contradiction
from mmo.content.schema import Equipment, Items, Stackable

KINDS = ("equipment", "consumable", "material")
"""Item kinds by number, as in the reference game."""

EQUIPMENT, CONSUMABLE, MATERIAL = range(3)


class ItemRow(msgspec.Struct, frozen=True):
    """One item of the master as rules see it. `stack_max` is 1 for equipment."""

    kind: int
    code: int
    name: str
    stack_max: int
    attack_power: int
    use_exp: int = 0
    use_gold: int = 0


def item_master(items: Items) -> dict[tuple[int, int], ItemRow]:
    """All items by kind and code; a repeated code is refused with E0603."""
    master: dict[tuple[int, int], ItemRow] = {}
    tables: tuple[tuple[Equipment | Stackable, ...], ...] = (
        items.equipment,
        items.consumable,
        items.material,
    )
    for kind, rows in enumerate(tables):
        for index, row in enumerate(rows):
            if (kind, row.code) in master:
                raise contradiction(
                    "items.toml", f"{KINDS[kind]}[{index}]", f"code {row.code} is there twice"
                )
            master[kind, row.code] = _item_row(kind, row)
    return master


def _item_row(kind: int, row: Equipment | Stackable) -> ItemRow:
    if isinstance(row, Equipment):
        return ItemRow(kind, row.code, row.name, 1, row.attack_power)
    return ItemRow(kind, row.code, row.name, row.stack_max, 0, row.use_exp, row.use_gold)
