"""Where the Python thread of a measured server spends its time, by samples of its own stack.

Owns the timer and the counts; a sample costs microseconds and nothing is traced, so the shares are
those of an undisturbed run. Never part of a node. Started by `shop_server` for one window.
"""

import signal
from collections import Counter
from collections.abc import Callable
from types import FrameType

EVERY_S = 0.002
PARTS = (
    ("mmo.store.redis_cluster", "redis driver"),
    ("mmo.store.relay", "redis driver"),
    ("redis", "redis driver"),
    ("mysql", "driver"),
    ("mmo.store", "store"),
    ("mmo.systems", "rules"),
    ("mmo.content", "rules"),
    ("mmo.state", "rules"),
    ("mmo.node", "node"),
    ("mmo.wire", "node"),
    ("mmo.contract", "node"),
)
"""Packages by the part they belong to; the innermost frame that belongs to one counts."""

ELSEWHERE = "event loop"


class Samples:
    """Counts by part. `goes` says whether the measured time has begun."""

    def __init__(self, goes: Callable[[], bool]) -> None:
        self.counts: Counter[str] = Counter()
        self._goes = goes
        self._begun = False

    def start(self) -> None:
        """Sample on processor time from now on."""
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def stop(self) -> dict[str, int]:
        """The counts."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        return dict(self.counts)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._begun = self._begun or self._goes()
        if self._begun:
            self.counts[part_of(frame)] += 1


def part_of(frame: FrameType | None) -> str:
    """The part of the innermost frame that belongs to one."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        for package, part in PARTS:
            if module == package or module.startswith(package + "."):
                return part
        frame = frame.f_back
    return ELSEWHERE
