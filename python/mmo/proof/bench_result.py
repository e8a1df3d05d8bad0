"""The form of a bench's answer.

Owns the fields that `bench --json` prints; scripts of others rely on them. Never measures. Filled
by the benches, printed by the command.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from mmo.proof.origin import origin


class Check(msgspec.Struct, frozen=True):
    """One thing that must hold for the figure to mean anything: no answer lost, none wrong."""

    name: str
    held: bool
    found: str = ""


class Aim(msgspec.Struct, frozen=True):
    """A published aim and what was reached."""

    name: str
    aim: float
    found: float
    met: bool


class BenchResult(msgspec.Struct, frozen=True):
    """A figure beside its limit, both measured in the same run on the same machine, or its aim."""

    name: str
    ours: float  # in `unit`
    limit: str  # what the limit is
    limit_absolute: float  # the limit's own figure, in `unit` or in `limit_unit`
    ratio: float  # the figure that the aim names first
    unit: str
    p50_ms: float | None
    p99_ms: float | None
    checks: tuple[Check, ...]
    more: dict[str, Any]
    aims: tuple[Aim, ...] = ()
    limit_unit: str = ""  # where the limit is in another one than ours
    times_of: str = ""  # what the percentiles are of, where that is not what `ours` was found at

    @property
    def held(self) -> bool:
        """Every check held; an aim that is missed is shown and does not make a figure wrong."""
        return bool(self.checks) and all(check.held for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """The documented form; under `more` stand aims, what is to be said of the limit and of the
        percentiles, and by what the figure was made."""
        more = {**self.more, **origin()}
        said = {"limit_unit": self.limit_unit, "times_of": self.times_of}
        more |= {name: text for name, text in said.items() if text}
        more["aims"] = [msgspec.to_builtins(aim) for aim in self.aims]
        return {
            "name": self.name,
            "ours": self.ours,
            "limit": self.limit,
            "limit_absolute": self.limit_absolute,
            "ratio": self.ratio,
            "unit": self.unit,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "checks": [msgspec.to_builtins(check) for check in self.checks],
            "more": more,
        }


def at_most(name: str, aim: float, found: float) -> Aim:
    """An aim that is met by a figure at or below it."""
    return Aim(name, aim, round(found, 4), 0 < found <= aim)


def at_least(name: str, aim: float, found: float) -> Aim:
    """An aim that is met by a figure at or above it."""
    return Aim(name, aim, round(found, 4), found >= aim)


def same(name: str, expected: int, found: int) -> Check:
    """A check that two counts agree."""
    return Check(name, expected == found, f"expected {expected}, found {found}")


def rounded(values: Sequence[float]) -> list[float]:
    """Figures for the eye."""
    return [round(value, 4) for value in values]
