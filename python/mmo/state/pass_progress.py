"""How far a player is in each season pass, and what he claimed."""

from typing import TYPE_CHECKING

import msgspec

from mmo.state.change import Change

if TYPE_CHECKING:
    from mmo.state.player import Player


class MissionCount(msgspec.Struct, array_like=True, frozen=True):
    """`progress` towards the goal of one mission, and how often it was reached."""

    mission: int
    progress: int
    done: int


class PassProgress(msgspec.Struct, frozen=True):
    """One pass of one player. `claimed` holds (level, line) pairs; line 0 free, 1 paid."""

    pass_id: int
    level: int = 0
    exp: int = 0
    paid: bool = False
    missions: tuple[MissionCount, ...] = ()
    claimed: frozenset[tuple[int, int]] = frozenset()


class PassMoved(Change, frozen=True):
    """Level, exp, missions or the paid line of a pass are now as said; `claimed` of the argument is
    not written. `is_new`: its row does not exist yet."""

    pass_id: int
    level: int
    exp: int
    paid: bool
    missions: tuple[MissionCount, ...]
    is_new: bool

    def apply(self, player: "Player") -> None:
        before = player.pass_progress.get(self.pass_id)
        claimed = before.claimed if before is not None else frozenset()
        player.pass_progress[self.pass_id] = PassProgress(
            self.pass_id, self.level, self.exp, self.paid, self.missions, claimed
        )


class PassLineOpened(Change, frozen=True):
    """The paid line of a pass is open; its row exists, or a `PassMoved` of the same commit makes
    it. Guard of the store: as that of a claim, so that nobody pays for a season that is over."""

    pass_id: int
    starts_ms: int
    ends_ms: int

    def apply(self, player: "Player") -> None:
        before = player.pass_progress[self.pass_id]
        player.pass_progress[self.pass_id] = msgspec.structs.replace(before, paid=True)


class PassRewardClaimed(Change, frozen=True):
    """One reward is claimed, once for ever. Guard of the store: the database's clock is within
    `[starts_ms, ends_ms)`, so that a claim at the edge falls into exactly one season."""

    pass_id: int
    level: int
    line: int
    starts_ms: int
    ends_ms: int

    def apply(self, player: "Player") -> None:
        before = player.pass_progress[self.pass_id]
        player.pass_progress[self.pass_id] = msgspec.structs.replace(
            before, claimed=before.claimed | {(self.level, self.line)}
        )
