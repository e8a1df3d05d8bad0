"""Bugs that are planted into the simulated cluster, each by replacing one name while a test runs.

Owns the mutations; a simulation that finds none of them would prove nothing.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
import pytest

from mmo.cli import switching
from mmo.contract import Outcome
from mmo.node import operations
from mmo.node.committer import Committer
from mmo.node.generations import Generations
from mmo.state.center_tickets import TicketOver
from mmo.state.channel_world import HoldsEnded
from mmo.state.raid import RaidTaken
from mmo.state.sessions import MoveOver
from mmo.state.wallet import CoinsMoved
from mmo.store import Verdict
from mmo.systems import growth, presence, raid, raid_seats, raid_tickets, raid_tokens, seats, shop
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


def session_kept(patch: Patch) -> None:
    """A rule that forgets to let go of the session of who left."""
    patch.setattr(presence, "SessionLost", MoveOver)


def raid_seat_kept(patch: Patch) -> None:
    """A center that never forgets the seat of a raid, neither at its end nor when he leaves."""
    patch.setattr(raid_tokens, "SeatOver", TicketOver)
    patch.setattr(raid_tickets, "PlayerGone", TicketOver)


def reward_impossible(patch: Patch) -> None:
    """A kill whose gold no constraint lets through: its reward is lost, and nobody was told any."""
    patch.setattr(growth, "CoinsMoved", _nothing_moved)


def _nothing_moved(currency: Any, amount: int, *rest: Any) -> CoinsMoved:
    return CoinsMoved(currency, 0, *rest)


def price_not_paid(patch: Patch) -> None:
    """A rule that gives the goods and takes no money, and says that it did."""
    patch.setattr(shop, "CoinsMoved", _moved_nothing)


def _moved_nothing(currency: Any, amount: int, *rest: Any) -> CoinsMoved:
    return CoinsMoved(currency, 1, *rest)


def takeover_forgotten(patch: Patch) -> None:
    """A server that forgets that it took a raid over when the answer of the store is lost."""
    patch.setattr(raid_seats, "Outcome", _given_up)


def _given_up(**parts: Any) -> Outcome:
    if isinstance(parts.get("row"), RaidTaken):
        del parts["row_insists"]
    return Outcome(**parts)


def result_told_otherwise(patch: Patch) -> None:
    """A raid that tells each score one higher than it settles it."""
    patch.setattr(raid, "ScoreRow", _one_more)


def _one_more(seat: int, user: int, name: str, score: int, *rest: bool) -> ScoreRow:
    return ScoreRow(seat, user, name, score + 1, *rest)


def never_holds(patch: Patch) -> None:
    """A node that goes on deciding while the code is switched."""
    patch.setattr(Generations, "_hold", lambda self: None)


class Bug(NamedTuple):
    """`seed` finds it, by a finding with `words`, which tell of what it breaks and of nothing
    else. `coordinator`: of the reloads that some seeds have; None: the seed has none."""

    plant: Callable[[Patch], None]
    seed: int
    words: str
    coordinator: ModuleType | None = switching


BUGS = {
    "reply before commit": Bug(reply_before_commit, 102, "was acknowledged and is nowhere"),
    "apply before commit": Bug(apply_before_commit, 101, " was refused: "),
    "operation forgotten": Bug(operation_forgotten, 102, "was answered in two ways"),
    "stored answer differs": Bug(stored_answer_differs, 101, "was told otherwise than recorded"),
    "commit without fence": Bug(commit_without_fence, 1, " is at version "),
    "stale cache used": Bug(stale_cache_used, 1, ", acknowledged "),
    "seat kept": Bug(seat_kept, 102, "still keeps world.seats"),
    "session kept": Bug(session_kept, 102, "still keeps sessions.of_user"),
    "raid seat kept": Bug(raid_seat_kept, 4, "still keeps tickets.seats"),
    "reward impossible": Bug(reward_impossible, 2, "commit broke a constraint"),
    "price not paid": Bug(price_not_paid, 0, ", acknowledged "),
    "result told otherwise": Bug(result_told_otherwise, 4, "was told"),
    "takeover forgotten": Bug(takeover_forgotten, 916, "the seat was refused", None),
    "never holds": Bug(never_holds, 1, "two generations decide"),
}
"""Every bug by name."""
