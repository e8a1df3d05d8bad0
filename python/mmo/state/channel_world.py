"""The volatile world of one channel server: seats, channels, monsters, who is where.

Owns what a restart may forget: nothing here is money, experience or an item. Changes only through
the effects of this file, which rules return and the node applies. A player in his grace time keeps
seat and channel, so that his resume always fits.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from mmo.state.change import Effect


class Seat(msgspec.Struct, frozen=True):
    """One player who is owned by this server. `conn` 0: his connection ended, the grace runs."""

    user: int
    session_epoch: int
    place_epoch: int
    conn: int


class Monster:
    """One monster. It lives when `back_ms` has passed; `hp` counts only while `back_ms` is 0, else
    it came back whole."""

    __slots__ = ("back_ms", "hp", "kind")

    def __init__(self, kind: int, hp: int) -> None:
        self.kind = kind
        self.hp = hp
        self.back_ms = 0


class Channel:
    """One channel: who is in it and its monsters by place (place n is index n - 1)."""

    __slots__ = ("monsters", "users")

    def __init__(self, monsters: Iterable[tuple[int, int]]) -> None:
        self.users: set[int] = set()
        self.monsters = [Monster(kind, hp) for kind, hp in monsters]


class ChannelWorld:
    """All channels of a server (number n is index n - 1) and everyone in them."""

    __slots__ = ("channels", "holds", "ready_ms", "seats", "where")

    def __init__(self, channels: Iterable[Iterable[tuple[int, int]]]) -> None:
        """`channels`: for each channel the (kind, hp) of its monsters by place."""
        self.channels = [Channel(monsters) for monsters in channels]
        self.seats: dict[int, Seat] = {}
        self.holds: dict[int, int] = {}  # user -> end of the held seat, unix ms
        self.where: dict[int, int] = {}  # user -> channel number
        self.ready_ms: dict[int, int] = {}  # user -> when he may strike again, unix ms

    def seats_taken(self, now_ms: int) -> int:
        """Players here plus seats held for movers whose time is not over."""
        held = sum(
            1 for user, end_ms in self.holds.items() if end_ms > now_ms and user not in self.seats
        )
        return len(self.seats) + held

    def has_room(self, user: int, users_max: int, now_ms: int) -> bool:
        """May `user` sit here: by his own seat or held seat, or because one is free."""
        if user in self.seats or self.holds.get(user, 0) > now_ms:
            return True
        return self.seats_taken(now_ms) < users_max

    def channel(self, number: int) -> Channel | None:
        """The channel of a number, None for any number that is none."""
        return self.channels[number - 1] if 1 <= number <= len(self.channels) else None


class WorldEffect(Effect, frozen=True):
    """Base of the effects on `world`."""

    of: ClassVar[str] = "world"


class SeatReserved(WorldEffect, frozen=True):
    """A center keeps a seat for a mover."""

    user: int
    end_ms: int

    def apply(self, state: Any) -> None:
        state.holds[self.user] = self.end_ms


class SeatTaken(WorldEffect, frozen=True):
    """A player arrived or came back on a new connection."""

    user: int
    session_epoch: int
    place_epoch: int
    conn: int

    def apply(self, state: Any) -> None:
        state.holds.pop(self.user, None)
        state.seats[self.user] = Seat(self.user, self.session_epoch, self.place_epoch, self.conn)


class SeatParted(WorldEffect, frozen=True):
    """His connection ended; seat and channel stay for the grace time."""

    user: int

    def apply(self, state: Any) -> None:
        seat = state.seats.get(self.user)
        if seat is not None:
            state.seats[self.user] = msgspec.structs.replace(seat, conn=0)


class SeatFreed(WorldEffect, frozen=True):
    """He is gone: no seat, no channel, nothing of him stays."""

    user: int

    def apply(self, state: Any) -> None:
        state.seats.pop(self.user, None)
        state.ready_ms.pop(self.user, None)
        _leave(state, self.user)


class HoldsEnded(WorldEffect, frozen=True):
    """Seats whose mover never arrived are free again."""

    now_ms: int

    def apply(self, state: Any) -> None:
        for user in [user for user, end_ms in state.holds.items() if end_ms <= self.now_ms]:
            del state.holds[user]


class ChannelEntered(WorldEffect, frozen=True):
    """A player enters channel `number` and leaves the one before."""

    user: int
    number: int

    def apply(self, state: Any) -> None:
        _leave(state, self.user)
        state.where[self.user] = self.number
        state.channels[self.number - 1].users.add(self.user)


class ChannelLeft(WorldEffect, frozen=True):
    """A player is in no channel now; his seat stays."""

    user: int

    def apply(self, state: Any) -> None:
        _leave(state, self.user)


class MonsterStruck(WorldEffect, frozen=True, gc=False):
    """A blow landed: what is left of the monster and when its striker may strike again."""

    user: int
    channel: int
    monster: int
    hp: int
    back_ms: int  # 0: it lives; else when it comes back, unix ms
    ready_ms: int

    def apply(self, state: Any) -> None:
        monster = state.channels[self.channel - 1].monsters[self.monster - 1]
        monster.hp = self.hp
        monster.back_ms = self.back_ms
        state.ready_ms[self.user] = self.ready_ms


def _leave(world: ChannelWorld, user: int) -> None:
    number = world.where.pop(user, 0)
    if number:
        world.channels[number - 1].users.discard(user)
