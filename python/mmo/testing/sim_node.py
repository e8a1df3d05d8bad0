"""One process of a simulation: composed, started, stopped for a while, killed, started again.

Owns the life of a real node over a simulated core and store. A pause lets nothing of the process
run: no message, no timer, no answer of the store. A crash loses everything but what the stores
have; a new process with a new incarnation follows. Made by `simulation`.
"""

import asyncio
import random
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mmo.contract import Role
from mmo.errors import MmoError, StoreError
from mmo.node.generation import Generation
from mmo.node.node import Node, compose
from mmo.testing.raised import raised
from mmo.testing.sim_net import SimCore
from mmo.testing.sim_store import SimStore
from mmo.testing.virtual_loop import Callback, passes
from mmo.testing.world import ROLES, Lines, keyed_roll, node_settings, sign

if TYPE_CHECKING:
    from mmo.testing.simulation import Simulation

RESTART_S = (0.2, 2.0)
AGAIN_S = 0.3
NEVER_MS = 10**9
SEED_BITS = 62
SETTINGS: dict[str, Any] = {"resident_rest_ms": 20_000}


class FreePasswords:
    """In place of argon2: the cost of a password is no question of a simulation."""

    async def hash(self, password: str) -> str:
        """Never leaves the simulation."""
        return f"hash of {password}"

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether it is that of `hash`."""
        return password_hash == f"hash of {password}"


class SimNode:
    """A server number and whatever process serves it now."""

    def __init__(self, simulation: "Simulation", number: int, role: Role, off_ms: int) -> None:
        self.simulation = simulation
        self.number = number
        self.role = role
        self.off_ms = off_ms
        self.node: Node | None = None
        self.core: SimCore | None = None
        self.store: SimStore | None = None
        self.log = Lines()
        self._starting: SimCore | None = None
        self._again: Callback | None = None  # the start of the next process
        self.life = 0
        self._runs = asyncio.Event()
        self._runs.set()
        self._stood_at = 0.0  # since when it stands still
        self._wake: Callback | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}  # in their order

    def start(self) -> None:
        """A new process, which takes its lease as soon as it can."""
        self._again = None
        self.life += 1
        self._keep(self._start(self.life))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.simulation.loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._done)

    def keep_quietly(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Something of the process that ends with it; who started it looks at its result."""
        task = self.simulation.loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._answered)
        return task

    def _answered(self, task: "asyncio.Task[Any]") -> None:
        """An error of ours is an answer; everything else is a bug, whoever still waits."""
        self._tasks.pop(task, None)
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, MmoError):
            raise fault

    @property
    def is_running(self) -> bool:
        """It does not stand still."""
        return self._runs.is_set()

    async def runs(self) -> None:
        """Wait until it does not stand still."""
        await self._runs.wait()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()  # type: ignore[misc]

    async def _start(self, life: int) -> None:
        simulation = self.simulation
        loop = simulation.loop

        async def alive() -> None:
            if self.life != life:
                await loop.create_future()  # of a dead process
            await self._runs.wait()

        self.store = SimStore(
            simulation.database, simulation.cache, simulation.weather, alive,
            lambda: self._die_at_an_effect(life),
        )  # fmt: skip
        self.store.is_still = not self._runs.is_set()
        await self._until_the_store_answers()
        role, content = self.role, simulation.content
        settings = SETTINGS | {"seed": self._seed(life)}
        systems = "mmo.systems"  # of this process, unless the generation brings its own
        generation = await self._generation()
        if generation is not None:
            role, content, systems = generation.role, generation.content, generation.systems_package
            settings["generation"] = generation.number
        began_ms = simulation.setup.begins_ms + self.off_ms
        engine = compose(
            node_settings(self.number, f"{self.role.name}-{self.number}", **settings),
            role, self.store, content, log=self.log, generation=generation,
            passwords=FreePasswords() if self.role.edges else None,
            systems_package=systems, edges_package="mmo.edges", sign=sign, roll=keyed_roll,
            clock_ms=lambda: began_ms + loop.now_ms, deadline_clock_ms=lambda: loop.now_ms,
        )  # fmt: skip
        engine.work_s = lambda: loop.now_s  # work takes no time here, whatever the machine does
        core = SimCore(simulation.network, self.number, self.role)
        made: Any = lambda incarnation, fields: core  # noqa: E731
        node = Node(engine, made, ROLES)
        self._starting = core
        node.lag_sample_ms = NEVER_MS  # a loop in virtual time has no lag
        if simulation.code is not None:
            simulation.code.started(engine)
        try:
            await node.start(own_timers=False)
        except MmoError as fault:
            self.crash(f"it could not start: {fault}")
            return
        self.node, self.core, self._starting = node, core, None
        core.on_batch = engine.router.on_batch
        core.held = not self._runs.is_set()
        engine.hold_input = core.hold
        engine.on_crash = self._bug
        engine.timers.on_earlier = self._arm
        self._arm()
        simulation.told(f"{self.role.name}-{self.number} is up, life {life}")
        self._keep(self._watch(node, life))

    def _seed(self, life: int) -> int:
        """Of the chance of the rules in this process: like none of another process, server or
        simulation. Never 0, which stands for the chance of the system."""
        named = f"rules {self.simulation.report.seed}/{self.number}/{life}"
        return 1 + random.Random(named).getrandbits(SEED_BITS)

    async def _until_the_store_answers(self) -> None:
        assert self.store is not None
        while True:
            try:
                await self.store.leases()
                return
            except MmoError:
                await passes(AGAIN_S)

    async def _generation(self) -> Generation | None:
        """Code of a generation, where it is changed or a game's own; None: that of the box."""
        code = self.simulation.code
        while code is not None:
            try:
                return await code.generation(self)
            except StoreError:
                await passes(AGAIN_S)
        return None

    async def _watch(self, node: Node, life: int) -> None:
        """A node that ended itself (its lease was lost) is started again, as any other."""
        await node.run()
        if self.life == life:
            self.crash("it ended itself")

    def _bug(self, fault: BaseException) -> None:
        text = f"{self.role.name}-{self.number} crashed: {raised(fault)}"
        self.simulation.report.findings.append(text)
        self.crash("a bug")

    def _arm(self) -> None:
        """Run the node's timers when the first is due."""
        if self.node is None or not self._runs.is_set():
            return
        due_ms = self.node.engine.timers.next_due_ms()
        if due_ms is None:
            return
        simulation = self.simulation
        late_ms = simulation.timers_late_ms
        if late_ms:
            due_ms = -(-due_ms // late_ms) * late_ms
        at = max(simulation.loop.now_s, due_ms / 1000)
        wake = self._wake
        if wake is not None:
            if wake[0] <= at:
                return  # it looks again then
            wake.cancel()
        self._wake = simulation.loop.call_at(at, self._due)

    def _due(self) -> None:
        self._wake = None
        node = self.node
        if node is None or not self._runs.is_set():
            return
        timers = node.engine.timers
        timers.on_earlier = None  # looked at below
        try:
            node.engine.now()
            timers.run_due()
        except Exception as fault:
            self._bug(fault)
            return
        if self.node is node:
            timers.on_earlier = self._arm
            self._arm()

    def stand_still(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        if not self._runs.is_set():
            return
        self._runs.clear()
        self._stood_at = self.simulation.loop.now_s
        if self.store is not None:
            self.store.is_still = True
        if self.core is not None:
            self.core.held = True
        self._arm()
        self.simulation.loop.call_later(seconds, self.go_on)

    def apart(self, seconds: float) -> None:
        """For so long, from now on, the database does not answer this server alone."""
        if self.store is not None:
            self.store.away_until = self.simulation.loop.now_s + seconds

    def go_on(self) -> None:
        """It runs again, late for everything."""
        if self._runs.is_set():
            return
        self._runs.set()
        if self.store is not None:
            self.store.is_still = False
        if self.node is not None:
            stood_ms = (self.simulation.loop.now_s - self._stood_at) * 1_000
            if stood_ms > self.node.engine.settings.lease_fence_ms:
                self.node.engine.generations.slept()  # as a real loop finds out by its own clock
        if self.core is not None:
            self.core.go_on()
        self._arm()

    def _die_at_an_effect(self, life: int) -> None:
        if self.life == life:
            self.simulation.struck("crash at an effect")
            self.crash("at an effect")

    def crash(self, why: str) -> None:
        """kill -9; the next process comes a little later. Nothing happens while there is none."""
        if self._again is not None:
            return
        self.simulation.told(f"{self.role.name}-{self.number} dies: {why}")
        self.life += 1
        node, core, store = self.node, self.core, self.store
        self.node = self.core = self.store = None
        self._arm()
        for one in (core, self._starting):  # who dies while it starts may have listened already
            if one is not None:
                self.simulation.network.core_died(one)
        self._starting = None
        if store is not None:
            store.kill()
        if node is not None:
            node.engine.timers.on_earlier = None
            for task in node.engine.tasks:
                task.remove_done_callback(node.engine._ended)
                task.cancel()
        for own in self._tasks:
            own.cancel()
        self._runs.set()
        low, high = RESTART_S
        rng = self.simulation.rng
        wait_s = low + (high - low) * rng.random()
        self._again = self.simulation.loop.call_later(wait_s, self.start)
