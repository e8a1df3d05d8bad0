"""Level and experience."""

from typing import TYPE_CHECKING

import msgspec

from mmo.state.change import Change

if TYPE_CHECKING:
    from mmo.state.player import Player


class Growth(msgspec.Struct, frozen=True, gc=False):
    """`level` 1..15; `exp` counts from the last level-up and is 0 at the highest level."""

    level: int = 1
    exp: int = 0


class ExpGained(Change, frozen=True):
    """Experience arrived; `level` and `exp` are the values after it, `gained` the part that
    counted."""

    gained: int
    level: int
    exp: int

    def apply(self, player: "Player") -> None:
        player.growth = Growth(self.level, self.exp)
