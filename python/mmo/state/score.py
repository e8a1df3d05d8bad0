"""Best raid score; it only rises."""

from typing import TYPE_CHECKING

import msgspec

from mmo.state.change import Change

if TYPE_CHECKING:
    from mmo.state.player import Player


class Score(msgspec.Struct, frozen=True, gc=False):
    """The best result of all raids, 0 before the first."""

    best: int = 0


class ScoreRaised(Change, frozen=True):
    """A raid's result is better than all before it; `best` is the value after it. A lower one
    changes nothing."""

    best: int

    def apply(self, player: "Player") -> None:
        player.score = Score(max(player.score.best, self.best))
