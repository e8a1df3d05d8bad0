"""Counts within a window, such as what a player bought of a shop line today."""

from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from mmo.state.change import Change

if TYPE_CHECKING:
    from mmo.state.player import Player


class CounterKind(IntEnum):
    """What is counted; `key` is then the number of the thing."""

    SHOP_DAILY = 1  # key: shop line, window: day number since 1970-01-01 UTC
    LOGIN_DAILY = 2  # key: 0, window: as above


class Counter(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`count` within `window`; a count of another window is over."""

    window: int
    count: int


def of_day(counter: Counter | None, day: int) -> Counter:
    """A counter of days as it stands on `day`. A day that began on another server's clock does not
    end again on a slower one. One further ahead is of a clock that was wrong, and would hold its
    player for as long as that was ahead: it counts for nothing."""
    if counter is not None and counter.window in (day, day + 1):
        return counter
    return Counter(day, 0)


class CounterRaised(Change, frozen=True):
    """A counter stands at `count` in `window` now. `is_new`: its row does not exist yet."""

    kind: int
    key: int
    window: int
    count: int
    is_new: bool

    def apply(self, player: "Player") -> None:
        player.counters[self.kind, self.key] = Counter(self.window, self.count)
