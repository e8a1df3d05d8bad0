"""Three currencies, checked 64-bit, moved only in balanced entries."""

from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from mmo.state.change import Change

if TYPE_CHECKING:
    from mmo.state.player import Player

COINS_MAX = 2**53 - 1
"""Highest balance: exact in every client language and in a sorted-set score."""


class Currency(IntEnum):
    """As in the reference game."""

    GOLD = 0
    CASH = 1
    MILEAGE = 2


class Account(IntEnum):
    """The other side of every entry. MINT_* create money, SINK_* burn it; none has a balance
    row."""

    MINT_HUNT = 1
    MINT_GRANT = 2
    MINT_CORRECTION = 3
    MINT_MILEAGE = 4  # earned with purchases
    MINT_PASS = 5  # rewards of season passes
    MINT_PAYMENT = 6  # paid for with real money
    MINT_USE = 7  # consumables that give coins
    SINK_SHOP = 101
    SINK_ENHANCE = 102
    SINK_CORRECTION = 103
    SINK_PASS = 104  # the paid line of a season pass
    SINK_REFUND = 105  # money given back to the payer
    SINK_USE = 106  # items used up
    SINK_DROP = 107  # items thrown away
    SINK_EXPIRED = 108  # rented items whose days are over
    TRANSFER = 200  # items between stacks of one player: sums to nothing


class Wallet(msgspec.Struct, frozen=True, gc=False):
    """Balances of the three currencies in whole coins."""

    gold: int = 0
    cash: int = 0
    mileage: int = 0

    def of(self, currency: int) -> int:
        """Balance of one currency."""
        return (self.gold, self.cash, self.mileage)[currency]


class CoinsMoved(Change, frozen=True):
    """`amount` (signed, not 0) of `currency` moved from `account` to the player."""

    currency: int
    amount: int
    account: int

    def apply(self, player: "Player") -> None:
        balances = [player.wallet.gold, player.wallet.cash, player.wallet.mileage]
        balances[self.currency] += self.amount
        player.wallet = Wallet(*balances)
