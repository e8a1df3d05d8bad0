"""What a node counts and measures.

Owns counters, small rings of samples and their distribution; computes percentiles only when asked.
Never decides anything. Written by the machinery, read by the admin socket, the scrape and the
benches.
"""

from bisect import bisect_left
from collections import defaultdict
from typing import NamedTuple

SAMPLES_MAX = 512

BOUNDS: dict[str, tuple[float, ...]] = {
    "decide_us": (5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000),
    "commit_ms": (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 3_000),
    "reply_ms": (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 3_000),
    "group_members": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "batch_events": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "loop_lag_ms": (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 4_000),
    "room_tick_late_ms": (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000),
}
"""Upper ends of the classes of each measure that is told as a distribution."""


class Distribution(NamedTuple):
    """How many values fell into each class: one count more than bounds, the last without end."""

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float


class Samples:
    """The last 512 values of one measure, and how all of them were distributed."""

    __slots__ = ("_bounds", "_counts", "_next", "_sum", "_values")

    def __init__(self, bounds: tuple[float, ...] = ()) -> None:
        self._values: list[float] = []
        self._next = 0
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float, weight: int = 1) -> None:
        """Remember one value; the oldest is forgotten. `weight`: it stands for so many."""
        if len(self._values) < SAMPLES_MAX:
            self._values.append(value)
        else:
            self._values[self._next] = value
            self._next = (self._next + 1) % SAMPLES_MAX
        self._counts[bisect_left(self._bounds, value)] += weight
        self._sum += value * weight

    def percentile(self, permille: int) -> float:
        """The value below which `permille` thousandths lie; 0 without values."""
        if not self._values:
            return 0.0
        ordered = sorted(self._values)
        return ordered[min(len(ordered) - 1, len(ordered) * permille // 1000)]

    @property
    def distribution(self) -> Distribution:
        """All values since the start by class."""
        return Distribution(self._bounds, list(self._counts), self._sum)


class _ByName(dict[str, Samples]):
    """Makes the samples of a name on first use."""

    def __missing__(self, name: str) -> Samples:
        made = self[name] = Samples(BOUNDS.get(name, ()))
        return made


class Metrics:
    """Counters by name (ending in `_total`), messages by opcode, and samples by name (ending in
    their unit)."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.messages: defaultdict[int, int] = defaultdict(int)  # of clients and other servers
        self.samples: dict[str, Samples] = _ByName()

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counts[name] += by

    def sample(self, name: str, value: float, weight: int = 1) -> None:
        """Add to a measure."""
        self.samples[name].add(value, weight)

    def report(self) -> dict[str, float]:
        """Everything, flat: counters, and `<measure>_p50`, `<measure>_p99` of the last samples."""
        flat: dict[str, float] = dict(self.counts)
        for name, samples in self.samples.items():
            flat[f"{name}_p50"] = round(samples.percentile(500), 3)
            flat[f"{name}_p99"] = round(samples.percentile(990), 3)
        return flat
