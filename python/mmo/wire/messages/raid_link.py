"""Raid messages between servers: tickets, reservations, matches, and how a raid went.

A center holds its players' tickets and repeats them to a matching server that lost them; the
matching server forms teams and reserves a room at a raid server; the raid server runs the battle.
"""

import msgspec

from mmo.wire.codec import message
from mmo.wire.opcode import Op


class TicketRow(msgspec.Struct, array_like=True, frozen=True):
    """One player who waits for a raid."""

    ticket: int  # unique in the cluster; a newer one of the same user replaces the older
    user: int
    session_epoch: int
    kind: int  # raid kind of the content
    level: int
    attack: int  # attack power of the worn equipment
    since_ms: int  # unix time of the player's place, by the clock of the center that asked first
    name: str = ""
    party: str = ""  # players with one party code are kept together; empty: alone
    party_size: int = 0
    asked_ms: int = 0  # unix time of this ticket, the center's clock; 0: `since_ms`


class Seated(msgspec.Struct, array_like=True, frozen=True):
    """One member of a team, in the seat of his place in the list."""

    user: int
    session_epoch: int
    center: int  # server number of the center that holds his ticket
    ticket: int
    name: str
    level: int
    attack: int


@message(Op.TICKET_PUT)
class TicketPut(msgspec.Struct, array_like=True, frozen=True):
    """Center to matching, a request: queue this player."""

    request: int
    row: TicketRow


@message(Op.TICKET_PUT_OK)
class TicketPutOk(msgspec.Struct, array_like=True, frozen=True):
    """`code` 0: he waits now. Otherwise why not (`wire.opcode.Code`). `since_ms`: since when, as
    places in the queue are counted; 0: as the row said."""

    request: int
    ticket: int
    code: int
    group: int
    estimate_ms: int  # waiting time to expect, -1 unknown
    since_ms: int = 0


@message(Op.TICKET_CANCEL)
class TicketCancel(msgspec.Struct, array_like=True, frozen=True):
    """Center to matching, the wish of a player: this ticket waits no more. With `request` 0 it is
    a notice: he is gone, and has his place again when he is back soon."""

    request: int
    user: int
    ticket: int


@message(Op.TICKET_CANCELLED)
class TicketCancelled(msgspec.Struct, array_like=True, frozen=True):
    """`left`: it waits no more. False: its team is formed and the seat is on its way."""

    request: int
    ticket: int
    left: bool


@message(Op.TICKETS_HELD)
class TicketsHeld(msgspec.Struct, array_like=True, frozen=True):
    """Matching to one center, from time to time: what it holds of that center. A center whose own
    count or sum differs the same way twice in a row, or for long, sends all of its tickets again;
    so it does when the incarnation is a new one."""

    number: int  # of the matching server
    incarnation: int
    count: int
    ticket_sum: int  # sum of the ticket numbers modulo 2**61


@message(Op.TICKETS_ALL)
class TicketsAll(msgspec.Struct, array_like=True, frozen=True):
    """Center to matching: all its tickets, in parts. What is not among them is dropped with the
    last part."""

    round: int  # one number for all parts of one telling
    rows: list[TicketRow]
    last: bool


@message(Op.TICKET_EXPLAIN)
class TicketExplain(msgspec.Struct, array_like=True, frozen=True):
    """Center to matching, a request: why does this player still wait?"""

    request: int
    user: int


@message(Op.TICKET_EXPLAINED)
class TicketExplained(msgspec.Struct, array_like=True, frozen=True):
    """See `wire.messages.raid_queue.RaidExplainOk`, which carries the same to the client."""

    request: int
    waits: bool
    kind: int = 0
    group: int = 0
    group_low: int = 0
    group_high: int = 0
    rule: str = ""
    candidates: int = 0
    missing: int = 0
    waited_ms: int = 0
    widens_in_ms: int = -1
    estimate_ms: int = -1


@message(Op.RAID_RESERVE)
class RaidReserve(msgspec.Struct, array_like=True, frozen=True):
    """Matching to raid: open raid `raid` for this team and keep its seats."""

    raid: int  # unique in the cluster
    kind: int
    team: list[Seated]


@message(Op.RAID_RESERVED)
class RaidReserved(msgspec.Struct, array_like=True, frozen=True):
    """Raid to matching. `held` False: no room, or the books refused (`busy`: users who may not
    enter now, being in another raid or without an entry left today)."""

    raid: int
    number: int
    held: bool
    host: str = ""
    port: int = 0
    busy: list[int] = []


@message(Op.RAID_RELEASE)
class RaidRelease(msgspec.Struct, array_like=True, frozen=True):
    """Matching to raid: the answer came too late; settle this raid as aborted."""

    raid: int


@message(Op.RAID_TEAM_FOUND)
class RaidTeamFound(msgspec.Struct, array_like=True, frozen=True):
    """To the center of a member: his seat is kept at server `number`; prepare his token. Sent by
    matching, and by a raid server that took a raid over from a dead one."""

    user: int
    session_epoch: int
    ticket: int
    raid: int
    kind: int
    number: int
    host: str
    port: int
    seat: int


@message(Op.RAID_TEAM_FAILED)
class RaidTeamFailed(msgspec.Struct, array_like=True, frozen=True):
    """Matching to the center of a member: his ticket is gone without a raid (`code` says why)."""

    user: int
    ticket: int
    code: int


@message(Op.RAID_OVER)
class RaidOver(msgspec.Struct, array_like=True, frozen=True):
    """Raid to centers and matching: the raid is settled and its members are free again."""

    raid: int
    users: list[int]
    finished: bool  # False: aborted, entries refunded
