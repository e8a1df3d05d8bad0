"""Any order of wishes, lost messages, silent and dying servers: no ticket is lost, no seat doubled.

Owns a judge of its own for every team: its size, its parties, the windows of its members at that
moment and that nobody older of the same line was passed over. When all is quiet again, whoever was
told that he waits does wait, and nothing is left of anybody else.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.systems.game import CONTENT
from tests.systems.match_game import CENTERS, MATCHING, RAIDS, MatchGame

from mmo.contract import Outcome
from mmo.state.match_effects import TeamsFormed
from mmo.state.match_tickets import SUM_MODULUS, MatchTickets, Unit
from mmo.wire.messages.raid_queue import RaidCancelOk, RaidMatched, RaidQueueOk, RaidUnmatched

PLAYERS = range(1, 11)
USERS = st.sampled_from(PLAYERS)
ACTS = (
    *("queues", "queues", "queues", "queue_together", "cancels", "leaves", "raid_ends"),
    *("time_passes", "time_passes", "time_passes_slowly", "link_moves", "link_moves"),
    *("link_falls", "server_dies"),
)
LEVELS = {user: (13, 14, 13, 10, 15)[user % 5] for user in PLAYERS}
SMALL, *LARGER = sorted(CONTENT.raids.kinds, key=lambda kind: CONTENT.raids.kinds[kind].team_size)
KINDS = (SMALL, SMALL, SMALL, *LARGER)
SERVERS = (*CENTERS, MATCHING, *RAIDS)
QUIET_MS = 40_000
WAITING = (RaidQueueOk, RaidCancelOk, RaidMatched, RaidUnmatched)


class Judged(MatchGame):
    """Judges every team before it is taken out of the lines."""

    def _do(self, number: int, said: Outcome, user: int, source: int) -> None:
        for effect in said.effects:
            if isinstance(effect, TeamsFormed):
                self._judge(effect)
        super()._do(number, said, user, source)

    def _judge(self, formed: TeamsFormed) -> None:
        lines = self.games[MATCHING].matching.lines
        taken = {unit.number for team in formed.teams for unit in team.units}
        users = [ticket.user for team in formed.teams for ticket in team.tickets]
        assert len(users) == len(set(users)), "nobody is in two teams"
        for team in formed.teams:
            assert len(team.tickets) == CONTENT.raids.kinds[team.kind].team_size
            assert {ticket.kind for ticket in team.tickets} == {team.kind}
            for unit in team.units:
                self._judge_unit(unit, team.units)
                older = [
                    waits
                    for _, _, waits in lines[unit.line].queue
                    if waits.aged < unit.aged and waits.number not in taken
                ]
                assert not older, f"{older[0]} was passed over for {unit}"

    def _judge_unit(self, unit: Unit, team: tuple[Unit, ...]) -> None:
        parties = {(ticket.party, ticket.party_size) for ticket in unit.tickets}
        ((party, size),) = parties
        assert unit.size == (size if party else 1), "a party is whole"
        curve = CONTENT.matching.curve_of(unit.kind)
        for other in team:
            apart = abs(unit.group - other.group)
            waited = [self.now_ms - one.since_ms for one in (unit, other)]
            reached = [curve.reach_at(waited_ms) >= apart for waited_ms in waited]
            at_end = [
                reaches and waited_ms >= curve.from_ms[-1]
                for reaches, waited_ms in zip(reached, waited, strict=True)
            ]
            assert all(reached) or any(at_end)


class Queues(RuleBasedStateMachine):
    """Ten players, two centers, one matching server, two raid servers."""

    @initialize(rooms=st.sampled_from([1, 2, 50]))
    def begin(self, rooms: int) -> None:
        self.game = Judged(rooms)
        self.epochs = dict.fromkeys(PLAYERS, 0)

    # what happens -------------------------------------------------------------------------------

    @rule(act=st.sampled_from(ACTS), user=USERS, some=st.integers(0, 2**16))
    def happens(self, act: str, user: int, some: int) -> None:
        """One rule for all, so that every sequence has all of them."""
        getattr(self, act)(user, some)

    def queues(self, user: int, some: int) -> None:
        """A wish, by a new session when he has none."""
        if not self.game.center_of(user):
            self.epochs[user] += 1
            self.game.arrive(user, CENTERS[(user + self.epochs[user]) % 2], self.epochs[user])
        if not self.game.busy(user):
            party, size = (*[("", 0)] * 4, ("A", 2), ("B", 3))[some % 6]
            kind = KINDS[some // 6 % len(KINDS)]
            self.game.queue(user, kind, level=LEVELS[user], party=party, party_size=size)

    def queue_together(self, user: int, some: int) -> None:
        """Several wishes of one kind that arrive at once."""
        for each in PLAYERS[: 1 + user]:
            self.queues(each, some)
        self.game.settle()

    def cancels(self, user: int, some: int) -> None:
        """Out of the queue, if he is in it."""
        if self.game.center_of(user) and not self.game.busy(user):
            self.game.cancel(user)

    def leaves(self, user: int, some: int) -> None:
        """His connection ends."""
        if self.game.center_of(user):
            self.game.disconnect(user)
            self.game.told.pop(user, None)

    def time_passes(self, user: int, some: int) -> None:
        """With good links."""
        self.game.advance((100, 300, 1_000, 3_500, 20_000)[some % 5])

    def time_passes_slowly(self, user: int, some: int) -> None:
        """With links on which nothing moves."""
        self.game.advance((50, 100, 1_000)[some % 3], delivers=False)

    def link_moves(self, user: int, some: int) -> None:
        """A few messages of one link arrive; sometimes the rest of it is lost."""
        full = sorted(ends for ends, link in self.game.links.items() if link)
        if full:
            ends = full[some % len(full)]
            for _ in range(user):
                self.game.deliver(*ends)
            if some % 3 == 0:
                self.game.links[ends].clear()

    def link_falls(self, user: int, some: int) -> None:
        """One server at a time has no links, or a raid server says nothing."""
        server = SERVERS[some % len(SERVERS)]
        if self.game.cut or self.game.mute:
            self._mend()
        elif server in RAIDS and user % 2:
            self.game.mute.add(server)
        else:
            self.game.cut_off(server)

    def server_dies(self, user: int, some: int) -> None:
        """And is back at once with nothing."""
        server = (MATCHING, MATCHING, *CENTERS)[some % 4]
        for each in PLAYERS:
            if self.game.center_of(each) == server:
                self.game.told.pop(each, None)
        self.game.restart(server)

    def raid_ends(self, user: int, some: int) -> None:
        """Some raid is settled, by its server or after its death by the other."""
        if self.game.raids:
            raid = sorted(self.game.raids)[some % len(self.game.raids)]
            by = sum(RAIDS) - self.game.runs_at[raid] if some % 3 == 0 else 0
            self.game.end_raid(raid, finished=bool(user % 2), by=by)

    def _mend(self) -> None:
        for number in list(self.game.cut):
            self.game.heal(number)
        self.game.mute.clear()

    # what must hold -----------------------------------------------------------------------------

    @property
    def held(self) -> MatchTickets:
        """What the matching server holds."""
        return self.game.games[MATCHING].matching

    @invariant()
    def books_of_the_matching_server_agree(self) -> None:
        held = self.held
        in_lines = [
            ticket.user
            for line in held.lines.values()
            for _, _, unit in line.queue
            for ticket in unit.tickets
        ]
        in_teams = [ticket.user for team in held.forming.values() for ticket in team.tickets]
        assert len(in_lines) == len(set(in_lines)) and len(in_teams) == len(set(in_teams))
        assert set(in_lines) == held.unit_of.keys() and set(in_teams) == held.team_of.keys()
        incomplete = [
            user
            for members in held.parties.values()
            for user, ticket in members.items()
            if len(members) < ticket.party_size
        ]
        alone = held.tickets.keys() - set(in_lines) - set(in_teams)
        assert alone <= set(incomplete), "everyone is somewhere"
        assert not held.unit_of.keys() & held.team_of.keys()
        assert not held.places.keys() & held.unit_of.keys(), "who waits has the place he waits in"
        left_ms = [place.left_ms for place in held.places.values()]
        assert left_ms == sorted(left_ms), "the oldest is forgotten first"
        for number, center in held.centers.items():
            own = {t.ticket: t.user for t in held.tickets.values() if t.center == number}
            assert own == center.users and sum(own) % SUM_MODULUS == center.ticket_sum
        for number, server in held.raids.items():
            asked = sum(team.number == number for team in held.forming.values())
            assert server.asked == asked

    @invariant()
    def books_of_the_centers_agree(self) -> None:
        for number in CENTERS:
            tickets = self.game.games[number].tickets
            assert tickets.asking.keys() <= tickets.of_user.keys()
            confirmed = [
                one.ticket for user, one in tickets.of_user.items() if user not in tickets.asking
            ]
            assert sum(confirmed) % SUM_MODULUS == tickets.ticket_sum

    def teardown(self) -> None:
        """All is mended and quiet: who was told that he waits does, and nobody else."""
        if not hasattr(self, "game"):
            return
        game = self.game
        self._mend()
        game.advance(QUIET_MS)
        held = self.held
        assert not held.forming and not held.leaving and not held.places and not game.requests
        told: dict[int, Any] = {}
        center: dict[int, int] = {}
        for number in CENTERS:
            tickets = game.games[number].tickets
            assert not tickets.asking and not tickets.telling
            center |= {user: one.ticket for user, one in tickets.of_user.items()}
        for user, messages in game.told.items():
            words = [message for message in messages if isinstance(message, WAITING)]
            told[user] = words[-1] if words else None
        waiting = {user for user, last in told.items() if isinstance(last, RaidQueueOk)}
        assert {user: one.ticket for user, one in held.tickets.items()} == center
        assert waiting == center.keys()
        for user, last in told.items():
            if isinstance(last, RaidMatched) and last.raid in game.raids:
                assert game.where[user] == last.raid


TestQueues = Queues.TestCase
TestQueues.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
