"""Bots that play while something is broken, and what must be true when they are done.

Owns the crew of a proof, hunters first, and the three closing checks: the bots' own records, the
audit, no ghosts.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from mmo.client.aio import walk_alone
from mmo.client.fleet import Fleet, muster, sail
from mmo.client.hero import Hero, Policy
from mmo.client.hunting import settle
from mmo.client.journeys import Journey, hunt_until_over, wander_until_over
from mmo.client.meter import Meter
from mmo.client.session import arrive, log_out, register, servers
from mmo.client.steps import Walk
from mmo.proof.arena import LOOK_EVERY_S, Arena
from mmo.proof.economy_books import Books
from mmo.proof.verdict import Trial
from mmo.wire.messages.presence import ServerRow

ENOUGH_KILLS = 3
"""A hunter that told fewer kills has proved nothing about what it owns."""

ARRIVING_MAX = 6
"""A crowd that comes at once would wait for its password hashes, not for what is proved."""

AUDIT_S = 600.0
"""How long the audit may take: an hour of play is half a million operations and their lines."""

FAULT_POLICY = Policy(answer_ms=8_000, patience_ms=45_000, faults=True)


class Crew:
    """Bots that go on until they are told to stop. Counts go on through every fault."""

    def __init__(
        self, arena: Arena, count: int, seed: int, policy: Policy | None = FAULT_POLICY
    ) -> None:
        self.meter = Meter()
        self.heroes = muster(arena.addresses("login"), count, seed, self.meter, policy)
        self._told_to_stop = False
        self._task: asyncio.Task[Fleet] | None = None

    def goes_on(self) -> bool:
        """What a journey asks between two things it does."""
        return not self._told_to_stop

    def _set_out(self, journeys: list[Journey], *, name: str = "") -> None:
        """Start all, each its journey in turn."""
        self._task = asyncio.create_task(
            sail(self.heroes, journeys, 0, name=name, spread_s=1, arriving_max=ARRIVING_MAX)
        )

    async def until(self, holds: Callable[[], bool], what: str, within_s: float = 60) -> float:
        """Wait until `holds()`; returns the seconds it took. Raises `TimeoutError`, or what ended
        the bots."""
        assert self._task is not None
        began = time.monotonic()
        while not holds():
            if self._task.done():
                self._task.result()
                raise TimeoutError(f"the bots ended before {what}: {self.meter.findings[:5]}")
            if time.monotonic() - began > within_s:
                raise TimeoutError(f"not within {within_s} s: {what}; {self.meter.findings[:3]}")
            await asyncio.sleep(LOOK_EVERY_S)
        return time.monotonic() - began

    async def end(self, within_s: float | None = None) -> Fleet:
        """Tell all to stop, to come back once more and compare. Raises `TimeoutError`."""
        self._told_to_stop = True
        assert self._task is not None
        async with asyncio.timeout(within_s):
            return await self._task

    async def abandon(self) -> None:
        """Cut them off where they are."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class Hunters(Crew):
    """Bots that hunt; with `wander`, every other one never stays where it is."""

    def __init__(self, arena: Arena, count: int, seed: int, *, wander: bool = False) -> None:
        super().__init__(arena, count, seed)
        self._wander = wander

    def _walk(self, me: Hero, _: float) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        yield from settle(me)
        yield from hunt_until_over(me, self.goes_on)

    def _walk_about(self, me: Hero, _: float) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        yield from wander_until_over(me, self.goes_on)

    async def begin(self, within_s: float = 60) -> None:
        """Start all and return when every one of them told its first kill. Raises `TimeoutError`
        after `within_s`."""
        journeys = [Journey("hunters", "hunt until told to stop", self._walk, lambda _: 20)]
        if self._wander:
            journeys.append(Journey("wanderers", "never stay", self._walk_about, lambda _: 20))
        self._set_out(journeys)
        await self.until(lambda: self.least_kills > 0, "a first kill each", within_s)

    @property
    def hits(self) -> int:
        """Blows that were answered."""
        return self.meter.count("Hit")

    @property
    def kills(self) -> int:
        """Rewards that were told, each after its commit."""
        return sum(me.record.kills for me in self.heroes)

    @property
    def least_kills(self) -> int:
        """Rewards told to the least lucky of them."""
        return min(me.record.kills for me in self.heroes)

    async def progress(self, kills: int, within_s: float = 60) -> float:
        """Wait for so many more rewards; returns the seconds it took."""
        target = self.kills + kills
        return await self.until(lambda: self.kills >= target, f"{kills} more kills", within_s)


