"""What may change at a matching server: the effects on the state `matching`.

Owns nothing of its own; each effect says one fact that a rule of `systems.matching*` decided.
"""

from collections.abc import Callable
from itertools import islice, takewhile
from typing import Any, ClassVar

from mmo.state.change import Effect
from mmo.state.match_tickets import (
    Ended,
    LineKey,
    Listing,
    MatchTickets,
    Team,
    Ticket,
    Waited,
)

MEAN_OF = 16
"""A moving mean moves by the 16th part of each difference."""


class MatchingEffect(Effect, frozen=True):
    """Base of the effects on `matching`."""

    of: ClassVar[str] = "matching"


class TicketPutIn(MatchingEffect, frozen=True):
    """A player waits from now on; his older ticket is replaced."""

    ticket: Ticket

    def apply(self, state: Any) -> None:
        state.put(self.ticket)


class TicketDropped(MatchingEffect, frozen=True):
    """A player waits no more. `left_ms`: not by his own wish, so that his place is kept."""

    user: int
    left_ms: int = 0

    def apply(self, state: Any) -> None:
        state.drop(self.user, self.left_ms)


class TicketsListed(MatchingEffect, frozen=True):
    """One part of all tickets of a center: those told, and those of them that were not held."""

    center: int
    round: int
    told: tuple[int, ...]
    put: tuple[Ticket, ...]
    last: bool
    now_ms: int

    def apply(self, state: Any) -> None:
        held = state.center(self.center)
        if held.listing is None or held.listing.round != self.round:
            held.listing = Listing(self.round, set(), set(), self.now_ms)
        held.listing.heard_ms = self.now_ms
        held.listing.heard.update(self.told)
        for ticket in self.put:
            state.put(ticket)
        if self.last:
            kept = held.listing.heard | held.listing.put_since
            held.listing = None
            for user in [user for ticket, user in held.users.items() if ticket not in kept]:
                state.drop(user, self.now_ms)


class ListingDropped(MatchingEffect, frozen=True):
    """Its rest does not come: what was told counts, and nobody is dropped for what was not."""

    center: int

    def apply(self, state: Any) -> None:
        state.centers[self.center].listing = None


class TeamsFormed(MatchingEffect, frozen=True):
    """The teams of one tick, and the lines that were tried in vain, with the time at which a team
    may become possible there."""

    teams: tuple[Team, ...]
    tried: tuple[tuple[LineKey, int], ...]

    def apply(self, state: Any) -> None:
        for team in self.teams:
            state.form(team)
        for key, due_ms in self.tried:
            state.lines[key].due_ms = due_ms


class TeamSeated(MatchingEffect, frozen=True):
    """The raid server keeps the seats: the tickets are over."""

    raid: int
    host: str
    port: int
    now_ms: int

    def apply(self, state: Any) -> None:
        team = state.end(self.raid)
        for unit in team.units:
            _measure(state, unit.kind, unit.group, team.asked_ms - unit.since_ms, self.now_ms)
        state.seat(
            team,
            [
                Ended(
                    user=ticket.user,
                    session_epoch=ticket.session_epoch,
                    ended_ms=self.now_ms,
                    raid=team.raid,
                    kind=team.kind,
                    number=team.number,
                    host=self.host,
                    port=self.port,
                    seat=seat,
                )
                for seat, ticket in enumerate(team.tickets)
            ],
        )


def _measure(state: MatchTickets, kind: int, group: int, waited_ms: int, now_ms: int) -> None:
    known = state.waited.get((kind, group))
    mean_ms = float(max(0, waited_ms))
    if known is not None:
        mean_ms = known.mean_ms + (mean_ms - known.mean_ms) / MEAN_OF
    state.waited[kind, group] = Waited(mean_ms, now_ms)


class TeamReleased(MatchingEffect, frozen=True):
    """The answer came too late: the team waits until the seats are given up, or `over_ms`."""

    team: Team  # as it stands from now on

    def apply(self, state: Any) -> None:
        state.forming[self.team.raid] = self.team


class TeamReturned(MatchingEffect, frozen=True):
    """No seats: the members wait again, but for the refused."""

    raid: int
    refused: tuple[int, ...] = ()
    code: int = 0
    now_ms: int = 0

    def apply(self, state: Any) -> None:
        team = state.end(self.raid)
        refused = {
            ticket.user: Ended(ticket.user, ticket.session_epoch, self.now_ms, code=self.code)
            for ticket in team.tickets
            if ticket.user in self.refused
        }
        state.put_back(team, refused)


class RaidServerTold(MatchingEffect, frozen=True):
    """A raid server told its rooms."""

    number: int
    rooms: int
    taken: int
    open: bool
    seen_ms: int

    def apply(self, state: Any) -> None:
        server = state.server(self.number)
        server.rooms, server.taken, server.open = self.rooms, self.taken, self.open
        server.seen_ms = self.seen_ms
        server.unreported = 0


class RaidServerRests(MatchingEffect, frozen=True):
    """A raid server said no: it is not asked again before."""

    number: int
    until_ms: int

    def apply(self, state: Any) -> None:
        state.server(self.number).rests_until_ms = self.until_ms


class CenterHeard(MatchingEffect, frozen=True):
    """A center lives."""

    number: int
    heard_ms: int

    def apply(self, state: Any) -> None:
        state.center(self.number).heard_ms = self.heard_ms


class CenterLost(MatchingEffect, frozen=True):
    """A center fell silent: its tickets wait no more. At most `users_max` at a time; the rest with
    the next look."""

    number: int
    users_max: int
    now_ms: int

    def apply(self, state: Any) -> None:
        held = state.centers[self.number]
        held.listing = None
        waiting = (user for ticket, user in held.users.items() if ticket not in state.leaving)
        for user in list(islice(waiting, self.users_max)):
            state.drop(user, self.now_ms)
        if not held.users:
            del state.centers[self.number]


class EndedForgotten(MatchingEffect, frozen=True):
    """Nobody asks any more what became of tickets that ended before."""

    before_ms: int

    def apply(self, state: Any) -> None:
        _forget(state.ended, lambda end: end.ended_ms < self.before_ms)


class PlacesForgotten(MatchingEffect, frozen=True):
    """Who left before did not come back in time."""

    before_ms: int

    def apply(self, state: Any) -> None:
        _forget(state.places, lambda place: place.left_ms < self.before_ms)


def _forget(kept: dict[int, Any], is_old: Callable[[Any], bool]) -> None:
    """Of what is kept oldest first."""
    for key in list(takewhile(lambda key: is_old(kept[key]), kept)):
        del kept[key]
