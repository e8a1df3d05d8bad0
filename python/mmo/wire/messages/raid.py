"""A raid, at the raid server: seat, team, start, blows, stream, end."""

from typing import Annotated

import msgspec

from mmo.wire.codec import message
from mmo.wire.opcode import Op


class TeamRow(msgspec.Struct, array_like=True, frozen=True):
    """One member of the team."""

    seat: int
    user: int
    name: str
    level: int
    ready: bool
    here: bool  # connected now


class ScoreRow(msgspec.Struct, array_like=True, frozen=True):
    """What one member reached."""

    seat: int
    user: int
    name: str
    score: int
    best: bool  # above his best of all seasons, as it was when he entered
    granted: bool = False  # a reward waits for him; his owner claims it


@message(Op.RAID_ENTERED)
class RaidEntered(msgspec.Struct, array_like=True, frozen=True):
    """Answer to ENTER at a raid server; also after a rejoin."""

    raid: int
    kind: int
    map: int  # -1 before the battle began
    seat: int
    state: int  # `state.raid.RaidState`
    hp: int  # 0 before the battle began
    hp_max: int
    remaining_ms: int  # of the battle when it runs, else until it starts without the absent
    score: int
    team: list[TeamRow]
    now_ms: int  # server time


@message(Op.DATAGRAM_KEY)
class DatagramKey(msgspec.Struct, array_like=True, frozen=True):
    """Push: prove an address with `id` and `key` at `port` (same host) and the stream comes as
    datagrams. `room` heads each of them."""

    id: int
    key: bytes  # 16 bytes
    room: int
    port: int


@message(Op.RAID_READY)
class RaidReady(msgspec.Struct, array_like=True, frozen=True):
    """I can start. Said twice it counts once."""


@message(Op.RAID_READY_OK)
class RaidReadyOk(msgspec.Struct, array_like=True, frozen=True):
    team: list[TeamRow]


@message(Op.RAID_TEAM)
class RaidTeam(msgspec.Struct, array_like=True, frozen=True):
    """Push: the team changed."""

    team: list[TeamRow]


@message(Op.RAID_START)
class RaidStart(msgspec.Struct, array_like=True, frozen=True):
    """Push: the battle runs from now."""

    hp: int
    map: int
    remaining_ms: int
    tick_ms: int


@message(Op.RAID_ACT)
class RaidAct(msgspec.Struct, array_like=True, frozen=True):
    """One input for the next tick. `number` is the client's own and comes back in RAID_STRUCK."""

    action: Annotated[int, msgspec.Meta(ge=0, le=255)]  # row of the kind's actions in the content
    number: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0


@message(Op.RAID_ACT_OK)
class RaidActOk(msgspec.Struct, array_like=True, frozen=True):
    """Taken for `tick`."""

    tick: int


@message(Op.RAID_STRUCK)
class RaidStruck(msgspec.Struct, array_like=True, frozen=True):
    """Push to the striker: what his input did. `damage` 0: it missed or came too late."""

    number: int
    tick: int
    damage: int
    score: int  # own, after it
    hp: int  # of the monster, after it


@message(Op.RAID_STREAM)
class RaidStream(msgspec.Struct, array_like=True, frozen=True):
    """Lossy push, by datagram where an address is proved: the room at `tick`. `record` is the fixed
    little-endian record of `wire.raid_stream`."""

    record: bytes


@message(Op.RAID_ENDED)
class RaidEnded(msgspec.Struct, array_like=True, frozen=True):
    """Push: the raid is settled in the books. All scores, best first."""

    raid: int
    reason: int  # `state.raid.EndReason`
    hp: int
    scores: list[ScoreRow]


@message(Op.RAID_LEAVE)
class RaidLeave(msgspec.Struct, array_like=True, frozen=True):
    """Give the seat up; what was scored counts."""


@message(Op.RAID_LEAVE_OK)
class RaidLeaveOk(msgspec.Struct, array_like=True, frozen=True):
    score: int


@message(Op.RAID_ORPHAN)
class RaidOrphan(msgspec.Struct, array_like=True, frozen=True):
    """Internal: an unsettled raid whose server is dead, read by the node; `row` is a
    `state.raid.OrphanRaid`. The rule takes it over or settles it as aborted."""

    raid: int
    row: object
