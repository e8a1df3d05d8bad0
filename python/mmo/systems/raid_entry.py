"""The way into the queue and out of it, at the center: wish, ticket, cancel, explain, party.

Owns the checks before a ticket is made, from the card that the edge read in the store; the books
judge again when the room is opened. Tickets wait at the matching server; who has none of him is
told so. What ends a ticket otherwise is `raid_tokens` and `raid_tickets`.
"""

from mmo.content import Content
from mmo.contract import Ask, Env, Outcome, Presence, Refuse, Send, handles
from mmo.state.center_tickets import (
    CenterTickets,
    HeldTicket,
    TicketAsked,
    TicketConfirmed,
    TicketOver,
)
from mmo.state.servers import Servers
from mmo.state.sessions import Session, Sessions
from mmo.systems.inventory import attack_power_of
from mmo.wire.messages.raid_link import (
    TicketCancel,
    TicketCancelled,
    TicketExplain,
    TicketExplained,
    TicketPut,
    TicketPutOk,
    TicketRow,
)
from mmo.wire.messages.raid_queue import (
    RaidCancel,
    RaidCancelOk,
    RaidExplain,
    RaidExplainOk,
    RaidParty,
    RaidPartyOk,
    RaidQueueCarded,
    RaidQueueOk,
)
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code, Op

PARTY_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""32 letters that nobody takes for another."""

PARTY_LENGTH = 10


def matching_number(servers: Servers, env: Env) -> int:
    """The matching server that all centers ask: the lowest that lives; 0: none does."""
    content: Content = env.content
    fresh_ms = env.now_ms - content.matching.limits.server_fresh_ms
    for server in servers.of_role("matching"):
        if server.open and server.seen_ms >= fresh_ms:
            return server.number
    return 0


def seen_as(session: Session, state: str, env: Env) -> tuple[Send, ...]:
    """Publish what a player of the lobby does; elsewhere his server speaks for him."""
    if session.place not in (0, env.node.number):
        return ()
    return (Presence(session.user, state, env.node.number),)  # type: ignore[arg-type]


@handles(Op.RAID_QUEUE_CARDED, by="node", needs=("sessions", "servers", "tickets"))
def queue(
    message: RaidQueueCarded,
    *,
    sessions: Sessions,
    servers: Servers,
    tickets: CenterTickets,
    env: Env,
) -> Outcome | Refuse:
    """Make a ticket and ask the matching server to let it wait."""
    content: Content = env.content
    session = sessions.get(env.sender.user)
    if session is None:
        return Refuse(Code.NOT_ENTERED)
    refusal = _refusal(message, session, tickets, env)
    if refusal is not None:
        return refusal
    number = matching_number(servers, env)
    if not number:
        return Refuse(Code.MATCHING_AWAY)
    held = HeldTicket(
        ticket=env.new_uid(),
        user=session.user,
        session_epoch=session.session_epoch,
        conn=env.sender.conn,
        kind=message.kind,
        level=message.level,
        attack=attack_power_of(content, message.worn, env.now_ms),
        since_ms=env.now_ms,
        name=message.name,
        party=message.party,
        party_size=message.party_size,
        asked_ms=env.now_ms,
    )
    ask = Ask(
        number,
        TicketPut(0, row_of(held)),
        Code.MATCHING_AWAY,
        content.matching.limits.ask_ms,
    )
    return Outcome(effects=(TicketAsked(held),), asks=(ask,))


def row_of(held: HeldTicket) -> TicketRow:
    """A ticket as the matching server is told of it."""
    return TicketRow(
        ticket=held.ticket,
        user=held.user,
        session_epoch=held.session_epoch,
        kind=held.kind,
        level=held.level,
        attack=held.attack,
        since_ms=held.since_ms,
        name=held.name,
        party=held.party,
        party_size=held.party_size,
        asked_ms=held.asked_ms,
    )


def _refusal(
    message: RaidQueueCarded, session: Session, tickets: CenterTickets, env: Env
) -> Refuse | None:
    """Why this player cannot wait for this raid."""
    content: Content = env.content
    kind = content.raids.kinds.get(message.kind)
    if message.session_epoch != session.session_epoch:
        return Refuse(Code.SESSION_OVER)
    if kind is None:
        return Refuse(Code.RAID_KIND_UNKNOWN)
    if message.raid:
        return Refuse(Code.ALREADY_IN_RAID)
    held = tickets.waits(session.user)
    if held is not None and held.session_epoch == session.session_epoch:
        return Refuse(Code.ALREADY_QUEUED)
    if message.level < kind.level_min:
        return Refuse(Code.RAID_LEVEL_MISSING, str(kind.level_min))
    if kind.entries_per_day and message.entries >= kind.entries_per_day:
        return Refuse(Code.RAID_ENTRIES_SPENT)
    in_party = bool(message.party)
    if in_party != bool(message.party_size) or (
        in_party and not 2 <= message.party_size <= kind.team_size
    ):
        return Refuse(Code.PARTY_INVALID)
    return None


@handles(Op.TICKET_PUT_OK, by="node", needs=("sessions", "tickets"))
def queued(
    message: TicketPutOk, *, sessions: Sessions, tickets: CenterTickets, env: Env
) -> Outcome | Refuse:
    """The matching server's word."""
    user = env.sender.user
    session, held = sessions.get(user), tickets.get(user)
    if session is None or held is None or held.ticket != message.ticket:
        return Refuse(Code.RETRY_LATER)  # given up meanwhile; what waits there is not told again
    if message.code:
        return Outcome(replies=(Refused(message.code),), effects=(TicketOver(user),))
    return Outcome(
        replies=(RaidQueueOk(message.ticket, message.group, message.estimate_ms),),
        effects=(TicketConfirmed(user, message.since_ms or held.since_ms),),
        sends=seen_as(session, "queued", env),
    )


