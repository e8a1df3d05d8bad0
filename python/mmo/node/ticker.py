"""Rules that run on time.

Owns the timers of the role's ticks. A tick has no sender and changes nothing durable; what it earns
for players goes through their lanes. Called by the node's timers.
"""

from functools import partial

from mmo.contract import Outcome
from mmo.node.engine import NOBODY, Engine
from mmo.node.handlers import Route, Table, TickRoute
from mmo.node.lanes import Job, Lane
from mmo.node.watchdog import RuleOverran


class Ticker:
    """One per node. A rule that keeps its name and its period keeps its rhythm over a reload."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lane = Lane(0)
        self._routes: dict[tuple[str, int], TickRoute] = {}
        self._started = False

    def start(self) -> None:
        """Begin all ticks of the role."""
        self._started = True
        self.become(self._engine.table)

    def become(self, table: Table) -> None:
        """Tick by these routes from now on."""
        if not self._started:
            return
        before = self._routes
        self._routes = {(tick.name, tick.every_ms): tick for tick in table.ticks}
        for key in self._routes.keys() - before.keys():
            self._engine.timers.after(key[1], partial(self._due, key))

    def _due(self, key: tuple[str, int]) -> None:
        tick = self._routes.get(key)
        if tick is None:
            return  # no generation has it any more
        self._engine.timers.after(key[1], partial(self._due, key))
        if not self._engine.lanes.held:
            self._run(tick)

    def _run(self, tick: TickRoute) -> None:
        engine = self._engine
        engine.now()
        engine.env.sender = NOBODY
        job = Job(Route(0, "node", tick.name))
        try:
            outcome = tick.call()
        except (Exception, RuleOverran):
            engine.router.raised(job)
            return
        if type(outcome) is not Outcome or (
            outcome.changes or outcome.row or outcome.asks or outcome.replies or outcome.claim_here
        ):
            engine.log.error("rule wrong", rule=tick.name, fault="a tick has no sender")
            engine.metrics.count("rules_raised_total")
            return
        engine.outcomes.deliver(self._lane, job, outcome)
        engine.turn()
