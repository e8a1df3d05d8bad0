"""Proof of the reload: hundreds of switches under players, some of them while a node is injured.

Owns the order of the saves, made through `mmo-cluster dev`, and what must be true of all answers
and books. Players hunt, raid, and ask without a pause which code answers. Every kind of server is
injured (see `injuries`); killing one with players on it necessarily cuts these, so what is held
against it is: nobody else is cut, and who was comes back by his token, without a password.
"""

import asyncio
import itertools
import random
from pathlib import Path

from mmo.client.meter import Cut
from mmo.proof import live_code
from mmo.proof.arena import Arena
from mmo.proof.bad_saves import DICE
from mmo.proof.economy_books import Books
from mmo.proof.injuries import INJURIES, Injuries
from mmo.proof.live_code import CROWD_S, RULES, Dev, Probers, game_of
from mmo.proof.live_rooms import RoomRaiders, witness_rooms
from mmo.proof.load import Hunters, close_with
from mmo.proof.percentiles import percentile
from mmo.proof.raids import END_S, close_raids
from mmo.proof.verdict import Trial

NODES = (
    *(("login-1", "login", 1), ("center-1", "center", 2), ("channel-1", "channel", 11)),
    *(("channel-2", "channel", 12), ("matching-1", "matching", 21), ("raid-1", "raid", 31)),
)
RELOADS, INJURED = 200, 20
BOTS, PROBERS, RAIDERS = 500, 24, 32
RELOADS_SHORT, INJURED_SHORT = 12, 4
BOTS_SHORT, PROBERS_SHORT, RAIDERS_SHORT = 16, 4, 6


def prepare(directory: Path) -> str:
    """Six nodes and a game."""
    supervisor = "[supervisor]\ncrashes_max = 1000\n"
    return live_code.prepare(directory) + supervisor + live_code.topology(NODES)


async def reload(arena: Arena, trial: Trial, short: bool) -> None:
    """Switch after switch: never two generations at once, nobody disconnected, nothing lost."""
    game = await game_of(arena)
    bots, asking, raiding = (
        (BOTS_SHORT, PROBERS_SHORT, RAIDERS_SHORT) if short else (BOTS, PROBERS, RAIDERS)
    )
    hunters = Hunters(arena, bots - asking - raiding, seed=71)
    probers = Probers(arena, game, asking, seed=72, pause_ms=10)
    raiders = RoomRaiders(arena, game, raiding, seed=74)
    count, injured = (RELOADS_SHORT, INJURED_SHORT) if short else (RELOADS, INJURED)
    chance = random.Random(73)
    injure_at = sorted(chance.sample(range(count), injured))
    fleets = (hunters, probers, raiders)
    try:
        await hunters.begin(CROWD_S)
        await raiders.begin(CROWD_S)
        await probers.begin()
        async with Dev(arena, game) as dev:
            run = Run(arena, trial, dev, probers, chance)
            for number in range(count):
                at = injure_at.index(number) if number in injure_at else -1
                await run.one(number + 1, INJURIES[at % len(INJURIES)] if at >= 0 else "")
        run.figures()
        trial.tried(f"{count} reloads, {injured} of them with an injury in the middle")
        await raiders.end(END_S)
        await probers.end()
        await _witness(arena, trial, probers)
        await witness_rooms(arena, trial, raiders, probers.seen, run.words)
        for text in (*probers.meter.findings, *raiders.meter.findings):
            trial.found(f"bot {text}")
        run.losses([cut for one in fleets for cut in one.meter.cuts])
        forced = sum(one.meter.logins_forced for one in fleets)
        trial.expect(not forced, f"{forced} players had to log in again")
        await close_with(arena, trial, hunters)
        await close_raids(arena, trial, [me.raids for me in raiders.heroes], raiders.heroes)
    finally:
        for one in fleets:
            await one.abandon()


