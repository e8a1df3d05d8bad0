"""What the users of a load test measured, and a shell that knows what is a pause on purpose.

Owns samples of actions and pushes by kind and by second, errors, refusals, what was tried or asked
again, turns of each class, what happened to users unasked, and the generator's own lag. Never
judges; `gates` does. One `Book` for all users of a process, one `UserMeter` each.
"""

import time
from array import array
from collections.abc import Callable
from typing import Any, TypeVar

from loadtest.battles import TICK_MS, Battle, frames_of
from mmo.client.connection import Shell
from mmo.client.hero import Hero
from mmo.client.meter import Cut, Meter
from mmo.client.raid_log import RAID_GRANT
from mmo.client.steps import Dial, Lost, Pause, Receive, Step, Walk
from mmo.wire.messages.hunt import GrantReward
from mmo.wire.messages.raid import RaidEnded, RaidStart, RaidStream, RaidStruck
from mmo.wire.messages.raid_queue import RaidFreed
from mmo.wire.opcode import CloseReason
from mmo.wire.raid_stream import RoomNow

T = TypeVar("T")

PUSH_KINDS = frozenset({"KillReward"})
"""Told as actions by the journeys; they are pushes whose age the client knows."""
LAG_EVERY_S = 0.05
FEW = 100
"""Of fewer samples the p99 is the longest one; their kind keeps all of them, to be judged with
others."""
BEGUN = "the load begins"
"""The line that the generator prints when its figures begin."""


Tally = dict[str, dict[str, int]]


def add_to(tally: Tally, row: str, column: str) -> None:
    """One more of a pair."""
    counts = tally.setdefault(row, {})
    counts[column] = counts.get(column, 0) + 1


