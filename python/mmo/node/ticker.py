"""Rules that run on time.

Owns the timers of the role's ticks. A tick has no sender and changes nothing durable; what it earns
for players goes through their lanes. Called by the node's timers.
"""

from functools import partial

from mmo.contract import Outcome
from mmo.node.engine import NOBODY, Engine
from mmo.node.handlers import Route, TickRoute
from mmo.node.lanes import Job, Lane
from mmo.node.rooms import Rooms


class Ticker:
    """One per node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lane = Lane(0)

    def start(self) -> None:
        """Begin all ticks of the role."""
        for tick in self._engine.table.ticks:
            if tick.each:
                rooms = Rooms(self._engine, tick)
                self._engine.rooms.append(rooms)
                rooms.start()
            else:
                self._engine.timers.every(tick.every_ms, partial(self._run, tick))

    def _run(self, tick: TickRoute) -> None:
        engine = self._engine
        engine.now()
        engine.env.sender = NOBODY
        job = Job(Route(0, "node", tick.name))
        try:
            outcome = tick.call(engine.states[tick.of])
        except Exception:
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
