"""The rooms of one raid server: who has a seat, who is here and ready, the battle, what waits.

Owns what a checkpoint may rebuild: the books hold the raid itself. Changes only through the effects
of this file, which rules return and the node applies. A room never outlives its raid's row: it is
made when the row is written and goes when the row is settled.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import msgspec

from mmo.state.change import Effect
from mmo.state.raid import RaidMember
from mmo.state.raid_battle import Battle, Fighter, Order, Presence, Recorded

Pending = tuple[int, int, int, int]
"""(seat, action or order, value, number of the client): waits for the next tick."""


class Member:
    """One seat. `power` is read from the books when he enters; `conn` 0: not connected."""

    __slots__ = (
        "away_ms", "best", "center", "conn", "entered", "left", "level", "name", "power", "ready",
        "seat", "session_epoch", "ticket", "user",
    )  # fmt: skip

    def __init__(self, row: RaidMember, now_ms: int) -> None:
        self.user = row.user
        self.seat = row.seat
        self.session_epoch = row.session_epoch
        self.center = row.center
        self.ticket = row.ticket
        self.name = row.name
        self.level = row.level
        self.power = 0
        self.best = 0  # best score of all his raids before this one
        self.conn = 0
        self.entered = False  # was here once
        self.ready = False
        self.left = False  # gave the seat up
        self.away_ms = now_ms  # since when he is not connected


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """The blob of a checkpoint: what another server needs to go on."""

    arena: bytes
    grace_ms: int
    fighters: tuple[Fighter, ...]
    bests: tuple[int, ...]
    battle: Battle
    inputs: list[Recorded]


class Room:
    """One raid on this server."""

    __slots__ = (
        "arena", "arena_blob", "battle", "fighters", "fighting", "give_up", "grace_ms", "inputs",
        "kept_ms", "kind", "map", "members", "pending", "raid", "restored", "season", "seed",
        "started", "started_ms", "ticks_before", "until_ms", "users",
    )  # fmt: skip

    def __init__(self, opened: "RoomOpened") -> None:
        self.raid = opened.raid
        self.kind = opened.kind
        self.map = opened.map
        self.seed = opened.seed
        self.season = opened.season
        self.arena = opened.arena  # content.raids.Arena of the generation it began with
        self.arena_blob = opened.arena_blob
        self.grace_ms = opened.grace_ms
        self.members = [Member(row, opened.now_ms) for row in opened.members]
        self.users = tuple(row.user for row in opened.members)
        self.until_ms = opened.until_ms  # the battle begins then without the absent
        self.restored = False  # taken over, and its wait for the members has yet to begin
        self.started = False  # in the books
        self.fighting = False  # ticks move the battle
        self.battle: Battle | None = None
        self.fighters: tuple[Fighter, ...] = ()
        self.inputs: list[Recorded] = []
        self.pending: list[Pending] = []
        self.started_ms = 0  # when the first tick after the start ran
        self.ticks_before = 0  # of the battle, at `started_ms`
        self.kept_ms = 0  # last checkpoint
        self.give_up = 0  # EndReason for which the next tick aborts it

    def here(self) -> list[int]:
        """The users who are connected."""
        return [member.user for member in self.members if member.conn]

    def staying(self) -> list[int]:
        """The users who did not give their seat up, connected or not."""
        return [member.user for member in self.members if not member.left]

    def seat_of(self, user: int) -> Member | None:
        """The seat of a user."""
        for member in self.members:
            if member.user == user:
                return member
        return None


class WhoIsHere(Sequence[int]):
    """The users who are connected to a room when this is looked at, not when it was made: what is
    told after a row was written reaches also those who came while it was on its way."""

    __slots__ = ("_room",)

    def __init__(self, room: Room) -> None:
        self._room = room

    def __iter__(self) -> Iterator[int]:
        return iter(self._room.here())

    def __len__(self) -> int:
        return len(self._room.here())

    def __getitem__(self, place: Any) -> Any:
        return self._room.here()[place]


class RaidRooms:
    """All rooms by raid, and the raid of each user who has a seat."""

    __slots__ = ("rooms", "where")

    def __init__(self) -> None:
        self.rooms: dict[int, Room] = {}
        self.where: dict[int, int] = {}

    def pin_of(self, user: int) -> int:
        """The raid of a user: its room ends by the rules it began with."""
        return self.where.get(user, 0)

    def gauges(self) -> dict[str, int]:
        """Sizes that an operator watches: rooms, and players with a seat in one."""
        return {"rooms": len(self.rooms), "members": len(self.where)}

    def room_of(self, user: int) -> tuple[Room, Member] | None:
        """Room and seat of a user who did not give it up."""
        room = self.rooms.get(self.where.get(user, 0))
        member = None if room is None else room.seat_of(user)
        if room is None or member is None or member.left:
            return None
        return room, member


class RaidEffect(Effect, frozen=True):
    """Base of the effects on `raids`."""

    of: ClassVar[str] = "raids"


class RoomOpened(RaidEffect, frozen=True):
    """The raid is in the books: its room exists."""

    raid: int
    kind: int
    map: int
    seed: int
    season: int
    arena: Any
    arena_blob: bytes
    grace_ms: int
    members: tuple[RaidMember, ...]
    until_ms: int
    now_ms: int

    def apply(self, state: Any) -> None:
        _put(state, Room(self))


class RoomRestored(RaidEffect, frozen=True):
    """The raid of a dead server is ours. With `kept` it waits for its members to come back and goes
    on; `give_up` not 0: its next tick aborts it."""

    opened: RoomOpened
    kept: Kept | None
    started: bool
    give_up: int

    def apply(self, state: Any) -> None:
        room = Room(self.opened)
        room.restored = True
        room.started = self.started
        room.give_up = self.give_up
        if self.kept is not None:
            room.battle = self.kept.battle
            room.fighters = self.kept.fighters
            room.inputs = list(self.kept.inputs)
            for member, best in zip(room.members, self.kept.bests, strict=True):
                member.best = best
                member.power = room.battle.power[member.seat]
                member.left = room.battle.presence[member.seat] == Presence.LEFT
        _put(state, room)


class ReturnAwaited(RaidEffect, frozen=True):
    """A room that was taken over waits for its members from now on: its row may have been on the
    way for longer than they are waited for."""

    raid: int
    until_ms: int
    now_ms: int

    def apply(self, state: Any) -> None:
        room = state.rooms.get(self.raid)
        if room is None:
            return
        room.restored = False
        room.until_ms = self.until_ms
        for member in room.members:
            member.away_ms = self.now_ms


class RoomFreed(RaidEffect, frozen=True):
    """The raid is settled, or another server has it: nothing of it stays."""

    raid: int

    def apply(self, state: Any) -> None:
        room = state.rooms.pop(self.raid, None)
        for user in () if room is None else room.users:
            if state.where.get(user) == self.raid:
                del state.where[user]


class MemberEntered(RaidEffect, frozen=True):
    """A member came, or came back, with level and power as the books have them now."""

    raid: int
    seat: int
    conn: int
    name: str
    level: int
    power: int
    best: int

    def apply(self, state: Any) -> None:
        room, member = _member(state, self.raid, self.seat)
        if member is None:
            return
        if not member.entered:
            member.best = self.best
        member.entered = True
        member.conn = self.conn
        member.name = self.name
        member.power = self.power
        if room.battle is None:
            member.level = self.level
        if room.fighting:
            room.pending.append((self.seat, int(Order.BACK), self.power, 0))


class MemberParted(RaidEffect, frozen=True):
    """His connection ended; the seat stays for the grace time."""

    raid: int
    seat: int
    now_ms: int

    def apply(self, state: Any) -> None:
        room, member = _member(state, self.raid, self.seat)
        if member is None:
            return
        member.conn = 0
        member.ready = False
        member.away_ms = self.now_ms
        if room.fighting and not member.left:
            room.pending.append((self.seat, int(Order.AWAY), 0, 0))


class MemberReady(RaidEffect, frozen=True):
    """He can start."""

    raid: int
    seat: int

    def apply(self, state: Any) -> None:
        _, member = _member(state, self.raid, self.seat)
        if member is not None:
            member.ready = True


class MemberLeft(RaidEffect, frozen=True):
    """He gave the seat up. `told`: the battle knows it already."""

    raid: int
    seat: int
    told: bool = False

    def apply(self, state: Any) -> None:
        room, member = _member(state, self.raid, self.seat)
        if member is None:
            return
        member.left = True
        member.ready = False
        member.conn = 0
        if room.fighting and not self.told:
            room.pending.append((self.seat, int(Order.LEAVE), 0, 0))


class InputTaken(RaidEffect, frozen=True, gc=False):
    """An action waits for the next tick."""

    raid: int
    seat: int
    action: int
    number: int

    def apply(self, state: Any) -> None:
        room = state.rooms.get(self.raid)
        if room is not None:
            room.pending.append((self.seat, self.action, 0, self.number))


class GiveUp(RaidEffect, frozen=True):
    """The next tick of the room aborts its raid for this reason, if it does not fight yet."""

    raid: int
    reason: int

    def apply(self, state: Any) -> None:
        room = state.rooms.get(self.raid)
        if room is not None and not room.fighting:
            room.give_up = self.reason


class BattleBegan(RaidEffect, frozen=True):
    """From the next tick on the battle moves. Who came, went or left since it was decided counts as
    an input of the first tick."""

    raid: int
    fighters: Sequence[Fighter]
    battle: Battle

    def apply(self, state: Any) -> None:
        room = state.rooms.get(self.raid)
        if room is None:
            return
        room.started = True
        room.fighting = True
        room.fighters = tuple(self.fighters)
        room.battle = self.battle
        room.ticks_before = self.battle.tick
        room.pending.clear()
        for member in room.members:
            presence = self.battle.presence[member.seat]
            power = self.battle.power[member.seat]
            if presence == Presence.LEFT:
                continue
            if member.left:
                room.pending.append((member.seat, int(Order.LEAVE), 0, 0))
            elif member.conn and (presence != Presence.HERE or power != member.power):
                room.pending.append((member.seat, int(Order.BACK), member.power, 0))
            elif not member.conn and presence == Presence.HERE:
                room.pending.append((member.seat, int(Order.AWAY), 0, 0))


class RoomAdvanced(RaidEffect, frozen=True):
    """The battle moved: so many of the waiting inputs are in it now."""

    raid: int
    battle: Battle
    taken: int
    recorded: Sequence[Recorded]
    started_ms: int
    kept_ms: int

    def apply(self, state: Any) -> None:
        room = state.rooms.get(self.raid)
        if room is None:
            return
        room.battle = self.battle
        if self.taken:
            del room.pending[: self.taken]
        if self.recorded:
            room.inputs.extend(self.recorded)
        room.started_ms = self.started_ms
        room.kept_ms = self.kept_ms


def _put(state: Any, room: Room) -> None:
    state.rooms[room.raid] = room
    for user in room.users:
        state.where[user] = room.raid


def _member(state: Any, raid: int, seat: int) -> tuple[Any, Any]:
    room = state.rooms.get(raid)
    return (None, None) if room is None else (room, room.members[seat])