async def close_with(arena: Arena, trial: Trial, hunters: Hunters) -> None:
    """End the hunt, then: every record agrees, the books balance, nobody is left behind."""
    try:
        await hunters.until(lambda: hunters.least_kills >= ENOUGH_KILLS, "enough kills each")
    except TimeoutError as late:
        trial.found(f"a hunter has {hunters.least_kills} kills: {late}")
    fleet = await hunters.end()
    for text in fleet.meter.findings:
        trial.found(f"bot {text}")
    trial.expect(not fleet.meter.errors, f"{fleet.meter.errors} errors of bots")
    exact = sum(me.record.loose == 0 for me in hunters.heroes)
    trial.tried(
        f"{len(hunters.heroes)} hunters logged in again and compared: {hunters.kills} kills were "
        f"acknowledged, {exact} records exact, {len(hunters.heroes) - exact} as lower bound"
    )
    summary = fleet.summary
    trial.figure("actions", summary.actions)
    trial.figure("kills_acknowledged", hunters.kills)
    trial.figure("connections_lost", fleet.meter.losses)
    trial.figure("retries", fleet.meter.retries)
    trial.figure("p50_ms", summary.p50_ms)
    trial.figure("p99_ms", summary.p99_ms)
    await books_balance(arena, trial, len(hunters.heroes))
    lines = await asyncio.to_thread(_lines_of, arena, [me.user for me in hunters.heroes])
    loose = sum(me.record.loose for me in hunters.heroes)
    trial.expect(
        hunters.kills <= lines <= hunters.kills + loose,
        f"{lines} rewards are in the ledger; {hunters.kills} were acknowledged, {loose} at most "
        "were on their way when a connection died",
    )
    trial.tried(f"{lines} rewards in the ledger, {hunters.kills} acknowledged, {loose} uncertain")
    await nobody_is_left(arena, trial)


def _lines_of(arena: Arena, users: Sequence[int]) -> int:
    """Lines in the ledger of these players."""
    places = ", ".join(["%s"] * len(users))
    statement = f"SELECT COUNT(*) FROM ledger WHERE user_id IN ({places})"
    return int(Books(arena).rows(statement, *users)[0][0])


async def books_balance(arena: Arena, trial: Trial, players_min: int) -> None:
    """The audit finds nothing wrong over at least so many players."""
    told = await arena.command("audit", deadline_s=AUDIT_S, accept=(0, 1))
    trial.tried(
        f"audit: {told.get('players')} players, {told.get('ledger_lines')} ledger lines, "
        f"{told.get('items')} items"
    )
    trial.expect(bool(told.get("balanced")), "the books do not balance")
    for finding in told.get("findings", ["the audit printed nothing"]):
        trial.found(f"audit: {finding}")
    players = int(told.get("players") or 0)
    trial.expect(players >= players_min, f"the audit saw {players} of {players_min} players")
    trial.expect(bool(told.get("ledger_lines")), "the audit saw no ledger line")
    trial.figure("audit_players", players)


def _look_around(me: Hero) -> Walk[list[ServerRow]]:
    rows = yield from servers(me)
    return rows


async def nobody_is_left(arena: Arena, trial: Trial, within_s: float = 30) -> None:
    """Every seat is free and every client connection gone, within the grace times."""
    seats, held, took_s = await who_is_left(arena, within_s)
    trial.expect(not seats, f"seats are still taken after {within_s} s: {seats}")
    trial.expect(not held, f"connections are still counted after {within_s} s: {held}")
    if not seats and not held:
        trial.tried(f"no seat and no connection is left ({took_s:.1f} s after the last bot)")
        trial.figure("ghosts_gone_s", round(took_s, 2))


async def who_is_left(
    arena: Arena, within_s: float = 30
) -> tuple[dict[str, int], dict[str, int], float]:
    """Seats still taken by channel server and client connections still counted by node, and after
    how many seconds: as soon as there are none, else after `within_s`."""
    meter = Meter()
    observer = muster(arena.addresses("login"), 1, 0, meter)[0]

    def look() -> Walk[list[ServerRow]]:
        yield from arrive(observer)
        rows = yield from _look_around(observer)
        yield from log_out(observer)
        return rows

    await walk_alone(register(observer), "127.240.0.1")
    began = time.monotonic()
    while True:
        rows = await walk_alone(look(), "127.240.0.1")
        seats = {row.name: row.users for row in rows if row.users}
        nodes = (await arena.status())["nodes"]
        held = {row["name"]: row["connections"] for row in nodes if row["connections"]}
        took_s = time.monotonic() - began
        if (not seats and not held) or took_s > within_s:
            return seats, held, took_s
        await asyncio.sleep(0.5)
