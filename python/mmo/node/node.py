"""One node: composed, started, drained, stopped.

Owns the order of birth (lease, table, core, ports, admin, ready) and of death (draining, commits
done, connections told, lease given back). Never serves a message itself. Composed by `cli run`,
which hands in the role, the store, the content and a way to make the core.
"""

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from mmo.contract import Role
from mmo.errors import OperatorError, StoreError
from mmo.node.admin import Admin, Answerer
from mmo.node.committer import Committer
from mmo.node.core_table import core_fields
from mmo.node.edges import Edges, Passwords
from mmo.node.engine import Engine
from mmo.node.exposition import MEASURES, Snapshot, render
from mmo.node.generation import Generation
from mmo.node.generations import Generations
from mmo.node.handlers import Table, build_table
from mmo.node.intake import Intake
from mmo.node.lanes import Lanes
from mmo.node.lease import Lease
from mmo.node.leaving import Leaving
from mmo.node.outcomes import Outcomes
from mmo.node.peers import Peers
from mmo.node.quarantine import Quarantine
from mmo.node.raids import Raids
from mmo.node.recorder import Recorder
from mmo.node.residents import Residents
from mmo.node.resting import Resting
from mmo.node.router import Router
from mmo.node.scrape import Scrape
from mmo.node.settings import NodeSettings
from mmo.node.ticker import Ticker
from mmo.node.timers import Timers
from mmo.store import CodeRow, Store
from mmo.store.loops import LOOP_ENDED
from mmo.wire.opcode import CloseReason

if TYPE_CHECKING:
    from mmo._core import NetCore

EXIT_STOPPED, EXIT_CRASHED, EXIT_FENCED = 0, 1, 3
LAG_SAMPLE_MS = 50
IDLE_LOOK_MS = 10
CORE_RECORDS_MAX = 100  # log records of the core a second
YOUNG_OBJECTS_MAX = 50_000  # allocations between looks of the garbage collector
MakeCore = Callable[[int, Mapping[str, Any]], "NetCore"]


def unix_ms() -> int:
    """The clock of a node in production."""
    return time.time_ns() // 1_000_000


class WallClock:
    """Unix time in milliseconds, wrong by `offset_ms` where a test says so."""

    def __init__(self, offset_ms: int = 0) -> None:
        self.offset_ms = offset_ms

    def __call__(self) -> int:
        return unix_ms() + self.offset_ms


def monotonic_ms() -> int:
    """The clock of its deadlines."""
    return time.monotonic_ns() // 1_000_000


def compose(
    settings: NodeSettings,
    role: Role,
    store: Store,
    content: Any,
    *,
    log: Any,
    systems_package: str,
    edges_package: str,
    passwords: Passwords | None = None,
    sign: Callable[..., str] | None = None,
    roll: Callable[..., int] | None = None,
    clock_ms: Callable[[], int] = unix_ms,
    deadline_clock_ms: Callable[[], int] = monotonic_ms,
    generation: Generation | None = None,
) -> Engine:
    """The machinery of one node without a core: table built, states made, nothing started.
    `generation`: where role, content and systems come from a bundle."""
    timers = Timers(deadline_clock_ms)
    engine = Engine(settings, role, store, content, clock_ms, timers, log, sign, roll)
    for name, make in role.states.items():
        engine.states[name] = make(content, engine.env.node)
    if generation is None:
        generation = Generation(settings.generation, role, content, systems_package=systems_package)
    generation.env = engine.env
    generation.table = build_table(role, engine.states, engine.env, systems_package, edges_package)
    engine.table = Table()
    engine.table.become(generation.table)
    engine.generations = Generations(engine, generation, edges_package)
    engine.ticker = Ticker(engine)
    engine.quarantine = Quarantine(engine)
    engine.recorder = Recorder(engine)
    engine.router = Router(engine)
    engine.lanes = Lanes(engine.router.perform)
    engine.outcomes = Outcomes(engine)
    engine.committer = Committer(engine)
    engine.edges = Edges(engine, passwords)
    engine.peers = Peers(engine)
    engine.raids = Raids(engine)
    engine.resting = Resting(engine)
    engine.residents = Residents(engine)
    return engine


