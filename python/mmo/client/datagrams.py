"""The client's half of the datagram stream, without I/O.

Owns the proof of an address and the check of what arrives: genuine, of this room, newer than all
before. Never opens a socket; the shells do. Form and MAC are those of `_core.pyi`
(`NetCore.datagram_key`): HMAC-SHA-256, cut to eight bytes.
"""

import hashlib
import hmac
import struct
from typing import Any

from mmo.errors import WireError
from mmo.wire import codec
from mmo.wire.messages.raid import DatagramKey

MAC_BYTES = 8
PROOF = struct.Struct("<QQ")
"""`id u64, counter u64`, followed by the MAC."""
HEAD = struct.Struct("<IIH")
"""`room u32, sequence u32, opcode u16`, followed by body and MAC."""
DATAGRAM_BYTES_MAX = 65_535
PROVE_AGAIN_S = 10.0
"""A proved address stays proved for 30 s (`datagram_proof_ms`); a client proves it well before."""


class Datagrams:
    """One identity. `forged`, `stale`: what arrived and was not believed or not new."""

    def __init__(self, key: DatagramKey) -> None:
        self.port = key.port
        self.received = self.forged = self.stale = 0
        self._key = key
        self._counter = 0
        self._newest = 0

    def proof(self) -> bytes:
        """The next datagram that proves the address it comes from; each is used once."""
        self._counter += 1
        said = PROOF.pack(self._key.id, self._counter)
        return said + self._mac(said)

    def receive(self, datagram: bytes) -> Any:
        """The message in a datagram; None when it is not genuine, of another room, or older than
        one before: newest wins."""
        said, mac = datagram[:-MAC_BYTES], datagram[-MAC_BYTES:]
        if len(said) < HEAD.size or not hmac.compare_digest(mac, self._mac(said)):
            self.forged += 1
            return None
        room, sequence, opcode = HEAD.unpack_from(said)
        if room != self._key.room or sequence <= self._newest:
            self.stale += 1
            return None
        try:
            message = codec.decode(opcode, said[HEAD.size :])
        except WireError:
            self.forged += 1
            return None
        self._newest = sequence
        self.received += 1
        return message

    def _mac(self, said: bytes) -> bytes:
        return hmac.new(self._key.key, said, hashlib.sha256).digest()[:MAC_BYTES]
