"""A seat at a raid server: the token for it, back into a running raid, and free again.

Owns PREPARE of seats at the center. A token is told only after its row is written; a newer one
voids the older. The seat belongs to the player, so it is told to whatever session of his is here.
"""

from mmo.content import Content
from mmo.contract import (
    Env,
    Outcome,
    Refuse,
    Send,
    Tell,
    ToNode,
    ToUser,
    handles,
)
from mmo.state.center_tickets import (
    CenterTickets,
    SeatOver,
    SeatTold,
    TicketOver,
    TicketsEffect,
)
from mmo.state.raid import RaidSeatPrepared
from mmo.state.servers import Servers
from mmo.state.sessions import Session, Sessions
from mmo.systems.raid_entry import matching_number, seen_as
from mmo.systems.tokens import RAID, new_jti, player_claims, sign
from mmo.wire.messages.raid_link import RaidOver, RaidTeamFailed, RaidTeamFound, TicketCancel
from mmo.wire.messages.raid_queue import RaidFreed, RaidMatched, RaidRejoinCarded, RaidUnmatched
from mmo.wire.opcode import Code, Op


@handles(
    Op.RAID_TEAM_FOUND,
    by="peer",
    peers=("matching", "raid"),
    needs=("sessions", "servers", "tickets"),
    lane="user",
)
def team_found(
    message: RaidTeamFound,
    *,
    sessions: Sessions,
    servers: Servers,
    tickets: CenterTickets,
    env: Env,
) -> Outcome:
    """His seat is kept: PREPARE it and tell him. From a matching server once; from a raid server
    that took the raid over each time."""
    user = message.user
    session = sessions.get(user)
    by_matching = _by_matching(servers, env)
    sends: list[Send] = []
    held = tickets.get(user)
    number = matching_number(servers, env)
    if held is not None and number not in (0, env.sender.peer):
        sends.append(ToNode(number, TicketCancel(0, user, held.ticket)))
    over = (TicketOver(user),)
    told = tickets.seats.get(user) == (message.raid, message.number)
    if session is None or (by_matching and told):
        return Outcome(effects=over, sends=sends)
    matched, row = _prepared(message, session, env)
    return Outcome(
        row=row,
        row_refused=Outcome(
            effects=over,
            sends=(
                *sends,
                ToUser(user, RaidUnmatched(Code.RAID_NOT_RUNNING)),
                *seen_as(session, "online", env),
            ),
        ),
        effects=(*over, SeatTold(user, message.raid, message.number)),
        sends=(*sends, ToUser(user, matched), *seen_as(session, "raid", env)),
    )


def _by_matching(servers: Servers, env: Env) -> bool:
    """Whether a matching server speaks."""
    told = servers.loads.get(env.sender.peer)
    return told is None or told.role == "matching"


def _prepared(
    seat: RaidTeamFound, session: Session, env: Env
) -> tuple[RaidMatched, RaidSeatPrepared]:
    """The token of a seat and the row that makes it the only one."""
    content: Content = env.content
    jti, life_s = new_jti(env), content.tokens.raid_s
    user, epoch = session.user, session.session_epoch
    claims = {
        **player_claims(user, session.name, epoch),
        "room": seat.raid,
        "seat": seat.seat,
    }
    token = sign(env, RAID, str(seat.number), claims, life_s, jti)
    return (
        RaidMatched(seat.raid, seat.kind, seat.seat, seat.number, seat.host, seat.port, token),
        RaidSeatPrepared(seat.raid, user, epoch, jti, env.now_ms + life_s * 1000),
    )


@handles(
    Op.RAID_TEAM_FAILED, by="peer", peers=("matching",), needs=("sessions", "tickets"), lane="user"
)
def team_failed(
    message: RaidTeamFailed, *, sessions: Sessions, tickets: CenterTickets, env: Env
) -> Outcome:
    """His ticket is gone without a raid."""
    held, session = tickets.get(message.user), sessions.get(message.user)
    if held is None or held.ticket != message.ticket:
        return Outcome()
    effects = (TicketOver(message.user),)
    if session is None:
        return Outcome(effects=effects)
    return Outcome(
        effects=effects,
        sends=(
            ToUser(message.user, RaidUnmatched(message.code)),
            *seen_as(session, "online", env),
        ),
    )


@handles(Op.RAID_REJOIN_CARDED, by="node", needs=("sessions", "servers"))
def rejoin(
    message: RaidRejoinCarded, *, sessions: Sessions, servers: Servers, env: Env
) -> Outcome | Refuse:
    """A fresh token for the raid that the sender is a member of, wherever it runs now."""
    content: Content = env.content
    session = sessions.get(env.sender.user)
    if session is None:
        return Refuse(Code.NOT_ENTERED)
    if not message.raid:
        return Refuse(Code.NOT_IN_RAID)
    server = servers.loads.get(message.number)
    fresh_ms = env.now_ms - content.matching.limits.server_fresh_ms
    if server is None or server.role != "raid" or server.seen_ms < fresh_ms:
        return Refuse(Code.SERVER_AWAY)  # soon another takes the raid over, or settles it
    seat = RaidTeamFound(
        user=session.user,
        session_epoch=session.session_epoch,
        ticket=0,
        raid=message.raid,
        kind=message.kind,
        number=message.number,
        host=server.host,
        port=server.port,
        seat=message.seat,
    )
    matched, row = _prepared(seat, session, env)
    return Outcome(
        replies=(matched,),
        row=row,
        row_refused=Refuse(Code.NOT_IN_RAID),
        effects=(
            TicketOver(session.user),
            SeatTold(session.user, message.raid, message.number),
        ),
        sends=seen_as(session, "raid", env),
    )


@handles(Op.RAID_OVER, by="peer", peers=("raid",), needs=("sessions",))
def raid_over(message: RaidOver, *, sessions: Sessions, env: Env) -> Outcome:
    """A raid is settled: into the lane of each member who is here, behind a seat that is still
    being prepared."""
    freed = RaidFreed(message.raid, message.finished)
    here = [user for user in message.users if sessions.get(user) is not None]
    return Outcome(tells=tuple(Tell(user, freed) for user in here))


@handles(Op.RAID_FREED, by="node", needs=("sessions", "tickets"))
def freed(message: RaidFreed, *, sessions: Sessions, tickets: CenterTickets, env: Env) -> Outcome:
    """He may queue again."""
    user = env.sender.user
    session = sessions.get(user)
    effects: tuple[TicketsEffect, ...] = ()
    if tickets.seats.get(user, (0, 0))[0] == message.raid:
        effects = (SeatOver(user),)
    if session is None:
        return Outcome(effects=effects)
    return Outcome(
        effects=effects,
        sends=(ToUser(user, message), *seen_as(session, "online", env)),
    )
