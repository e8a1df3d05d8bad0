"""Raids that are fought while code is changed, and which generation answers in each room.

Owns the question that a raider asks after each blow and what must hold of all answers of a room:
one generation from its beginning to its end, another only where another process took the raid over,
and never an older one after a newer one. Used by the proof of reloads.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmo.client.hero import Hero
from mmo.client.session import ask
from mmo.client.steps import RAID, Walk
from mmo.proof.arena import Arena
from mmo.proof.economy_books import Books
from mmo.proof.live_code import Seen, backwards, speak_dice
from mmo.proof.raids import Raiders
from mmo.proof.verdict import Trial
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

FREED_S = 45.0
"""How long after the last raid a server may keep the code of one: who was matched and never came is
waited for."""


class RoomRaiders(Raiders):
    """Raiders who ask in their rooms which code answers."""

    def __init__(self, arena: Arena, game: Path, count: int, seed: int) -> None:
        super().__init__(arena, count, seed, self._ask)
        self._question = speak_dice(game)
        self.seen: list[Seen] = []

    def _ask(self, me: Hero) -> Walk[None]:
        sent_s = time.monotonic()
        rolled = yield from ask(
            me, RAID, self._question(1), expects=(int(Code.NOT_IN_RAID),)
        )  # the room may be gone by now
        if not isinstance(rolled, Refused):
            generation, word, raid = rolled.eyes
            self.seen.append(Seen(sent_s, time.monotonic(), generation, word, raid))


def room_faults(
    seen: Sequence[Seen], takeovers: Mapping[int, int], words: Mapping[int, int]
) -> list[str]:
    """What contradicts one generation a room. `takeovers`: how often each raid went on in another
    process; `words`: what the code of a generation says."""
    rooms: dict[int, list[Seen]] = {}
    for one in seen:
        rooms.setdefault(one.raid, []).append(one)
    faults: list[str] = []
    for raid, answers in sorted(rooms.items()):
        generations = sorted({one.generation for one in answers})
        if len(generations) > 1 + takeovers.get(raid, 0):
            faults.append(
                f"raid {raid}, taken over {takeovers.get(raid, 0)} times, was decided by"
                f" generations {generations}"
            )
        faults += [f"raid {raid}: {text}" for text in backwards(answers)[:3]]
        strange = {
            (one.generation, one.word)
            for one in answers
            if words.get(one.generation, one.word) != one.word
        }
        faults += [f"raid {raid}: generation {number} said {word}" for number, word in strange]
    return faults


def outlived(seen: Sequence[Seen], elsewhere: Sequence[Seen]) -> int:
    """Rooms whose own generation answered in them after a newer one had answered elsewhere."""
    first_heard: dict[int, float] = {}
    for one in elsewhere:
        known = first_heard.get(one.generation, one.heard_s)
        first_heard[one.generation] = min(known, one.heard_s)
    times = sorted(first_heard.items())
    found = set()
    for one in seen:
        newer = next((heard_s for number, heard_s in times if number > one.generation), None)
        if newer is not None and one.sent_s > newer:
            found.add(one.raid)
    return len(found)


async def witness_rooms(
    arena: Arena, trial: Trial, raiders: RoomRaiders, elsewhere: Sequence[Seen],
    words: Mapping[int, int],
) -> None:  # fmt: skip
    """Judge the rooms once all raids are over."""
    rows = await asyncio.to_thread(Books(arena).rows, "SELECT raid, takeovers FROM raid")
    takeovers = {int(raid): int(count) for raid, count in rows}
    faults = room_faults(raiders.seen, takeovers, words)
    for text in faults[:10]:
        trial.found(text)
    rooms = {one.raid for one in raiders.seen}
    trial.expect(not faults, f"{len(faults)} faults in the rooms of raids")
    trial.expect(bool(rooms), "nobody asked in a room")
    pinned = outlived(raiders.seen, elsewhere)
    trial.expect(pinned > 0, "no raid was fought across a switch, so nothing was shown of it")
    trial.tried(
        f"{len(raiders.seen)} answers in {len(rooms)} rooms of raids, {pinned} of them across a "
        f"switch; {sum(takeovers.get(raid, 0) > 0 for raid in rooms)} went on in another process"
    )
    trial.figure("rooms", len(rooms))
    trial.figure("rooms_across_a_switch", pinned)
    left = await _kept_code(arena)
    trial.expect(not left, f"code of ended raids is kept {FREED_S:.0f} s later: {left}")


async def _kept_code(arena: Arena) -> dict[str, dict[str, int]]:
    """Rooms by generation that nodes still hold, once they had the time to let go."""
    until_s = time.monotonic() + FREED_S
    while True:
        rows = (await arena.status())["nodes"]
        held = {row["name"]: row["rooms"] for row in rows if row.get("rooms")}
        if not held or time.monotonic() > until_s:
            return held
        await asyncio.sleep(0.5)
