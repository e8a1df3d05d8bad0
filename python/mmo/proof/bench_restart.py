"""What a player waits for when every process is replaced under him.

Owns a cluster of its own and players who measure themselves, hunters in channels and others who
wait in the lobby. The wait of a player whose server was replaced is from the first request that
found no answer to the answer of the first one in play after he came back: in flight, coming back
and asking again in one. Who lost no connection was not interrupted and does not dilute it; the
figure is that of the role whose players wait longest. The limit is the longest wait of a player in
two seconds in which nothing is replaced. Called through `mmo.proof.bench`.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from mmo.client.fleet import muster_of, sail
from mmo.client.hero import Hero
from mmo.client.hunting import hold_on, settle
from mmo.client.journeys import Journey, hunt_until_over
from mmo.client.meter import Cut, Meter
from mmo.client.session import arrive, log_out, register, stay_known
from mmo.client.steps import CENTER, GAME, Pause, Walk
from mmo.proof.arena import LOOK_EVERY_S, Arena
from mmo.proof.bench_result import BenchResult, Check, at_most, same
from mmo.proof.bench_rounds import Report
from mmo.proof.percentiles import P99, percentile, slowest

HUNTERS = 20  # all fit into the thirty seats of the one channel server that is not replaced
IDLERS = 10  # in the lobby of the only center
PLAYERS = HUNTERS + IDLERS
IDLE_MS = 250.0
PAUSE_AIM_MS = 1_500.0
CALM_S = 2.0  # each window without a restart; a node is replaced within about as long
BEGUN_S = 60.0
RESTART_S = 120.0
ORDER = ("login", "cash", "matching", "raid", "channel", "center")
ROLE_OF = {GAME: "channel", CENTER: "center"}
"""Roles that players hold connections to, by the connection's name."""
ON_THE_WAY = frozenset({"ChannelListAsk", "ChannelEnter"})
"""What a hunter asks for between coming back and his next blow."""


