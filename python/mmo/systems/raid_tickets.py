"""The center's tickets against the matching server's: what was lost on the way is told again.

Owns the comparison and the telling, in parts; and the end of tickets whose player is gone or whose
question was never answered. Nothing here is needed while every message arrives.
"""

from mmo.content import Content
from mmo.contract import Env, Outcome, Send, ToNode, handles, ticks
from mmo.state.center_tickets import (
    CenterTickets,
    Difference,
    PlayerGone,
    Telling,
    TellingBegun,
    TellingMoved,
    TicketOver,
    TicketsCompared,
    TicketsEffect,
)
from mmo.state.match_tickets import SUM_MODULUS
from mmo.state.servers import Servers
from mmo.state.sessions import Sessions
from mmo.systems.raid_entry import matching_number, row_of
from mmo.wire.messages.raid_link import TicketCancel, TicketsAll, TicketsHeld
from mmo.wire.messages.raid_queue import RaidQueueLeft
from mmo.wire.opcode import Op

UNANSWERED_MS = 1_000
"""So long after the deadline of its question a ticket without an answer is given up."""


@handles(Op.TICKETS_HELD, by="peer", peers=("matching",), needs=("servers", "tickets"))
def compare(message: TicketsHeld, *, servers: Servers, tickets: CenterTickets, env: Env) -> Outcome:
    """Compare what a matching server holds with what is held here. Tickets on their way make a
    difference that is another one a second later: it is told again when it stays the same, or when
    it never goes away."""
    content: Content = env.content
    number = env.sender.peer
    if number in tickets.telling:
        return Outcome()
    asked = number == matching_number(servers, env)
    count = tickets.confirmed if asked else 0
    ticket_sum = tickets.ticket_sum if asked else 0
    off_count = message.count - count
    off_sum = (message.ticket_sum - ticket_sum) % SUM_MODULUS
    differs = bool(off_count or off_sum)
    before = tickets.differences.get(number)
    since_ms = 0
    if differs:
        since_ms = before.since_ms if before is not None and before.since_ms else env.now_ms
    now = Difference(message.incarnation, off_count, off_sum, since_ms)
    again = differs and (
        before is None
        or before.incarnation != now.incarnation
        or (before.since_ms != 0 and (before.count, before.ticket_sum) == (off_count, off_sum))
        or since_ms <= env.now_ms - content.matching.limits.differs_ms
    )
    if not again:
        return Outcome(effects=(TicketsCompared(number, now),))
    users = tuple(tickets.of_user) if asked else ()
    told = Difference(message.incarnation, 0, 0, 0)
    # The list is opened at once: who queues before its first part is not taken for gone.
    opening = TicketsAll(tickets.rounds + 1, [], False)
    return Outcome(
        effects=(TicketsCompared(number, told), TellingBegun(number, users)),
        sends=(ToNode(number, opening),),
    )


@ticks(every_ms=100, of="tickets")
def tell_all(tickets: CenterTickets, *, env: Env) -> Outcome:
    """Go on telling, a few parts at a time, and give up what was never answered."""
    content: Content = env.content
    effects: list[TicketsEffect] = []
    sends: list[Send] = []
    for number, telling in tickets.telling.items():
        parts, at = _parts(tickets, telling, env)
        sends += [ToNode(number, part) for part in parts]
        effects.append(TellingMoved(number, at))
    before_ms = env.now_ms - content.matching.limits.ask_ms - UNANSWERED_MS
    for user, asked_ms in tickets.asking.items():
        if asked_ms > before_ms:
            break
        effects.append(TicketOver(user))
    return Outcome(effects=effects, sends=sends)


def _parts(
    tickets: CenterTickets, telling: Telling, env: Env
) -> tuple[list[TicketsAll], int | None]:
    """The next parts, and where to go on; None: that was all. Who left meanwhile is left out."""
    content: Content = env.content
    limits = content.matching.limits
    parts: list[TicketsAll] = []
    at = telling.at
    while len(parts) < limits.told_parts_max:
        users = telling.users[at : at + limits.told_rows_max]
        at += limits.told_rows_max
        last = at >= len(telling.users)
        rows = [row_of(held) for user in users if (held := tickets.get(user)) is not None]
        parts.append(TicketsAll(telling.round, rows, last))
        if last:
            return parts, None
    return parts, at


@handles(Op.RAID_QUEUE_LEFT, by="node", needs=("sessions", "servers", "tickets"))
def left(
    message: RaidQueueLeft,
    *,
    sessions: Sessions,
    servers: Servers,
    tickets: CenterTickets,
    env: Env,
) -> Outcome:
    """His connection or his session ended: he waits no more. One who came back and waits by his
    new connection goes on."""
    user = message.user
    session, held = sessions.get(user), tickets.get(user)
    effects: list[TicketsEffect] = []
    if session is None:
        effects.append(PlayerGone(user))
    if held is None or (
        session is not None
        and (session.conn, session.session_epoch) == (held.conn, held.session_epoch)
    ):
        return Outcome(effects=effects)
    effects.append(TicketOver(user))
    number = matching_number(servers, env)
    notice = (ToNode(number, TicketCancel(0, user, held.ticket)),) if number else ()
    return Outcome(effects=effects, sends=notice)