class Node:
    """A composed engine with its life. `make_core(incarnation, fields)` returns a core that is not
    started; `fields` are those settings that follow from the role (`core_table.core_fields`)."""

    lag_sample_ms = LAG_SAMPLE_MS

    def __init__(self, engine: Engine, make_core: MakeCore, roles: tuple[str, ...]) -> None:
        self.engine = engine
        self.lease = Lease(engine)
        self._leaving = Leaving(engine)
        self.ports: dict[str, int] = {}
        self.doors: list[Callable[[], Awaitable[None]]] = []  # closed before the end of a drain
        self.is_ready = False
        self.is_unwatched: Callable[[], bool] = lambda: False  # whether its supervisor is gone
        self._make_core = make_core
        self._roles = roles
        self._ended: asyncio.Future[int] | None = None
        self._stopping = False
        self._flushing = False
        self._fencing = False
        self._wake: asyncio.TimerHandle | None = None
        answers: dict[str, Answerer] = {
            "status": self._status,
            "stats": self._stats,
            "stop": self._stop,
            "fail": self._fail,
            "clock": self._set_clock,
            "generation": lambda question: engine.generations.view(),
            "prepare": engine.generations.prepare,
            "hold": engine.generations.hold,
            "look": engine.generations.look,
            "abandon": engine.generations.abandon,
            "canary": engine.generations.canary,
            "trace": lambda question: engine.tracing.follow(
                int(question["user"]), int(question["for_ms"])
            ),
            "metrics": lambda question: {"text": render(self.snapshot()).decode()},
        }
        settings = engine.settings
        self._scrape = Scrape(
            settings.metrics_host, settings.metrics_port, self.snapshot, engine.log
        )
        self._ready_ms = 0
        self._admin = Admin(engine.settings.admin_socket, answers)
        self._intake: Intake | None = None

    async def start(self, own_timers: bool = True) -> None:
        """Take the lease, make and start the core, serve. Raises `OperatorError`, `CoreError`,
        `StoreUnavailable`. Without `own_timers` the caller runs `engine.timers`, as a test does."""
        engine, settings = self.engine, self.engine.settings
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        engine.on_crash = self._crashed
        loop.set_exception_handler(self._loop_fault)
        incarnation = await self.lease.take()
        engine.change_view(incarnation=incarnation)
        fields = core_fields(engine.role, engine.table, settings.number, self._roles)
        engine.core = self._make_core(incarnation, fields)
        self.ports = engine.core.start()
        client_port = self.ports.get("client", 0)
        engine.datagram_port = self.ports.get("datagram", 0)
        engine.change_view(port=client_port)
        await self.lease.announce(client_port, self.ports.get("link", 0))
        await self._check_code()
        self._intake = Intake(engine)
        self._intake.start()
        engine.hold_input = self._intake.hold
        engine.generations.on_behind = self._behind
        engine.peers.dial(await engine.store.leases())
        timers = engine.timers
        timers.every(settings.lease_renew_ms, self._renew)
        timers.every(settings.sweep_ms, engine.residents.sweep)
        timers.every(self.lag_sample_ms, self._sample_lag)
        engine.resting.start()
        engine.raids.start()
        engine.ticker.start()
        self._lag_due_ms = timers.now_ms() + self.lag_sample_ms
        if own_timers:
            timers.on_earlier = self._arm
            self._arm()
            engine.generations.trust()  # from here on before all timers, which run often enough
            engine.recorder.start()
            gc.collect()
            gc.freeze()
            gc.set_threshold(YOUNG_OBJECTS_MAX, 20, 50)
        if settings.admin_socket:
            await self._admin.start()
        if metrics_port := await self._scrape.start():
            self.ports["metrics"] = metrics_port
        self._ready_ms = timers.now_ms()
        self.is_ready = True
        engine.log.info(
            "node ready", incarnation=incarnation, ports=self.ports,
            generation=engine.env.node.generation,
        )  # fmt: skip

    async def _check_code(self) -> None:
        """The lease is seen by whoever switches the code; a switch before it is seen here. Raises
        `OperatorError` E0426 when this process would decide by the wrong generation."""
        engine = self.engine
        current = engine.generations.current
        if not current.digest:
            return  # code of this process, as in tests: no row speaks of it
        row = await engine.store.code(settled=True)
        if not row.allows(current.number, engine.settings.number):
            raise OperatorError(
                "E0426",
                f"generation {row.generation} was switched to while {current.number} started",
                "start the node again",
            )

    def _behind(self, row: CodeRow) -> None:
        """The cluster decides by another generation: this process must not any more."""
        if not (self._flushing or self._fencing):
            self._stopping = self._fencing = True
            self.engine.spawn(self._fence())

    async def run(self) -> int:
        """Serve until stopped, fenced or crashed; returns the exit code. Call after `start`."""
        assert self._ended is not None, "start first"
        return await self._ended

    def stop(self, grace_ms: int | None = None, *, move: bool = True) -> None:
        """Begin to drain; `run` returns 0 when all is flushed. `move`: players are sent to other
        servers first. Idempotent."""
        if not self._stopping:
            self._stopping = True
            wait_ms = self.engine.settings.drain_ms if grace_ms is None else grace_ms
            self.engine.spawn(self._drain(wait_ms, move))

    async def _drain(self, grace_ms: int, move: bool) -> None:
        """Newcomers are turned away and players sent elsewhere while they are served; then messages
        are answered RETRY_LATER, what is on its way to the store is finished, rules and players are
        told, the lease is given back."""
        engine, settings = self.engine, self.engine.settings
        self.is_ready = False
        engine.change_view(draining=True)
        engine.log.info("node draining", grace_ms=grace_ms, move=move)
        await self._leaving.go(settings.leave_ms, settings.busy_ms, move=move)
        if self._fencing:
            return  # the right to serve was lost meanwhile
        for close in self.doors:
            await close()
        self._flushing = True
        until_ms = engine.timers.now_ms() + grace_ms
        engine.residents.drain()
        await self._until_idle(until_ms)
        engine.now()
        engine.residents.dismiss_all(CloseReason.SERVER_STOPPING)
        engine.turn()
        engine.core.begin_shutdown(max(1, until_ms - engine.timers.now_ms()))
        try:
            async with asyncio.timeout(grace_ms / 1_000 + 1):
                await engine.residents.stopped.wait()
        except TimeoutError:
            engine.log.error("core did not stop in time")
        # Before the number is free for the next process, which takes this path for its own.
        await self._admin.stop()
        await self._scrape.stop()
        try:
            await engine.store.leave(engine.settings.number, self.lease.row.incarnation)
        except StoreError:
            engine.log.warning("lease not given back")
        await self._end(EXIT_STOPPED)

    async def _until_idle(self, until_ms: int) -> None:
        """Until no commit is on its way and no player waits for the store, or the time is over."""
        engine, idle = self.engine, asyncio.Event()

        def look() -> None:
            late = engine.timers.now_ms() >= until_ms
            busy = any(lane.busy for lane in engine.lanes.users.values())
            if late or (engine.committer.is_idle and not busy):
                idle.set()
            else:
                engine.timers.after(IDLE_LOOK_MS, look)

        look()
        await idle.wait()

    async def _end(self, code: int) -> None:
        if self._intake is not None:
            self._intake.stop()
        if self._wake is not None:
            self._wake.cancel()
        self.engine.timers.on_earlier = None
        await self._admin.stop()
        await self._scrape.stop()
        self.engine.core.finish_shutdown()
        self.engine.log.info("node ended", code=code)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(code)

    def _renew(self) -> None:
        engine = self.engine
        for at_ms, conn, text in engine.core.take_records(CORE_RECORDS_MAX):
            engine.log.info("core", conn=conn, at_ms=at_ms, record=text)
        self.lease.renew()
        if self.lease.is_lost and not (self._flushing or self._fencing):
            self._stopping = self._fencing = True
            self.engine.spawn(self._fence())

    async def _fence(self) -> None:
        """The right to serve is lost: every client is told, nothing is flushed to the store."""
        engine = self.engine
        self.is_ready = False
        engine.lanes.held = True  # nor what waits, nor ticks
        engine.residents.drain()
        engine.table.peer.clear()
        engine.hold_input(False)  # nothing is decided any more, but the core's last word is heard
        for source in list(engine.sources.values()):
            if not source.peer:
                engine.close(source, CloseReason.NODE_FENCED)
        engine.core.begin_shutdown(500)
        try:
            async with asyncio.timeout(1):
                await engine.residents.stopped.wait()
        except TimeoutError:
            pass
        await self._end(EXIT_FENCED)

    def _crashed(self, fault: BaseException) -> None:
        """A bug of the machinery: the process ends and is started again."""
        self.engine.log.critical("node crashed", exc_info=fault)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(EXIT_CRASHED)

    def _loop_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What nobody awaited: a loop of the store that ended is a bug like any other."""
        if context["message"] == LOOP_ENDED:
            self._crashed(context["exception"])
        else:
            loop.default_exception_handler(context)

    def _arm(self) -> None:
        """Wake the loop when the first timer is due."""
        if self._wake is not None:
            self._wake.cancel()
        due_ms = self.engine.timers.next_due_ms()
        if due_ms is not None:
            wait_s = max(0, due_ms - self.engine.timers.now_ms()) / 1_000
            self._wake = asyncio.get_running_loop().call_later(wait_s, self._due)

    def _due(self) -> None:
        try:
            self.engine.generations.trust()
            self.engine.now()
            self.engine.timers.run_due()
        except Exception as fault:
            self._crashed(fault)
            return
        self._arm()

    def _sample_lag(self) -> None:
        now_ms = self.engine.timers.now_ms()
        self.engine.metrics.sample("loop_lag_ms", max(0, now_ms - self._lag_due_ms))
        self._lag_due_ms = now_ms + self.lag_sample_ms

    def _status(self, question: dict[str, Any]) -> dict[str, Any]:
        engine, settings = self.engine, self.engine.settings

        return {
            "name": settings.name,
            "number": settings.number,
            "role": engine.role.name,
            "pid": os.getpid(),
            "ready": self.is_ready,
            "generation": engine.env.node.generation,
            "connections": engine.residents.connections,
            "loop_lag_p99_ms": engine.metrics.samples["loop_lag_ms"].percentile(990),
            "queue": engine.core.stats().get("inbound_waiting", 0),
            "players": engine.residents.players,
            "incarnation": self.lease.row.incarnation,
            "ports": self.ports,
            "links": engine.peers.numbers,
            "store_away": engine.committer.is_out,
            "draining": engine.env.node.draining,
            "busy": self._leaving.busy,
            "waiting_line": len(engine.edges.line),
            "rooms": engine.generations.pins.counts(),
            "quarantined": engine.quarantine.told(),
        }

    def snapshot(self) -> Snapshot:
        """All figures now."""
        engine, committer = self.engine, self.engine.committer
        gauges: dict[str, float] = {
            "generation": engine.env.node.generation,
            "ready": self.is_ready,
            "draining": engine.env.node.draining,
            "store_away": committer.is_out,
            "supervisor_away": self.is_unwatched(),
            "connections": engine.residents.connections,
            "players": engine.residents.players,
            "links": len(engine.peers.numbers),
            "lanes": len(engine.lanes.users),
            "rooms": sum(rooms.running for rooms in engine.rooms),
            "waiting_line": len(engine.edges.line),
            "commits_waiting": committer.waiting,
            "commits_in_flight": committer.in_flight,
            "uptime_seconds": (engine.timers.now_ms() - self._ready_ms) / 1_000,
        }
        samples = engine.metrics.samples
        return Snapshot(
            node=engine.settings.name, role=engine.role.name, gauges=gauges,
            counts=dict(engine.metrics.counts), messages=dict(engine.metrics.messages),
            measures={name: samples[name].distribution for name in MEASURES},
            core=dict(engine.core.stats()), store=dict(engine.store.stats()),
        )  # fmt: skip

    def _stats(self, question: dict[str, Any]) -> dict[str, Any]:
        stats: dict[str, Any] = {f"core_{k}": v for k, v in self.engine.core.stats().items()}
        stats.update({f"store_{k}": v for k, v in self.engine.store.stats().items()})
        stats.update(self.engine.metrics.report())
        for name, state in self.engine.states.items():
            gauges: Mapping[str, int] = state.gauges() if hasattr(state, "gauges") else {}
            stats.update({f"state_{name}_{gauge}": value for gauge, value in gauges.items()})
        return stats

    def _stop(self, question: dict[str, Any]) -> dict[str, Any]:
        grace_ms = int(question.get("grace_ms", self.engine.settings.drain_ms))
        self.stop(grace_ms, move=bool(question.get("move", True)))
        return {"stopping": self.engine.settings.name}

    def _fail(self, question: dict[str, Any]) -> dict[str, Any]:
        self.engine.failpoints.arm(str(question["point"]), int(question.get("times", 1)))
        return {"armed": question["point"]}

    def _set_clock(self, question: dict[str, Any]) -> dict[str, Any]:
        """Be wrong by so much from now on, where failpoints are allowed; by how much it was."""
        clock, offset_ms = self.engine.clock_ms, int(question["offset_ms"])
        if not self.engine.failpoints.allowed or not isinstance(clock, WallClock):
            raise ValueError("this node's clock is not to be moved")
        before_ms, clock.offset_ms = clock.offset_ms, offset_ms
        return {"offset_ms": offset_ms, "before_ms": before_ms}
