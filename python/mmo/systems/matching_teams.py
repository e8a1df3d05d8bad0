"""Forming teams: oldest first, within windows that widen, parties whole, rooms by load.

Owns the search; pure over the state as it is, with a draft of what this tick took already. Called
by the tick of `matching`.

How it stays cheap with any number of players who wait: units of one kind, group and size stand in
one line by age. Within a line the older can always take the younger's part (same group, same size,
and a reach at least as long), so a team is possible with any unit of a line only if it is with the
oldest. A line whose oldest found no team is not tried again before something comes into it or one
of its first units reaches further, or some seconds passed: what comes into another line is tried
from there. So a tick costs the teams it forms and the lines that changed, never all who wait.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mmo.content import Content
from mmo.content.matching import Curve
from mmo.contract import Env
from mmo.state.age_queue import Aged
from mmo.state.match_tickets import Line, LineKey, MatchTickets, Team, Unit

RETRY_MS = 1_000
"""After a search that was given up for its length."""

AGAIN_MS = 10_000
"""Longest time for which a line is left alone: by then other content may widen its curve."""


class Front:
    """The oldest of one line that this tick has not taken yet."""

    __slots__ = ("_more", "_units", "due")

    def __init__(self, line: Line, now_ms: int) -> None:
        self._more: Iterator[Aged] = iter(line.queue)
        self._units: list[Unit] = []
        self.due = line.due_ms <= now_ms

    def first(self, count: int) -> list[Unit]:
        """The `count` oldest, or as many as there are."""
        while len(self._units) < count:
            aged = next(self._more, None)
            if aged is None:
                break
            self._units.append(aged[2])
        return self._units[:count]

    def take(self, unit: Unit) -> None:
        """It is in a team now."""
        self._units.remove(unit)


class Draft:
    """The lines as they are after what this tick took."""

    def __init__(self, lines: Mapping[LineKey, Line], now_ms: int) -> None:
        self.now_ms = now_ms
        self.fronts = {key: Front(line, now_ms) for key, line in lines.items() if len(line.queue)}
        self._due = [key for key, front in self.fronts.items() if front.due]

    def oldest_due(self) -> LineKey | None:
        """The due line whose oldest waits longest, over all groups and kinds."""
        best: tuple[int, int] | None = None
        chosen: LineKey | None = None
        for key in tuple(self._due):
            heads = self.fronts[key].first(1)
            if not heads:
                self._due.remove(key)
                continue
            age = (heads[0].since_ms, heads[0].number)
            if best is None or age < best:
                best, chosen = age, key
        return chosen

    def settle(self, key: LineKey) -> None:
        """Nothing can be formed with this line now."""
        self._due.remove(key)

    def take(self, units: list[Unit]) -> None:
        """These are in a team now."""
        for unit in units:
            self.fronts[unit.line].take(unit)


def form_teams(matching: MatchTickets, env: Env) -> tuple[list[Team], list[tuple[LineKey, int]]]:
    """The teams that are possible now and have a room, and the lines that were tried in vain with
    the time of their next try."""
    content: Content = env.content
    limits = content.matching.limits
    rooms = free_rooms(matching, env)
    draft = Draft(matching.lines, env.now_ms)
    teams: list[Team] = []
    tried: list[tuple[LineKey, int]] = []
    while rooms and len(teams) < limits.teams_per_tick_max:
        key = draft.oldest_due()
        if key is None:
            break
        units, again_ms = _team_of(draft, key, env)
        if units is None:
            draft.settle(key)
            tried.append((key, again_ms))
            continue
        draft.take(units)
        number = max(rooms, key=lambda each: (rooms[each], -each))
        rooms[number] -= 1
        if not rooms[number]:
            del rooms[number]
        teams.append(
            Team(
                raid=env.new_uid(),
                kind=key[0],
                number=number,
                units=tuple(sorted(units, key=lambda unit: (unit.since_ms, unit.number))),
                asked_ms=env.now_ms,
                over_ms=env.now_ms + limits.reserve_ms,
            )
        )
    return teams, tried


def free_rooms(matching: MatchTickets, env: Env) -> dict[int, int]:
    """Rooms that may be asked for, by raid server; only those that have some."""
    content: Content = env.content
    limits = content.matching.limits
    free = {
        number: server.free(env.now_ms, limits.server_fresh_ms, limits.asked_max)
        for number, server in matching.raids.items()
    }
    return {number: rooms for number, rooms in free.items() if rooms}


def _team_of(draft: Draft, key: LineKey, env: Env) -> tuple[list[Unit] | None, int]:
    """A team with the oldest of a line, or None and when to try again."""
    content: Content = env.content
    kind, _, size = key
    row = content.raids.kinds.get(kind)
    if row is None or size > row.team_size:  # other content than when they came
        return None, draft.now_ms + AGAIN_MS
    curve = content.matching.curve_of(kind)
    search = Search(draft, key, row.team_size, curve, content.matching.limits.search_steps_max)
    units = search.run()
    if units is not None:
        return units, 0
    if search.steps_left <= 0:
        return None, draft.now_ms + RETRY_MS
    return None, _widens_at(draft, key, row.team_size, curve)


def _widens_at(draft: Draft, key: LineKey, team_size: int, curve: Curve) -> int:
    """When one of the units of a line that may be in the same team reaches further."""
    times = [draft.now_ms + AGAIN_MS]
    for unit in draft.fronts[key].first(team_size // key[2]):
        widens_ms = curve.widens_in_ms(draft.now_ms - unit.since_ms)
        if widens_ms >= 0:
            times.append(draft.now_ms + widens_ms)
    return min(times)


class Reach(NamedTuple):
    """How many groups further somebody is matched now, and whether that grows no more."""

    groups: int
    is_widest: bool


Candidate = tuple[Unit, Reach]


class Search:
    """One search for a team around the oldest unit of a line: the oldest others whose sizes add up
    and where each is within the reach of each (`is_within`)."""

    def __init__(
        self, draft: Draft, key: LineKey, team_size: int, curve: Curve, steps_max: int
    ) -> None:
        self.draft = draft
        self.key = key
        self.curve = curve
        self.steps_left = steps_max
        self.anchor = draft.fronts[key].first(1)[0]
        self.missing = team_size - self.anchor.size
        self._others: list[Candidate] = []  # with their reach, oldest first
        self._sums: list[int] = []  # bit n of entry i: others from i on can add up to n players

    def run(self) -> list[Unit] | None:
        """All units of the team, the anchor first."""
        if not self.missing:
            return [self.anchor]
        self._others = sorted(
            self._candidates(), key=lambda other: (other[0].since_ms, other[0].number)
        )
        self._sums = [1]
        for unit, _ in reversed(self._others):
            self._sums.append(self._sums[-1] | self._sums[-1] << unit.size)
        self._sums.reverse()
        found = self._complete([], 0, self.missing)
        return None if found is None else [self.anchor, *(unit for unit, _ in found)]

    def _candidates(self) -> Iterator[Candidate]:
        """Of each line within reach the oldest, as many as could be in the team."""
        kind, group, _ = self.key
        reach = self._reach(self.anchor)
        for key, front in self.draft.fronts.items():
            if key[0] != kind or key[2] > self.missing:
                continue
            apart = abs(key[1] - group)
            own = int(key == self.key)
            for unit in front.first(self.missing // key[2] + own)[own:]:
                other_reach = self._reach(unit)
                if not is_within(apart, reach, other_reach):
                    break  # the younger reach no further
                yield unit, other_reach

    def _complete(self, chosen: list[Candidate], at: int, missing: int) -> list[Candidate] | None:
        """Fill up with others from place `at` on, the oldest that can be in a team first."""
        if not missing:
            return chosen
        for place in range(at, len(self._others)):
            if not self._sums[place] >> missing & 1:
                return None
            other = self._others[place]
            left = missing - other[0].size
            if left < 0 or not self._sums[place + 1] >> left & 1 or not _fits(other, chosen):
                continue
            self.steps_left -= 1
            if self.steps_left <= 0:
                return None
            found = self._complete([*chosen, other], place + 1, left)
            if found is not None:
                return found
        return None

    def _reach(self, unit: Unit) -> Reach:
        waited_ms = self.draft.now_ms - unit.since_ms
        return Reach(self.curve.reach_at(waited_ms), self.curve.is_widest_at(waited_ms))


def is_within(apart: int, one: Reach, other: Reach) -> bool:
    """Whether two who are `apart` groups apart may be in one team: each reaches the other, or one
    of them does who waited to the end of the curve. Else those who come and go at once would never
    reach the one who has been waiting for long."""
    if apart <= min(one.groups, other.groups):
        return True
    return (one.is_widest and apart <= one.groups) or (other.is_widest and apart <= other.groups)


def _fits(other: Candidate, chosen: list[Candidate]) -> bool:
    """Whether a unit and each of the chosen may be in one team."""
    unit, reach = other
    return all(
        is_within(abs(unit.group - member.group), reach, member_reach)
        for member, member_reach in chosen
    )
