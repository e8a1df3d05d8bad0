"""The frames of raid battles: how late each came, and how many never did.

Owns the arithmetic. A frame carries what remains of its battle, and that follows the server's
clock: the earliest frame of a seat is its measure, and how much later than that another one comes
is its age. A frame that never comes has no age, so the frames that came are held against the ticks
that went by: a server sends one for each tick. When it is late it takes two ticks at once and sends
one frame for both, so what it stood still is missing too. Filled by `meter.LoadHero`.
"""

from array import array
from collections.abc import Iterable
from typing import Any

TICK_MS = 50.0
"""Of a battle whose start was not told to this user; `tick_ms` of the content in the box."""
LONG_FRAMES = 40
"""A battle of fewer is not judged alone: its last tick sends none, and its end is told after its
commit."""


class Battle:
    """What one seat of one battle is sent. All times are of the user's clock, in seconds."""

    def __init__(self, began_s: float, tick_ms: float) -> None:
        self._began_s = began_s
        self._tick_ms = tick_ms
        self._heard_s = began_s
        self._until_s: float | None = None
        self._came_s = array("d")
        self._offsets_ms = array("d")

    def hear(self, at_s: float) -> None:
        """It still runs."""
        self._heard_s = at_s

    def frame(self, at_s: float, remaining_ms: int) -> None:
        """One frame came."""
        self._came_s.append(at_s)
        self._offsets_ms.append(at_s * 1000 + remaining_ms)

    def end(self, at_s: float | None = None) -> None:
        """It is over, or the seat is given up; None: nobody told when, but when it was heard of
        last."""
        if self._until_s is None:
            self._until_s = self._heard_s if at_s is None else at_s

    def ages_ms(self, closed_s: float) -> list[float]:
        """Of every frame that was due before `closed_s`, whenever it came."""
        earliest = min(self._offsets_ms, default=0.0)
        ages = [offset - earliest for offset in self._offsets_ms]
        came = zip(self._came_s, ages, strict=True)
        return [age for at_s, age in came if at_s - age / 1000 <= closed_s]

    def frames(self, closed_s: float) -> tuple[int, int]:
        """How many came and how many should have, of those due before `closed_s`."""
        until_s = closed_s if self._until_s is None else min(self._until_s, closed_s)
        # the last tick ends the battle and is told with its result
        due = max(0, int((until_s - self._began_s) * 1000 / self._tick_ms) - 1)
        return min(due, len(self.ages_ms(closed_s))), due


def frames_of(battles: Iterable[Battle], closed_s: float) -> dict[str, Any]:
    """The frames of all battles, those that came and those that were due; `share`: of all,
    `share_least`: of the battle that got the least of its own, None where none was long enough."""
    counted = [battle.frames(closed_s) for battle in battles]
    came, due = (sum(column) for column in zip(*counted, strict=True)) if counted else (0, 0)
    long = [own / of for own, of in counted if of >= LONG_FRAMES]
    return {
        "came": came,
        "due": due,
        "share": round(came / due, 4) if due else None,
        "share_least": round(min(long), 4) if long else None,
    }
