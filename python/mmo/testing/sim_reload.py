"""Reloads in a simulation: the cluster changes its code under players, again and again.

Owns the operator's process with its own way to the stores, and the
questions it asks of nodes, which may be lost before or after they were heard. The coordinator is
the real one, handed in as a module; the nodes' half is the real one too. After every question,
whatever became of it, those who decide decide by one generation. Called by `simulation`.
"""

import asyncio
import inspect
import random
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmo.config import Reload
from mmo.errors import OperatorError, StoreError
from mmo.node.bundle import Bundle
from mmo.node.engine import Engine
from mmo.node.generation import Generation, build
from mmo.store import LeaseRow
from mmo.testing.sim_code import Code, sources_of, versions_of
from mmo.testing.sim_node import SimNode
from mmo.testing.sim_store import SimStore
from mmo.testing.virtual_loop import passes

if TYPE_CHECKING:
    from mmo.testing.simulation import Simulation

LAST_TRIES = 20
PAUSE_S = (0.2, 2.5)
ASK_S = 0.004
LOST = 0.04
"""Share of questions that are lost, and of answers, while misfortune strikes."""

KILLED = 0.2
"""Share of reloads whose coordinator dies somewhere in between."""

SETTINGS = Reload(
    check_ms=5_000, check_bytes_max=1 << 30, bundle_bytes_max=8 << 20, answer_ms=3_000,
    patience_ms=1_000_000_000, canary_errors_permille_max=1.0, canary_refusals_permille_max=1.0,
    canary_times_max=1.0, hold_ms=1_500,
)  # fmt: skip
"""Patience has no end here: it is measured by a real clock, and a lease ends by the virtual one."""


class Reloads(Code):
    """All reloads of one run. `module`: where the coordinator is, and what it calls a node that
    does not answer. `first`: the code of a game of one's own; None: the box."""

    def __init__(self, simulation: "Simulation", module: ModuleType, first: Bundle | None) -> None:
        versions = versions_of(first or sources_of(None))
        super().__init__(versions[0])
        self._versions = versions
        self.simulation = simulation
        self.rng = random.Random(f"reload {simulation.report.seed}")
        self.taken = 0
        self._bundles: Mapping[str, Bundle] = {one.digest: one for one in versions}
        self._lost: Any = module.NotRunning
        self._running: asyncio.Task[Any] | None = None
        database, shown = simulation.database, versions[0]
        database.code.bundle, database.bundles[shown.digest] = shown.digest, shown.packed
        self._store = SimStore(
            database, simulation.cache, simulation.weather, self._alive, self._die
        )
        make: Any = module.Coordinator
        self._coordinator = make(self._store, self.ask, SETTINGS, "simulation")

    async def _alive(self) -> None:
        """The operator's process never stands still."""

    def _die(self) -> None:
        if self._running is not None:
            self._running.cancel()

    async def generation(self, node: SimNode) -> Generation:
        """What the process of `node` has to decide by, from the row as it is now. Raises
        `StoreUnavailable`."""
        assert node.store is not None
        row = await node.store.code()
        await node.store.bundle(row.bundle)
        return build(row.generation, self._bundles[row.bundle], node.role.name)

    async def go_on(self) -> None:
        """One reload after the other until the misfortunes end; then one that must hold."""
        simulation, rng = self.simulation, self.rng
        low, high = PAUSE_S
        while simulation.is_struck:
            await passes(rng.uniform(low, high))
            self._running = simulation.loop.create_task(self._reload(rng.choice(self._versions)))
            if rng.random() < KILLED:
                simulation.loop.call_later(rng.uniform(0.0, 0.5), self._die)
            await asyncio.wait([self._running])
            if not self._running.cancelled():
                self._running.result()  # whatever is no refusal is a defect, and breaks the run
        for _ in range(LAST_TRIES):
            await passes(SETTINGS.hold_ms / 1_000)
            if await self._reload(rng.choice(self._versions)):
                return
        simulation.report.findings.append("no reload was taken when all was calm")

    async def _reload(self, bundle: Bundle) -> bool:
        told, number = self.simulation.told, self.simulation.database.code.generation
        try:
            switched = await self._coordinator.switch(bundle, again=True)
        except OperatorError as refused:
            told(f"reload after {number} refused: {refused}")
            return False
        except asyncio.CancelledError:
            told(f"reload after {number} lost its coordinator")
            raise
        told(f"generation {switched.generation} decides")
        self.taken += 1
        return True

    async def ask(self, lease: LeaseRow, question: dict[str, Any], wait_s: float) -> dict[str, Any]:
        """What a node says, as the coordinator hears it."""
        chance = LOST if self.simulation.is_struck else 0.0
        lost = self._lost(Path(f"node {lease.number}"))
        try:
            async with asyncio.timeout(wait_s):
                await passes(ASK_S * self.rng.random())
                if self.rng.random() < chance:
                    raise lost
                said = await self._answered(self.simulation.nodes[lease.number], question, lost)
                await passes(ASK_S * self.rng.random())
                if self.rng.random() < chance:
                    raise lost
                return said
        except TimeoutError:
            raise lost from None
        finally:
            self.look()

    async def _answered(
        self, node: SimNode, question: dict[str, Any], lost: OperatorError
    ) -> dict[str, Any]:
        """The node's own process answers, whether the asker still waits or not."""
        await node.runs()
        if node.node is None:
            raise lost
        task = node.keep_quietly(_answer(node.node.engine, question))
        await asyncio.wait([task])
        if task.cancelled():
            raise lost  # it died over the question
        return task.result()  # type: ignore[no-any-return]

    def look(self) -> None:
        """Nobody decides by another generation than the others. Whoever was cut off for as long as
        a lease commits nothing, and ends itself when it hears of the others."""
        deciding = {
            engine.generations.current.number
            for engine in self._living()
            if not engine.generations.is_held
            and not engine.residents.is_draining
            and engine.timers.now_ms() <= engine.commits_until_ms
        }
        if len(deciding) > 1:
            self.simulation.report.findings.append(f"two generations decide: {sorted(deciding)}")

    def judge(self) -> list[str]:
        """What does not hold when all is quiet."""
        number = self.simulation.database.code.generation
        return [
            f"server {engine.settings.number} decides by {engine.generations.current.number}, "
            f"held {engine.generations.is_held}, and the row says {number}"
            for engine in self._living()
            if engine.generations.is_held or engine.generations.current.number != number
        ]

    def _living(self) -> list[Engine]:
        nodes = self.simulation.nodes.values()
        return [one.node.engine for one in nodes if one.node is not None and one.is_running]


async def _answer(engine: Engine, question: dict[str, Any]) -> dict[str, Any]:
    generations, asked = engine.generations, question["ask"]
    if asked == "generation":
        return generations.view()
    answer: Any = getattr(generations, asked)
    try:
        said = answer(question)
        return (await said) if inspect.isawaitable(said) else said  # type: ignore[no-any-return]
    except StoreError as fault:
        raise OperatorError("E0418", str(fault)) from fault  # as a node's socket tells it
