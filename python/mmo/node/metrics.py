"""What a node counts and measures.

Owns counters and small rings of samples; computes percentiles only when asked. Never decides
anything. Written by the machinery, read by the admin socket and the benches.
"""

from collections import defaultdict

SAMPLES_MAX = 512


class Samples:
    """The last 512 values of one measure."""

    __slots__ = ("_next", "_values")

    def __init__(self) -> None:
        self._values: list[float] = []
        self._next = 0

    def add(self, value: float) -> None:
        """Remember one value; the oldest is forgotten."""
        if len(self._values) < SAMPLES_MAX:
            self._values.append(value)
        else:
            self._values[self._next] = value
            self._next = (self._next + 1) % SAMPLES_MAX

    def percentile(self, permille: int) -> float:
        """The value below which `permille` thousandths lie; 0 without values."""
        if not self._values:
            return 0.0
        ordered = sorted(self._values)
        return ordered[min(len(ordered) - 1, len(ordered) * permille // 1000)]


class Metrics:
    """Counters by name (ending in `_total`) and samples by name (ending in their unit)."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.samples: defaultdict[str, Samples] = defaultdict(Samples)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counts[name] += by

    def sample(self, name: str, value: float) -> None:
        """Add to a measure."""
        self.samples[name].add(value)

    def report(self) -> dict[str, float]:
        """Everything, flat: counters, and `<measure>_p50`, `<measure>_p99` of the last samples."""
        flat: dict[str, float] = dict(self.counts)
        for name, samples in self.samples.items():
            flat[f"{name}_p50"] = round(samples.percentile(500), 3)
            flat[f"{name}_p99"] = round(samples.percentile(990), 3)
        return flat