@handles(Op.RAID_CANCEL, needs=("sessions", "servers", "tickets"))
def cancel(
    message: RaidCancel,
    *,
    sessions: Sessions,
    servers: Servers,
    tickets: CenterTickets,
    env: Env,
) -> Outcome | Refuse:
    """Ask for the ticket back. While no matching server lives nobody is matched: it is only not
    handed in again."""
    content: Content = env.content
    user = env.sender.user
    session, held = sessions.get(user), tickets.waits(user)
    if session is None:
        return Refuse(Code.NOT_ENTERED)
    if held is None:
        return Refuse(Code.NOT_QUEUED)
    number = matching_number(servers, env)
    if not number:
        return Outcome(
            replies=(RaidCancelOk(),),
            effects=(TicketOver(user),),
            sends=seen_as(session, "online", env),
        )
    ask = Ask(
        number,
        TicketCancel(0, user, held.ticket),
        Code.MATCHING_AWAY,
        content.matching.limits.ask_ms,
    )
    return Outcome(asks=(ask,))


@handles(Op.TICKET_CANCELLED, by="node", needs=("sessions", "tickets"))
def cancelled(
    message: TicketCancelled, *, sessions: Sessions, tickets: CenterTickets, env: Env
) -> Outcome | Refuse:
    """The matching server's word: out of the queue, or too late."""
    user = env.sender.user
    session, held = sessions.get(user), tickets.get(user)
    if not message.left:
        return Refuse(Code.ALREADY_MATCHED)
    mine = held is not None and held.ticket == message.ticket
    return Outcome(
        replies=(RaidCancelOk(),),
        effects=(TicketOver(user),) if mine else (),
        sends=seen_as(session, "online", env) if mine and session is not None else (),
    )


@handles(Op.RAID_EXPLAIN, needs=("servers", "tickets"))
def explain(
    message: RaidExplain, *, servers: Servers, tickets: CenterTickets, env: Env
) -> Outcome | Refuse:
    """Ask the matching server why the sender still waits."""
    content: Content = env.content
    user = env.sender.user
    if tickets.waits(user) is None:
        return Refuse(Code.NOT_QUEUED)
    number = matching_number(servers, env)
    if not number:
        return Refuse(Code.MATCHING_AWAY)
    ask_ms = content.matching.limits.ask_ms
    return Outcome(asks=(Ask(number, TicketExplain(0, user), Code.MATCHING_AWAY, ask_ms),))


@handles(Op.TICKET_EXPLAINED, by="node")
def explained(message: TicketExplained, *, env: Env) -> Outcome | Refuse:
    """The matching server's answer, for the one who asked. One that does not know the ticket lost
    it and is told of it soon."""
    if not message.waits:
        return Refuse(Code.MATCHING_AWAY)
    return Outcome(
        replies=(
            RaidExplainOk(
                kind=message.kind,
                group=message.group,
                group_low=message.group_low,
                group_high=message.group_high,
                rule=message.rule,
                candidates=message.candidates,
                missing=message.missing,
                waited_ms=message.waited_ms,
                widens_in_ms=message.widens_in_ms,
                estimate_ms=message.estimate_ms,
            ),
        )
    )


@handles(Op.RAID_PARTY)
def party(message: RaidParty, *, env: Env) -> Outcome:
    """A party code that nobody guesses; it means nothing until friends wait under it."""
    code = "".join(env.rng.choice(PARTY_LETTERS) for _ in range(PARTY_LENGTH))
    return Outcome(replies=(RaidPartyOk(code),))
