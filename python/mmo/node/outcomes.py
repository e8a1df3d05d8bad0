"""What a rule wants done, done in the right order.

Owns the order of an outcome: durable parts go to the committer and come back; then effects apply,
then replies, sends, earned, tells and closes leave. Checks the shape of outcomes; a wrong one is a
bug of the rule and costs its message. Called by the router, the committer and the ticker.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

import msgspec

from mmo.contract import (
    Ask,
    Close,
    Earned,
    Keep,
    LookForGrants,
    Outcome,
    Presence,
    ProveDatagrams,
    Refuse,
    Send,
    SendAway,
    Tell,
    ToAny,
    ToNode,
    ToRole,
    ToUser,
)
from mmo.contract import ToUsers as ToUsersSend
from mmo.errors import StoreError
from mmo.node.engine import Engine
from mmo.node.lanes import Job, Lane, Source
from mmo.node.tracing import code_of, name_of
from mmo.state.change import Change, Effect
from mmo.state.grant import Grant
from mmo.wire.codec import encode
from mmo.wire.messages.raid import DatagramKey
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code, Op

PARTS: dict[str, tuple[type, ...]] = {
    "replies": (), "changes": (Change,), "effects": (Effect,), "sends": get_args(Send),
    "earned": (Earned,), "tells": (Tell,), "asks": (Ask,), "closes": (Close,),
}  # fmt: skip
"""The parts of an outcome and what may be in them; of replies the codec judges."""

SAID_WRONG = (TypeError, ValueError, AttributeError, KeyError, OverflowError, msgspec.MsgspecError)
"""What a part of an outcome raises that no message can be made of; all else is a bug of ours."""
SHARED_CONNS_MIN = 16  # from here on one body is shared by the core instead of copied


NOTHING: tuple[()] = ()
"""What a part is that a rule does not name: one object everywhere."""


def misshapen(outcome: Any) -> str:
    """What of a rule's answer is no outcome; empty when all is. Nothing of it is consumed: what
    comes lazily runs rules where none may run."""
    if type(outcome) is not Outcome:
        return f"returned {type(outcome).__name__}"
    for name, kinds in PARTS.items():
        part = getattr(outcome, name)
        if part is NOTHING:
            continue  # nearly all are
        if type(part) is not tuple and type(part) is not list:
            return f"{name} is {type(part).__name__}, no tuple"
        if part and kinds and not all(isinstance(one, kinds) for one in part):
            return f"{name} holds {', '.join(type(one).__name__ for one in part)}"
    return ""


class Outcomes:
    """One per node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def settle(self, lane: Lane, job: Job, outcome: Any) -> None:
        """Send an outcome on its way; the lane is busy afterwards when it has to wait."""
        engine = self._engine
        if type(outcome) is Refuse:
            engine.refuse(job.source, job.seq, outcome.code, outcome.detail)
            if engine.traces:
                engine.tracing.ended(lane, job, code_of(outcome.code))
            self.spent(lane, job)
            return
        wrong = self._wrong(lane, job, outcome)
        if wrong:
            self._shapeless(lane, job, wrong)
        elif job.source is not None and outcome.earned and self._earners_full(outcome):
            engine.refuse(job.source, job.seq, Code.RETRY_LATER)
        elif outcome.changes:
            engine.committer.submit(lane, job, outcome)
        elif outcome.row is not None:
            engine.committer.submit_row(lane, job, outcome)
        else:
            self.spent(lane, job)
            self.deliver(lane, job, outcome)

    def _wrong(self, lane: Lane, job: Job, outcome: Any) -> str:
        wrong = misshapen(outcome)
        if wrong:
            return wrong
        if outcome.changes and (lane.player is None or job.player is not None):
            return "changes without an owned player"
        if outcome.changes and outcome.row is not None:
            return "changes and a row in one outcome"
        if len(outcome.asks) + bool(outcome.changes or outcome.row) + outcome.claim_here > 1:
            return "more than one thing to wait for"
        if job.route.mutates and outcome.changes and not outcome.replies:
            return "no answer to store"
        if outcome.changes and job.route.by == "user" and not job.route.mutates:
            return "changes by a rule that is not marked mutates: a repeat would be done twice"
        return ""

    def _shapeless(self, lane: Lane, job: Job, wrong: str) -> None:
        engine = self._engine
        engine.metrics.count("rules_raised_total")
        engine.quarantine.failed(job.decided or job.route, wrong)
        engine.log.error("rule wrong", rule=job.route.name, fault=wrong, **engine.about(lane, job))
        engine.refuse(job.source, job.seq, Code.INTERNAL)
        self.spent(lane, job)

    def spent(self, lane: Lane, job: Job) -> None:
        """The job ends without a commit: what was earned no longer waits."""
        if job.earned is not None:
            lane.aside.earned_count -= 1

    def deliver(
        self, lane: Lane, job: Job, outcome: Outcome, encoded: list[tuple[int, bytes]] | None = None
    ) -> None:
        """Everything of an outcome that is not durable, in order. `encoded`: the replies, when they
        were encoded before."""
        engine = self._engine
        try:
            if encoded is None:
                encoded = [(reply.opcode, encode(reply)) for reply in outcome.replies]
            states = engine.states
            for effect in outcome.effects:
                effect.apply(states[effect.of])
        except Exception:
            engine.router.raised(job)
            return
        source = job.source if job.source is not None else lane.source
        if source is not None:
            for opcode, body in encoded:
                engine.reply(source, job.seq, opcode, body)
            for reply in outcome.replies:
                if type(reply) is Refused and not source.gone:
                    engine.count_refused(reply.code)
        if outcome.sends:
            self._each(job, encoded, self._send, outcome.sends)
        if outcome.earned:
            self._each(job, encoded, self._earn, outcome.earned)
        if outcome.tells:
            self._each(job, encoded, partial(self._tell, lane), outcome.tells)
        for close in outcome.closes:
            self._close(lane, close, job.source)
        if outcome.release:
            engine.residents.release(outcome.release)
        for ask in outcome.asks:
            engine.peers.ask(lane, job, ask)
        if outcome.claim_here:
            engine.residents.claim_here(lane, job)
        elif engine.traces and not outcome.asks:
            told = " ".join(name_of(opcode) for opcode, _ in encoded)
            engine.tracing.ended(lane, job, told or "done")

    def _each(
        self, job: Job, answered: Sequence[Any], leave: Callable[[Any], None], parts: Sequence[Any]
    ) -> None:
        """Let every part leave. One that cannot be said is a fault of the rule and lost alone; its
        sender hears of it only where he was not answered: what was committed stays true."""
        for part in parts:
            try:
                leave(part)
            except SAID_WRONG:
                self._engine.router.raised(Job(job.decided or job.route) if answered else job)

    def send_all(self, sends: Sequence[Any]) -> None:
        """Sends of an outcome whose row was written without a lane, in order."""
        for send in sends:
            self._send(send)

    def _send(self, send: Any) -> None:
        engine = self._engine
        kind = type(send)
        if kind is ToUser:
            source = self._source_of(send.user)
            if source is not None:
                engine.reply(source, 0, send.message.opcode, encode(send.message))
        elif kind is ToUsersSend:
            self._send_to_users(send)
        elif kind is ToNode:
            engine.peers.send(send.number, send.message)
        elif kind is ToRole:
            engine.peers.send_role(send.role, send.message)
        elif kind is ToAny:
            engine.peers.send_any(send.role, send.message)
        elif kind is SendAway:
            self._send_away(send)
        elif kind is Presence:
            engine.spawn(self._publish(send))
        elif kind is LookForGrants:
            engine.residents.look_for_grants(send.user)
        elif kind is Keep:
            engine.raids.keep(send.checkpoint)
        elif kind is ProveDatagrams:
            self._prove_datagrams(send)

    def _prove_datagrams(self, send: ProveDatagrams) -> None:
        engine = self._engine
        source = self._source_of(send.user)
        if source is None or not engine.datagram_port:
            return
        room = send.room & 0xFFFF_FFFF
        identity, key = engine.core.datagram_key(source.conn, room)
        told = DatagramKey(identity, key, room, engine.datagram_port)
        engine.reply(source, 0, int(Op.DATAGRAM_KEY), encode(told))

    def _send_away(self, send: SendAway) -> None:
        source = self._source_of(send.user)
        if source is not None:
            self._engine.sent_away.add(source)
            self._engine.log.info(
                "player sent away", to=getattr(send.message, "number", 0), conn=source.conn,
                user=send.user,
            )  # fmt: skip
            self._engine.reply(source, 0, send.message.opcode, encode(send.message))

    def _send_to_users(self, send: ToUsersSend) -> None:
        engine = self._engine
        sources = [self._source_of(user) for user in send.users]
        conns = [source.conn for source in sources if source is not None]
        opcode, body = send.message.opcode, encode(send.message)
        if not conns:
            return
        if send.lossy or len(conns) >= SHARED_CONNS_MIN:
            engine.flush()  # what was queued before must not be overtaken
            engine.core.fanout(conns, opcode, body, send.lossy)
        else:
            engine.outgoing += [(conn, opcode, 0, body) for conn in conns]

    async def _publish(self, presence: Presence) -> None:
        try:
            await self._engine.store.online(presence.user, presence.state, presence.number)
        except StoreError:
            self._engine.metrics.count("presence_unpublished_total")

    def _source_of(self, user: int) -> Source | None:
        lane = self._engine.lanes.users.get(user)
        return None if lane is None else lane.source

    def _earners_full(self, outcome: Outcome) -> bool:
        limit = self._engine.settings.earned_waiting_max
        for earned in outcome.earned:
            lane = self._engine.lanes.users.get(earned.user)
            if lane is not None and lane.earned_count >= limit:
                return True
        return False

    def _earn(self, earned: Earned) -> None:
        engine = self._engine
        lane = engine.lanes.of_user(earned.user)
        job = Job(engine.table.node[earned.message.opcode], message=earned.message)
        job.earned = earned
        job.operation = (-engine.env.node.incarnation, engine.next_earned())
        lane.aside.earned_count += 1
        engine.lanes.put(lane, job)

    def owe(self, lane: Lane, job: Job) -> None:
        """The earner is owned elsewhere: what he earned becomes a grant that his owner claims."""
        assert job.earned is not None and job.operation is not None
        lane.aside.earned_count -= 1
        owed = job.earned.owed
        if owed is None:
            self._engine.metrics.count("earned_lost_total")
            return
        incarnation, counter = -job.operation[0], job.operation[1]
        grant = Grant(
            user=job.earned.user,
            source_kind=job.route.opcode,
            source_id=(incarnation << 32) | counter,
            bundle=msgspec.msgpack.encode(owed),
        )
        self._engine.committer.owe(grant)

    def _tell(self, lane: Lane, tell: Tell) -> None:
        target = self._engine.lanes.of_user(tell.user) if tell.user else lane
        if not self._engine.tell(target, tell.message):
            self._engine.metrics.count("tells_unhandled_total")

    def _close(self, lane: Lane, close: Close, sender: Source | None) -> None:
        engine = self._engine
        target = engine.lanes.users.get(close.user) if close.user else lane
        source = sender if not close.user else None
        if target is not None and target.source is not None:
            source = target.source
        if target is not None and target.user and close.forget:
            engine.residents.dismiss(target, close.reason)
        elif source is not None and close.reason:
            engine.close(source, close.reason)
