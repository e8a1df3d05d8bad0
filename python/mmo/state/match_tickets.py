"""Who waits for a raid, in which line, and the teams whose seats are being asked for.

Owns the volatile state `matching` of the matching server: one ticket a player, lines by kind of
raid, level group and size, parties, teams on their way, raid servers with their rooms, centers with
what they hold. A restart forgets all of it; the centers hand their tickets in again. Changes only
through the effects of `match_effects`; every step costs the players it touches, never all who wait.
"""

import msgspec

from mmo.state.age_queue import Aged, AgeQueue

SUM_MODULUS = 2**61


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """One player who waits. `center`: server number that holds the ticket; `group`: level group;
    `since_ms`: of his place in the line, `asked_ms`: of this ticket."""

    ticket: int
    user: int
    session_epoch: int
    center: int
    kind: int
    group: int
    level: int
    attack: int
    since_ms: int
    name: str
    party: str
    party_size: int
    asked_ms: int


class Unit(msgspec.Struct, frozen=True):
    """Players who are matched together or not at all: one alone or a whole party. A party counts in
    the group of its highest level and waits since its last member came."""

    since_ms: int
    number: int  # lowest ticket of its members
    kind: int
    group: int
    tickets: tuple[Ticket, ...]

    @property
    def size(self) -> int:
        """Number of its players."""
        return len(self.tickets)

    @property
    def line(self) -> "LineKey":
        """The line it waits in."""
        return self.kind, self.group, len(self.tickets)

    @property
    def aged(self) -> Aged:
        """Its place in the line."""
        return self.since_ms, self.number, self


LineKey = tuple[int, int, int]
"""(kind of raid, level group, players of a unit)."""


def unit_of_tickets(tickets: tuple[Ticket, ...]) -> Unit:
    """One unit of these players."""
    return Unit(
        since_ms=max(ticket.since_ms for ticket in tickets),
        number=min(ticket.ticket for ticket in tickets),
        kind=tickets[0].kind,
        group=max(ticket.group for ticket in tickets),
        tickets=tickets,
    )


class Line:
    """Units of one kind, group and size, oldest first. `due_ms`: when a team may have become
    possible with its oldest; until then nothing is tried."""

    __slots__ = ("due_ms", "queue")

    def __init__(self) -> None:
        self.queue = AgeQueue()
        self.due_ms = 0


class Team(msgspec.Struct, frozen=True):
    """Units whose seats were asked for. `releasing`: the answer came too late; the raid server was
    told to give the seats up, and nobody is matched again before that is certain."""

    raid: int
    kind: int
    number: int  # raid server
    units: tuple[Unit, ...]  # oldest first
    asked_ms: int
    over_ms: int  # when the present step is over
    releasing: bool = False

    @property
    def tickets(self) -> list[Ticket]:
        """Members in the order of their seats."""
        return [ticket for unit in self.units for ticket in unit.tickets]


class RaidServer:
    """One raid server as it told of itself, and what was asked of it since."""

    __slots__ = ("asked", "open", "rests_until_ms", "rooms", "seen_ms", "taken", "unreported")

    def __init__(self) -> None:
        self.rooms = 0
        self.taken = 0
        self.open = False
        self.seen_ms = 0
        self.rests_until_ms = 0
        self.asked = 0  # teams without a final answer
        self.unreported = 0  # rooms taken since its last load

    def free(self, now_ms: int, fresh_ms: int, asked_max: int) -> int:
        """Rooms that may be asked for: what it has left, within `asked_max` questions at a time."""
        if not self.open or self.seen_ms < now_ms - fresh_ms or self.rests_until_ms > now_ms:
            return 0
        rooms = self.rooms - self.taken - self.asked - self.unreported
        return max(0, min(rooms, asked_max - self.asked))


class Listing(msgspec.Struct):
    """A center that tells all its tickets, part by part."""

    round: int
    heard: set[int]  # tickets told so far
    put_since: set[int]  # tickets put since it began
    heard_ms: int  # when the last part came


