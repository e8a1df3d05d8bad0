"""What answers promise: which field of which answer is a balance, a price or an item.

Owns a table over the documented message forms (opcode and place of a field), read from the bytes
that a bot was told, or that the log keeps. Judges nothing: `books` compares. Numbers are those of
the protocol.
"""

from typing import Any, NamedTuple

import msgspec

GOLD, CASH, MILEAGE = 0, 1, 2
BUY, BUY_OK = 702, 703
USE_OK, DROP_OK, MOVE_OK, SPLIT_OK, EQUIP_OK, UNEQUIP_OK = 503, 505, 507, 509, 511, 513
ENHANCE_OK = 601
CLAIM_OK, PASS_BUY_OK = 805, 807
KILL_REWARD, GRANT_REWARD = 411, 413

ITEMS_AT = {
    BUY_OK: 7, MOVE_OK: 1, SPLIT_OK: 0, EQUIP_OK: 0, UNEQUIP_OK: 0, CLAIM_OK: 3,
    KILL_REWARD: 7, GRANT_REWARD: 8,
}  # fmt: skip
"""Where an answer lists every item that is new or changed, as it is now."""

STAY = frozenset({502, 504, 515, 806, 809})
"""Kinds of the log that change no more of an item than its count: used, dropped or expired; and the
two of passes that touch none."""

FIELDS = ("kind", "slot", "code", "count", "enhance", "equipped", "expires_ms")
"""What an item tells behind its uid, in the order in which the database's are read, too."""


class Promise(NamedTuple):
    """What one answer says of the player right after it."""

    balances: dict[int, int]  # by currency
    counts: dict[int, int]  # items by uid; 0: gone
    spent: tuple[int, int] | None = None  # currency and amount
    roll: tuple[int, int, int, int] | None = None  # uid, attempt, roll, enhance after


def promise_of(opcode: int, body: bytes, request: bytes) -> Promise | None:
    """The promise of an answer, None for one that promises nothing. Raises `ValueError` when it
    contradicts its own request."""
    try:
        told: list[Any] = msgspec.msgpack.decode(body)
        asked: list[Any] = msgspec.msgpack.decode(request)
    except msgspec.MsgspecError:
        raise ValueError("it does not decode") from None
    if opcode == BUY_OK:
        line, quantity, currency, spent, balance, _, mileage, items = told[:8]
        if (line, quantity) != (asked[2], asked[3]) or spent != asked[3] * asked[4]:
            raise ValueError(f"{quantity} of line {line} for {spent}, asked for {asked[2:]}")
        balances = {MILEAGE: mileage, currency: balance}
        return Promise(balances, counts_of(items), (currency, spent))
    if opcode == ENHANCE_OK:
        uid, after, _, attempt, _, rolled, cost, gold = told[:8]
        return Promise({GOLD: gold}, {}, (GOLD, cost), (uid, attempt, rolled, after))
    if opcode == USE_OK:
        return Promise({GOLD: told[6]} if len(told) > 6 else {}, {told[0]: told[1]})
    if opcode == DROP_OK:
        return Promise({}, {told[0]: told[1]})
    if opcode == MOVE_OK:
        return Promise({}, counts_of(told[1]) | dict.fromkeys(told[2], 0))
    if opcode in (SPLIT_OK, EQUIP_OK, UNEQUIP_OK):
        return Promise({}, counts_of(told[0]))
    if opcode == CLAIM_OK:
        gold, cash, mileage = told[4:7]
        return Promise({GOLD: gold, CASH: cash, MILEAGE: mileage}, counts_of(told[3]))
    if opcode == PASS_BUY_OK:
        return Promise({CASH: told[1]}, {})
    return None


def items_told(kind: int, opcode: int, body: bytes) -> dict[int, dict[str, int]] | None:
    """Fields by uid of the items that a line of the log tells, without their counts, which others
    change untold; empty where the line changes no such field. None: nobody knows what it does."""
    if kind in STAY:
        return {}
    try:
        told: list[Any] = msgspec.msgpack.decode(body)
        if opcode == ENHANCE_OK:
            return {told[0]: {"enhance": told[1]}}
        listed = told[ITEMS_AT[opcode]]
        items = {item[0]: dict(zip(FIELDS, item[1:], strict=False)) for item in listed}
    except (msgspec.MsgspecError, LookupError, TypeError):
        return None
    for fields in items.values():
        fields.pop("count", None)
    return items


def counts_of(items: list[Any]) -> dict[int, int]:
    """Counts by uid of a list of items."""
    return {item[0]: item[4] for item in items}
