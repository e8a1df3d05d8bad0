"""Following single players: every message of theirs with what it waited for and what came of it.

Owns who is followed, until when, and what was seen and not yet read. While nobody is followed this
costs the machinery one look at an empty dict beside what waits or commits, and the fast path
nothing: a followed player's connection gets routes that are never decided in line. Switched on and
read by the admin socket; told by the router, the committer and the engine.
"""

import copy
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from mmo.errors import OperatorError
from mmo.node.lanes import Job, Lane, Source
from mmo.wire.opcode import Code, Op

if TYPE_CHECKING:
    from mmo.node.engine import Engine
    from mmo.node.handlers import Route

PLAYERS_MAX = 8  # followed at once on one node
EVENTS_MAX = 1_000  # kept until they are read; more are counted as lost
OPEN_MAX = 256  # messages without an end; more are told as they are
FOR_MS_MAX = 600_000


class Mark:
    """One message on its way; times in nanoseconds of the monotonic clock, 0: not yet."""

    __slots__ = ("arrived", "begun", "committed", "conn", "decided", "op", "opcode", "seq", "unix")

    def __init__(self, job: Job, now: int) -> None:
        self.opcode = job.route.opcode
        self.seq = job.seq
        self.conn = job.source.conn if job.source is not None else 0
        self.op: tuple[int, int] | None = None
        self.unix = time.time_ns()
        self.arrived = now
        self.begun = self.decided = self.committed = 0


class Trace:
    """One followed player on this node."""

    def __init__(self, user: int, until_ms: int) -> None:
        self.user = user
        self.until_ms = until_ms
        self.lost = 0
        self._open: dict[object, Mark] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS_MAX)

    def arrived(self, job: Job) -> None:
        """It came and may have to wait in its lane."""
        self._mark(job)

    def begun(self, job: Job) -> None:
        """Its turn has come; the last time counts where it is decided again."""
        mark = self._mark(job)
        mark.begun, mark.op = time.perf_counter_ns(), job.operation

    def decided(self, job: Job) -> None:
        """The rule returned."""
        self._mark(job).decided = time.perf_counter_ns()

    def committed(self, job: Job) -> None:
        """The store gave its verdict."""
        self._mark(job).committed = time.perf_counter_ns()

    def answered(self, conn: int, seq: int, outcome: str, generation: int) -> None:
        """Its answer was queued for the socket."""
        mark = self._open.pop((conn, seq), None)
        if mark is not None:
            self._tell(mark, outcome, generation)

    def done(self, job: Job, outcome: str, generation: int) -> None:
        """It ended without an answer of its own, unless it was answered."""
        mark = self._open.pop(_key(job), None)
        if mark is not None:
            self._tell(mark, outcome, generation)

    def take(self) -> list[dict[str, Any]]:
        """What was seen since the last call."""
        events = list(self._events)
        self._events.clear()
        return events

    def _mark(self, job: Job) -> Mark:
        key = _key(job)
        mark = self._open.get(key)
        if mark is None:
            if len(self._open) >= OPEN_MAX:
                self._tell(self._open.pop(next(iter(self._open))), "no end was seen", 0)
            mark = self._open[key] = Mark(job, time.perf_counter_ns())
        return mark

    def _tell(self, mark: Mark, outcome: str, generation: int) -> None:
        now = time.perf_counter_ns()
        if len(self._events) == EVENTS_MAX:
            self.lost += 1
        self._events.append(
            {
                "time_ns": mark.unix,
                "user": self.user,
                "conn": mark.conn,
                "opcode": name_of(mark.opcode),
                "seq": mark.seq,
                "op": list(mark.op) if mark.op else None,
                "lane_wait_us": _us(mark.arrived, mark.begun),
                "decide_us": _us(mark.begun, mark.decided),
                "commit_us": _us(mark.decided, mark.committed),
                "reply_us": _us(mark.arrived, now),
                "outcome": outcome,
                "generation": generation,
            }
        )


class Tracing:
    """One per node; `engine.traces` is its dict of followed players."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def follow(self, user: int, for_ms: int) -> dict[str, Any]:
        """Follow a player for `for_ms` from now, 0: no longer; what was seen since the last
        question. Raises `OperatorError` E0725 when too many are followed."""
        engine = self._engine
        traces, now_ms = engine.traces, engine.timers.now_ms()
        trace = traces.get(user)
        if for_ms <= 0:
            self._end(user)
        elif trace is None:
            if len(traces) >= PLAYERS_MAX:
                raise OperatorError(
                    "E0725", f"{PLAYERS_MAX} players are followed already", "wait for their ends"
                )
            trace = traces[user] = Trace(user, 0)
        if trace is None:
            return {"events": [], "lost": 0}
        if for_ms > 0:
            trace.until_ms = now_ms + min(for_ms, FOR_MS_MAX)
            engine.timers.after(min(for_ms, FOR_MS_MAX), lambda: self._end_if_over(user))
            self._slow_user(user)
        return {"events": trace.take(), "lost": trace.lost}

    def slow(self, source: Source) -> None:
        """Let nothing of a followed player's connection be decided in line."""
        if source.user in self._engine.traces:
            routes = self._engine.residents.routes_of_users
            source.routes = {opcode: _slowed(route) for opcode, route in routes.items()}

    def renew(self) -> None:
        """The node has other routes from now on: so have those who are followed."""
        for user in self._engine.traces:
            self._slow_user(user)

    def _slow_user(self, user: int) -> None:
        lane = self._engine.lanes.users.get(user)
        if lane is not None and lane.source is not None and lane.source.entered:
            self.slow(lane.source)

    def of(self, lane: Lane, job: Job) -> Trace | None:
        """The trace of whom a job is about."""
        traces = self._engine.traces
        return traces.get(lane.user) or traces.get(getattr(job.message, "user", 0))

    def committed(self, lane: Lane, job: Job) -> None:
        """The store gave its verdict over what a job wants."""
        trace = self.of(lane, job)
        if trace is not None:
            trace.committed(job)

    def ended(self, lane: Lane, job: Job, outcome: str) -> None:
        """All that a job wants was done, or nothing of it."""
        trace = self.of(lane, job)
        if trace is not None:
            trace.done(job, outcome, self._engine.env.node.generation)

    def _end_if_over(self, user: int) -> None:
        trace = self._engine.traces.get(user)
        if trace is not None and trace.until_ms <= self._engine.timers.now_ms():
            self._end(user)

    def _end(self, user: int) -> None:
        engine = self._engine
        if engine.traces.pop(user, None) is None:
            return
        lane = engine.lanes.users.get(user)
        if lane is not None and lane.source is not None and lane.source.routes:
            lane.source.routes = engine.residents.routes_of_users


def name_of(opcode: int) -> str:
    """An opcode's name, its number when a game of one's own has it."""
    return Op(opcode).name if opcode in Op._value2member_map_ else str(opcode)


def code_of(code: int) -> str:
    """A refusal as an outcome."""
    return f"refused {Code(code).name if code in Code._value2member_map_ else code}"


def _key(job: Job) -> object:
    """A request is the same one through all its jobs; everything else is its job."""
    source = job.source
    return (source.conn, job.seq) if source is not None and not source.peer else job


def _slowed(route: "Route") -> "Route":
    slowed = copy.copy(route)
    slowed.simple = False
    slowed.heir = route  # which decides, or its own heir: no generation lives on in a copy
    return slowed


def _us(began: int, ended: int) -> float | None:
    return round((ended - began) / 1_000, 1) if began and ended else None
