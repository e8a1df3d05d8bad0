"""What honest players felt of a flood: how long each answer took, by when it was meant.

Owns the samples, the spans of time they fall into, and what must hold between quiet and flooded
ones: a sample belongs to the moment its request was meant to be sent, however late its answer came.
Sends nothing. Filled by `flood_honest`, judged by `flood`.
"""

import time
from array import array
from collections.abc import Callable, Collection, Iterable

import msgspec

from mmo.client.meter import Meter
from mmo.proof.verdict import Trial

TIMES_MAX = 2.0
RATE_MIN = 0.5
"""So much of what is answered in a quiet second is answered in a flooded one."""

HUNT, RAID_ANSWER, RAID_EFFECT, RAID_STREAM = "hunt", "raid answer", "raid effect", "raid stream"


class Limits(msgspec.Struct, frozen=True):
    """`least_ms`: a p99 below it is borne, whatever quiet turns had; `samples_min`: fewer of one
    sort, quiet or flooded, say nothing."""

    least_ms: float
    samples_min: int


class Felt(Meter):
    """A meter that also keeps when each action was meant. `sort_of`: what sort an action is judged
    as, "" for none."""

    def __init__(
        self, sort_of: Callable[[str], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._samples: dict[str, list[tuple[float, float]]] = {}
        self._battles: list[list[tuple[float, float]]] = []
        self._sort_of, self._clock = sort_of, clock

    def action(self, kind: str, took_ms: float) -> None:
        """One action got its final answer `took_ms` after it was meant."""
        super().action(kind, took_ms)
        sort = self._sort_of(kind)
        if sort:
            self.note(sort, took_ms)

    def note(self, sort: str, took_ms: float) -> None:
        """One thing came now, `took_ms` after it was meant."""
        self._samples.setdefault(sort, []).append((self._clock() - took_ms / 1000, took_ms))

    def battle(self) -> list[tuple[float, float]]:
        """Where the frames of one battle are put: when each came, and how late by what it says
        itself, in milliseconds; the earliest of them is their measure."""
        self._battles.append([])
        return self._battles[-1]

    def samples(self, sort: str) -> list[tuple[float, float]]:
        """All of a sort: when it was meant, and how long it took."""
        found = list(self._samples.get(sort, ()))
        for frames in self._battles if sort == RAID_STREAM else ():
            earliest_ms = min((late_ms for _, late_ms in frames), default=0.0)
            for came_s, late_ms in frames:
                age_ms = late_ms - earliest_ms
                found.append((came_s - age_ms / 1000, age_ms))
        return found


class Spans:
    """Stretches of time, each from a moment to a moment of the players' clock."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def add(self, begun_s: float, ended_s: float) -> None:
        """One more."""
        self._spans.append((begun_s, ended_s))

    @property
    def seconds(self) -> float:
        """The length of all."""
        return sum(ended_s - begun_s for begun_s, ended_s in self._spans)

    def of(self, samples: Iterable[tuple[float, float]]) -> "array[float]":
        """How long those took that were meant within."""
        return array(
            "d",
            (took for at, took in samples if any(one <= at < end for one, end in self._spans)),
        )


class Side(msgspec.Struct, frozen=True):
    """One sort, in quiet or under the flood."""

    count: int
    per_s: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, taken: "array[float]", seconds: float) -> "Side":
        """The figures of these samples."""
        one = Meter()
        one.by_kind["one"] = taken
        p50_ms, p99_ms = one.percentile_ms(0.5), one.percentile_ms(0.99)
        return cls(len(taken), len(taken) / max(seconds, 1e-9), p50_ms, p99_ms)


class Feeling(msgspec.Struct, frozen=True):
    """One sort of things that honest players wait for."""

    sort: str
    quiet: Side
    flooded: Side

    def faults(self, limits: Limits) -> list[str]:
        """What makes it unbearable, as sentences."""
        quiet, flooded, found = self.quiet, self.flooded, []
        for name, side in (("in quiet turns", quiet), ("under the flood", flooded)):
            if side.count < limits.samples_min:
                text = f"{self.sort}: {side.count} samples {name} of {limits.samples_min}"
                found.append(f"{text} that say something")
        if flooded.p99_ms >= max(TIMES_MAX * quiet.p99_ms, limits.least_ms):
            found.append(
                f"{self.sort}: honest p99 {flooded.p99_ms:.1f} ms under the flood, "
                f"{quiet.p99_ms:.1f} ms without it"
            )
        if flooded.per_s < RATE_MIN * quiet.per_s:
            found.append(
                f"{self.sort}: {flooded.per_s:.1f} a second under the flood, "
                f"{quiet.per_s:.1f} without it"
            )
        return found


def feelings(
    felt: Iterable[Felt], sorts: Collection[str], quiet: Spans, flooded: Spans
) -> list[Feeling]:
    """Each sort, over what all these meters hold until now."""
    meters, found = list(felt), []
    for sort in sorts:
        samples = [sample for meter in meters for sample in meter.samples(sort)]
        sides = (Side.of(spans.of(samples), spans.seconds) for spans in (quiet, flooded))
        found.append(Feeling(sort, *sides))
    return found


def judge_feelings(trial: Trial, found: Iterable[Feeling], limits: Limits) -> None:
    """Every sort must be borne; the figures of the hunt stand by themselves, the others' under the
    name of their sort."""
    for one in found:
        quiet, flooded = one.quiet, one.flooded
        figures = {
            "quiet_p50_ms": round(quiet.p50_ms, 2),
            "flooded_p50_ms": round(flooded.p50_ms, 2),
            "quiet_p99_ms": round(quiet.p99_ms, 2),
            "flooded_p99_ms": round(flooded.p99_ms, 2),
            "times": round(flooded.p99_ms / quiet.p99_ms, 2) if quiet.p99_ms else 0.0,
            "quiet_per_s": round(quiet.per_s, 1),
            "flooded_per_s": round(flooded.per_s, 1),
        }
        if one.sort == HUNT:
            for name, value in figures.items():
                trial.figure(name, value)
        else:
            trial.figure(one.sort.replace(" ", "_"), figures)
        trial.tried(
            f"{one.sort}: honest p99 {quiet.p99_ms:.1f} ms in quiet turns ({quiet.count} samples, "
            f"{quiet.per_s:.1f} a second), {flooded.p99_ms:.1f} ms under the flood "
            f"({flooded.count}, {flooded.per_s:.1f} a second)"
        )
        faults = one.faults(limits)
        trial.expect(not faults, "; ".join(faults))
