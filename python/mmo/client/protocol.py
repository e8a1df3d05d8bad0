"""The client's half of the wire, without I/O: bytes in, events out, and the other way round.

Owns framing, request numbers and the matching of answers. Never reads a clock or a socket, never
decides what an answer means. Called by the two shells (`aio`, `connection`) and by tests.
"""

import struct
from functools import cache
from typing import Any, NamedTuple

import msgspec

from mmo.errors import WireError
from mmo.wire import codec, messages
from mmo.wire.opcode import PROTOCOL_NUMBER, Op

HEADER = struct.Struct("<IHI")
"""`length u32, opcode u16, seq u32`; `length` counts opcode, seq and body."""

LENGTH_MIN = 6
FRAME_BYTES_MAX = 1 << 20
"""Longest `length` believed from a server; far above what one sends, so that a broken stream
ends."""

PUSHES_KEPT = 1_000
"""Pushed messages that a connection keeps for whoever asks for them; the oldest go."""

PUSHES = frozenset(
    {
        int(Op.CLOSING),
        int(Op.LOGIN_WAIT),
        int(Op.KILL_REWARD),
        int(Op.GRANT_REWARD),
        int(Op.ITEMS_EXPIRED),
        int(Op.PASS_PROGRESS),
        int(Op.CASH_CHANGED),
        int(Op.SERVER_LEAVING),
        int(Op.RAID_UNMATCHED),
        int(Op.RAID_FREED),
        int(Op.DATAGRAM_KEY),
        int(Op.RAID_TEAM),
        int(Op.RAID_START),
        int(Op.RAID_STRUCK),
        int(Op.RAID_STREAM),
        int(Op.RAID_ENDED),
    }
)
"""What a server says unasked; whatever request number it carries, it answers no request."""


class Token(msgspec.Struct, frozen=True):
    """ENTER: the JWT itself is the whole body."""

    text: str


class Ping(msgspec.Struct, frozen=True):
    """PING: any bytes, repeated by the server as PONG."""

    body: bytes = b""


class Pong(msgspec.Struct, frozen=True):
    """The answer to `Ping`, with its bytes."""

    body: bytes


class Answer(NamedTuple):
    """The answer to request `seq`: a message, a `Refused` or a `Pong`."""

    seq: int
    message: Any


class Push(NamedTuple):
    """Something the server said unasked."""

    message: Any


class Stray(NamedTuple):
    """An answer to a request that was never made or was answered before: a fault of the server."""

    seq: int
    message: Any


Event = Answer | Push | Stray


def frame(opcode: int, seq: int, body: bytes) -> bytes:
    """One whole frame."""
    return HEADER.pack(LENGTH_MIN + len(body), opcode, seq) + body


def hello(*, unlike: int = 0) -> messages.session.Hello:
    """The first message: protocol number and the fingerprints of all client messages. `unlike`
    names an opcode whose fingerprint is told wrong (tests of the refusal)."""
    if not unlike:
        return _hello()
    prints = codec.fingerprints()
    prints[unlike] ^= 1
    return messages.session.Hello(PROTOCOL_NUMBER, prints)


@cache
def _hello() -> messages.session.Hello:
    """Made once: it is the same for every connection."""
    return messages.session.Hello(PROTOCOL_NUMBER, codec.fingerprints())


class ClientProtocol:
    """One connection's state. `waiting` holds the numbers of requests without an answer; `reason`
    is the close reason the server told, 0 while it told none."""

    def __init__(self) -> None:
        self.waiting: set[int] = set()
        self.reason = 0
        self._seq = 0
        self._buffer = bytearray()

    def ask(self, message: Any) -> tuple[int, bytes]:
        """Number `message` and encode it: `(seq, bytes to write)`."""
        self._seq = self._seq % 0xFFFF_FFFF + 1
        self.waiting.add(self._seq)
        if isinstance(message, Token):
            opcode, body = int(Op.ENTER), message.text.encode("ascii", "replace")
        elif isinstance(message, Ping):
            opcode, body = int(Op.PING), message.body
        else:
            opcode, body = message.opcode, codec.encode(message)
        return self._seq, frame(opcode, self._seq, body)

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes as they arrive, in any pieces; returns the events that became whole. Raises
        `WireError` when the stream or a body is not what the protocol says."""
        self._buffer += data
        events: list[Event] = []
        at = 0
        while len(self._buffer) - at >= HEADER.size:
            length, opcode, seq = HEADER.unpack_from(self._buffer, at)
            if not LENGTH_MIN <= length <= FRAME_BYTES_MAX:
                raise WireError(f"a frame of length {length}")
            end = at + 4 + length
            if end > len(self._buffer):
                break
            event = self._event(opcode, seq, bytes(self._buffer[at + HEADER.size : end]))
            if event is not None:
                events.append(event)
            at = end
        del self._buffer[:at]
        return events

    def _event(self, opcode: int, seq: int, body: bytes) -> Event | None:
        if opcode == Op.PONG:
            message: Any = Pong(body)
        elif codec.class_of(opcode) is None:
            # A newer server may push what this client does not know; only an answer must be known.
            if seq in self.waiting:
                raise WireError(f"request {seq} was answered by the unknown opcode {opcode}")
            return None
        else:
            message = codec.decode(opcode, body)
        if opcode == Op.CLOSING:
            self.reason = message.reason
            return None
        if not seq or opcode in PUSHES:  # requests count from 1; of a game's own any may be pushed
            return Push(message)
        if opcode == Op.RAID_MATCHED and seq not in self.waiting:
            return Push(message)
        if seq in self.waiting:
            self.waiting.discard(seq)
            return Answer(seq, message)
        return Stray(seq, message)
