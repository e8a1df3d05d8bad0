"""The seam of the core without sockets, for tests of what lies above it.

Owns a queue of events and a record of what was sent; keeps the promises of `_core.pyi` that the
node relies on (OPENED first, one CLOSED last, ids never reused, a late reply reaches nobody,
idempotent close, STOPPED last, the gate's states). The same contract tests run on this and on the
real core. Never used by a node in service.
"""

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from mmo.wire.codec import encode
from mmo.wire.messages.session import Closing
from mmo.wire.opcode import CloseReason, Op

Event = tuple[int, int, int, int, bytes]
Frame = tuple[int, int, bytes]


class FakeConnection:
    """What a client would see: its frames, and why it was closed."""

    def __init__(self, conn: int, peer: int = 0, role: str = "") -> None:
        self.conn = conn
        self.peer = peer
        self.role = role
        self.user = 0
        self.frames: list[Frame] = []
        self.datagrams: list[tuple[int, bytes]] = []
        self.closed_reason = 0

    def take(self) -> list[Frame]:
        """Frames since the last take."""
        frames, self.frames = self.frames, []
        return frames


class FakeCore:
    """Methods of `NetCore`, plus `connect`, `send`, `disconnect` and `link` for the test's side."""

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings
        self.connections: dict[int, FakeConnection] = {}
        self.dialled: dict[int, str] = {}
        self._events: deque[Event] = deque()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._conns = 0
        self._stopping = False
        self._sent_total = 0

    # the seam

    def start(self) -> dict[str, int]:
        """No listener; ports that nobody answers."""
        return {"client": 1, "link": 2}

    def fileno(self) -> int:
        """Readable while events wait."""
        return self._descriptor

    def pump(self, on_batch: Callable[[list[Event]], Any], limit: int) -> int:
        """Hand over up to `limit` events in one list."""
        events = [self._events.popleft() for _ in range(min(limit, len(self._events)))]
        if not self._events:
            self._quiet()
        if events:
            on_batch(events)
        return len(events)

    def send_many(self, messages: Sequence[tuple[int, int, int, bytes]]) -> list[int]:
        """Append each to its connection; the conns that are gone come back, each once."""
        refused: dict[int, None] = {}
        for conn, opcode, seq, body in messages:
            found = self.connections.get(conn)
            if found is None:
                refused[conn] = None
            else:
                found.frames.append((opcode, seq, bytes(body)))
                self._sent_total += 1
        return list(refused)

    def fanout(self, conns: Sequence[int], opcode: int, body: bytes, lossy: bool = False) -> int:
        """One body to many; lossy goes the same way, since nobody proved an address here."""
        taken = len(conns) - len(self.send_many([(conn, opcode, 0, body) for conn in conns]))
        return taken

    def close(self, conn: int, reason: int) -> None:
        """Tell the client why, then CLOSED."""
        found = self.connections.pop(conn, None)
        if found is None:
            return
        found.closed_reason = int(reason)
        if found.peer:
            self._put((conn, found.peer, int(Op.PEER_DOWN), int(reason), b""))
            return
        found.frames.append((int(Op.CLOSING), 0, encode(Closing(int(reason)))))
        self._put((conn, found.user, int(Op.CLOSED), int(reason), b""))

    def set_user(self, conn: int, user: int) -> None:
        """Mark or demote a connection."""
        found = self.connections.get(conn)
        if found is not None:
            found.user = user

    def dial(self, peer: int, address: str) -> None:
        """Remember what should be linked."""
        self.dialled[peer] = address

    def undial(self, peer: int) -> None:
        """Forget it and end the link."""
        self.dialled.pop(peer, None)
        for found in [c for c in self.connections.values() if c.peer == peer]:
            self.close(found.conn, CloseReason.LINK_LOST)

    def stats(self) -> dict[str, int]:
        """The gauges that the node reads."""
        clients = sum(1 for found in self.connections.values() if not found.peer)
        return {
            "connections": clients,
            "links": len(self.connections) - clients,
            "inbound_waiting": len(self._events),
            "frames_out_total": self._sent_total,
        }

    def take_records(self, limit: int) -> list[tuple[int, int, str]]:
        """Nothing hostile reaches a fake."""
        return []

    def begin_shutdown(self, grace_ms: int) -> None:
        """Close all, then STOPPED."""
        if not self._stopping:
            self._stopping = True
            for conn in list(self.connections):
                self.close(conn, CloseReason.SERVER_STOPPING)
            self._put((0, 0, int(Op.STOPPED), 0, b""))

    def finish_shutdown(self) -> None:
        """Free the descriptor; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # the test's side

    def connect(self, address: str = "192.0.2.1:1000") -> FakeConnection:
        """A client connects."""
        connection = self._new()
        self._put((connection.conn, 0, int(Op.OPENED), 0, address.encode()))
        return connection

    def send(self, connection: FakeConnection, opcode: int, seq: int, body: bytes) -> None:
        """The client sends one message; a closed connection sends nothing."""
        if connection.conn in self.connections and not self._stopping:
            source = connection.peer or connection.user
            self._put((connection.conn, source, int(opcode), seq, body))

    def enter(
        self, connection: FakeConnection, user: int, seq: int, typ: str, claims: dict[str, Any]
    ) -> None:
        """The client shows a token that the gate verified."""
        connection.user = user
        body = json.dumps({"typ": typ, "claims": claims}).encode()
        self.send(connection, int(Op.ENTER), seq, body)

    def disconnect(self, connection: FakeConnection) -> None:
        """The client goes away without a word."""
        if self.connections.pop(connection.conn, None) is not None:
            connection.closed_reason = int(CloseReason.PEER_CLOSED)
            reason = int(CloseReason.PEER_CLOSED)
            self._put((connection.conn, connection.user, int(Op.CLOSED), reason, b""))

    def link(self, number: int, role: str, incarnation: int = 1) -> FakeConnection:
        """A link to server `number` comes up."""
        connection = self._new(number, f"{role}:{incarnation}")
        self._put((connection.conn, number, int(Op.PEER_UP), 0, self._peer_text(connection)))
        return connection

    @property
    def waiting(self) -> int:
        """Events that no pump took yet."""
        return len(self._events)

    def _new(self, peer: int = 0, role: str = "") -> FakeConnection:
        self._conns += 1
        connection = FakeConnection(self._conns, peer, role)
        self.connections[connection.conn] = connection
        return connection

    def _peer_text(self, connection: FakeConnection) -> bytes:
        return connection.role.encode()

    def _put(self, event: Event) -> None:
        self._events.append(event)
        if self._descriptor >= 0:
            os.eventfd_write(self._descriptor, 1)

    def _quiet(self) -> None:
        with contextlib.suppress(OSError):
            os.eventfd_read(self._descriptor)
