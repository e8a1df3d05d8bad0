"""The one percentile of benches and proofs: that of the players' own meters.

Owns no definition of its own, so that two figures beside each other are of one kind; says when a
hundredth part of the samples is no part at all. Called by benches and proofs.
"""

from collections.abc import Iterable, Sequence

from mmo.client.meter import Meter

SAMPLES_MIN = 100
P99, LONGEST = "p99", "longest"


def percentile(samples: Iterable[float], share: float) -> float:
    """The smallest sample that at least `share` of all do not exceed (nearest rank), to three
    digits; 0 without samples."""
    meter = Meter()
    for sample in samples:
        meter.action("", sample)
    return meter.percentile_ms(share)


def slowest(samples: Sequence[float]) -> tuple[str, float]:
    """The slow end of some samples and its name: of fewer than `SAMPLES_MIN` the hundredth part is
    none, and the longest is told."""
    if len(samples) < SAMPLES_MIN:
        return LONGEST, max(samples, default=0.0)
    return P99, percentile(samples, 0.99)
