"""The published keys of the rolls as one server last read them.

Volatile: read again from the store every few minutes. Changes only through the effect of this file.
"""

from typing import Any, ClassVar

from mmo.state.change import Effect
from mmo.state.roll import DayKey


class RollDays:
    """Public keys by day, in the order of days."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: tuple[DayKey, ...] = ()


class RollDaysSeen(Effect, frozen=True):
    """These are all that is published."""

    of: ClassVar[str] = "roll_days"
    rows: tuple[DayKey, ...]

    def apply(self, state: Any) -> None:
        state.rows = self.rows
