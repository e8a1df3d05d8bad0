"""Channels inside a channel server, and hunting in them."""

from typing import Annotated

import msgspec

from mmo.wire.codec import message
from mmo.wire.messages.presence import ItemView
from mmo.wire.opcode import Op

Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


@message(Op.CHANNEL_LIST)
class ChannelListAsk(msgspec.Struct, array_like=True, frozen=True):
    """Listing leaves the current channel, as in the reference game."""


class ChannelRow(msgspec.Struct, array_like=True, frozen=True):
    """One channel of the list."""

    number: int  # 1..
    users: int
    users_max: int


@message(Op.CHANNEL_LIST_OK)
class ChannelListOk(msgspec.Struct, array_like=True, frozen=True):
    channels: list[ChannelRow]


@message(Op.CHANNEL_ENTER)
class ChannelEnter(msgspec.Struct, array_like=True, frozen=True):
    """Enter a channel, leaving the one before (change)."""

    number: Number


class MonsterRow(msgspec.Struct, array_like=True, frozen=True):
    """One monster as it is now."""

    number: int  # place in the channel, stable
    kind: int  # row of the monster table
    hp: int
    hp_max: int
    respawn_ms: int  # 0 when alive


@message(Op.CHANNEL_ENTER_OK)
class ChannelEnterOk(msgspec.Struct, array_like=True, frozen=True):
    number: int
    users: int
    monsters: list[MonsterRow]


@message(Op.CHANNEL_LEAVE)
class ChannelLeave(msgspec.Struct, array_like=True, frozen=True):
    pass


@message(Op.CHANNEL_LEAVE_OK)
class ChannelLeaveOk(msgspec.Struct, array_like=True, frozen=True):
    pass


@message(Op.MONSTERS)
class MonstersAsk(msgspec.Struct, array_like=True, frozen=True):
    pass


@message(Op.MONSTERS_OK)
class MonstersOk(msgspec.Struct, array_like=True, frozen=True):
    monsters: list[MonsterRow]


@message(Op.HIT)
class Hit(msgspec.Struct, array_like=True, frozen=True):
    """Attack a monster of the channel; the server decides the damage."""

    monster: Number


@message(Op.HIT_OK)
class HitOk(msgspec.Struct, array_like=True, frozen=True):
    monster: int
    damage: int
    hp: int
    killed: bool  # your blow; the reward follows as KILL_REWARD after its commit


@message(Op.KILL_EARNED)
class KillEarned(msgspec.Struct, array_like=True, frozen=True):
    """Internal: into the killer's lane."""

    user: int
    kind: int  # monster table row
    exp: int
    gold: int
    drop: tuple[int, int, int] | None = None  # item kind, code, count


@message(Op.KILL_REWARD)
class KillReward(msgspec.Struct, array_like=True, frozen=True):
    """Told after the commit: what the kill gave and where the player stands now."""

    kind: int
    exp_gained: int
    level: int
    exp: int
    levels_gained: int
    gold_gained: int
    gold: int
    items: list[ItemView] = []  # the drop: the stack that grew and, when it overflows, the new one
    bag_full: bool = False  # the drop was lost because no slot was free


@message(Op.GRANT_CLAIM)
class GrantClaim(msgspec.Struct, array_like=True, frozen=True):
    """Internal, from the sweep or the load: one unclaimed `reward_grant` row of the lane's
    player."""

    user: int
    source_kind: int
    source_id: int
    bundle: bytes  # MessagePack of state.grant.Bundle


@message(Op.GRANT_REWARD)
class GrantReward(msgspec.Struct, array_like=True, frozen=True):
    """Told after a grant was claimed: what it gave and where the player stands now."""

    source_kind: int
    source_id: int
    exp_gained: int
    level: int
    exp: int
    gold: int
    cash: int
    mileage: int
    items: list[ItemView]  # new items, and stacks that grew or shrank, as they are now
    gone: list[int] = []  # uids that are no more: what a correction took