class Waits(Meter):
    """A player's own meter. `interrupted_ms`: waits in which a connection ended, by the role at its
    other end; pauses that he makes by himself after he came back are not in them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.interrupted_ms: dict[str, list[float]] = {}
        self._clock = clock
        self._longest_ms = 0.0
        self._since_s: float | None = None  # when the first request without an answer was made
        self._answered_s = 0.0
        self._spent_ms = 0.0  # of an interrupted wait, since then
        self._role = ""  # whose connection ended since
        self._away = False

    @property
    def interrupted(self) -> bool:
        """His connection ended and he has no answer since."""
        return bool(self._role)

    def asked(self, at_s: float) -> None:
        """A request is made."""
        if self._since_s is None:
            self._since_s = at_s

    def owed(self) -> None:
        """What follows the last answer unasked did not come before his connection ended."""
        self.asked(self._answered_s)

    def action(self, kind: str, took_ms: float) -> None:
        """One answer. It ends a wait, unless it belongs to coming back."""
        super().action(kind, took_ms)
        if self._away:
            return
        self._spent_ms += took_ms
        if self._role and kind in ON_THE_WAY:
            return
        if self._role:
            self.interrupted_ms.setdefault(self._role, []).append(self._spent_ms)
        else:
            self._longest_ms = max(self._longest_ms, took_ms)
        self._since_s, self._answered_s, self._role = None, self._clock(), ""

    def loss(self, text: str, cut: Cut) -> None:
        """A connection ended; who had asked nothing waits from now on."""
        super().loss(text, cut)
        self.asked(cut.at_s)
        self._role = self._role or ROLE_OF.get(cut.lane, cut.lane)
        self._away = True

    def came_back(self, took_ms: float) -> None:
        """He may ask again."""
        super().came_back(took_ms)
        assert self._since_s is not None
        self._spent_ms = (self._clock() - self._since_s) * 1000
        self._away = False

    def take_ms(self) -> float:
        """The longest wait without an interruption since the last call."""
        longest, self._longest_ms = self._longest_ms, 0.0
        return longest


class Player(Hero):
    """A hero whose meter hears when he asks and what he was owed."""

    meter: Waits

    def take_due(self) -> float:
        """When the request that is sent now was meant to be sent."""
        meant_s = super().take_due()
        self.meter.asked(meant_s)
        return meant_s

    def loosen(self) -> None:
        """The connection ended, perhaps between a blow and its reward."""
        if self.hit_open:
            self.meter.owed()
        super().loosen()


def restart(seconds: float, home: Path, report: Report) -> BenchResult:
    """What a player waits for at most while a process is replaced, all processes in turn."""
    return uvloop.run(measure(max(1, round(seconds / 20)), report))


async def measure(rounds: int, report: Report) -> BenchResult:
    """`rounds` times every node in turn, and as many calm windows beside."""
    report("starting a cluster")
    calm: list[float] = []
    paused: dict[str, list[float]] = {}
    took_s: list[float] = []
    hunting = [True]
    async with Arena(None) as arena:
        heroes = [_player(arena, index) for index in range(PLAYERS)]
        fleets = [
            asyncio.create_task(sail([me], [_journey(index < HUNTERS, hunting)], 0))
            for index, me in enumerate(heroes)
        ]
        try:
            await _until_all_play(heroes)
            nodes = (await arena.status())["nodes"]
            nodes.sort(key=lambda row: (ORDER.index(row["role"]), row["number"]))
            before = {row["name"]: row["pid"] for row in nodes}
            for turn in range(rounds):
                for row in nodes:
                    report(f"round {turn + 1} of {rounds}, {row['name']}")
                    await _window(heroes, calm, CALM_S)
                    began = time.monotonic()
                    await arena.command("restart", row["name"], deadline_s=RESTART_S)
                    took_s.append(time.monotonic() - began)
                    await _until_answered(heroes)
                    await _window(heroes, paused.setdefault(row["role"], []), 0.0)
            after = {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}
        finally:
            hunting[0] = False
            done, _ = await asyncio.wait(fleets, timeout=BEGUN_S)
            for task in fleets:
                task.cancel()
        errors = [text for me in heroes for text in me.meter.findings]
        forced = sum(me.meter.logins_forced for me in heroes)
        audit = await arena.command("audit", deadline_s=120, accept=(0, 1))
    interrupted = interrupted_of([me.meter for me in heroes])
    checks = (
        Check(
            "players of each role that has some were interrupted",
            set(ROLE_OF.values()) <= interrupted.keys(),
            str({role: len(waits) for role, waits in interrupted.items()}),
        ),
        same("all players came to their end", PLAYERS, len(done)),
        Check("no error of a player", not errors, "; ".join(errors[:3])),
        same("logins forced", 0, forced),
        same("processes replaced", len(before), sum(after[n] != pid for n, pid in before.items())),
        Check("the books balance", bool(audit.get("balanced")), str(audit.get("findings"))),
    )
    return result(interrupted, calm, paused, took_s, checks)


def interrupted_of(meters: list[Waits]) -> dict[str, list[float]]:
    """The interrupted waits of all players, by the role whose process was replaced."""
    roles = dict.fromkeys(role for meter in meters for role in meter.interrupted_ms)
    return {
        role: [ms for meter in meters for ms in meter.interrupted_ms.get(role, ())]
        for role in roles
    }


def result(
    interrupted: dict[str, list[float]],
    calm: list[float],
    paused: dict[str, list[float]],
    took_s: list[float],
    checks: tuple[Check, ...],
) -> BenchResult:
    """The figure of the role whose players wait longest, beside calm windows."""
    slow = {role: slowest(waits) for role, waits in interrupted.items()}
    worst = max(slow, key=lambda role: slow[role][1], default="")
    slowest_is, ours = slow.get(worst, slowest([]))
    waits, (calm_is, limit) = interrupted.get(worst, []), slowest(calm)
    more: dict[str, Any] = {
        "interrupted_ms": {role: spread(waits) for role, waits in interrupted.items()},
        "uninterrupted_ms": {role: spread(waits) for role, waits in paused.items()},
        "calm_ms": spread(calm),
        "replaced_s": {"p50": percentile(took_s, 0.5), "max": round(max(took_s, default=0.0), 2)},
        "players": PLAYERS,
        "restarts": len(took_s),
    }
    return BenchResult(
        name="restart",
        ours=round(ours, 2),
        limit=f"the longest wait of a player in {CALM_S:g} s without a restart, {calm_is}",
        limit_absolute=round(limit, 2),
        ratio=round(ours / max(limit, 0.001), 2),
        unit=f"ms, wait of a player whose {worst} was replaced, {slowest_is} of {len(waits)}",
        limit_unit="ms",
        p50_ms=percentile(waits, 0.5),
        p99_ms=round(ours, 2) if slowest_is == P99 else None,
        checks=checks,
        more=more,
        aims=(at_most(f"wait of an interrupted player, {slowest_is}, ms", PAUSE_AIM_MS, ours),),
    )


def spread(waits: list[float]) -> dict[str, Any]:
    """How many, the middle and the slow end of some waits."""
    slowest_is, slow_ms = slowest(waits)
    return {"count": len(waits), "p50": percentile(waits, 0.5), slowest_is: round(slow_ms, 2)}


def _player(arena: Arena, index: int) -> Player:
    (me,) = muster_of(Player, arena.addresses("login"), 1, 700 + index, Waits())
    return me


def _journey(hunts: bool, playing: list[bool]) -> Journey:
    def hunt(me: Hero, _: float) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        yield from settle(me)
        yield from hunt_until_over(me, lambda: playing[0])

    def idle(me: Hero, _: float) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        while playing[0]:
            yield from hold_on(me, lambda: stay_known(me), to_lobby=True)
            yield Pause(IDLE_MS)
        yield from log_out(me)

    return Journey("player", "play until told to stop", hunt if hunts else idle, lambda _: 1)


async def _until_all_play(heroes: list[Player]) -> None:
    """Return when each hunter told his first kill and the others are there. Raises
    `TimeoutError`."""
    until = time.monotonic() + BEGUN_S
    while (
        not all(me.session_token for me in heroes)
        or min(me.record.kills for me in heroes[:HUNTERS]) < 1
    ):
        if time.monotonic() > until:
            raise TimeoutError(f"not all play: {[me.meter.findings for me in heroes]}")
        await asyncio.sleep(LOOK_EVERY_S)


async def _until_answered(heroes: list[Player]) -> None:
    """Return when everybody whose connection ended plays again, so that his wait is not of the next
    window. Raises `TimeoutError`."""
    until = time.monotonic() + BEGUN_S
    while any(me.meter.interrupted for me in heroes):
        if time.monotonic() > until:
            raise TimeoutError(f"not all came back: {[me.meter.findings for me in heroes]}")
        await asyncio.sleep(LOOK_EVERY_S)


async def _window(heroes: list[Player], waits: list[float], seconds: float) -> None:
    """The longest wait of each player since the last window; with `seconds`, of a new one."""
    if seconds:
        _take(heroes)
        await asyncio.sleep(seconds)
    waits += _take(heroes)


def _take(heroes: list[Player]) -> list[float]:
    return [me.meter.take_ms() for me in heroes]
