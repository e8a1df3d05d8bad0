"""The other servers: links up and down, messages to them, requests with answers.

Owns which links should exist (from the leases), which are up, and the requests on their way. A
request always ends: by its answer, its deadline or the end of the link. Never opens a socket: the
core dials. Called by the router with link events and by `outcomes` with sends.
"""

from typing import Any

import msgspec

from mmo.contract import Ask
from mmo.errors import WireError
from mmo.node.engine import Engine
from mmo.node.lanes import Job, Lane, Link, Source
from mmo.node.timers import Timer
from mmo.store import LeaseRow
from mmo.wire import codec
from mmo.wire.messages.link import LeaseSeen


class Asked:
    """One request without an answer yet; its lane is closed."""

    __slots__ = ("job", "lane", "number", "refusal", "timer")

    def __init__(self, lane: Lane, job: Job, number: int, refusal: int) -> None:
        self.lane = lane
        self.job = job
        self.number = number
        self.refusal = refusal
        self.timer: Timer | None = None


class Peers:
    """One per node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._by_number: dict[int, Source] = {}
        self._dialled: dict[int, str] = {}
        self._asked: dict[int, Asked] = {}
        self._requests = 0
        self.lease_seen_ms: dict[int, int] = {}  # number -> when it last could renew, on our clock

    @property
    def numbers(self) -> list[int]:
        """Servers with a link now."""
        return sorted(self._by_number)

    def dial(self, rows: list[LeaseRow]) -> None:
        """Keep links to the living servers of the roles that this one dials; among its own role the
        lower number dials."""
        engine = self._engine
        own, role = engine.settings.number, engine.role
        wanted = {
            row.number: f"{row.link_host}:{row.link_port}"
            for row in rows
            if row.alive and row.link_port and row.role in role.dials and row.number != own
            and (row.role != role.name or own < row.number)
        }  # fmt: skip
        for number, address in wanted.items():
            if self._dialled.get(number) != address:
                engine.core.dial(number, address)
        for number in self._dialled.keys() - wanted.keys():
            engine.core.undial(number)
        self._dialled = wanted

    def up(self, conn: int, number: int, body: bytes) -> None:
        """A link is up; a newer one of the same server replaces the older."""
        engine = self._engine
        source = Link(conn, engine.table.peer, number, body.decode().partition(":")[0])
        engine.sources[conn] = source
        self._by_number[number] = source
        engine.metrics.count("links_up_total")
        engine.log.info("link up", peer=number, role=source.role)

    def down(self, source: Source) -> None:
        """A link ended: its requests are refused now."""
        engine = self._engine
        source.gone = True
        engine.sources.pop(source.conn, None)
        if self._by_number.get(source.peer) is source:
            del self._by_number[source.peer]
            self.lease_seen_ms.pop(source.peer, None)
            for request, asked in list(self._asked.items()):
                if asked.number == source.peer:
                    self._unanswered(request)
        engine.log.info("link down", peer=source.peer, role=source.role)

    def send(self, number: int, message: Any) -> bool:
        """A plain message to one server; False (and counted) without a link."""
        source = self._by_number.get(number)
        if source is None:
            self._engine.metrics.count("sends_without_link_total")
            return False
        self._engine.reply(source, 0, message.opcode, codec.encode(message))
        return True

    def send_role(self, role: str, message: Any) -> None:
        """A plain message to every linked server of a role."""
        body = codec.encode(message)
        for source in self._by_number.values():
            if source.role == role:
                self._engine.reply(source, 0, message.opcode, body)

    def send_any(self, role: str, message: Any) -> bool:
        """A plain message to the linked server of a role with the lowest number; False (and
        counted) without one."""
        numbers = [number for number, source in self._by_number.items() if source.role == role]
        return self.send(min(numbers, default=0), message)

    def send_all(self, message: Any) -> None:
        """A plain message over every link."""
        body = codec.encode(message)
        for source in self._by_number.values():
            self._engine.reply(source, 0, message.opcode, body)

    def ask(self, lane: Lane, job: Job, ask: Ask) -> None:
        """Send a request and close the lane until it ends."""
        engine = self._engine
        self._requests += 1
        request = self._requests
        message = msgspec.structs.replace(ask.message, request=request)
        if not self.send(ask.number, message):
            engine.refuse(job.source, job.seq, ask.refusal)
            return
        engine.lanes.close(lane)
        asked = self._asked[request] = Asked(lane, job, ask.number, ask.refusal)
        asked.timer = engine.timers.after(ask.deadline_ms, lambda: self._late(request))

    def other(self, source: Source, opcode: int, body: bytes) -> None:
        """A link message without a rule of its own: an answer, or a message of the node itself."""
        engine = self._engine
        try:
            message = codec.decode(opcode, body)
        except WireError as fault:
            engine.metrics.count("messages_undecodable_total")
            engine.log.warning("link message", peer=source.peer, opcode=opcode, fault=str(fault))
            return
        if isinstance(message, LeaseSeen):
            self.lease_seen_ms[source.peer] = engine.timers.now_ms() - message.renewed_ms
            return
        route = engine.table.node.get(opcode)
        if route is None:
            engine.metrics.count("link_messages_unhandled_total")
            return
        asked = self._asked.get(getattr(message, "request", 0))
        if asked is None or asked.number != source.peer:
            engine.metrics.count("answers_late_total")
            return
        self._end(message.request)
        job = Job(route, asked.job.source, asked.job.seq, message=message)
        engine.lanes.put_first(asked.lane, job)

    def _late(self, request: int) -> None:
        self._engine.now()
        self._unanswered(request)
        self._engine.turn()

    def _unanswered(self, request: int) -> None:
        asked = self._end(request)
        self._engine.metrics.count("asks_unanswered_total")
        self._engine.refuse(asked.job.source, asked.job.seq, asked.refusal)

    def _end(self, request: int) -> Asked:
        asked = self._asked.pop(request)
        if asked.timer is not None:
            asked.timer.cancel()
        self._engine.lanes.reopen(asked.lane)
        return asked
