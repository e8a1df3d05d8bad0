"""Tickets at the matching server: put, cancelled, handed in again, explained; and the teams' tick.

Owns who waits. One ticket a player in the whole cluster: a newer session or a newer ticket replaces
the older; whether he may enter a raid at all is for the books to say when the room is opened.
Seats and rooms are `matching_rooms`.
"""

from mmo.content import Content
from mmo.contract import Env, Outcome, Send, ToNode, handles, ticks
from mmo.state.match_effects import (
    CenterHeard,
    MatchingEffect,
    TeamsFormed,
    TicketDropped,
    TicketPutIn,
    TicketsListed,
)
from mmo.state.match_tickets import Ended, MatchTickets, Team, Ticket
from mmo.systems.matching_teams import form_teams, free_rooms
from mmo.wire.messages.raid_link import (
    RaidReserve,
    RaidTeamFailed,
    RaidTeamFound,
    Seated,
    TicketCancel,
    TicketCancelled,
    TicketExplain,
    TicketExplained,
    TicketPut,
    TicketPutOk,
    TicketRow,
    TicketsAll,
)
from mmo.wire.opcode import Code, Op

TOLD_AGAIN_MS = 2_000
"""A center that lists a ticket so long after its end did not hear of the end."""


@handles(Op.TICKET_PUT, by="peer", peers=("center",), needs=("matching",))
def put(message: TicketPut, *, matching: MatchTickets, env: Env) -> Outcome:
    """Let a player wait, or say why not."""
    row, center = message.row, env.sender.peer
    code = put_refusal(row, matching, env)
    if code:
        return Outcome(replies=(TicketPutOk(message.request, row.ticket, code, 0, -1),))
    ticket = ticket_of(row, center, matching, env)
    estimate_ms = estimate(matching, ticket.kind, ticket.group, env)
    ok = TicketPutOk(message.request, row.ticket, 0, ticket.group, estimate_ms, ticket.since_ms)
    return Outcome(
        replies=(ok,),
        effects=(CenterHeard(center, env.now_ms), TicketPutIn(ticket)),
        sends=_replaced(matching, ticket),
    )


def ticket_of(row: TicketRow, center: int, matching: MatchTickets, env: Env) -> Ticket:
    """A ticket as it waits here. Who was taken out of the queue a moment ago, by the end of his
    connection or of a center or with a refused team, has his place again."""
    content: Content = env.content
    ticket = Ticket(
        ticket=row.ticket,
        user=row.user,
        session_epoch=row.session_epoch,
        center=center,
        kind=row.kind,
        group=content.matching.group_of(row.level),
        level=row.level,
        attack=row.attack,
        since_ms=row.since_ms,
        name=row.name,
        party=row.party,
        party_size=row.party_size if row.party else 0,
        asked_ms=row.asked_ms or row.since_ms,
    )
    return matching.in_place(ticket, env.now_ms - content.matching.limits.place_kept_ms)


def put_refusal(row: TicketRow, matching: MatchTickets, env: Env, joining: int = 0) -> int:
    """Why this ticket cannot wait here; 0: it can. `joining`: others who come into his party with
    the same message."""
    content: Content = env.content
    kind = content.raids.kinds.get(row.kind)
    if kind is None:
        return Code.RAID_KIND_UNKNOWN
    held = matching.tickets.get(row.user)
    if row.user in matching.team_of:
        return Code.ALREADY_MATCHED
    if held is not None and held.session_epoch > row.session_epoch:
        return Code.SESSION_OVER
    if row.party and not _party_takes(row, kind.team_size, matching, joining):
        return Code.PARTY_INVALID
    if held is None and len(matching.tickets) >= content.matching.limits.tickets_max:
        return Code.BUSY
    return 0


def _party_takes(row: TicketRow, team_size: int, matching: MatchTickets, joining: int) -> bool:
    if not 2 <= row.party_size <= team_size:
        return False
    members = matching.parties.get((row.kind, row.party), {})
    others = [ticket for user, ticket in members.items() if user != row.user]
    return len(others) + joining < row.party_size and all(
        ticket.party_size == row.party_size for ticket in others
    )


def _replaced(matching: MatchTickets, ticket: Ticket) -> tuple[Send, ...]:
    """Tell another center that its ticket of the same player is over."""
    held = matching.tickets.get(ticket.user)
    if held is None or held.ticket == ticket.ticket or held.center == ticket.center:
        return ()
    return (ToNode(held.center, RaidTeamFailed(held.user, held.ticket, Code.SESSION_OVER)),)


def estimate(matching: MatchTickets, kind: int, group: int, env: Env) -> int:
    """The waiting time to expect in ms, -1 when nobody was matched lately."""
    content: Content = env.content
    waited = matching.waited.get((kind, group))
    if waited is None or waited.at_ms < env.now_ms - content.matching.limits.estimate_fresh_ms:
        return -1
    return round(waited.mean_ms)


@handles(Op.TICKET_CANCEL, by="peer", peers=("center",), needs=("matching",))
def cancel(message: TicketCancel, *, matching: MatchTickets, env: Env) -> Outcome:
    """He waits no more. One whose team is formed gets his seat; only when no room is found does he
    not come back into the queue."""
    held = matching.tickets.get(message.user)
    mine = held is not None and held.ticket == message.ticket
    in_team = mine and message.user in matching.team_of
    seated = message.ticket in matching.ended and matching.ended[message.ticket].raid != 0
    effects: tuple[MatchingEffect, ...] = ()
    if mine and not (in_team and message.request):
        effects = (TicketDropped(message.user, 0 if message.request else env.now_ms),)
    if not message.request:
        return Outcome(effects=effects)
    left = not (in_team or seated)
    return Outcome(
        replies=(TicketCancelled(message.request, message.ticket, left),), effects=effects
    )


