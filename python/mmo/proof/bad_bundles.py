"""Proof that a broken save is harmless: a corpus of bad saves by kind, a good one between each.

Owns the order of the saves and what must be true after each. The saves go through `mmo-cluster dev`
like an editor's, while players play.
"""

import time
from pathlib import Path

from mmo.proof import live_code
from mmo.proof.arena import Arena
from mmo.proof.bad_saves import DICE, KINDS, BadSave, corpus
from mmo.proof.live_code import CROWD_S, RULES, Dev, Probers, game_of
from mmo.proof.load import Hunters, close_with
from mmo.proof.verdict import Trial

COUNT, COUNT_SHORT = 100, 1
PLACED = ("E0428", "E0411", "E0412", "E0413", "E0402", "E0403", "E0404", "E0405", "E0601", "E0602")
"""Codes whose message names file, line and place."""
GOOD_TABLES = {
    "content/dice.toml": "sides = 6\ncount_max = 5\n",
}


def prepare(directory: Path) -> str:
    """A game of its own. Its checks have the limits that an operator's have: with less time, what
    is refused on a slow machine is good code."""
    return live_code.prepare(directory)


async def bad_bundles(arena: Arena, trial: Trial, short: bool) -> None:
    """Every bad save is refused with its place told, every good one is taken, nobody notices."""
    game = await game_of(arena)
    hunters = Hunters(arena, 6 if short else 40, seed=61)
    probers = Probers(arena, game, 2 if short else 10, seed=62, pause_ms=20)
    began = time.monotonic()
    try:
        await hunters.begin(CROWD_S)
        await probers.begin()
        async with Dev(arena, game) as dev:
            saves = Saves(trial, dev, probers)
            await saves.good(1)
            for kind in KINDS:
                before = saves.refused
                for bad in corpus(kind, COUNT_SHORT if short else COUNT, seed=63):
                    await saves.bad(kind, bad)
                trial.tried(f"{kind}: {saves.refused - before} bad saves refused, a good one each")
        trial.figure("bad_refused", saves.refused)
        trial.figure("good_taken", saves.taken)
        trial.figure("saves_s", round(time.monotonic() - began, 1))
        fleet = await probers.end()
        for text in fleet.meter.findings:
            trial.found(f"prober {text}")
        trial.expect(not fleet.meter.losses, f"{fleet.meter.losses} probers lost a connection")
        trial.expect(not hunters.meter.losses, f"{hunters.meter.losses} hunters lost a connection")
        for text in probers.backwards()[:5]:
            trial.found(text)
        await close_with(arena, trial, hunters)
    finally:
        await probers.abandon()
        await hunters.abandon()


class Saves:
    """What was saved so far and what must hold of it."""

    def __init__(self, trial: Trial, dev: Dev, probers: Probers) -> None:
        self._trial = trial
        self._dev = dev
        self._probers = probers
        self._generation = 0
        self._word = 0
        self.refused = 0
        self.taken = 0

    async def good(self, word: int) -> None:
        """A good save decides for everyone."""
        said = await self._dev.insist(DICE, RULES.format(word=word))
        if not self._trial.expect(
            "error" not in said and said["generation"] > self._generation,
            f"a good save was refused: {said}",
        ):
            return
        self._generation, self._word = int(said["generation"]), word
        self.taken += 1
        seen = await self._probers.word(word)
        self._trial.expect(seen is not None, f"nobody heard of the good save {word}")

    async def bad(self, kind: str, bad: BadSave) -> None:
        """A bad save changes nothing; then a good one."""
        said = await self._dev.save(bad.path, bad.text)
        error = said.get("error", {})
        refused = self._trial.expect(
            error.get("code") in bad.codes, f"{kind}: {bad.text!r} was not refused: {said}"
        )
        self.refused += refused
        if refused:
            self._trial.expect(
                said["generation"] == self._generation,
                f"{kind}: generation {said['generation']} after a bad save, not {self._generation}",
            )
            if error["code"] in PLACED and error.get("line"):
                self._trial.expect(
                    error["file"] == bad.path and "^" in error["cause"],
                    f"{kind}: no place is told: {error['cause']}",
                )
        if bad.path != DICE:
            await self._mend(bad.path)
        await self.good(self._word + 1)

    async def _mend(self, path: str) -> None:
        """The table as it was before the bad save."""
        await self._dev.undo(path, GOOD_TABLES.get(path))