class CenterHeld:
    """One center and the tickets held of it."""

    __slots__ = ("heard_ms", "listing", "ticket_sum", "users")

    def __init__(self) -> None:
        self.users: dict[int, int] = {}  # ticket -> user
        self.ticket_sum = 0
        self.heard_ms = 0
        self.listing: Listing | None = None


class Ended(msgspec.Struct, frozen=True):
    """What became of a ticket, kept for a center that did not hear it: a seat, or with `raid` 0 the
    code of a refusal."""

    user: int
    session_epoch: int
    ended_ms: int
    raid: int = 0
    kind: int = 0
    number: int = 0
    host: str = ""
    port: int = 0
    seat: int = 0
    code: int = 0


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a player stood who was taken out of the queue and did not wish it."""

    kind: int
    party: str
    party_size: int
    since_ms: int
    left_ms: int


class Waited(msgspec.Struct, frozen=True):
    """Moving mean of how long the matched of one kind and group had waited."""

    mean_ms: float
    at_ms: int


class MatchTickets:
    """The whole state of a matching server."""

    __slots__ = (
        "centers", "ended", "forming", "leaving", "lines", "parties", "places", "raids", "team_of",
        "tickets", "unit_of", "waited",
    )  # fmt: skip

    def __init__(self) -> None:
        self.tickets: dict[int, Ticket] = {}  # user -> his one ticket, until its end
        self.unit_of: dict[int, Unit] = {}  # user -> the unit that waits in a line
        self.team_of: dict[int, int] = {}  # user -> the raid whose seats are asked for
        self.parties: dict[tuple[int, str], dict[int, Ticket]] = {}  # (kind, code) -> members
        self.lines: dict[LineKey, Line] = {}
        self.forming: dict[int, Team] = {}  # by raid, oldest first
        self.leaving: set[int] = set()  # tickets in a team that do not come back from it
        self.raids: dict[int, RaidServer] = {}
        self.centers: dict[int, CenterHeld] = {}
        self.ended: dict[int, Ended] = {}  # by ticket, oldest first
        self.places: dict[int, Place] = {}  # user -> his when he queues again, oldest first
        self.waited: dict[tuple[int, int], Waited] = {}  # by kind and group

    def gauges(self) -> dict[str, int]:
        """Sizes that an operator watches: players who wait, teams whose seats are asked for."""
        return {"waiting": len(self.tickets), "forming": len(self.forming)}

    def put(self, ticket: Ticket) -> None:
        """Let a player wait who is in no team; an older ticket of his is replaced."""
        assert ticket.user not in self.team_of, f"user {ticket.user} is in a team"
        self.drop(ticket.user)
        self.places.pop(ticket.user, None)
        self.tickets[ticket.user] = ticket
        center = self.center(ticket.center)
        center.users[ticket.ticket] = ticket.user
        center.ticket_sum = (center.ticket_sum + ticket.ticket) % SUM_MODULUS
        if center.listing is not None:
            center.listing.put_since.add(ticket.ticket)
        self._wait(ticket)

    def in_place(self, ticket: Ticket, from_ms: int) -> Ticket:
        """A new ticket in the place that its player has already: of the same kind and the same
        party, for an incomplete one waits where nobody is matched. `from_ms`: who left before that
        has none any more."""
        place: Ticket | Place | None = self.tickets.get(ticket.user)
        if place is None:
            place = self.places.get(ticket.user)
            if place is not None and place.left_ms < from_ms:
                place = None
        wish = (ticket.kind, ticket.party, ticket.party_size)
        if place is None or (place.kind, place.party, place.party_size) != wish:
            return ticket
        return msgspec.structs.replace(ticket, since_ms=place.since_ms)

    def drop(self, user: int, left_ms: int = 0) -> None:
        """His ticket is over. In a team it cannot leave any more: it only does not come back.
        `left_ms`: he did not wish it, and from now on his place is kept."""
        ticket = self.tickets.get(user)
        if ticket is None:
            return
        if left_ms:
            self._keep(ticket, left_ms)
        if user in self.team_of:
            self.leaving.add(ticket.ticket)
            return
        self._leave_line(ticket)
        self._forget(ticket)

    def form(self, team: Team) -> None:
        """Take the members of a team out of their lines."""
        self.forming[team.raid] = team
        self.server(team.number).asked += 1
        for unit in team.units:
            self.lines[unit.line].queue.remove(unit.aged)
            for ticket in unit.tickets:
                del self.unit_of[ticket.user]
                self.team_of[ticket.user] = team.raid

    def end(self, raid: int) -> Team:
        """A team that is no longer on its way; its members still have their tickets."""
        team = self.forming.pop(raid)
        self.server(team.number).asked -= 1
        for ticket in team.tickets:
            del self.team_of[ticket.user]
        return team

    def seat(self, team: Team, ended: list[Ended]) -> None:
        """All members of an ended team have a seat."""
        self.server(team.number).unreported += 1
        for ticket, end in zip(team.tickets, ended, strict=True):
            self._over(ticket, end)
            self.places.pop(ticket.user, None)

    def put_back(self, team: Team, refused: dict[int, Ended]) -> None:
        """Members of an ended team wait again in their old places, but for those who left meanwhile
        and the refused. The books may mean another member: the refused have their places when they
        queue again, and then they are asked about each."""
        for unit in team.units:
            stay = [
                ticket
                for ticket in unit.tickets
                if ticket.user not in refused and ticket.ticket not in self.leaving
            ]
            for ticket in unit.tickets:
                if ticket.user in refused:
                    self._over(ticket, refused[ticket.user])
                    self._keep(ticket, refused[ticket.user].ended_ms)
                elif ticket.ticket in self.leaving:
                    self._over(ticket, None)
            if len(stay) == len(unit.tickets):
                self._enqueue(unit)

    def center(self, number: int) -> CenterHeld:
        """A center, known from now on."""
        held = self.centers.get(number)
        if held is None:
            held = self.centers[number] = CenterHeld()
        return held

    def server(self, number: int) -> RaidServer:
        """A raid server, known from now on."""
        server = self.raids.get(number)
        if server is None:
            server = self.raids[number] = RaidServer()
        return server

    def _wait(self, ticket: Ticket) -> None:
        if not ticket.party:
            self._enqueue(unit_of_tickets((ticket,)))
            return
        members = self.parties.setdefault((ticket.kind, ticket.party), {})
        members[ticket.user] = ticket
        if len(members) == ticket.party_size:
            self._enqueue(unit_of_tickets(tuple(members.values())))

    def _enqueue(self, unit: Unit) -> None:
        line = self.lines.get(unit.line)
        if line is None:
            line = self.lines[unit.line] = Line()
        line.queue.add(unit.aged)
        line.due_ms = 0
        for ticket in unit.tickets:
            self.unit_of[ticket.user] = unit

    def _keep(self, ticket: Ticket, left_ms: int) -> None:
        self.places.pop(ticket.user, None)  # the newest is the last
        place = Place(ticket.kind, ticket.party, ticket.party_size, ticket.since_ms, left_ms)
        self.places[ticket.user] = place

    def _leave_line(self, ticket: Ticket) -> None:
        unit = self.unit_of.get(ticket.user)
        if unit is not None:
            self.lines[unit.line].queue.remove(unit.aged)
            for member in unit.tickets:
                del self.unit_of[member.user]

    def _over(self, ticket: Ticket, end: Ended | None) -> None:
        self.leaving.discard(ticket.ticket)
        if end is not None:
            self.ended[ticket.ticket] = end
        self._forget(ticket)

    def _forget(self, ticket: Ticket) -> None:
        del self.tickets[ticket.user]
        center = self.centers[ticket.center]
        del center.users[ticket.ticket]
        center.ticket_sum = (center.ticket_sum - ticket.ticket) % SUM_MODULUS
        if ticket.party:
            members = self.parties[ticket.kind, ticket.party]
            del members[ticket.user]
            if not members:
                del self.parties[ticket.kind, ticket.party]
