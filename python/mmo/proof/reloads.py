"""Proof of the reload: hundreds of switches under players, some of them while a node is injured.

Owns the injuries and what must be true of all answers and books. The saves go through
`mmo-cluster dev`.
"""

import asyncio
import contextlib
import itertools
import os
import random
import resource
import signal
import time
from pathlib import Path
from typing import Any

import mysql.connector

from mmo.proof import live_code
from mmo.proof.arena import Arena
from mmo.proof.bad_saves import DICE
from mmo.proof.live_code import CROWD_S, RULES, Dev, Probers, game_of
from mmo.proof.load import Hunters, close_with
from mmo.proof.verdict import Trial

NODES = (
    *(("login-1", "login", 1), ("center-1", "center", 2), ("channel-1", "channel", 11)),
    *(("channel-2", "channel", 12), ("matching-1", "matching", 21), ("raid-1", "raid", 31)),
)
KILLED = ("matching-1", "raid-1", "login-1")
"""Those whose death parts no player from his server."""
PAUSED = ("channel-1", "center-1", "channel-2")
FULL = ("channel-2", "channel-1", "center-1")
INJURIES = ("killed", "paused", "disk full", "store cut")
RELOADS, INJURED, BOTS, PROBERS = 200, 20, 500, 24
RELOADS_SHORT, INJURED_SHORT, BOTS_SHORT, PROBERS_SHORT = 12, 4, 8, 4
AGAIN = ("E0415", "E0418", "E0419", "E0426")
"""Refusals after which the same save is made again: a node or the store was away."""
AGAIN_S = 45.0


def prepare(directory: Path) -> str:
    """Six nodes and a game."""
    supervisor = "[supervisor]\ncrashes_max = 1000\n"
    return live_code.prepare(directory) + supervisor + live_code.topology(NODES)


async def reload(arena: Arena, trial: Trial, short: bool) -> None:
    """Switch after switch: never two generations at once, nobody disconnected, nothing lost."""
    game = await game_of(arena)
    hunters = Hunters(arena, BOTS_SHORT if short else BOTS - PROBERS, seed=71)
    probers = Probers(arena, game, PROBERS_SHORT if short else PROBERS, seed=72, pause_ms=10)
    count, injured = (RELOADS_SHORT, INJURED_SHORT) if short else (RELOADS, INJURED)
    chance = random.Random(73)
    injure_at = set(chance.sample(range(count), injured))
    try:
        await hunters.begin(CROWD_S)
        await probers.begin()
        async with Dev(arena, game) as dev:
            run = Run(arena, trial, dev, probers)
            kinds = 0
            for number in range(count):
                injury = ""
                if number in injure_at:
                    injury = INJURIES[kinds % len(INJURIES)]
                    kinds += 1
                await run.one(number + 1, injury, chance)
        run.figures()
        trial.tried(f"{count} reloads, {injured} of them with an injury in the middle")
        await _witness(arena, trial, probers)
        fleet = await probers.end()
        for text in fleet.meter.findings:
            trial.found(f"prober {text}")
        losses = {**fleet.meter.losses, **hunters.meter.losses}
        trial.expect(not losses, f"connections were lost: {losses}")
        await close_with(arena, trial, hunters)
    finally:
        await probers.abandon()
        await hunters.abandon()


