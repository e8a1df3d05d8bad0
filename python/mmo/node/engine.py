"""What all machinery of one node shares: the table, the lanes, the outgoing list, the clock.

Owns the references and the turn of the loop (run lanes, start groups, send once). Decides nothing.
Made by `node.Node`; every other file of this package is given it.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from mmo.contract import Env, NodeView, Role, Sender
from mmo.node.failpoints import Failpoints
from mmo.node.handlers import Table
from mmo.node.lanes import Job, Lane, Lanes, Source
from mmo.node.metrics import Metrics
from mmo.node.settings import NodeSettings
from mmo.node.timers import Timers
from mmo.node.tracing import Trace, Tracing, code_of, name_of
from mmo.store import Store
from mmo.wire.codec import encode
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code, Op

if TYPE_CHECKING:
    from mmo._core import NetCore
    from mmo.node.committer import Committer
    from mmo.node.edges import Edges
    from mmo.node.generations import Generations
    from mmo.node.outcomes import Outcomes
    from mmo.node.peers import Peers
    from mmo.node.quarantine import Quarantine
    from mmo.node.raids import Raids
    from mmo.node.recorder import Recorder
    from mmo.node.residents import Residents
    from mmo.node.resting import Resting
    from mmo.node.rooms import Rooms
    from mmo.node.router import Router
    from mmo.node.ticker import Ticker

NOBODY = Sender(0, 0, 0)
UID_BITS = 32  # uids of one incarnation; 31 bits are left for incarnations


class Engine:
    """One per node. The parts are set by `node.compose` before the first event."""

    router: "Router"
    outcomes: "Outcomes"
    committer: "Committer"
    residents: "Residents"
    resting: "Resting"
    edges: "Edges"
    peers: "Peers"
    generations: "Generations"
    ticker: "Ticker"
    quarantine: "Quarantine"
    recorder: "Recorder"
    raids: "Raids"
    table: Table
    core: "NetCore"
    lanes: Lanes

    def __init__(
        self,
        settings: NodeSettings,
        role: Role,
        store: Store,
        content: Any,
        clock_ms: Callable[[], int],
        timers: Timers,
        log: Any,
        sign: Callable[..., str] | None = None,
        roll: Callable[..., int] | None = None,
    ) -> None:
        self.settings = settings
        self.role = role
        self.store = store
        self.clock_ms = clock_ms
        self.timers = timers
        self.log = log
        log.carry(generation=settings.generation)
        self.metrics = Metrics()
        self.failpoints = Failpoints(settings.failpoints)
        self.sources: dict[int, Source] = {}
        self.outgoing: list[tuple[int, int, int, bytes]] = []
        self.states: dict[str, Any] = {}
        self.traces: dict[int, Trace] = {}  # followed players; empty: nobody is
        self.tracing = Tracing(self)
        self.sent_away: set[Source] = set()  # told to go to another server, for a drain
        self.rooms: list[Rooms] = []  # filled by the ticker
        self.on_crash: Callable[[BaseException], None] = _raise
        self.work_s = time.perf_counter  # the clock by which work that takes too long is told
        self.commits_until_ms = 1 << 63  # by our timers; only who holds a lease is bounded
        self.renewed_since_ms = 0  # by our timers: since then our lease was renewed without a gap
        self.datagram_port = 0  # as bound; 0: none
        self._tasks: dict[asyncio.Task[None], None] = {}  # in their order
        self.spawned = 0  # tasks so far
        self._uids = 0
        self._earned = 0
        seed = settings.seed or random.SystemRandom().getrandbits(63)
        view = NodeView(
            number=settings.number, name=settings.name, role=role.name, incarnation=0,
            generation=settings.generation, host=settings.host, port=settings.client_port,
        )  # fmt: skip
        self.env = Env(
            now_ms=clock_ms(), rng=random.Random(seed), content=content, node=view,
            sender=NOBODY, new_uid=self.new_uid, roll=roll, sign=sign if role.signs else None,
        )  # fmt: skip
        self.hold_input: Callable[[bool], None] = lambda held: None

    def env_of(self, content: Any, generation: int) -> Env:
        """What the rules of another generation receive: the same node, its content."""
        view = msgspec.structs.replace(self.env.node, generation=generation)
        return msgspec.structs.replace(self.env, content=content, node=view, sender=NOBODY)

    def decide_by(self, role: Role, env: Env, table: Table) -> None:
        """Another generation decides from now on. Called between two batches."""
        view = msgspec.structs.replace(self.env.node, generation=env.node.generation)
        env.node, env.now_ms = view, self.env.now_ms
        self.role, self.env = role, env
        self.log.carry(generation=env.node.generation)
        self.table.become(table)
        self.router.decide_by(env)
        self.tracing.renew()
        self.ticker.become(self.table)
        self.quarantine.lift()

    def new_uid(self) -> int:
        """An id that no process of this cluster ever makes again."""
        self._uids += 1
        assert self._uids < 1 << UID_BITS, "all uids of this incarnation are used"
        return (self.env.node.incarnation << UID_BITS) | self._uids

    def next_earned(self) -> int:
        """Counter of the next `Earned` of this incarnation."""
        self._earned += 1
        return self._earned

    def change_view(self, **fields: Any) -> None:
        """Tell the rules something new about this node."""
        view = self.env.node = msgspec.structs.replace(self.env.node, **fields)
        for older in self.generations.older:
            if older.env is not None:
                older.env.node = msgspec.structs.replace(view, generation=older.number)

    def reply(self, source: Source, seq: int, opcode: int, body: bytes) -> None:
        """Queue one message for the end of this turn."""
        if not source.gone:
            self.outgoing.append((source.conn, opcode, seq, body))
        if self.traces:
            self._told(source, seq, name_of(opcode))

    def _told(self, source: Source, seq: int, outcome: str) -> None:
        """An answer to somebody who may be followed."""
        trace = self.traces.get(source.user)
        if trace is not None:
            trace.answered(source.conn, seq, outcome, self.env.node.generation)

    def refuse(self, source: Source | None, seq: int, code: int, detail: str = "") -> None:
        """Say no. An internal message has nobody to hear it."""
        if source is not None and not source.gone and not source.peer:
            body = encode(Refused(int(code), detail))
            self.outgoing.append((source.conn, int(Op.REFUSED), seq, body))
            self.count_refused(code)
            if self.traces:
                self._told(source, seq, code_of(int(code)))

    def count_refused(self, code: int) -> None:
        """One more refusal that somebody is told."""
        self.metrics.count(f"refused_{_code_name(code)}_total")

    def about(self, lane: Lane, job: Job | None = None) -> dict[str, Any]:
        """Keys of a log line: connection, player and operation, where they are known."""
        source = job.source if job is not None and job.source is not None else lane.source
        keys: dict[str, Any] = {"conn": source.conn if source is not None else 0}
        keys["user"] = lane.user or (source.user if source is not None else 0)
        if job is not None:
            keys["opcode"] = job.route.opcode
            if job.operation is not None:
                keys["op"] = f"{job.operation[0]}-{job.operation[1]}"
        return keys

    def close(self, source: Source, reason: int) -> None:
        """Close a connection after what was queued for it."""
        self.flush()
        source.refused = True
        self.core.close(source.conn, int(reason))

    def flush(self) -> None:
        """Send all that was queued, in one call."""
        outgoing = self.outgoing
        if outgoing:
            self.outgoing = []
            self.core.send_many(outgoing)

    def turn(self) -> None:
        """End of every entry of the loop: run lanes, start groups, send."""
        self.lanes.run()
        self.committer.start_groups()
        if self.outgoing:
            self.flush()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that waits for the outside. What it raises is a bug and ends the node."""
        self.spawned += 1
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self.on_crash(task.exception())  # type: ignore[arg-type]

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What waits for the outside now, the oldest first."""
        return list(self._tasks)

    def now(self) -> None:
        """Read the clock for the decisions that follow."""
        self.env.now_ms = self.clock_ms()

    def tell(self, lane: Lane, message: Any) -> bool:
        """Put an internal message into a lane; False when no rule here handles it."""
        route = self.table.node.get(message.opcode)
        if route is None:
            return False
        self.lanes.put(lane, Job(route, message=message))
        return True


def _raise(fault: BaseException) -> None:
    raise fault


def _code_name(code: int) -> str:
    try:
        return Code(code).name.lower()
    except ValueError:
        return str(code)