class Run:
    """The reloads so far. `words`: what the code of each generation says."""

    def __init__(
        self, arena: Arena, trial: Trial, dev: Dev, probers: Probers, chance: random.Random
    ) -> None:
        self._arena = arena
        self._trial = trial
        self._dev = dev
        self._probers = probers
        self._injuries = Injuries(arena, trial, chance)
        self._generation = 0
        self._live_ms: list[float] = []
        self._pause_ms: list[float] = []
        self._held_most = 0
        self.words: dict[int, int] = {}

    async def one(self, word: int, injury: str) -> None:
        """One save until it decides everywhere."""
        hurting = asyncio.create_task(self._injuries.hurt(injury)) if injury else None
        said = await self._dev.insist(DICE, RULES.format(word=word))
        if hurting is not None:
            await hurting
        if not self._trial.expect(
            "error" not in said and said["generation"] > self._generation,
            f"reload {word} ({injury or 'no injury'}) did not happen: {said}",
        ):
            return
        self._generation = int(said["generation"])
        self.words[self._generation] = word
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
            self._injuries.healed()
        raid = await self._arena.node("raid-1")
        self._held_most = max(self._held_most, len(raid.get("rooms") or ()))

    def figures(self) -> None:
        """Times of the reloads without an injury."""
        for name, values in (("live_ms", self._live_ms), ("pause_ms", self._pause_ms)):
            self._trial.figure(f"{name}_p50", round(percentile(values, 0.5), 1))
            self._trial.figure(f"{name}_p99", round(percentile(values, 0.99), 1))
        self._trial.figure("refused_and_made_again", self._dev.again)
        self._trial.figure("generation", self._generation)
        self._trial.figure("generations_held_by_rooms_at_most", self._held_most)

    def losses(self, cuts: list[Cut]) -> None:
        """Only a process that was killed may have cut anybody."""
        strange = self._injuries.unexplained(cuts)
        for cut in strange[:10]:
            after_s = [cut.at_s - blow.began_s for blow in self._injuries.blows]
            last = min((one for one in after_s if one > 0), default=0.0)
            self._trial.found(
                f"a connection to {cut.lane} ended at port {cut.port or 'unknown'}, {last:.1f} s "
                "after the last kill"
            )
        self._trial.expect(not strange, f"{len(strange)} connections ended at living servers")
        self._trial.tried(
            f"{len(cuts)} connections ended with the {len(self._injuries.blows)} processes that "
            f"were killed, {len(strange)} otherwise"
        )
        self._trial.figure("connections_cut_with_a_killed_process", len(cuts) - len(strange))


async def _witness(arena: Arena, trial: Trial, probers: Probers) -> None:
    """No answer and no commit of an older generation after a newer one decided anything."""
    backwards = probers.backwards()
    for text in backwards[:5]:
        trial.found(text)
    trial.expect(not backwards, f"{len(backwards)} answers by a generation that was over")
    generations = {one.generation for one in probers.seen}
    trial.tried(f"{len(probers.seen)} answers by {len(generations)} generations, in their order")
    trial.figure("answers", len(probers.seen))
    books = Books(arena)
    rows = await asyncio.to_thread(
        books.rows,
        "SELECT generation, MIN(created_ms), MAX(created_ms) FROM event_log"
        " GROUP BY generation ORDER BY generation",
    )
    for (older, _, last_ms), (newer, first_ms, _) in itertools.pairwise(rows):
        trial.expect(
            last_ms <= first_ms,
            f"generation {older} decided a commit {last_ms - first_ms} ms after {newer} did",
        )
    trial.tried(f"commits of {len(rows)} generations, none decided after the next one began")
    unnamed = await asyncio.to_thread(
        books.rows,
        "SELECT DISTINCT e.generation FROM event_log e"
        " LEFT JOIN code_record r ON r.generation = e.generation WHERE r.generation IS NULL",
    )
    trial.expect(not unnamed, f"commits by generations that nobody recorded: {unnamed}")