class Run:
    """The reloads so far."""

    def __init__(self, arena: Arena, trial: Trial, dev: Dev, probers: Probers) -> None:
        self._arena = arena
        self._trial = trial
        self._dev = dev
        self._probers = probers
        self._generation = 0
        self._victims = 0
        self._live_ms: list[float] = []
        self._pause_ms: list[float] = []
        self._refused = 0

    async def one(self, word: int, injury: str, chance: random.Random) -> None:
        """One save until it decides everywhere."""
        hurting = asyncio.create_task(self._hurt(injury, chance)) if injury else None
        until_s = time.monotonic() + AGAIN_S
        said = await self._dev.save(DICE, RULES.format(word=word))
        while said.get("error", {}).get("code") in AGAIN and time.monotonic() < until_s:
            self._refused += 1
            await asyncio.sleep(0.2)
            said = await self._dev.save(DICE, RULES.format(word=word) + f"# {chance.random()}\n")
        if hurting is not None:
            await hurting
        if not self._trial.expect(
            "error" not in said and said["generation"] > self._generation,
            f"reload {word} ({injury or 'no injury'}) did not happen: {said}",
        ):
            return
        self._generation = int(said["generation"])
        seen = await self._probers.word(word)
        if self._trial.expect(seen is not None, f"nobody heard of reload {word} ({injury})"):
            assert seen is not None
            if not injury:
                self._live_ms.append((seen.heard_s - said["saved_s"]) * 1_000)
                self._pause_ms.append(float(said["switch_ms"]))
        if injury:
            self._trial.expect(
                await self._arena.ready_s() is not None, f"after {injury} the cluster is not ready"
            )

    def figures(self) -> None:
        """Times of the reloads without an injury."""
        for name, values in (("live_ms", self._live_ms), ("pause_ms", self._pause_ms)):
            ordered = sorted(values) or [0.0]
            self._trial.figure(f"{name}_p50", round(ordered[len(ordered) // 2], 1))
            self._trial.figure(f"{name}_p99", round(ordered[len(ordered) * 99 // 100], 1))
        self._trial.figure("refused_and_made_again", self._refused)
        self._trial.figure("generation", self._generation)

    async def _hurt(self, injury: str, chance: random.Random) -> None:
        """One injury, somewhere in the middle of the reload that runs beside it."""
        await asyncio.sleep(0.25 * chance.random())
        at = self._victims
        self._victims += 1
        if injury == "store cut":
            self._trial.tried(f"every connection to the database cut: {await self._cut()}")
            return
        names = {"killed": KILLED, "paused": PAUSED, "disk full": FULL}[injury]
        name = names[at % len(names)]
        pid = int((await self._arena.node(name))["pid"])
        if injury == "killed":
            os.kill(pid, signal.SIGKILL)
            self._trial.tried(f"{name} killed")
        elif injury == "paused":
            seconds = 0.3 + 0.9 * chance.random()
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            os.kill(pid, signal.SIGCONT)
            self._trial.tried(f"{name} stood still for {seconds:.1f} s")
        else:
            soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
            await asyncio.sleep(1.0)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
            self._trial.tried(f"{name} could write no file for 1 s")

    async def _cut(self) -> int:
        return await asyncio.to_thread(_cut_connections, self._arena)


def _connected(arena: Arena) -> Any:
    return mysql.connector.connect(
        unix_socket=arena.file().mysql_socket,
        user="mmo",
        password=(arena.home.secrets / "mysql").read_text().strip(),
        database="mmo",
        use_pure=True,
    )


def _cut_connections(arena: Arena) -> int:
    """End every connection to the database but this one; how many."""
    connection = _connected(arena)
    try:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()"
            " AND user = 'mmo'"
        )
        ids = [int(row[0]) for row in cursor.fetchall()]
        for number in ids:
            with contextlib.suppress(mysql.connector.Error):  # it ended by itself
                cursor.execute(f"KILL {number}")
        return len(ids)
    finally:
        connection.close()


async def _witness(arena: Arena, trial: Trial, probers: Probers) -> None:
    """No answer and no commit of an older generation after a newer one decided anything."""
    backwards = probers.backwards()
    for text in backwards[:5]:
        trial.found(text)
    trial.expect(not backwards, f"{len(backwards)} answers by a generation that was over")
    generations = {one.generation for one in probers.seen}
    trial.tried(f"{len(probers.seen)} answers by {len(generations)} generations, in their order")
    trial.figure("answers", len(probers.seen))
    rows = await asyncio.to_thread(_commit_spans, arena)
    for (older, _, last_ms), (newer, first_ms, _) in itertools.pairwise(rows):
        trial.expect(
            last_ms <= first_ms,
            f"generation {older} decided a commit {last_ms - first_ms} ms after {newer} did",
        )
    trial.tried(f"commits of {len(rows)} generations, none decided after the next one began")
    named = await asyncio.to_thread(_unnamed, arena)
    trial.expect(not named, f"commits by generations that nobody recorded: {named}")


def _commit_spans(arena: Arena) -> list[tuple[int, int, int]]:
    """(generation, first, last) time of decision of all commits, by generation."""
    return _asked(
        arena,
        "SELECT generation, MIN(created_ms), MAX(created_ms) FROM event_log"
        " GROUP BY generation ORDER BY generation",
    )


def _unnamed(arena: Arena) -> list[tuple[int, int, int]]:
    """Generations in the log of operations without a record of their code."""
    return _asked(
        arena,
        "SELECT DISTINCT e.generation, 0, 0 FROM event_log e"
        " LEFT JOIN code_record r ON r.generation = e.generation WHERE r.generation IS NULL",
    )


def _asked(arena: Arena, statement: str) -> list[tuple[int, int, int]]:
    connection = _connected(arena)
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        return [(int(a), int(b), int(c)) for a, b, c in cursor.fetchall()]
    finally:
        connection.close()
