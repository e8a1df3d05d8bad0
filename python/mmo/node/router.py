"""From an event to a rule: opcode, message, lane, decision.

Owns the way of every event, the fast path included: a message whose lane is open is decoded,
decided and answered in line, without an object of its own. A rule that raises costs its message
only. Never waits. Called by `intake` with batches and by `lanes` with what waited.
"""

from functools import partial
from typing import Any

import msgspec

from mmo.contract import Env, Outcome, Sender
from mmo.node import operations
from mmo.node.engine import NOBODY, Engine
from mmo.node.handlers import Route
from mmo.node.hello import greet
from mmo.node.lanes import Job, Lane, Source, Step
from mmo.node.watchdog import RuleOverran
from mmo.state.player import OperationRecord, Player
from mmo.wire.codec import encode
from mmo.wire.opcode import CloseReason, Code, Op

DECODE_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)
BUSY_ANSWERS_MAX = 4  # times `lane_messages_max`: BUSY answers that may wait in order
Event = tuple[int, int, int, int, bytes]


class Router:
    """One per node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._env = engine.env  # of the generation that decides
        self._sources = engine.sources
        self._waiting_max = engine.settings.lane_messages_max

    def decide_by(self, env: Env) -> None:
        """Another generation decides from the next message on."""
        self._env = env

    def on_batch(self, events: list[Event]) -> None:
        """Serve one batch and end the turn: everything that can leave has left."""
        engine = self._engine
        self._env.now_ms = engine.clock_ms()
        sources = self._sources
        serve = self._serve
        messages = engine.metrics.messages
        for conn, user, opcode, seq, body in events:
            source = sources.get(conn)
            if source is not None:
                route = source.routes.get(opcode)
                if route is not None:
                    messages[opcode] += 1
                    lane = source.lane
                    if not lane.shut and route.simple:
                        serve(source, lane, route, seq, body)
                    else:
                        self._wait(source, lane, seq, Job(route, source, seq, body))
                    continue
            self._special(source, conn, user, opcode, seq, body)
        engine.turn()

    def _serve(self, source: Source, lane: Lane, route: Route, seq: int, body: bytes) -> None:
        """The fast path: nothing waits before this message."""
        player = lane.awake
        if (
            source.refused  # told to go: `perform` drops what it still had on the way
            or (not source.entered and route.by == "user")
            or lane.stale
            or (route.parts and not player)
        ):
            self.perform(lane, Job(route, source, seq, body))
            return
        try:
            message = route.decode(body)  # type: ignore[misc]
        except DECODE_FAULTS as fault:
            self._undecodable(source, seq, fault)
            return
        self._env.sender = Sender(source.conn, source.user, seq, source.peer, source.address)
        try:
            outcome = route.call(message, player) if route.parts else route.bound(message)
        except (Exception, RuleOverran):
            self._raised(self._engine.generations.pins.decided(route), source, seq)
            return
        if type(outcome) is not Outcome or (
            outcome.changes or outcome.row or outcome.sends or outcome.earned or outcome.tells
            or outcome.asks or outcome.claim_here or outcome.closes or outcome.release
        ):  # fmt: skip
            job = Job(route, source, seq, body, message)
            job.decided = self._engine.generations.pins.decided(route)
            self._engine.outcomes.settle(lane, job, outcome)
            return
        try:
            states = self._engine.states
            for effect in outcome.effects:
                effect.apply(states[effect.of])
            outgoing = self._engine.outgoing
            conn = source.conn
            for reply in outcome.replies:
                outgoing.append((conn, reply.opcode, seq, encode(reply)))
        except (Exception, RuleOverran):
            self._raised(self._engine.generations.pins.decided(route), source, seq)

    def _wait(self, source: Source, lane: Lane, seq: int, item: Job | Step) -> None:
        """Into the lane, or BUSY in its order when too much waits."""
        engine = self._engine
        if engine.traces and type(item) is Job:
            trace = engine.traces.get(lane.user)
            if trace is not None:
                trace.arrived(item)
        if not lane.shut:
            if type(item) is Job:
                self.perform(lane, item)
            else:
                engine.lanes.put(lane, item)
                engine.lanes.run()
            return
        waiting = len(lane.waiting or ())
        if waiting < self._waiting_max or source.peer:
            engine.lanes.put(lane, item)
        elif waiting < self._waiting_max * (1 + BUSY_ANSWERS_MAX):
            engine.lanes.put(lane, partial(self._busy, source, seq))
        else:
            engine.close(source, CloseReason.RATE_LIMITED)

    def _busy(self, source: Source, seq: int, lane: Lane) -> None:
        self._engine.refuse(source, seq, Code.BUSY)

    def _special(
        self, source: Source | None, conn: int, user: int, opcode: int, seq: int, body: bytes
    ) -> None:
        """Lifecycle, hello, token, answers to requests, and what nobody handles."""
        engine = self._engine
        if opcode == Op.OPENED:
            engine.residents.opened(conn, body)
        elif opcode == Op.PEER_UP:
            engine.peers.up(conn, user, body)
        elif opcode == Op.STOPPED:
            engine.residents.stopped.set()
        elif source is None:
            engine.metrics.count("events_of_unknown_connection_total")
        elif opcode == Op.CLOSED:
            engine.residents.closed(source, seq)
        elif opcode == Op.PEER_DOWN:
            engine.peers.down(source)
        elif source.peer:
            engine.peers.other(source, opcode, body)
        elif opcode == Op.ENTER and not source.user and not engine.residents.is_draining:
            engine.residents.enter(source, user, seq, body)
        else:
            unhandled = partial(self._unhandled, source, opcode, seq, body)
            self._wait(source, source.lane, seq, unhandled)

    def _unhandled(self, source: Source, opcode: int, seq: int, body: bytes, lane: Lane) -> None:
        """HELLO, or an opcode that had no rule in the state of its sender when it came; he may have
        shown a token since."""
        route = source.routes.get(opcode)
        if route is not None:
            self.perform(lane, Job(route, source, seq, body))
        elif self._engine.residents.is_draining:
            self._engine.refuse(source, seq, Code.RETRY_LATER)
        elif opcode == Op.HELLO:
            greet(self._engine, source, seq, body)
        elif opcode in self._engine.table.user and not source.user:
            self._engine.refuse(source, seq, Code.NOT_ENTERED)
        else:
            self._engine.refuse(source, seq, Code.UNKNOWN_MESSAGE, str(opcode))

    def perform(self, lane: Lane, job: Job) -> None:
        """Run one job whose turn has come; the lane may be busy afterwards."""
        route, source = job.route, job.source
        if source is not None and source.refused:
            return
        route = job.route = route.newest()  # it may have waited while the code was switched
        if source is not None and route.by == "user" and not source.entered:
            self._engine.refuse(source, job.seq, Code.NOT_ENTERED)
            return
        if job.message is None:
            try:
                job.message = route.decode(job.body)  # type: ignore[misc]
            except DECODE_FAULTS as fault:
                self._undecodable(source, job.seq, fault)
                return
        if route.lane_field and lane.user != getattr(job.message, route.lane_field):
            user = int(getattr(job.message, route.lane_field))
            self._engine.lanes.put(self._engine.lanes.of_user(user), job)
            return
        if route.edge is not None:
            self._engine.edges.start(lane, job)
            return
        player = job.player or lane.player
        if route.parts and player is None and route.opcode != Op.ENTER:
            self._engine.residents.absent(lane, job)
            return
        if route.parts and lane.stale and job.player is None and not self._engine.committer.is_out:
            self._engine.residents.reload(lane, job)
            return
        if route.mutates and player is not None and not self._may_mutate(lane, job, player):
            return
        if job.version is not None and player is not None and player.head.version != job.version:
            return  # its unanswered commit happened: every commit raises the version
        if job.earned is not None and not job.certain:
            self._engine.residents.make_certain(lane, job)
            return
        self._decide(lane, job, player)

    def _decide(self, lane: Lane, job: Job, player: Player | None) -> None:
        source = job.source
        if source is not None:
            user = source.user or lane.user
            sender = Sender(source.conn, user, job.seq, source.peer, source.address, source.gone)
        else:
            conn = lane.source.conn if lane.source is not None else 0
            sender = Sender(conn, lane.user, 0) if lane.user else NOBODY
        self._env.sender = sender
        trace = self._engine.tracing.of(lane, job) if self._engine.traces else None
        if trace is not None:
            trace.begun(job)
        try:
            outcome: Any = job.route.call(job.message, player)
        except (Exception, RuleOverran):
            self._raised(self._engine.generations.pins.decided(job.route), source, job.seq)
            self._engine.outcomes.spent(lane, job)
            return
        job.decided = self._engine.generations.pins.decided(job.route)
        if trace is not None:
            trace.decided(job)
        self._engine.outcomes.settle(lane, job, outcome)

    def _may_mutate(self, lane: Lane, job: Job, player: Player) -> bool:
        """Judge the operation id; True when the rule has to decide."""
        job.operation = (int(job.message.op[0]), int(job.message.op[1]))
        asked = job.asked = operations.request_hash(job.route.opcode, job.body)
        judged = operations.judge(player, job.operation, asked)
        if judged is operations.Judged.NEW:
            return True
        if judged is operations.Judged.LOOK_UP:
            if not job.looked_up:
                self._engine.residents.look_up(lane, job, asked)
            return job.looked_up
        self.answer_judged(job, judged)
        return False

    def answer_judged(self, job: Job, judged: OperationRecord | Code) -> None:
        """The stored answer of a repeat, or why the id is refused."""
        assert job.source is not None
        if isinstance(judged, OperationRecord):
            self._engine.reply(job.source, job.seq, judged.answer_opcode, judged.answer)
            self._engine.metrics.count("operations_repeated_total")
        else:
            self._engine.refuse(job.source, job.seq, judged)

    def _undecodable(self, source: Source | None, seq: int, fault: Exception) -> None:
        self._engine.metrics.count("messages_undecodable_total")
        self._engine.refuse(source, seq, Code.BAD_MESSAGE, str(fault)[:200])

    def raised(self, job: Job) -> None:
        """What a rule returned cannot be used: treated as if it had raised."""
        self._raised(job.decided or job.route, job.source, job.seq)

    def _raised(self, route: Route, source: Source | None, seq: int) -> None:
        """A rule failed: its sender hears INTERNAL, the log has the traceback, the lane goes on."""
        engine = self._engine
        engine.metrics.count("rules_raised_total")
        engine.log.error(
            "rule raised", rule=route.name, opcode=route.opcode,
            conn=source.conn if source else 0, user=source.user if source else 0,
            exc_info=True,
        )  # fmt: skip
        engine.quarantine.failed(route)
        engine.refuse(source, seq, Code.INTERNAL)
