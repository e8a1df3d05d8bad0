"""The proof of the season's edge: one clock decides, whatever the clocks of the nodes say.

Owns a game whose seasons follow each other within seconds, nodes whose clocks are off by two
seconds either way, and players who claim on both sides of every edge. Each claim must fall into
exactly the season that runs by the clock of the database.
"""

import asyncio
import shutil
import time
import tomllib
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec

import mmo
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.journeys import Journey, walk_guarded
from mmo.client.meter import Meter
from mmo.client.session import arrive, ask, log_out, move, register, stay_known
from mmo.client.steps import CENTER, GAME, Pause, Walk
from mmo.errors import OperatorError
from mmo.proof import live_code
from mmo.proof.arena import Arena
from mmo.proof.economy_books import Books
from mmo.proof.economy_witness import Witness, WitnessedShell
from mmo.proof.load import books_balance
from mmo.proof.verdict import Trial
from mmo.wire.messages.season_pass import PassClaim
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

SEASON_S = 6
SEASONS = 60
LEVELS = 30
AROUND_MS = 2_700
"""How long before and after an edge is claimed: longer than any clock is off."""

CLAIM_EVERY_MS = 110.0
OFFSETS_MS = {"login-1": -2_000, "center-1": 2_000, "channel-1": 2_000, "channel-2": -2_000}
CENTER_NUMBER = 2
TOPOLOGY = (
    *(("login-1", "login", 1), ("center-1", "center", 2), ("channel-1", "channel", 11)),
    *(("channel-2", "channel", 12), ("matching-1", "matching", 21), ("raid-1", "raid", 31)),
    ("cash-1", "cash", 41),
)


class Season(msgspec.Struct, frozen=True):
    """`[starts_ms, ends_ms)` in unix milliseconds."""

    number: int
    starts_ms: int
    ends_ms: int

    def holds(self, from_ms: int, until_ms: int) -> bool:
        """Whether all of `[from_ms, until_ms]` is within it."""
        return self.starts_ms <= from_ms and until_ms < self.ends_ms

    def touches(self, from_ms: int, until_ms: int) -> bool:
        """Whether any of `[from_ms, until_ms]` is within it."""
        return from_ms < self.ends_ms and until_ms >= self.starts_ms


class Attempt(msgspec.Struct, frozen=True):
    """One claim: by whom, at which server, of what, when, and whether it was taken."""

    user: int
    server: int
    season: int
    level: int
    sent_ms: int
    told_ms: int
    taken: bool


def prepare(directory: Path) -> str:
    """Write the game with its short seasons; the configuration that uses it, with clocks that are
    off."""
    content = directory / "content"
    shutil.copytree(Path(str(mmo.__file__)).parent / "content" / "data", content)
    first_s = int(time.time()) - SEASON_S
    (content / "passes.toml").write_text(
        "page_bytes_max = 8192\n" + "".join(_season_text(n, first_s) for n in range(SEASONS)),
        encoding="utf-8",
    )
    nodes = live_code.topology(TOPOLOGY, OFFSETS_MS)
    return f'[cluster]\ncontent_directory = "{content}"\n{nodes}'