class Book:
    """All samples of one process. What was due once it is closed is not added, but errors, turns
    and losses are: what users do while they leave is right or wrong and says nothing of speed. What
    was due before is, whenever it comes: it was asked of a cluster that all still played on."""

    def __init__(
        self,
        tell: Callable[[str, float, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell`: hears the name of each action, its milliseconds, and what went wrong if it
        did. `clock`: that of its users."""
        self.tell = tell
        self.clock = clock
        self.begin()

    def begin(self) -> None:
        """A new run: nothing was measured yet."""
        self.closed_s: float | None = None
        self.began_s = self.clock()
        self.actions = Meter()  # and errors, with their texts
        self.pushes = Meter()
        self.lags_ms = array("d")
        self.by_second: dict[int, array[float]] = {}
        self.users: dict[int, int] = {}
        self.users_max = 0
        self.cpu_percent_max = 0.0
        self.totals: dict[str, int] = {}
        self.refusals: Tally = {}  # final answers, by action and code
        self.retries: Tally = {}  # by what was tried again, and why
        self.displaced: Tally = {}  # tokens not honoured, by code and connection
        self.repeated = {"here": 0, "elsewhere": 0}  # answered requests sent again on purpose
        self.turns: dict[str, int] = {}
        self.lost: dict[str, int] = {}
        self.logins_forced = 0
        self.raids_aborted: set[int] = set()
        self.battles: list[Battle] = []
        self.compared = 0  # users, at their end
        self.cut_off = 0  # while they left
        self.cut_off_amid: Tally = {}  # turns without an end, by class and place in its walk

    @property
    def open(self) -> bool:
        """What is done now counts."""
        return self.closed_s is None

    def close(self) -> None:
        """Users leave from now on."""
        self.closed_s = self.clock()

    def _counts(self, took_ms: float) -> bool:
        """Whether what took so long until now was due before the end."""
        return self.closed_s is None or self.clock() - took_ms / 1000 <= self.closed_s

    def action(self, kind: str, took_ms: float) -> None:
        """An action got its final answer `took_ms` after it was meant to be asked."""
        if not self._counts(took_ms):
            return
        (self.pushes if kind in PUSH_KINDS else self.actions).action(kind, took_ms)
        self.by_second.setdefault(self.second, array("d")).append(took_ms)
        self.tell(kind, took_ms, "")

    def push(self, kind: str, age_ms: float) -> None:
        """Something was told `age_ms` after it was so."""
        if self._counts(age_ms):
            self.pushes.action(kind, age_ms)

    def lag(self, late_ms: float) -> None:
        """The generator woke up so late, and would have been late as well each time that it meant
        to wake up meanwhile: a stall counts by its length."""
        while True:
            self.lags_ms.append(late_ms)
            late_ms -= LAG_EVERY_S * 1000
            if late_ms <= 0:
                return

    def error(self, text: str) -> None:
        """Something went wrong; counted to the very end."""
        self.actions.error(text)
        self.tell("error", 0.0, text)

    def turn(self, kind: str) -> None:
        """A user of a class did a thing that he meant to do, to its end."""
        self.turns[kind] = self.turns.get(kind, 0) + 1

    def lose(self, text: str) -> None:
        """A connection ended under a user who had not cut it, or could not be made; `text` says
        how."""
        self.lost[text] = self.lost.get(text, 0) + 1

    def ages(self) -> Meter:
        """How much later than the earliest of its battle each frame came."""
        meter = Meter()
        for battle in self.battles:
            for age_ms in battle.ages_ms(self._until_s):
                meter.action("RaidStream", age_ms)
        return meter

    def count(self, name: str) -> None:
        """Something that is neither answer nor fault happened."""
        self.totals[name] = self.totals.get(name, 0) + 1

    @property
    def second(self) -> int:
        """Whole seconds since the first user."""
        return int(self.clock() - self.began_s)

    @property
    def _until_s(self) -> float:
        return self.clock() if self.closed_s is None else self.closed_s

    def figures(self) -> dict[str, Any]:
        """Everything, in the form that `gates` judges and the report shows."""
        everything = self.actions
        return {
            "seconds": self.second,
            "users_max": self.users_max,
            "actions": everything.actions,
            "errors": everything.errors,
            "findings": everything.findings,
            "p50_ms": everything.percentile_ms(0.5),
            "p99_ms": everything.percentile_ms(0.99),
            "by_kind": told(everything),
            "pushes": told(self.pushes) | told(self.ages()),
            "frames": frames_of(self.battles, self._until_s),
            "refusals": self.refusals,
            "retries": self.retries,
            "displaced": self.displaced,
            "repeated": self.repeated,
            "turns": self.turns,
            "lost": self.lost,
            "logins_forced": self.logins_forced,
            "raids_aborted": len(self.raids_aborted),
            "compared": self.compared,
            "cut_off": self.cut_off,
            "cut_off_amid": self.cut_off_amid,
            "generator": {
                "lag_p99_ms": percentile(self.lags_ms, 0.99) if self.lags_ms else None,
                "cpu_percent_max": round(self.cpu_percent_max, 1),
            },
            "totals": self.totals,
            "by_second": [
                [at, self.users.get(at, 0), len(took), percentile(took, 0.99)]
                for at, took in sorted(self.by_second.items())
            ],
        }


def told(meter: Meter) -> dict[str, dict[str, Any]]:
    """Count and percentiles of every kind, and all samples of one that has few."""
    return {
        kind: {
            "count": len(taken),
            "p50_ms": meter.percentile_ms(0.5, {kind}),
            "p95_ms": meter.percentile_ms(0.95, {kind}),
            "p99_ms": meter.percentile_ms(0.99, {kind}),
            "max_ms": round(max(taken), 3),
        }
        | ({"samples_ms": [round(ms, 3) for ms in taken]} if len(taken) < FEW else {})
        for kind, taken in sorted(meter.by_kind.items())
    }


def percentile(taken: "array[float]", share: float) -> float:
    """The smallest sample that at least `share` of all do not exceed."""
    one = Meter()
    one.by_kind["one"] = taken
    return one.percentile_ms(share)


class UserMeter(Meter):
    """One user's counts; samples and errors go into the book of all."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self._book = book

    def action(self, kind: str, took_ms: float) -> None:
        """An answer."""
        self.actions += 1
        self._book.action(kind, took_ms)

    def error(self, text: str) -> None:
        """A fault."""
        super().error(text)
        self._book.error(text)

    def refused(self, kind: str, code: str) -> None:
        """A refusal."""
        super().refused(kind, code)
        add_to(self._book.refusals, kind, code)

    def retry(self, what: str, why: str) -> None:
        """No final answer yet."""
        super().retry(what, why)
        add_to(self._book.retries, what, why)

    def displaced(self, lane: str, why: str) -> None:
        """A token that was not honoured."""
        super().displaced(lane, why)
        add_to(self._book.displaced, why, lane)

    def repeated(self, *, elsewhere: bool) -> None:
        """A request answered twice."""
        super().repeated(elsewhere=elsewhere)
        self._book.repeated["elsewhere" if elsewhere else "here"] += 1

    def loss(self, text: str, cut: Cut) -> None:
        """A connection that ended under the user, or was cut by himself. That a server leaves or
        gave him away is noticed here alone; all other ends are by the shell."""
        self.lost += 1
        self._book.count(text)
        if cut.reason == CloseReason.MOVED:
            self._book.lose(text)

    def lose(self, text: str) -> None:
        """A connection ended or was not made; not by the user."""
        self._book.lose(text)

    def login_forced(self) -> None:
        """He has to show his password again."""
        super().login_forced()
        self._book.logins_forced += 1

    def came_back(self, took_ms: float) -> None:
        """He plays again."""
        self.action("ComeBack", took_ms)


class LoadHero(Hero):
    """A player who takes the age of what he is told unasked.

    Who takes his seat in a battle again has another measure for its frames, for a battle that
    another server took over stood still in between.
    """

    book: Book

    def play_into(self, book: Book) -> None:
        """Where ages go."""
        self.book = book
        self._seat = -1  # none had a battle yet
        self._battle: Battle | None = None
        self._tick_ms = TICK_MS
        self._ended_s: dict[int, float] = {}

    def hear(self, message: Any) -> None:
        """As every player, and with the time of it."""
        if isinstance(message, RaidStart | RaidStream | RaidStruck):
            self._time(message)
        elif isinstance(message, RaidEnded):
            self._ended_s[message.raid] = self.clock()
            self.leave_battle(self.clock())
        elif isinstance(message, GrantReward) and message.source_kind == RAID_GRANT:
            ended_s = self._ended_s.pop(message.source_id, None)
            if ended_s is not None:
                self.book.push("GrantReward", (self.clock() - ended_s) * 1000)
        super().hear(message)
        if isinstance(message, RaidEnded | RaidFreed):
            self.book.raids_aborted |= self.raids.aborted

    def leave_battle(self, at_s: float | None = None) -> None:
        """No frame is due to him any more, since `at_s` or since he heard of it last."""
        if self._battle is not None:
            self._battle.end(at_s)

    def _time(self, message: RaidStart | RaidStream | RaidStruck) -> None:
        """Something of a battle that runs, whatever becomes of its raid."""
        if isinstance(message, RaidStart):
            self._tick_ms = message.tick_ms
        now_s = self.clock()
        if self._battle is None or self._seat != self.raids.seats_taken:
            self.leave_battle()
            self._seat, self._battle = self.raids.seats_taken, Battle(now_s, self._tick_ms)
            self.book.battles.append(self._battle)
        self._battle.hear(now_s)
        if isinstance(message, RaidStream):
            self._battle.frame(now_s, RoomNow.read(message.record).remaining_ms)


class LoadShell(Shell):
    """Walks on blocking sockets and counts the pauses that a walk makes on purpose: they move the
    user's plan. A pause before a request is sent again is the server's doing and does not.

    Here every end of a connection is met that the user did not make himself, whether his walk notes
    it or only tries again. It is counted once, until something is heard on that lane again.
    """

    def __init__(self, source: str, meter: UserMeter) -> None:
        super().__init__(source)
        self.paused_s = 0.0
        self._away: set[str] = set()  # lanes that were lost and not heard since
        self._meter = meter
        self._retries = 0
        self._walk: Walk[Any] | None = None

    def walk(self, walk: Walk[T]) -> T:
        """And remember it, so that one that was cut off can be asked where it stands."""
        self._walk = walk
        return super().walk(walk)

    def stands_in(self) -> str:
        """The walks that wait for each other, the innermost one last."""
        names: list[str] = []
        walk: object | None = self._walk
        while walk is not None:
            names.append(getattr(walk, "__name__", type(walk).__name__))
            walk = getattr(walk, "gi_yieldfrom", None)
        return " > ".join(names)

    def _do(self, step: Step) -> Any:
        if isinstance(step, Pause):
            if self._meter.retries == self._retries:
                self.paused_s += step.wait_ms / 1000
            self._retries = self._meter.retries
            return super()._do(step)
        held = isinstance(step, Dial) or step.lane in self.lanes
        try:
            event = super()._do(step)
        except Lost as lost:
            if held and step.lane not in self._away and lost.reason != CloseReason.MOVED:
                self._away.add(step.lane)
                self._meter.lose(str(lost))
            raise
        if isinstance(step, Receive) and event is not None:
            self._away.discard(step.lane)
        return event
