"""From the core's descriptor to the router, a batch at a time.

Owns the one reader on the event loop. Never looks into an event. Started and stopped by `node`.
"""

import asyncio
import time

from mmo.node.engine import Engine


class Intake:
    """Pulls events from the core while its descriptor is readable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batch = engine.router.on_batch

    def start(self) -> None:
        """Register with the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._engine.core.fileno(), self._readable)

    def stop(self) -> None:
        """Leave the loop; idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._engine.core.fileno())
            self._loop = None

    def hold(self, held: bool) -> None:
        """Leave what comes in the core's queue, or go on with it."""
        if self._loop is None:
            return
        if held:
            self._loop.remove_reader(self._engine.core.fileno())
        else:
            self._loop.add_reader(self._engine.core.fileno(), self._readable)

    def _readable(self) -> None:
        engine = self._engine
        started_ns = time.perf_counter_ns()
        if started_ns > engine.generations.trusted_until_ns:
            engine.generations.slept()  # perhaps stopped for long: nothing is decided unread
            return
        try:
            taken = engine.core.pump(self._batch, engine.settings.pump_events_max)
        except Exception as fault:  # a bug of the machinery, not of a rule: the node must not limp
            engine.on_crash(fault)
            return
        if taken:
            spent_ns = time.perf_counter_ns() - started_ns
            counts = engine.metrics.counts
            counts["batches_total"] += 1
            counts["events_total"] += taken
            counts["batch_ns_total"] += spent_ns
            engine.metrics.sample("batch_events", taken)
            engine.metrics.sample("decide_us", spent_ns / taken / 1_000, taken)
