"""The proof of the raids under kills of raid, matching and center servers.

Owns the raiders, the order of the blows, and what must hold when they are done: every raid ended
once, nobody is kept out, no reward is lost or doubled, the ranking is the best of all results.
`raid_departures` closes with the same.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import TypeVar

from mmo.client.aio import walk_alone
from mmo.client.fleet import source_of
from mmo.client.hero import Hero
from mmo.client.journeys import Journey
from mmo.client.raid_log import RaidLog
from mmo.client.raider import raid_until_over, take_rewards
from mmo.client.session import arrive, log_out, register
from mmo.client.steps import Walk
from mmo.proof.arena import Arena
from mmo.proof.economy import kill_one
from mmo.proof.load import Crew, books_balance, nobody_is_left
from mmo.proof.raid_books import RaidBooks
from mmo.proof.verdict import Trial

KINDS = ("raid", "matching", "center")
FAULT_EVERY_S = 5.0
GAUGES = ("state_matching_", "state_tickets_", "state_raids_")
"""What a node tells of the raids it holds."""

SETTLED_S = 30.0
"""When a raid of a dead server must be settled at the latest, after the last blow: its lease (6 s),
the look for orphans, the time its members have to come back, and the battle itself."""

BOARD_S = 15.0
"""How long Redis may take to repeat the ranking of MySQL after the last fault."""

END_S = 150.0
T = TypeVar("T")


class Raiders(Crew):
    """Bots that raid; `between`: what else one does after each blow."""

    def __init__(
        self,
        arena: Arena,
        count: int,
        seed: int,
        between: Callable[[Hero], Walk[None]] | None = None,
    ) -> None:
        super().__init__(arena, count, seed)
        self._between = between

    def _walk(self, me: Hero, _: float) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        yield from raid_until_over(me, self.goes_on, self._between)

    @property
    def results(self) -> int:
        """Results that were told."""
        return sum(len(me.raids.scores) for me in self.heroes)

    async def begin(self, within_s: float = 90) -> None:
        """Start all and return when each of them was told a result. Raises `TimeoutError`."""
        journey = Journey("raiders", "raid until told to stop", self._walk, lambda _: 10)
        self._set_out([journey])
        await self.until(
            lambda: all(me.raids.scores for me in self.heroes), "a result for each", within_s
        )


async def raids_under_kills(arena: Arena, trial: Trial, short: bool) -> None:
    """Raid while every 5 s a raid, matching or center server dies; then hold everything against
    everything."""
    raiders = Raiders(arena, 12 if short else 64, seed=71)
    try:
        await raiders.begin()
        await _blows(arena, trial, 3 if short else 24)
        trial.expect(await arena.ready_s() is not None, "the cluster was not repaired")
        enough = raiders.results + len(raiders.heroes)
        await raiders.until(lambda: raiders.results >= enough, "raiding on after the last blow")
        fleet = await raiders.end(END_S)
    finally:
        await raiders.abandon()
    for text in fleet.meter.findings:
        trial.found(f"bot {text}")
    trial.expect(not fleet.meter.errors, f"{fleet.meter.errors} errors of bots")
    trial.figure("connections_lost", fleet.meter.losses)
    trial.figure("retries", fleet.meter.retries)
    await close_raids(arena, trial, [me.raids for me in raiders.heroes], raiders.heroes)


async def _blows(arena: Arena, trial: Trial, count: int) -> None:
    """Kill -9 one after the other, evenly in time."""
    rng = random.Random(72)
    killed: dict[str, int] = dict.fromkeys(KINDS, 0)
    began = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number * FAULT_EVERY_S - time.monotonic()))
        kind = KINDS[number % len(KINDS)]
        if await kill_one(arena, rng, kind):
            killed[kind] += 1
    trial.tried(
        f"kill -9 every {FAULT_EVERY_S:.0f} s: "
        + ", ".join(f"{kind} {times} times" for kind, times in killed.items())
    )
    trial.figure("killed", killed)
    for kind, times in killed.items():
        trial.expect(times > 0, f"no {kind} was killed")


async def close_raids(arena: Arena, trial: Trial, logs: list[RaidLog], heroes: list[Hero]) -> None:
    """Every raid ended once, what was told is in the books, nobody is kept out, the ranking is
    right, no server keeps a ticket or a room, and the audit agrees."""
    books = RaidBooks(arena)
    left = await _until_none(books.unsettled, SETTLED_S)
    trial.expect(not left, f"raids {left} have no end {SETTLED_S:.0f} s after the last battle")
    states = await asyncio.to_thread(books.states)
    scores = await asyncio.to_thread(books.scores)
    _told_is_true(trial, logs, heroes, scores)
    await _claim_the_rest(trial, books, heroes)
    for fault in await asyncio.to_thread(books.leaked):
        trial.found(fault)
    for fault in await asyncio.to_thread(books.reward_faults):
        trial.found(fault)
    rewards = await asyncio.to_thread(books.rewards)
    for me, log in zip(heroes, logs, strict=True):
        lost = [raid for raid in log.granted if (raid, me.user) not in rewards]
        trial.expect(not lost, f"{me.name} was promised rewards of raids {lost} and has none")
    await _ranking_agrees(trial, books)
    finished = sum(state == 3 for state in states.values())
    trial.expect(finished > 0, "no raid finished")
    trial.tried(
        f"{len(states)} raids: {finished} finished, {len(states) - finished} aborted with their "
        f"entries given back; {len(rewards)} rewards claimed, each once"
    )
    trial.figure("raids_finished", finished)
    trial.figure("raids_aborted", len(states) - finished)
    trial.figure("results_told", sum(len(log.scores) for log in logs))
    trial.figure("frames", sum(log.frames for log in logs))
    await nothing_waits(arena, trial)
    await books_balance(arena, trial, len(heroes))
    await nobody_is_left(arena, trial)


async def _claim_the_rest(trial: Trial, books: RaidBooks, heroes: list[Hero]) -> None:
    """Whose raid ended without him being told logs in once more and finds what he earned."""
    waiting: dict[int, set[int]] = {}
    for user, raid in await asyncio.to_thread(books.unclaimed):
        waiting.setdefault(user, set()).add(raid)

    def look(me: Hero) -> Walk[None]:
        yield from arrive(me)
        yield from take_rewards(me)
        yield from log_out(me)

    for index, me in enumerate(heroes):
        if me.user in waiting:
            me.raids.granted |= waiting[me.user]
            await walk_alone(look(me), source_of(50_000 + index))
    trial.tried(f"{len(waiting)} players found rewards at their next login of which nobody told")


def _told_is_true(
    trial: Trial, logs: list[RaidLog], heroes: list[Hero], scores: dict[tuple[int, int], int]
) -> None:
    for me, log in zip(heroes, logs, strict=True):
        for raid, score in log.scores.items():
            held = scores.get((raid, me.user))
            trial.expect(
                held == score, f"{me.name} was told {score} in raid {raid}, the books say {held}"
            )


async def _until_none(read: Callable[[], list[T]], within_s: float) -> list[T]:
    """What `read` still returns when it returned nothing, or after `within_s`."""
    until = time.monotonic() + within_s
    while True:
        found = await asyncio.to_thread(read)
        if not found or time.monotonic() > until:
            return found
        await asyncio.sleep(0.5)


async def _ranking_agrees(trial: Trial, books: RaidBooks) -> None:
    faults = await _until_none(books.ranking_faults, BOARD_S)
    for fault in faults:
        trial.found(fault)
    trial.expect(not faults, "the ranking is not the best of all results")


async def nothing_waits(arena: Arena, trial: Trial, within_s: float = 40.0) -> None:
    """No matching server keeps a ticket or a team, no center a ticket, no raid server a room."""
    began, seen = time.monotonic(), 0
    while True:
        held: dict[str, int] = {}
        for node in arena.file().nodes:
            if node.role in ("matching", "center", "raid"):
                stats = await arena.stats(node.name)
                seen += sum(name.startswith(GAUGES) for name in stats)
                held |= {
                    f"{node.name}: {name}": int(value)
                    for name, value in stats.items()
                    if name.startswith(GAUGES) and value
                }
        if not held or time.monotonic() - began > within_s:
            break
        await asyncio.sleep(0.5)
    trial.expect(seen > 0, "no server tells what it holds")
    trial.expect(not held, f"still held {within_s:.0f} s after the last bot: {held}")
    trial.tried("no ticket, no team, no room is left on any server")
