"""Two cores with one face: the fake one and the real one on loopback sockets.

Owns the client side that the contract tests speak through. Waits for events with a deadline, never
for a time.
"""

import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mmo._core import NetCore
from mmo.config import CoreSettings
from mmo.testing.fake_core import FakeConnection, FakeCore
from mmo.wire.opcode import Op

DEADLINE_S = 5.0
HEAD = struct.Struct("<IHI")
KEY = Ed25519PrivateKey.generate()
ROLES = ("login", "center", "channel", "matching", "raid", "cash")
LIMIT = 256
Event = tuple[int, int, int, int, bytes]
Frame = tuple[int, int, bytes]


def core_settings(number: int, role: str) -> CoreSettings:
    """Wide limits on loopback; HIT is for players, HELLO for everyone."""
    public = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    both, user, entering = 2, 1, 0
    return CoreSettings(
        server_number=number, role=role, incarnation=number + 100, host="127.0.0.1", client_port=0,
        datagram_port=-1, link_host="127.0.0.1", link_port=0, tls_certificate_file="",
        tls_key_file="", connections_max=100, connections_unproved_max=100,
        connections_per_address_max=0, connects_per_address_per_s_max=0,
        connects_per_address_burst_max=1, links_max=8, accept_backlog=64, frame_bytes_max=16_384,
        frame_unproved_bytes_max=4_096, link_frame_bytes_max=65_536, ring_bytes=32_768,
        rings_max=64, body_slot_bytes=256, body_slots_max=1_024, inbound_events_max=1_024,
        inbound_high_water=512, inbound_low_water=256, outbox_bytes_max=262_144,
        link_outbox_bytes_max=1_048_576, prove_ms=20_000, open_ms=60_000, frame_ms=10_000,
        idle_ms=60_000, close_flush_ms=500, heartbeat_ms=500, heartbeat_lost_ms=2_500,
        redial_ms_min=20, redial_ms_max=200, dial_ms=1_000,
        rate_classes=[("any", 1e9, 1_000_000)], bytes_per_s_max=1 << 30, bytes_burst_max=1 << 30,
        client_opcodes=[(Op.HELLO, both, 0), (Op.ENTER, entering, 0), (Op.HIT, user, 0)],
        core_echo_opcodes=[],
        link_opcodes=[(role, int(Op.NODE_HEALTH)) for role in ROLES],
        token_keys=[("k", public)], token_issuer="mmo", token_audiences=["session"],
        token_types=["session+jwt"], token_leeway_s=2, token_bytes_max=2_048,
        link_secret=b"s" * 32, datagram_proof_ms=30_000, datagram_bytes_max=1_200,
        log_records_per_s=10,
    )  # fmt: skip


class Side:
    """A core and what its events were so far."""

    core: Any

    def __init__(self) -> None:
        self.events: list[Event] = []

    def pump(self) -> None:
        """Take what is there now."""
        while self.core.pump(self.events.extend, LIMIT):
            pass

    def until(self, seen: Callable[[], Any]) -> Any:
        """Pump until `seen` is true; the test fails at the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while not (found := seen()):
            left = deadline - time.monotonic()
            assert left > 0, f"not seen in {DEADLINE_S} s; events: {self.events}"
            select.select([self.core.fileno(), *self.sockets()], [], [], min(left, 0.05))
            self.pump()
        return found

    def event(self, opcode: int, conn: int | None = None) -> Event:
        """The first event of an opcode (of a connection), when it came."""

        def seen() -> Event | None:
            for event in self.events:
                if event[2] == opcode and conn in (None, event[0]):
                    return event
            return None

        found: Event = self.until(seen)
        return found

    def sockets(self) -> list[socket.socket]:
        return []

    def end(self) -> None:
        self.core.finish_shutdown()


class FakeClient:
    def __init__(self, side: "FakeSide") -> None:
        self._side = side
        self._connection: FakeConnection = side.core.connect("127.0.0.1:1")

    def send(self, opcode: int, seq: int, body: bytes) -> None:
        self._side.core.send(self._connection, opcode, seq, body)

    def enter(self, user: int, seq: int, claims: dict[str, Any]) -> None:
        self._side.core.enter(self._connection, user, seq, "session+jwt", claims)

    def frames(self) -> list[Frame]:
        return list(self._connection.frames)

    def is_closed(self) -> bool:
        return bool(self._connection.closed_reason)

    def leave(self) -> None:
        self._side.core.disconnect(self._connection)


class FakeSide(Side):
    core: FakeCore

    def __init__(self, number: int = 11, role: str = "channel") -> None:
        super().__init__()
        self.core = FakeCore(core_settings(number, role))
        self.ports = self.core.start()

    def connect(self) -> FakeClient:
        return FakeClient(self)


class RealClient:
    def __init__(self, side: "RealSide") -> None:
        self._socket = socket.create_connection(("127.0.0.1", side.ports["client"]))
        self._socket.setblocking(False)
        self._received = b""
        self._ended = False
        side.clients.append(self)

    def fileno(self) -> int:
        return -1 if self._ended else self._socket.fileno()

    def send(self, opcode: int, seq: int, body: bytes) -> None:
        self._socket.sendall(HEAD.pack(6 + len(body), opcode, seq) + body)

    def enter(self, user: int, seq: int, claims: dict[str, Any]) -> None:
        now = int(time.time())
        known = {"iss": "mmo", "aud": "session", "sub": str(user), "exp": now + 60, "nbf": now}
        headers = {"typ": "session+jwt", "kid": "k"}
        token = jwt.encode(claims | known, KEY, algorithm="EdDSA", headers=headers)
        self.send(int(Op.ENTER), seq, token.encode())

    def frames(self) -> list[Frame]:
        self._read()
        found: list[Frame] = []
        rest = self._received
        while len(rest) >= 4:
            (length,) = struct.unpack_from("<I", rest)
            if len(rest) < 4 + length:
                break
            _, opcode, seq = HEAD.unpack_from(rest)
            found.append((opcode, seq, rest[10 : 4 + length]))
            rest = rest[4 + length :]
        return found

    def is_closed(self) -> bool:
        self._read()
        return self._ended

    def leave(self) -> None:
        self._ended = True
        self._socket.close()

    def _read(self) -> None:
        while not self._ended:
            try:
                chunk = self._socket.recv(65_536)
            except BlockingIOError:
                return
            except ConnectionError:
                chunk = b""
            if not chunk:
                self.leave()
            self._received += chunk


class RealSide(Side):
    core: NetCore

    def __init__(self, number: int = 11, role: str = "channel", **changed: Any) -> None:
        super().__init__()
        self.clients: list[RealClient] = []
        self.core = NetCore(msgspec.structs.replace(core_settings(number, role), **changed))
        self.ports = self.core.start()

    def connect(self) -> RealClient:
        return RealClient(self)

    def sockets(self) -> list[Any]:
        return [client for client in self.clients if client.fileno() >= 0]

    def end(self) -> None:
        for client in self.clients:
            client.leave()
        super().end()
