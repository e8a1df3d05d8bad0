"""What the users of a load test measured, and a shell that knows what is a pause on purpose.

Owns samples of actions and pushes by kind and by second, errors, turns of each class, what happened
to users unasked, and the generator's own lag. Never judges; `gates` does. One `Book` for all users
of a process, one `UserMeter` each.
"""

import time
from array import array
from collections.abc import Callable
from typing import Any

from mmo.client.connection import Shell
from mmo.client.hero import Hero
from mmo.client.meter import Cut, Meter
from mmo.client.raid_log import RAID_GRANT
from mmo.client.steps import Dial, Lost, Pause, Receive, Step
from mmo.wire.messages.hunt import GrantReward
from mmo.wire.messages.raid import RaidEnded, RaidStream
from mmo.wire.messages.raid_queue import RaidFreed
from mmo.wire.opcode import CloseReason
from mmo.wire.raid_stream import RoomNow

PUSH_KINDS = frozenset({"KillReward"})
"""Told as actions by the journeys; they are pushes whose age the client knows."""
LAG_EVERY_S = 0.05
BEGUN = "the load begins"
"""The line that the generator prints when its figures begin."""


class Book:
    """All samples of one process. Nothing is added once it is closed, but errors, turns and losses
    are: what users do while they leave is right or wrong and says nothing of speed."""

    def __init__(self, tell: Callable[[str, float, str], None]) -> None:
        """`tell`: hears the name of each action, its milliseconds, and what went wrong if it
        did."""
        self.tell = tell
        self.begin()

    def begin(self) -> None:
        """A new run: nothing was measured yet."""
        self.open = True
        self.began_s = time.monotonic()
        self.actions = Meter()  # and errors, with their texts
        self.pushes = Meter()
        self.lags_ms = array("d")
        self.by_second: dict[int, array[float]] = {}
        self.users: dict[int, int] = {}
        self.users_max = 0
        self.cpu_percent_max = 0.0
        self.totals: dict[str, int] = {}
        self.turns: dict[str, int] = {}
        self.lost: dict[str, int] = {}
        self.logins_forced = 0
        self.raids_aborted: set[int] = set()
        self.battles: list[array[float]] = []

    def action(self, kind: str, took_ms: float) -> None:
        """An action got its final answer `took_ms` after it was meant to be asked."""
        if not self.open:
            return
        (self.pushes if kind in PUSH_KINDS else self.actions).action(kind, took_ms)
        self.by_second.setdefault(self.second, array("d")).append(took_ms)
        self.tell(kind, took_ms, "")

    def push(self, kind: str, age_ms: float) -> None:
        """Something was told `age_ms` after it was so."""
        if self.open:
            self.pushes.action(kind, age_ms)

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

    def battle(self) -> "array[float]":
        """Where a user puts how late the frames of one battle come, in milliseconds of his clock
        beyond those of the battle; the earliest of them is their measure."""
        self.battles.append(array("d"))
        return self.battles[-1]

    def ages(self) -> Meter:
        """How much later than the earliest of its battle each frame came."""
        meter = Meter()
        for offsets_ms in self.battles:
            earliest = min(offsets_ms, default=0.0)
            for offset in offsets_ms:
                meter.action("RaidStream", offset - earliest)
        return meter

    def count(self, name: str) -> None:
        """Something that is neither answer nor fault happened."""
        self.totals[name] = self.totals.get(name, 0) + 1

    @property
    def second(self) -> int:
        """Whole seconds since the first user."""
        return int(time.monotonic() - self.began_s)

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
            "turns": self.turns,
            "lost": self.lost,
            "logins_forced": self.logins_forced,
            "raids_aborted": len(self.raids_aborted),
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


def told(meter: Meter) -> dict[str, dict[str, float]]:
    """Count and percentiles of every kind."""
    return {
        kind: {
            "count": len(taken),
            "p50_ms": meter.percentile_ms(0.5, {kind}),
            "p95_ms": meter.percentile_ms(0.95, {kind}),
            "p99_ms": meter.percentile_ms(0.99, {kind}),
            "max_ms": round(max(taken), 3),
        }
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

    A frame of a battle carries what remains of it by its ticks, and ticks follow the server's
    clock. The earliest frame of a seat is its measure: how much later than that another one comes
    is its age. Who takes his seat again has another measure, for a battle that another server took
    over stood still in between.
    """

    book: Book

    def play_into(self, book: Book) -> None:
        """Where ages go."""
        self.book = book
        self._seat = -1  # none had a battle yet
        self._offsets_ms = array("d")
        self._ended_s: dict[int, float] = {}

    def hear(self, message: Any) -> None:
        """As every player, and with the time of it."""
        if isinstance(message, RaidStream):
            self._time(message)
        elif isinstance(message, RaidEnded):
            self._ended_s[message.raid] = self.clock()
        elif isinstance(message, GrantReward) and message.source_kind == RAID_GRANT:
            ended_s = self._ended_s.pop(message.source_id, None)
            if ended_s is not None:
                self.book.push("GrantReward", (self.clock() - ended_s) * 1000)
        super().hear(message)
        if isinstance(message, RaidEnded | RaidFreed):
            self.book.raids_aborted |= self.raids.aborted

    def _time(self, frame: RaidStream) -> None:
        """Once for each frame, whatever becomes of its raid."""
        if not self.book.open:
            return
        if self._seat != self.raids.seats_taken:
            self._seat, self._offsets_ms = self.raids.seats_taken, self.book.battle()
        remaining_ms = RoomNow.read(frame.record).remaining_ms
        self._offsets_ms.append(self.clock() * 1000 + remaining_ms)


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
