"""Matching: level groups, how windows widen with waiting, and the limits of each step.

Owns `matching.toml` in its checked form. Read by rules as `env.content.matching`, never changed.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Annotated

import msgspec

from mmo.content.faults import contradiction
from mmo.content.schema import Freshness, Milliseconds, Natural, Positive, Small, Table

Reach = Annotated[int, msgspec.Meta(ge=0, le=1_000)]
Points = Annotated[tuple[tuple[Milliseconds, Reach], ...], msgspec.Meta(min_length=1)]
"""Points of a widening curve: from a waiting time in ms on, that many level groups further."""


class KindCurve(Table, frozen=True):
    """A kind of raid that widens by points of its own."""

    kind: Natural
    widening: Points


class MatchingFile(Table, frozen=True):
    """The whole of `matching.toml`."""

    group_level_min: Annotated[tuple[Natural, ...], msgspec.Meta(min_length=1, max_length=1000)]
    tickets_max: Positive
    teams_per_tick_max: Small
    asked_max: Small
    search_steps_max: Annotated[int, msgspec.Meta(ge=10, le=1_000_000)]
    reserve_ms: Milliseconds
    release_ms: Milliseconds
    rest_ms: Milliseconds
    server_fresh_ms: Freshness
    center_fresh_ms: Milliseconds
    ended_kept_ms: Milliseconds
    estimate_fresh_ms: Milliseconds
    place_kept_ms: Milliseconds
    ask_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)]
    differs_ms: Milliseconds
    told_rows_max: Small
    told_parts_max: Small
    widening: Points
    kind: tuple[KindCurve, ...] = ()


class Curve(msgspec.Struct, frozen=True):
    """One widening curve: `from_ms` ascends from 0, `reach` never falls."""

    from_ms: tuple[int, ...]
    reach: tuple[int, ...]

    def reach_at(self, waited_ms: int) -> int:
        """How many level groups further a player is matched who waited this long."""
        return self.reach[max(0, bisect_right(self.from_ms, waited_ms) - 1)]

    def is_widest_at(self, waited_ms: int) -> bool:
        """Whether the reach grows no more: then the other one's does not matter."""
        return waited_ms >= self.from_ms[-1] > 0

    def widens_in_ms(self, waited_ms: int) -> int:
        """Milliseconds until the reach grows, -1 when it never does again."""
        at = bisect_right(self.from_ms, max(0, waited_ms))
        return -1 if at == len(self.from_ms) else self.from_ms[at] - waited_ms


class Matching(msgspec.Struct, frozen=True):
    """Everything of `matching.toml`, checked."""

    limits: MatchingFile
    curve: Curve
    curves: Mapping[int, Curve]  # by kind of raid, where it has its own

    def curve_of(self, kind: int) -> Curve:
        """The widening curve of a kind of raid."""
        return self.curves.get(kind, self.curve)

    def group_of(self, level: int) -> int:
        """The level group, numbered from 1; a level below the first is in group 1."""
        return max(1, bisect_right(self.limits.group_level_min, level))


def build_matching(file: MatchingFile, raid_kinds: Collection[int]) -> Matching:
    """Check groups and curves. `raid_kinds`: the kinds that there are. Raises `ContentError` E0603
    naming the row."""
    levels = file.group_level_min
    if levels[0] != 0 or any(low >= high for low, high in pairwise(levels)):
        raise contradiction("matching.toml", "group_level_min", "must ascend from 0")
    curves: dict[int, Curve] = {}
    for index, row in enumerate(file.kind):
        if row.kind not in raid_kinds:
            raise contradiction(
                "matching.toml", f"kind[{index}]", f"raids.toml has no kind {row.kind}"
            )
        if row.kind in curves:
            raise contradiction("matching.toml", f"kind[{index}]", f"kind {row.kind} is twice")
        curves[row.kind] = _curve(f"kind[{index}].widening", row.widening)
    if file.release_ms < file.reserve_ms:
        raise contradiction("matching.toml", "release_ms", "is below reserve_ms")
    return Matching(file, _curve("widening", file.widening), curves)


def _curve(row: str, points: tuple[tuple[int, int], ...]) -> Curve:
    if points[0][0] != 0:
        raise contradiction("matching.toml", row, "the first point must be at 0 ms")
    for before, after in pairwise(points):
        if after[0] <= before[0] or after[1] < before[1]:
            raise contradiction(
                "matching.toml", row, "times must rise and the reach must never fall"
            )
    return Curve(tuple(at for at, _ in points), tuple(reach for _, reach in points))