@handles(Op.TICKETS_ALL, by="peer", peers=("center",), needs=("matching",))
def listed(message: TicketsAll, *, matching: MatchTickets, env: Env) -> Outcome:
    """A part of all tickets of a center: what is missing here waits again where it stood; what
    ended and was not heard of is told again."""
    center = env.sender.peer
    told: list[int] = []
    missing: dict[int, Ticket] = {}
    sends: list[Send] = []
    for row in message.rows:
        told.append(row.ticket)
        held = matching.tickets.get(row.user)
        ended = matching.ended.get(row.ticket)
        if held is not None and held.ticket == row.ticket:
            continue
        if ended is not None:
            if ended.ended_ms <= env.now_ms - TOLD_AGAIN_MS:
                sends.append(ToNode(center, told_end(row.ticket, ended)))
            continue
        ticket = ticket_of(row, center, matching, env)
        newer = (
            held is not None
            and held.center != center  # of its own players a center knows the newest
            and (held.session_epoch, held.asked_ms, held.ticket)
            > (ticket.session_epoch, ticket.asked_ms, ticket.ticket)
        )
        joining = sum(one.party == row.party != "" for one in missing.values())
        code = Code.SESSION_OVER if newer else put_refusal(row, matching, env, joining)
        if code == Code.ALREADY_MATCHED:
            continue  # an older ticket of his is in a team: its end decides
        if code:
            sends.append(ToNode(center, RaidTeamFailed(row.user, row.ticket, code)))
            continue
        missing[row.user] = ticket
        sends += _replaced(matching, ticket)
    put_in = tuple(missing.values())
    return Outcome(
        effects=(
            CenterHeard(center, env.now_ms),
            TicketsListed(center, message.round, tuple(told), put_in, message.last, env.now_ms),
        ),
        sends=sends,
    )


def told_end(ticket: int, ended: Ended) -> RaidTeamFound | RaidTeamFailed:
    """The message to its center that ends a ticket."""
    if not ended.raid:
        return RaidTeamFailed(ended.user, ticket, ended.code)
    return RaidTeamFound(
        user=ended.user,
        session_epoch=ended.session_epoch,
        ticket=ticket,
        raid=ended.raid,
        kind=ended.kind,
        number=ended.number,
        host=ended.host,
        port=ended.port,
        seat=ended.seat,
    )


@handles(Op.TICKET_EXPLAIN, by="peer", peers=("center",), needs=("matching",))
def explain(message: TicketExplain, *, matching: MatchTickets, env: Env) -> Outcome:
    """Which rule keeps a player waiting, how many could play with him, when his window widens."""
    content: Content = env.content
    ticket = matching.tickets.get(message.user)
    kind = content.raids.kinds.get(ticket.kind) if ticket is not None else None
    if ticket is None or kind is None:
        return Outcome(replies=(TicketExplained(message.request, False),))
    unit = matching.unit_of.get(message.user)
    curve = content.matching.curve_of(ticket.kind)
    group = ticket.group if unit is None else unit.group
    since_ms = ticket.since_ms if unit is None else unit.since_ms
    waited_ms = max(0, env.now_ms - since_ms)
    reach = curve.reach_at(waited_ms)
    low = max(1, group - reach)
    high = max(group, min(len(content.matching.limits.group_level_min), group + reach))
    candidates = sum(
        len(line.queue) * key[2]
        for key, line in matching.lines.items()
        if key[0] == ticket.kind and low <= key[1] <= high
    )
    candidates -= 0 if unit is None else unit.size
    if unit is None and message.user not in matching.team_of:
        members = matching.parties[ticket.kind, ticket.party]
        rule, missing = "party", ticket.party_size - len(members)
    elif unit is None or not free_rooms(matching, env):
        rule, missing = "rooms", 0
    else:
        rule, missing = "players", max(1, kind.team_size - unit.size - candidates)
    return Outcome(
        replies=(
            TicketExplained(
                request=message.request,
                waits=True,
                kind=ticket.kind,
                group=group,
                group_low=low,
                group_high=high,
                rule=rule,
                candidates=candidates,
                missing=missing,
                waited_ms=max(0, env.now_ms - ticket.since_ms),
                widens_in_ms=curve.widens_in_ms(waited_ms),
                estimate_ms=estimate(matching, ticket.kind, ticket.group, env),
            ),
        )
    )


@ticks(every_ms=50, of="matching")
def match(matching: MatchTickets, *, env: Env) -> Outcome:
    """Form the teams that are possible and ask for their seats. A server that goes down forms
    none: what it asked for nobody would hear of."""
    if env.node.draining:
        return Outcome()
    teams, tried = form_teams(matching, env)
    if not teams and not tried:
        return Outcome()
    return Outcome(
        effects=(TeamsFormed(tuple(teams), tuple(tried)),),
        sends=tuple(ToNode(team.number, reserve(team)) for team in teams),
    )


def reserve(team: Team) -> RaidReserve:
    """The question for the seats of a team."""
    return RaidReserve(
        team.raid,
        team.kind,
        [
            Seated(
                user=ticket.user,
                session_epoch=ticket.session_epoch,
                center=ticket.center,
                ticket=ticket.ticket,
                name=ticket.name,
                level=ticket.level,
                attack=ticket.attack,
            )
            for ticket in team.tickets
        ],
    )
