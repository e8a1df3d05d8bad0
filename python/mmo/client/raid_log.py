"""What a client heard of its raids: the match, the battle that runs, results, what was freed.

Owns the client's own record of raids, which proofs compare with the books. Never sends anything.
Filled by `hero` with every push, read by `raider`.
"""

from typing import Any

from mmo.wire.messages.raid import (
    DatagramKey,
    RaidEnded,
    RaidEntered,
    RaidStart,
    RaidStream,
    RaidStruck,
)
from mmo.wire.messages.raid_queue import RaidFreed, RaidMatched, RaidUnmatched

RAID_GRANT = 4
"""`state.grant.SourceKind.RAID`."""

ABORTED = frozenset({4, 5, 6, 7})
"""Values of `state.raid.EndReason` that end a raid without a result: nobody scored."""

RUNNING = 2
"""`RaidEntered.state` of a battle that runs."""


class RaidLog:
    """One player's raids. `scores`: what he reached, by raid, as told at its end."""

    def __init__(self) -> None:
        self.matched: RaidMatched | None = None  # told and not taken up yet
        self.unmatched = 0  # code of the last ticket that ended without a raid
        self.key: DatagramKey | None = None  # told and not proved yet
        self.runs = False
        self.seats_taken = 0  # anew or again, of all raids
        self.entered: set[int] = set()
        self.fought: set[int] = set()  # raids in which a blow was answered
        self.scores: dict[int, int] = {}
        self.granted: set[int] = set()  # ended raids whose reward was announced
        self.aborted: set[int] = set()
        self.wrong: list[str] = []  # what was told of an end and is never right
        self._loose: set[int] = set()  # counted as such already
        self.frames = 0  # of the stream
        self.struck = 0

    @property
    def best(self) -> int:
        """The best score of all results."""
        return max(self.scores.values(), default=0)

    def hear(self, message: Any, user: int) -> None:
        """Something a server said unasked to `user`."""
        if isinstance(message, RaidStream):
            self.frames += 1
        elif isinstance(message, RaidStruck):
            self.struck += 1
        elif isinstance(message, RaidMatched):
            self.matched = message
        elif isinstance(message, RaidUnmatched):
            self.unmatched = message.code
        elif isinstance(message, DatagramKey):
            self.key = message
        elif isinstance(message, RaidStart):
            self.runs = True
        elif isinstance(message, RaidFreed) and not message.finished:
            self.aborted.add(message.raid)
        elif isinstance(message, RaidEnded):
            self._end(message, user)

    def enter(self, entered: RaidEntered) -> None:
        """A seat was taken, anew or again."""
        self.seats_taken += 1
        self.entered.add(entered.raid)
        self.runs = entered.state == RUNNING

    def loosen(self, told: set[int]) -> int:
        """How many more raids may give something of which nobody tells any more: entered, not known
        to be without a reward, and not among the raids whose reward was `told`."""
        bare = self.scores.keys() - self.granted
        loose = self.entered - told - bare - self.aborted - self._loose
        self._loose |= loose
        return len(loose)

    def _end(self, ended: RaidEnded, user: int) -> None:
        self.runs = False
        if ended.reason in ABORTED:
            self.aborted.add(ended.raid)
            return
        scores = [row.score for row in ended.scores]
        if scores != sorted(scores, reverse=True):
            self.wrong.append(f"the scores of raid {ended.raid} are not in their order")
        own = next((row for row in ended.scores if row.user == user), None)
        if own is None:
            self.wrong.append(f"raid {ended.raid} ended without the score of user {user}")
            return
        if self.scores.setdefault(ended.raid, own.score) != own.score:
            self.wrong.append(f"raid {ended.raid} ended with two results")
        if own.granted:
            self.granted.add(ended.raid)
