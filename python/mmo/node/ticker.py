"""Rules that run on time.

Owns the timers of the role's ticks. A tick has no sender and changes nothing durable; what it earns
for players goes through their lanes. Called by the node's timers.
"""

from functools import partial

from mmo.node.engine import NOBODY, Engine
from mmo.node.handlers import Table, TickRoute
from mmo.node.lanes import Job, Lane
from mmo.node.outcomes import misshapen
from mmo.node.rooms import Rooms
from mmo.node.watchdog import RuleOverran


class Ticker:
    """One per node. A rule that keeps its name and its period keeps its rhythm over a reload."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lane = Lane(0)
        self._routes: dict[tuple[str, int], TickRoute] = {}
        self._begun: dict[tuple[str, int], object] = {}  # the one chain of calls of each rule
        self._started = False

    def start(self) -> None:
        """Begin all ticks of the role."""
        self._started = True
        self.become(self._engine.table)

    def become(self, table: Table) -> None:
        """Tick by these routes from now on. Rooms that began before go on by theirs."""
        if not self._started:
            return
        before = self._routes
        self._routes = {(tick.name, tick.every_ms): tick for tick in table.ticks}
        for rooms in self._engine.rooms:
            rooms.become(self._routes.get(rooms.key))
        for key in self._routes.keys() - before.keys():
            tick = self._routes[key]
            if not tick.each:
                mark = self._begun[key] = object()
                self._engine.timers.after(tick.every_ms, partial(self._due, key, mark))
            elif all(rooms.key != key for rooms in self._engine.rooms):
                rooms = Rooms(self._engine, tick)
                self._engine.rooms.append(rooms)
                rooms.start()

    def _due(self, key: tuple[str, int], mark: object) -> None:
        tick = self._routes.get(key)
        if tick is None or self._begun[key] is not mark:
            return  # no generation has it any more, or a newer one began it anew
        self._engine.timers.after(key[1], partial(self._due, key, mark))
        if not self._engine.lanes.held:
            self._run(tick)

    def _run(self, tick: TickRoute) -> None:
        engine = self._engine
        engine.now()
        engine.env.sender = NOBODY
        try:
            outcome = tick.call(engine.states[tick.of])
        except (Exception, RuleOverran):
            engine.router.raised(Job(tick.route))
            return
        wrong = misshapen(outcome)
        if wrong or (
            outcome.changes or outcome.row or outcome.asks or outcome.replies or outcome.claim_here
        ):
            engine.log.error("rule wrong", rule=tick.name, fault=wrong or "a tick has no sender")
            engine.metrics.count("rules_raised_total")
            return
        engine.outcomes.deliver(self._lane, Job(tick.route), outcome)
        engine.turn()