def _season_text(number: int, first_s: int) -> str:
    starts, ends = (
        datetime.fromtimestamp(first_s + at * SEASON_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for at in (number, number + 1)
    )
    rewards = "".join(
        f"[[season.reward]]\nlevel = {level}\ngold = 1\n" for level in range(1, LEVELS + 1)
    )
    return (
        f'[[season]]\nnumber = {number + 1}\nname = "Season {number + 1}"\nstarts = {starts}\n'
        f"ends = {ends}\nexp_need = {[1] * LEVELS}\nprice_cash = 1\n{rewards}"
    )


async def seasons_of(arena: Arena) -> list[Season]:
    """The seasons of the arena's game, from its own file."""
    told = await arena.command("config")
    text = (Path(told["cluster.content_directory"]) / "passes.toml").read_text(encoding="utf-8")
    return [
        Season(row["number"], _ms(row["starts"]), _ms(row["ends"]))
        for row in tomllib.loads(text)["season"]
    ]


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000


def _now_ms() -> int:
    """The machine's clock, which is the database's."""
    return time.time_ns() // 1_000_000


class Claimant:
    """One player who claims around edges. `attempts`: what came of it."""

    def __init__(self, me: Hero, home: int) -> None:
        self.me = me
        self.home = home
        self.attempts: list[Attempt] = []
        self._next_level: dict[int, int] = {}

    def claim_around(self, edges: list[tuple[Season, Season]]) -> Walk[None]:
        """Go to the server of this claimant and claim both seasons around every edge."""
        me = self.me
        yield from arrive(me)
        if self.home and not (yield from move(me, self.home)):
            me.meter.error(f"{me.name}: no seat at server {self.home}")
            return
        for before, after in edges:
            wait_ms = before.ends_ms - AROUND_MS - _now_ms()
            yield Pause(max(0.0, wait_ms))
            if me.game is not None:  # else the center ends a connection on which nothing is said
                yield from stay_known(me)
            while _now_ms() < before.ends_ms + AROUND_MS:
                yield from self._claim(me.rng.choice((before, after)))
                yield Pause(CLAIM_EVERY_MS * (0.5 + me.rng.random()))
        yield from log_out(me)

    def _claim(self, season: Season) -> Walk[None]:
        me, lane = self.me, CENTER if self.me.game is None else GAME
        level = self._next_level.setdefault(season.number, 1)
        if level > LEVELS:
            return
        message = PassClaim(me.next_operation(), season.number, level, 0)
        sent_ms = _now_ms()
        answer = yield from ask(me, lane, message, expects=(int(Code.PASS_NOT_RUNNING),))
        taken = not isinstance(answer, Refused)
        self._next_level[season.number] += taken
        server = self.home or CENTER_NUMBER
        attempt = Attempt(me.user, server, season.number, level, sent_ms, _now_ms(), taken)
        self.attempts.append(attempt)


def attempt_faults(
    attempts: list[Attempt],
    seasons: dict[int, Season],
    claimed: dict[tuple[int, int, int], list[int]],
) -> list[str]:
    """Claims that fell into no season or the wrong one: taken outside of it by the claimant's own
    watch or by the database's, refused while it ran all the time, not booked exactly once, or
    booked and never taken."""
    found = []
    taken = set()
    for one in attempts:
        season = seasons[one.season]
        if one.taken:
            taken.add((one.user, one.season, one.level))
            booked = claimed.get((one.user, one.season, one.level), [])
            if len(booked) != 1:
                found.append(f"{one} is booked {len(booked)} times")
            elif not season.starts_ms <= booked[0] < season.ends_ms:
                found.append(f"{one} is booked at {booked[0]}, outside of {season}")
            if not season.touches(one.sent_ms - 1, one.told_ms + 1):
                found.append(f"{one} was taken outside of {season}")
        elif season.holds(one.sent_ms - 1, one.told_ms + 1):
            found.append(f"{one} was refused within {season}")
    found += [f"claim {key} is booked and was never told" for key in claimed.keys() - taken]
    return found


def against_own_clock(
    attempts: list[Attempt],
    seasons: dict[int, Season],
    claimed: dict[tuple[int, int, int], list[int]],
    offsets_ms: dict[int, int],
) -> dict[int, int]:
    """By server: claims it rightly took although its own clock said that the season does not
    run."""
    counts = dict.fromkeys(offsets_ms, 0)
    for one in attempts:
        for booked in claimed.get((one.user, one.season, one.level), []) if one.taken else []:
            seen = booked + offsets_ms[one.server]
            counts[one.server] += not seasons[one.season].holds(seen, seen)
    return counts


async def pass_season_edge(arena: Arena, trial: Trial, short: bool) -> None:
    """Claim around edges at servers whose clocks are off; every claim in exactly one season."""
    seasons = await seasons_of(arena)
    offsets_ms = {
        node.number: OFFSETS_MS[node.name]
        for node in arena.file().nodes
        if node.role in ("center", "channel")
    }
    meter, books = Meter(), Books(arena)
    heroes = muster(arena.addresses("login"), 6 if short else 24, 81, meter)
    homes = [0 if number == CENTER_NUMBER else number for number in offsets_ms]
    claimants = [Claimant(me, homes[at % len(homes)]) for at, me in enumerate(heroes)]
    for index, me in enumerate(heroes):
        await WitnessedShell(source_of(60_000 + index), Witness(), me.name).walk(register(me))
        user = await asyncio.to_thread(books.user_of, me.name)
        await asyncio.to_thread(books.raise_passes, user, [one.number for one in seasons], LEVELS)
    edges = _edges(seasons, 2 if short else 20)
    await asyncio.gather(*(_walk(index, one, edges) for index, one in enumerate(claimants)))
    for text in meter.findings:
        trial.found(f"claimant {text}")
    await _judge(trial, books, claimants, {one.number: one for one in seasons}, offsets_ms)
    trial.figure("edges", len(edges))
    await books_balance(arena, trial, len(heroes))


def _edges(seasons: list[Season], count: int) -> list[tuple[Season, Season]]:
    """The next edges that nobody is too late for."""
    soon_ms = _now_ms() + AROUND_MS + 3_000
    edges = [(before, after) for before, after in pairwise(seasons) if before.ends_ms > soon_ms]
    if len(edges) < count:
        raise OperatorError("E0790", "the seasons of the proof's game are over")
    return edges[:count]


async def _walk(index: int, one: Claimant, edges: list[tuple[Season, Season]]) -> None:
    shell = WitnessedShell(source_of(60_000 + index), Witness(), one.me.name)
    journey = Journey(
        "claimant", "claim around edges", lambda _, __: one.claim_around(edges), lambda _: 0
    )
    try:
        await shell.walk(walk_guarded(one.me, journey, 0))
    finally:
        shell.cut_all()


async def _judge(
    trial: Trial,
    books: Books,
    claimants: list[Claimant],
    seasons: dict[int, Season],
    offsets_ms: dict[int, int],
) -> None:
    attempts = [attempt for one in claimants for attempt in one.attempts]
    claimed = await asyncio.to_thread(books.claims)
    for fault in attempt_faults(attempts, seasons, claimed):
        trial.found(fault)
    taken = sum(one.taken for one in attempts)
    trial.expect(0 < taken < len(attempts), f"{taken} of {len(attempts)} claims were taken")
    rightly = against_own_clock(attempts, seasons, claimed, offsets_ms)
    for server, count in rightly.items():
        trial.expect(count > 0, f"server {server} never had to take a claim against its own clock")
    trial.tried(
        f"{len(attempts)} claims around edges at servers whose clocks are off by "
        f"{offsets_ms} ms: {taken} taken, {sum(rightly.values())} of them against the server's own "
        f"clock, {len(attempts) - taken} refused"
    )
    trial.figure("claims", len(attempts))
    trial.figure("taken", taken)
    trial.figure("taken_against_own_clock", rightly)
