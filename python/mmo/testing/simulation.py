"""A whole cluster, its players and its misfortunes in one thread and virtual time, by one seed.

Owns a run: real routers, lanes, committers, systems and roles over simulated cores and stores, real
clients' journeys over a simulated network, faults drawn from the seed (a crash at any effect,
pauses, lost answers, commits that come late, lost links and connections, doubled requests, stale
caches, clocks that are off), and what must hold at the end. The same seed is the same run, and
`python -m mmo.testing.simulate SEED` shows it. A game of one's own is simulated by naming its
folder and what its players do. Used by the plugin's fixture, by `simulate` and through it by
`mmo-cluster prove simulation`.
"""

import asyncio
import gc
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from mmo.client.coming_back import come_back
from mmo.client.hero import Hero, Policy
from mmo.client.hunting import hold_on, settle
from mmo.client.journeys import Journey, hunt_until_over, walk_guarded, wander_until_over
from mmo.client.meter import Meter
from mmo.client.protocol import Ping
from mmo.client.raider import raid_until_over
from mmo.client.rogue import plot
from mmo.client.session import Displaced, Unwelcome, arrive, ask, log_out, register
from mmo.client.shopper import shop_until_over
from mmo.client.steps import CENTER, Lost, Pause, Walk
from mmo.contract import Role
from mmo.errors import OperatorError
from mmo.state.grant import Bundle, BundleItem, SourceKind
from mmo.state.raid import RaidState
from mmo.testing import sim_judge
from mmo.testing.fake_store import FakeDatabase
from mmo.testing.raised import raised
from mmo.testing.sim_code import Code, sources_of
from mmo.testing.sim_net import CLIENT_PORT, Network
from mmo.testing.sim_node import SimNode
from mmo.testing.sim_reload import Reloads
from mmo.testing.sim_shell import SimShell, SimWitness
from mmo.testing.sim_store import SimCache, Weather
from mmo.testing.virtual_loop import VirtualLoop, passes

SERVERS = ((1, "login"), (2, "center"), (3, "center"), (11, "channel"), (12, "channel"))
RAIDS = (*SERVERS, (21, "matching"), (31, "raid"), (32, "raid"))
FOUR = ((1, "login"), (2, "center"), (11, "channel"), (12, "channel"))
THREE = ((1, "login"), (2, "center"), (11, "channel"))
CLUSTERS = (THREE, SERVERS, FOUR, THREE, RAIDS, SERVERS, FOUR, THREE)
"""What the seeds have in turn: a large cluster costs four times as much as a small one, and most
faults need no more than one server of a kind."""

POLICY = Policy(answer_ms=3_000, patience_ms=120_000, faults=True)
CLOCKS_OFF_MS = 400
BEGINS_MS = 1_797_000_000_000
"""Unix time at which a run begins: an evening in December 2026, when seasons of the box run."""

RELOADS_EVERY, RELOADS_AT = 32, (1, 17, 20)
"""These seeds of so many change their code when a coordinator is given: two with two servers of
each kind, the third with raids."""

TIMERS_LATE_MS = (0, 100, 250, 500)
"""A node looks at its timers when the first is due (0), or only this often, as one whose processor
is busy. Coarse time runs faster and lets others come first."""

QUIET_LATE_MS = 1_000
"""The same when all is over and only time has to pass."""

BEGIN_LOOKS_MAX = 60
CALM_S = 240.0
"""How long everyone has, after the last fault, to come to an end."""

LAST_LOOK_MS = 2_500
"""How long each stays once more: a sweep finds every grant that waits for him."""

BLOWS = ("crash", "pause", "pause", "link", "outage", "apart", "cache", "cut", "cut")
"""What falls on one server, one link, the database or one player."""

BLOWS_S = (0.05, 1.2)
"""Time from one blow to the next."""

RAID_LOOK_S = 0.5
QUIET_S = 13.0
"""Longer than any grace time: afterwards nobody may be left anywhere."""

