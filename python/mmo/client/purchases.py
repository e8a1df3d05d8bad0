"""What the answers of the economy change in a client's own record.

Owns the table from answer to change, nothing else: every answer tells balances and items as they
are after it, so taking one down twice is the same as once. Called by `shopper` and proofs.
"""

from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

from msgspec.structs import replace

from mmo.client.hero import Record
from mmo.wire.messages.enhance import EnhanceOk
from mmo.wire.messages.inventory import (
    ItemDropOk,
    ItemEquipOk,
    ItemMoveOk,
    ItemSplitOk,
    ItemUnequipOk,
    ItemUseOk,
)
from mmo.wire.messages.presence import ItemView
from mmo.wire.messages.season_pass import PassBuyOk, PassClaimOk
from mmo.wire.messages.shop import BuyOk

BALANCES = ("gold", "cash", "mileage")


def take_down(record: Record, answer: Any) -> None:
    """Make an acknowledged answer part of the record; one that changes nothing is left alone."""
    change = _CHANGES.get(type(answer))
    if change is not None:
        change(record, answer)


def copy_of(record: Record) -> Record:
    """A record that goes its own way from here."""
    twin = copy(record)
    twin.items, twin.claimed = dict(record.items), set(record.claimed)
    return twin


def _hold(record: Record, views: Iterable[ItemView]) -> None:
    for view in views:
        record.items[view.uid] = view


def _alter(record: Record, uid: int, **changed: int) -> None:
    """An answer that is told again may be older than the end of its item."""
    if uid in record.items:
        record.items[uid] = replace(record.items[uid], **changed)


def _left(record: Record, uid: int, count: int) -> None:
    if count:
        _alter(record, uid, count=count)
    else:
        record.items.pop(uid, None)


def _bought(record: Record, answer: BuyOk) -> None:
    setattr(record, BALANCES[answer.currency], answer.balance)
    record.mileage = answer.mileage
    _hold(record, answer.items)


def _enhanced(record: Record, answer: EnhanceOk) -> None:
    record.gold = answer.gold
    _alter(record, answer.uid, enhance=answer.enhance)


def _used(record: Record, answer: ItemUseOk) -> None:
    record.level, record.exp, record.gold = answer.level, answer.exp, answer.gold
    _left(record, answer.uid, answer.count_left)


def _dropped(record: Record, answer: ItemDropOk) -> None:
    _left(record, answer.uid, answer.count_left)


def _moved(record: Record, answer: ItemMoveOk) -> None:
    _hold(record, answer.items)
    for uid in answer.gone:
        record.items.pop(uid, None)


def _placed(record: Record, answer: ItemSplitOk | ItemEquipOk | ItemUnequipOk) -> None:
    _hold(record, answer.items)


def _claimed(record: Record, answer: PassClaimOk) -> None:
    record.gold, record.cash, record.mileage = answer.gold, answer.cash, answer.mileage
    record.claimed.add((answer.pass_id, answer.level, answer.line))
    _hold(record, answer.items)


def _line_opened(record: Record, answer: PassBuyOk) -> None:
    record.cash = answer.cash


_CHANGES: dict[type, Callable[[Record, Any], None]] = {
    BuyOk: _bought,
    EnhanceOk: _enhanced,
    ItemUseOk: _used,
    ItemDropOk: _dropped,
    ItemMoveOk: _moved,
    ItemSplitOk: _placed,
    ItemEquipOk: _placed,
    ItemUnequipOk: _placed,
    PassClaimOk: _claimed,
    PassBuyOk: _line_opened,
}
