"""Bugs that are planted into the simulated cluster, each by replacing one name while a test runs.

Owns the mutations; a simulation that finds none of them would prove nothing.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from mmo.node import operations
from mmo.node.committer import Committer
from mmo.node.generations import Generations
from mmo.state.channel_world import HoldsEnded
from mmo.state.wallet import CoinsMoved
from mmo.store import Verdict
from mmo.systems import raid, seats, shop
from mmo.testing import planted_node, sim_store
from mmo.testing.fake_store import FakeStore
from mmo.wire.messages.raid import ScoreRow

Patch = pytest.MonkeyPatch


def kept(patch: Patch, *names: tuple[Any, str]) -> None:
    """These are put back at the end of the test, whatever replaces them."""
    for owner, name in names:
        patch.setattr(owner, name, getattr(owner, name))


def reply_before_commit(patch: Patch) -> None:
    kept(patch, (Committer, "submit"))
    planted_node.reply_before_commit()


def apply_before_commit(patch: Patch) -> None:
    kept(patch, (Committer, "submit"), (Committer, "_apply"))
    planted_node.apply_before_commit()


def operation_forgotten(patch: Patch) -> None:
    kept(patch, (Committer, "submit"), (operations, "judge"))
    planted_node.operation_forgotten()


def stored_answer_differs(patch: Patch) -> None:
    """What is recorded of an operation is not what was told."""
    submit = Committer.submit

    def other(self: Any, lane: Any, job: Any, outcome: Any) -> None:
        submit(self, lane, job, outcome)
        pending = self._waiting[-1] if self._waiting else None
        if pending is not None and pending.job is job:
            pending.commit = msgspec.structs.replace(pending.commit, answer_opcode=1)

    patch.setattr(Committer, "submit", other)


def commit_without_fence(patch: Patch) -> None:
    """The store takes what a server that lost a player decides for him."""
    commit = FakeStore._commit

    def unfenced(self: Any, one: Any) -> Verdict:
        head, seen = self.database.heads[one.player.user], one.player.head
        place_epoch, head.place_epoch = head.place_epoch, seen.place_epoch
        version, head.version = head.version, seen.version
        try:
            return commit(self, one)
        finally:
            head.place_epoch = place_epoch
            head.version = max(version, head.version)

    patch.setattr(FakeStore, "_commit", unfenced)


def stale_cache_used(patch: Patch) -> None:
    """A claim takes what the cache shows, whatever its version."""
    patch.setattr(sim_store, "fits", lambda snapshot, row: True)


def seat_kept(patch: Patch) -> None:
    """A rule that forgets to free the seat of who left."""
    patch.setattr(seats, "SeatFreed", lambda user: HoldsEnded(0))


def price_not_paid(patch: Patch) -> None:
    """A rule that gives the goods and takes no money, and says that it did."""
    patch.setattr(shop, "CoinsMoved", _moved_nothing)


def _moved_nothing(currency: Any, amount: int, *rest: Any) -> CoinsMoved:
    return CoinsMoved(currency, 1, *rest)


def result_told_otherwise(patch: Patch) -> None:
    """A raid that tells each score one higher than it settles it."""
    patch.setattr(raid, "ScoreRow", _one_more)


def _one_more(seat: int, user: int, name: str, score: int, *rest: bool) -> ScoreRow:
    return ScoreRow(seat, user, name, score + 1, *rest)


def never_holds(patch: Patch) -> None:
    """A node that goes on deciding while the code is switched."""
    patch.setattr(Generations, "_hold", lambda self: None)


BUGS: dict[str, tuple[Callable[[Patch], None], int]] = {
    "reply before commit": (reply_before_commit, 102),
    "apply before commit": (apply_before_commit, 101),
    "operation forgotten": (operation_forgotten, 102),
    "stored answer differs": (stored_answer_differs, 101),
    "commit without fence": (commit_without_fence, 2),
    "stale cache used": (stale_cache_used, 101),
    "seat kept": (seat_kept, 102),
    "price not paid": (price_not_paid, 6),
    "result told otherwise": (result_told_otherwise, 4),
    "never holds": (never_holds, 1),
}
"""Every bug by name, with a seed that finds it."""
