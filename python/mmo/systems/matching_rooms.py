"""Rooms at raid servers: seats kept, refused, too late, given up; who lives and who fell silent.

Owns the way of a team from the question for its seats to the message for each member's center, or
back into the queue. A seat is never given twice: a team whose answer came too late waits until the
raid server gave the seats up, and the books refuse a member of an unsettled raid.
"""

from msgspec.structs import replace

from mmo.content import Content
from mmo.contract import Env, Outcome, Send, ToNode, ToRole, handles, ticks
from mmo.state.match_effects import (
    CenterHeard,
    CenterLost,
    EndedForgotten,
    ListingDropped,
    MatchingEffect,
    PlacesForgotten,
    RaidServerRests,
    RaidServerTold,
    TeamReleased,
    TeamReturned,
    TeamSeated,
)
from mmo.state.match_tickets import MatchTickets, Team
from mmo.systems.center_loads import load_of
from mmo.wire.messages.link import ServerLoad
from mmo.wire.messages.raid_link import (
    RaidOver,
    RaidRelease,
    RaidReserved,
    RaidTeamFailed,
    RaidTeamFound,
    TicketsHeld,
)
from mmo.wire.opcode import Code, Op

LOST_A_LOOK_MAX = 2_000
"""Tickets of a silent center that are dropped in one look, so that nobody waits for a long one."""


@handles(Op.SERVER_LOAD, by="peer", peers=("center", "raid"), needs=("matching",))
def server_load(message: ServerLoad, *, matching: MatchTickets, env: Env) -> Outcome:
    """A raid server's rooms, or the sign of life of a center."""
    effect: MatchingEffect
    if message.role == "raid":
        effect = RaidServerTold(
            message.number, message.users_max, message.users, message.open, env.now_ms
        )
    else:
        effect = CenterHeard(message.number, env.now_ms)
    return Outcome(effects=(effect,))


@handles(Op.RAID_RESERVED, by="peer", peers=("raid",), needs=("matching",))
def reserved(message: RaidReserved, *, matching: MatchTickets, env: Env) -> Outcome:
    """The seats are kept: tell the members' centers. Or they are not: the members wait again, but
    for those whom the books refuse."""
    content: Content = env.content
    team = matching.forming.get(message.raid)
    if team is None or team.number != env.sender.peer or (team.releasing and message.held):
        release = (ToNode(env.sender.peer, RaidRelease(message.raid)),) if message.held else ()
        return Outcome(sends=release)
    if message.held:
        return Outcome(
            effects=(TeamSeated(team.raid, message.host, message.port, env.now_ms),),
            sends=_found(team, message, matching, env),
        )
    busy = tuple(ticket.user for ticket in team.tickets if ticket.user in message.busy)
    effects: list[MatchingEffect] = [
        TeamReturned(team.raid, busy, Code.ALREADY_IN_RAID, env.now_ms)
    ]
    if not busy and not team.releasing:
        rests_until_ms = env.now_ms + content.matching.limits.rest_ms
        effects.append(RaidServerRests(team.number, rests_until_ms))
    sends = [
        ToNode(ticket.center, RaidTeamFailed(ticket.user, ticket.ticket, Code.ALREADY_IN_RAID))
        for ticket in team.tickets
        if ticket.user in busy
    ]
    return Outcome(effects=effects, sends=sends)


def _found(team: Team, message: RaidReserved, matching: MatchTickets, env: Env) -> list[Send]:
    """To the center of each member; when that one is silent, to all: his session may be at
    another by now."""
    sends: list[Send] = []
    for seat, ticket in enumerate(team.tickets):
        found = RaidTeamFound(
            user=ticket.user,
            session_epoch=ticket.session_epoch,
            ticket=ticket.ticket,
            raid=team.raid,
            kind=team.kind,
            number=message.number,
            host=message.host,
            port=message.port,
            seat=seat,
        )
        if _lives(matching, ticket.center, env):
            sends.append(ToNode(ticket.center, found))
        else:
            sends.append(ToRole("center", found))
    return sends


def _lives(matching: MatchTickets, center: int, env: Env) -> bool:
    content: Content = env.content
    held = matching.centers.get(center)
    fresh_ms = env.now_ms - content.matching.limits.center_fresh_ms
    return held is not None and held.heard_ms >= fresh_ms


@handles(Op.RAID_OVER, by="peer", peers=("raid",), needs=("matching",))
def raid_over(message: RaidOver, *, matching: MatchTickets, env: Env) -> Outcome:
    """A raid is settled. When its team waits for that here, it may be matched again."""
    if message.raid not in matching.forming:
        return Outcome()
    return Outcome(effects=(TeamReturned(message.raid),))


@ticks(every_ms=250, of="matching")
def watch(matching: MatchTickets, *, env: Env) -> Outcome:
    """Tell the centers that this server lives, and end what took too long."""
    content: Content = env.content
    limits, now_ms = content.matching.limits, env.now_ms
    load = load_of(env, len(matching.tickets), 0)
    sends: list[Send] = [ToRole("center", load)]
    effects: list[MatchingEffect] = []
    for team in matching.forming.values():
        if team.over_ms > now_ms:
            continue
        if team.releasing:
            effects.append(TeamReturned(team.raid))
            continue
        over_ms = now_ms + limits.release_ms
        effects.append(TeamReleased(replace(team, over_ms=over_ms, releasing=True)))
        effects.append(RaidServerRests(team.number, now_ms + limits.rest_ms))
        sends.append(ToNode(team.number, RaidRelease(team.raid)))
    silent_ms = now_ms - limits.center_fresh_ms
    for number, held in matching.centers.items():
        if held.heard_ms < silent_ms:
            effects.append(CenterLost(number, LOST_A_LOOK_MAX, now_ms))
        elif held.listing is not None and held.listing.heard_ms < silent_ms:
            effects.append(ListingDropped(number))
    return Outcome(effects=effects, sends=sends)


@ticks(every_ms=1000, of="matching")
def tell_held(matching: MatchTickets, *, env: Env) -> Outcome:
    """Tell each center what is held of it, ask again for seats to be given up, and forget old
    ends and places."""
    content: Content = env.content
    node = env.node
    sends: list[Send] = [
        ToNode(number, TicketsHeld(node.number, node.incarnation, len(held.users), held.ticket_sum))
        for number, held in matching.centers.items()
    ]
    sends += [
        ToNode(team.number, RaidRelease(team.raid))
        for team in matching.forming.values()
        if team.releasing
    ]
    limits = content.matching.limits
    effects: list[MatchingEffect] = []
    if matching.ended:
        effects.append(EndedForgotten(env.now_ms - limits.ended_kept_ms))
    if matching.places:
        effects.append(PlacesForgotten(env.now_ms - limits.place_kept_ms))
    return Outcome(effects=effects, sends=sends)
