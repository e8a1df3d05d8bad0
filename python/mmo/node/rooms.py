"""Rules that run on time for each room of a state, so that no room waits for another.

Owns the phase of every room, what a room has to wait for (its row on the way to the store) and how
often its rule failed in a row. Rooms share few timers: a period has `PHASES` of them, so one pass
serves many rooms and still none waits for all. A tick that comes too late is skipped, never made up
for. Called by the node's timers.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from mmo.contract import Outcome
from mmo.errors import StoreError
from mmo.node.engine import NOBODY, Engine
from mmo.node.handlers import Route, TickRoute
from mmo.node.lanes import Job, Lane
from mmo.node.outcomes import misshapen
from mmo.node.watchdog import RuleOverran

PHASES = 5
FAULTS_IN_ROW_MAX = 5  # raising or overlong ticks of a room before its `broken` rule ends it
BROKEN_AGAIN_TICKS = 20  # between two calls of a `broken` rule that fails itself
ROW_AGAIN_MS = 200  # pause before a row is offered again to a store that is away


class Room:
    """What the node remembers of one room."""

    __slots__ = ("faults", "phase", "writing")

    def __init__(self, phase: int) -> None:
        self.phase = phase
        self.faults = 0  # in a row
        self.writing = False  # its row is on the way: no tick until it is settled


class Rooms:
    """All rooms of one tick rule; one object a rule."""

    def __init__(self, engine: Engine, tick: TickRoute) -> None:
        self._engine = engine
        self.key = (tick.name, tick.every_ms)
        self.of = tick.of
        self._each = tick.each
        self._tick: TickRoute | None = tick  # None: only older rooms are left
        self._lane = Lane(0)
        self._job = Job(Route(0, "node", tick.name))
        self._rooms: dict[Any, Room] = {}
        self._every_ms = tick.every_ms
        self._phases = min(PHASES, tick.every_ms)
        self._began_ms = 0
        self._turning: set[int] = set()  # phases that have their timer

    @property
    def running(self) -> int:
        """Rooms now."""
        return len(self.values())

    @property
    def turning(self) -> int:
        """Phases that have their timer now."""
        return len(self._turning)

    def become(self, tick: TickRoute | None) -> None:
        """Another generation decides for rooms that begin from now on; None: it has no such
        rule."""
        self._tick = tick

    def start(self) -> None:
        """Begin with the first phase; the others turn while there are rooms."""
        self._began_ms = self._engine.timers.now_ms()
        self._arm(0, 1)

    def _arm(self, phase: int, count: int) -> None:
        self._turning.add(phase)
        timers, every_ms = self._engine.timers, self._every_ms
        due_ms = self._began_ms + count * every_ms + phase * every_ms // self._phases
        timers.after(max(0, due_ms - timers.now_ms()), partial(self._run, phase, count, due_ms))

    def _run(self, phase: int, count: int, due_ms: int) -> None:
        engine, every_ms = self._engine, self._every_ms
        late_ms = engine.timers.now_ms() - due_ms
        missed = max(0, late_ms // every_ms)
        rooms = [] if engine.lanes.held else self._of_phase(phase)
        if rooms:
            engine.metrics.sample("room_tick_late_ms", late_ms)
            engine.metrics.count("room_ticks_total", len(rooms))
            engine.metrics.count("room_ticks_overrun_total", missed * len(rooms))
            engine.now()
            for key, value in rooms:
                self._run_room(key, value)
            engine.turn()
        if phase and not self._rooms:
            self._turning.discard(phase)
            return
        self._arm(phase, count + 1 + missed)
        for other in range(1, self._phases if self._rooms else 0):
            if other not in self._turning:
                self._arm(other, count + missed)

    def values(self) -> Mapping[Any, Any]:
        """The rooms by their key."""
        values: Mapping[Any, Any] = getattr(self._engine.states[self.of], self._each)
        return values

    def _of_phase(self, phase: int) -> list[tuple[Any, Any]]:
        """The rooms of one phase; a new room gets the emptiest one, a gone one is forgotten."""
        values, rooms = self.values(), self._rooms
        if len(rooms) != len(values) or rooms.keys() != values.keys():
            for key in rooms.keys() - values.keys():
                if not rooms[key].writing:
                    del rooms[key]
            for key in values.keys() - rooms.keys():
                held = [0] * self._phases
                for room in rooms.values():
                    held[room.phase] += 1
                rooms[key] = Room(held.index(min(held)))
        return [
            (key, values[key]) for key, room in rooms.items()
            if room.phase == phase and not room.writing and key in values
        ]  # fmt: skip

    def _run_room(self, key: Any, value: Any) -> None:
        engine, room = self._engine, self._rooms[key]
        engine.env.sender = NOBODY
        tick, pins = self._tick, engine.generations.pins
        older = pins.generation_of(self.of, key)
        if older is not None:
            tick = pins.tick_of(older, self.key)
        if tick is None:
            return  # a room of another generation, which ticks it by a rule of another name
        rule = tick.call
        if room.faults >= FAULTS_IN_ROW_MAX:
            rule = tick.broken
            if (room.faults - FAULTS_IN_ROW_MAX) % BROKEN_AGAIN_TICKS:
                room.faults += 1  # the rule that ends it failed too: not at every tick
                return
        began_s = engine.work_s()
        try:
            outcome = rule(value)
        except (Exception, RuleOverran):
            room.faults += 1
            engine.router.raised(self._job)
            return
        took_ms = (engine.work_s() - began_s) * 1_000
        engine.metrics.sample("room_tick_ms", took_ms)
        wrong = misshapen(outcome)
        if wrong or outcome.changes or outcome.asks or outcome.replies or outcome.claim_here:
            room.faults += 1
            engine.metrics.count("rules_raised_total")
            fault = wrong or "a room has no sender"
            engine.log.error("rule wrong", rule=self.key[0], room=key, fault=fault)
            return
        if took_ms > engine.settings.room_tick_ms_max:
            room.faults += 1
            engine.metrics.count("room_ticks_overlong_total")
            engine.log.warning("room tick overlong", rule=self.key[0], room=key, ms=took_ms)
        else:
            room.faults = 0
        if outcome.row is not None:
            room.writing = True
            engine.spawn(self._write(key, room, outcome))
        else:
            engine.outcomes.deliver(self._lane, self._job, outcome)

    async def _write(self, key: Any, room: Room, outcome: Outcome) -> None:
        """Write the room's row, however long the store is away: a row is guarded, so one whose
        answer was lost may be offered again."""
        engine = self._engine
        engine.failpoints.reach("before-row")
        try:
            held = await engine.store.write(outcome.row)
        except StoreError as fault:
            engine.now()
            engine.log.warning("room waits for the store", room=key, fault=str(fault))
            engine.committer.met(fault)
            engine.timers.after(ROW_AGAIN_MS, lambda: engine.spawn(self._write(key, room, outcome)))
            engine.turn()
            return
        engine.failpoints.reach("after-row")
        engine.now()
        room.writing = False
        if held:
            engine.metrics.count("rows_written_total")
            engine.outcomes.deliver(self._lane, self._job, outcome)
        else:
            engine.metrics.count("rows_refused_total")
            if isinstance(outcome.row_refused, Outcome):
                engine.outcomes.deliver(self._lane, self._job, outcome.row_refused)
            else:
                room.faults = FAULTS_IN_ROW_MAX
                engine.log.error("row of a room refused", rule=self.key[0], room=key)
        engine.turn()
