"""What those who do not own a player leave for him: grants, claimed once by his owner."""

from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from mmo.state.change import Change

if TYPE_CHECKING:
    from mmo.state.player import Player


class SourceKind(IntEnum):
    """Kinds of grants that no opcode names; an `Earned` that became a grant carries its opcode."""

    PAYMENT = 1  # source id: number of the payment order row
    REFUND = 2
    CORRECTION = 3
    RAID = 4


class BundleItem(msgspec.Struct, array_like=True, frozen=True):
    """So many of one item of the master, at a level of enhancement. A correction may take away:
    `count` below 0."""

    kind: int
    code: int
    count: int
    enhance: int = 0


class Bundle(msgspec.Struct, array_like=True, frozen=True):
    """What a grant gives; all parts at once."""

    gold: int = 0
    cash: int = 0
    mileage: int = 0
    exp: int = 0
    items: tuple[BundleItem, ...] = ()
    score: int = 0  # a raid's score: the owner keeps it when it is a new best


class Grant(msgspec.Struct, frozen=True):
    """A row of `reward_grant`: unique for ever by user, source kind and source id."""

    user: int
    source_kind: int
    source_id: int
    bundle: bytes  # MessagePack of Bundle


class GrantClaimed(Change, frozen=True):
    """The grant is spent in this commit; its row must still be unclaimed."""

    source_kind: int
    source_id: int

    def apply(self, player: "Player") -> None:
        player.grants_claimed |= {(self.source_kind, self.source_id)}