WalkOf = Callable[[Hero, Callable[[], bool]], Walk[None]]


class Setup(msgspec.Struct, frozen=True):
    """What is simulated. `seconds`: how long faults strike. `misfortune`: 0 none, 1 as usual, 2
    twice as much: the chance of each fault around a call, of a doubled request, and of how slow the
    network is, and how many single blows fall in a second."""

    seconds: float = 8.0
    misfortune: float = 1.0
    servers: tuple[tuple[int, str], ...] = ()
    """Number and role of each; empty: those of the box, with raids in some seeds."""

    players: int = 0
    """0: one for each walk; fewer than walks are refused."""

    clocks_off_ms: int = CLOCKS_OFF_MS
    begins_ms: int = BEGINS_MS


@dataclass
class Report:
    """What came of a seed. `virtual_s`: simulated time; `raids`: how many were finished."""

    seed: int
    virtual_s: float = 0.0
    findings: list[str] = field(default_factory=list)
    operations: int = 0
    acknowledged: int = 0
    raids: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)


class Simulation:
    """One run. `walks`: what the players do, in turn; empty: as in the box. `coordinator`: the
    module of reloads, which some seeds have then. `game`: the folder of a game of one's own, which
    lies over the box: its rules, and its tables in place of `content`. Raises `OperatorError` E0713
    for a server of a role that there is not, `ValueError` for fewer players than walks."""

    def __init__(
        self,
        seed: int,
        setup: Setup,
        roles: Mapping[str, Role],
        content: Any,
        walks: tuple[WalkOf, ...] = (),
        coordinator: ModuleType | None = None,
        game: Path | None = None,
    ) -> None:
        self.report = Report(seed)
        self.setup = setup
        self.servers = setup.servers or CLUSTERS[seed % len(CLUSTERS)]
        raids = any(role == "raid" for _, role in self.servers)
        own: tuple[WalkOf, ...] = (_shop, _hunt, _wander, plot)
        self._walks = walks or (*own, *((raid_until_over,) * 2 if raids else ()))
        self._check(roles)
        self.roles = roles
        self.content = content
        self.rng = random.Random(seed)
        self.loop = VirtualLoop()
        self.network = Network(self.loop, random.Random(f"net {seed}"), self.now_ms)
        self.database = FakeDatabase(clock_ms=self.now_ms)
        self.cache = SimCache()
        self.weather = Weather(random.Random(f"weather {seed}"))
        self.nodes: dict[int, SimNode] = {}
        self.witness = SimWitness()
        self.meter, self.rogues_meter = Meter(), Meter()
        self.playing = True
        self.is_struck = True
        self.timers_late_ms = random.Random(f"late {seed}").choice(TIMERS_LATE_MS)
        reloads = coordinator is not None and seed % RELOADS_EVERY in RELOADS_AT
        first = sources_of(game) if game is not None else None
        self.reloads = Reloads(self, coordinator, first) if reloads and coordinator else None
        self.code = self.reloads or (Code(first) if first is not None else None)
        self.heroes = [self._hero(index) for index in range(setup.players or len(self._walks))]

    def _check(self, roles: Mapping[str, Role]) -> None:
        """What is asked for can be played."""
        for number, role in self.servers:
            if role not in roles:
                raise OperatorError(
                    "E0713", f"server {number}: no role {role!r}", "one of: " + ", ".join(roles)
                )
        players, walks = self.setup.players, len(self._walks)
        if 0 < players < walks:
            raise ValueError(
                f"{players} players for {walks} walks, of which the last would never be played; "
                "players=0 is one for each"
            )

    def now_ms(self) -> int:
        """Unix time of the simulated world: of the database, and of a node whose clock is right."""
        return self.setup.begins_ms + self.loop.now_ms

    def told(self, text: str) -> None:
        """A line of the run's trace."""
        self.report.trace.append(f"{self.loop.now_s:9.4f} {text}")

    def run(self) -> Report:
        """The whole run; never raises for what the run finds."""
        report = self.report
        # What waits for ever (of a dead process) would be closed whenever the collector comes by.
        collects = gc.isenabled()
        gc.disable()
        try:
            self.loop.run_until_complete(self._run())
        except Exception as fault:
            report.findings.append(f"the run broke: {raised(fault)}")
        finally:
            if collects:
                gc.enable()
        for broken in self.loop.broken:
            report.findings.append(f"a callback broke: {raised(broken)}")
        report.virtual_s = self.loop.now_s
        report.operations, report.acknowledged = self.witness.asked_count, len(self.witness.told)
        raids = self.database.raid_tables.raids.values()
        report.raids = sum(raid.state is RaidState.FINISHED for raid in raids)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.loop.close()
        if self.code is not None:
            self.code.free()
        return report

    async def _run(self) -> None:
        setup = self.setup
        for number, role in self.servers:
            off_ms = self.rng.randrange(-setup.clocks_off_ms, setup.clocks_off_ms + 1)
            self.nodes[number] = SimNode(self, number, self.roles[role], off_ms)
            self.nodes[number].start()
        await passes(1.0)
        players = [
            self.loop.create_task(self._play(index, me)) for index, me in enumerate(self.heroes)
        ]
        await self._begun()
        if self.reloads is not None:
            players.append(self.loop.create_task(self.reloads.go_on()))
        await self._misfortune(setup.seconds)
        self.is_struck = False
        self.weather.calm()
        self.network.slow_s = 0.0
        for node in self.nodes.values():
            node.go_on()
            node.apart(0.0)
        self.playing = False
        try:
            async with asyncio.timeout(CALM_S):
                await asyncio.gather(*players)
                await self._raids_over()
        except TimeoutError:
            self.report.findings.append("the players did not come to an end")
        self.timers_late_ms = QUIET_LATE_MS
        await passes(QUIET_S)
        self.report.findings += [f"bot {text}" for text in self.meter.findings]
        self.report.findings += sim_judge.judge(self)
        if self.reloads is not None:
            self.report.findings += self.reloads.judge()
            self.report.faults["reload"] = self.reloads.taken

    async def _raids_over(self) -> None:
        """Who left before his raid was over comes once more for what it gave him. A server that
        stood still does not know that another took its raid over and ended it: its room waits for
        the members as long as any."""
        database = self.database
        while database.raid_tables.busy or sim_judge.rooms(self):
            await passes(RAID_LOOK_S)
        users = {user for user, _, _ in database.grants.keys() - database.claimed.keys()}
        names = {name for name, account in database.accounts.items() if account.user in users}
        waiting = [(index, me) for index, me in enumerate(self.heroes) if me.name in names]
        await asyncio.gather(*(self._shell(index, me).walk(_leave(me)) for index, me in waiting))

    async def _begun(self) -> None:
        """Until everyone has what he was given, as told: what comes unasked can be lost later."""
        for _ in range(BEGIN_LOOKS_MAX):
            await passes(0.5)
            if len(self.database.claimed) >= len(self.heroes):
                return
        self.report.findings.append("not everyone could begin")

    async def _misfortune(self, seconds: float) -> None:
        """Chances rise for a while, and single blows fall in between."""
        rng, weather, share = self.rng, self.weather, self.setup.misfortune
        until = self.loop.now_s + seconds
        if share <= 0:
            await passes(seconds)
            return
        weather.before = share * rng.choice((0.0, 0.02, 0.08))
        weather.after = share * rng.choice((0.0, 0.02, 0.08))
        weather.late = share * rng.choice((0.0, 0.02, 0.1))
        weather.slow = share * rng.choice((0.0, 0.0, 0.02))
        weather.crash = share * rng.choice((0.0, 0.003, 0.015))
        self.network.slow_s = share * rng.choice((0.0, 0.0, 0.05, 0.3))
        self.witness.doubled = share * rng.choice((0.0, 0.05, 0.2))
        while (wait_s := rng.uniform(*BLOWS_S) / share) < until - self.loop.now_s:
            await passes(wait_s)
            self._blow(rng)
        await passes(until - self.loop.now_s)

    def _blow(self, rng: random.Random) -> None:
        node = self.nodes[rng.choice(sorted(self.nodes))]
        name = rng.choice(BLOWS)
        if name == "crash":
            node.crash("a blow")
        elif name == "pause":
            node.stand_still(rng.choice((0.2, 1.0, 3.0, 7.0)))
        elif name == "link":
            self.network.cut_link()
        elif name == "outage":
            self.weather.database_back_at = self.loop.now_s + rng.choice((0.1, 0.7, 2.5))
        elif name == "apart":
            node.apart(rng.choice((0.7, 3.0, 6.0)))
        elif name == "cache":
            self.cache.fall_back(rng)
        else:
            self.witness.cut_one(rng)
        self.struck(name)
        self.told(f"blow: {name}")

    def struck(self, name: str) -> None:
        """One more fault of a kind."""
        self.report.faults[name] = self.report.faults.get(name, 0) + 1

    def _hero(self, index: int) -> Hero:
        seed = self.report.seed
        ports = [CLIENT_PORT + number for number, role in self.servers if role == "login"]
        walk: Any = self._walks[index % len(self._walks)]
        meter = self.rogues_meter if walk is plot else self.meter
        me = Hero(
            f"hero {index}", "a long enough password", [("127.0.0.1", port) for port in ports],
            meter, random.Random(f"{seed}/{index}"), self.loop.time, POLICY,
        )  # fmt: skip
        if walk is raid_until_over:
            # The word of a reward may be lost with the connection that it came by: he may own more
            # than he was told, never less.
            me.record.loose += 1
        return me

    def _shell(self, index: int, me: Hero) -> SimShell:
        return SimShell(self.network, self.witness, me.name, f"192.0.2.{index + 1}")

    async def _play(self, index: int, me: Hero) -> None:
        shell = self._shell(index, me)
        walk = self._walks[index % len(self._walks)]

        def journey(hero: Hero, _: float) -> Walk[None]:
            yield from register(hero)
            self._give(hero)
            yield from _arrived(hero)
            yield from _given(hero)
            yield from walk(hero, lambda: self.playing)

        await shell.walk(walk_guarded(me, Journey("simulated", "", journey, lambda _: 0), 0))
        await shell.walk(_leave(me))
        shell.cut_all()

    def _give(self, me: Hero) -> None:
        """Gold and a sword to begin with, as a correction."""
        user = self.database.accounts[me.name].user
        bundle = Bundle(gold=3_000, items=(BundleItem(0, 1, 1),))
        key = (user, int(SourceKind.CORRECTION), 1)
        self.database.grants[key] = msgspec.msgpack.encode(bundle)


def _arrived(me: Hero) -> Walk[None]:
    while True:
        try:
            yield from arrive(me)
            return
        except Lost as lost:
            yield from come_back(me, lost, to_lobby=True)
            return


def _given(me: Hero) -> Walk[None]:
    """Hear of what was given: what is told unasked can be lost when a connection ends."""
    while not me.record.gold:
        yield Pause(100)
        yield from ask(me, CENTER, Ping())


def _shop(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
    yield from shop_until_over(me, goes_on)


def _hunt(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
    yield from hold_on(me, lambda: settle(me))
    yield from hunt_until_over(me, goes_on)


def _wander(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
    yield from wander_until_over(me, goes_on)


def _leave(me: Hero) -> Walk[None]:
    """Come once more when nothing is on its way any longer, and log out for good, whatever the
    connection does meanwhile."""
    yield Pause(LAST_LOOK_MS)
    for _ in range(10):
        try:
            me.record.known = False
            yield from arrive(me)
            yield Pause(LAST_LOOK_MS)
            yield from log_out(me)
            return
        except (Lost, Displaced, Unwelcome):
            me.loosen()  # a login of before may be done only now, and end this session
            yield Pause(500)
