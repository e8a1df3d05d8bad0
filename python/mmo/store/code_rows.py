"""The forms in which the store speaks of code: the one row, a switch of it, what was.

Owns the fields only. Used by `store`, `node` and the commands that change code.
"""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

Meanwhile = Callable[[], Awaitable[None]]
"""What happens between a switch and its commit."""

SwitchKind = Literal["first", "start", "reload", "rolling", "canary"]
"""`first` names the sources of generation 1; `start` takes what lies on the disk while nothing
runs; `reload` is the switch of all; `rolling` begins a rolling restart; `canary` is one node."""

NOTE_CHARACTERS_MAX = 255
WHO_CHARACTERS_MAX = 64


class CodeRow(msgspec.Struct, frozen=True):
    """The one row that says which code decides."""

    generation: int
    bundle: str  # hash of its sources; empty: nobody named them yet
    next: int  # the number of the next generation, unused so far
    rolling_from: int  # a rolling restart goes on from this generation; 0: none
    canary: int  # generation that one node tries; 0: none
    canary_number: int  # server number of that node
    now_ms: int  # the clock of the database

    def allows(self, generation: int, number: int) -> bool:
        """Whether the server `number` may decide by `generation`."""
        is_canary = bool(self.canary) and (generation, number) == (self.canary, self.canary_number)
        return generation in (self.generation, self.rolling_from or self.generation) or is_canary


class CodeSwitch(msgspec.Struct, frozen=True):
    """A change of the one row, valid only while all of it still holds."""

    kind: SwitchKind
    generation: int
    bundle: str
    before: int  # the generation that must be in the row
    who: str
    note: str = ""
    deadline_ms: int = 0  # by the database's clock; later nothing changes. 0: none
    holders: tuple[tuple[int, int], ...] | None = None
    """(server number, incarnation or 0 for any) of all who may be alive; somebody else alive: the
    switch is refused. None: not asked."""
    canary_number: int = 0


class CodeRecord(msgspec.Struct, frozen=True):
    """One generation as it is remembered for ever."""

    generation: int
    bundle: str
    replaced: int  # the generation before it
    state: str  # a kind of switch, or "back" for a canary that was taken back
    who: str
    note: str
    switched_ms: int
