"""The seam between the Rust core and Python, documented.

One `NetCore` lives in a node process. It owns every socket: client connections, server links
and datagrams, and every limit on them. It never runs game code and never calls into Python from
a thread of its own: Python pulls events in batches with `pump` when `fileno` is readable.

An **event** is a plain tuple `(conn, user, opcode, seq, body)`:

* `conn`   int, 64-bit: connection id with its generation; never reused in the life of a process.
* `user`   int, 64-bit: the user id that the connection proved by its token; 0 before that.
           On a server link: the unique server number of the peer.
* `opcode` int, 0..65535. 1 OPENED, 2 CLOSED, 3 PEER_UP, 4 PEER_DOWN, 5 STOPPED are lifecycle.
* `seq`    int, 0..2**32-1: the client's own number, repeated in the reply. On CLOSED and PEER_DOWN:
           the `CloseReason` number.
* `body`   bytes: a MessagePack array, or what the lifecycle opcode says below.

Lifecycle bodies: OPENED `address:port` and PEER_UP `role:incarnation` as UTF-8; CLOSED, PEER_DOWN
and STOPPED empty. For each connection OPENED comes first and exactly one CLOSED ends it; lifecycle
events have reserved room in the inbound queue and are never refused.

A frame on every TCP stream is `length u32, opcode u16, seq u32, body`, little-endian, where
`length` counts everything after itself (6 + body).

`ENTER` (opcode 105) carries a JWT as its whole body. The gate verifies it (EdDSA, `typ`, `iss`,
`aud`, `sub`, `exp`, `nbf`, `jti`) before anything else is read; the event then carries the user id
and the body `{"typ":"…","claims":{…}}` as JSON text.

Before the core closes a client it sends, when it can, `CLOSING` (opcode 103, seq 0) with the
MessagePack array `[reason]`; the same goes for `NetCore.close`. Of the link opcodes 16..99 the core
keeps 90..99 for itself (handshake and heartbeat); `PING` and `CLOSING` never reach Python.
"""

from collections.abc import Callable, Sequence
from typing import Any, final

Event = tuple[int, int, int, int, bytes]

SETTINGS_FIELDS: tuple[str, ...]
"""Names of all fields that `NetCore` reads from its settings, in order; mirrored by
`mmo.config.CoreSettings` and compared by a contract test."""

CLOSE_REASONS: dict[str, int]
"""Every reason for which the core or the node ends a connection, name to wire number."""

BUILD_PROFILE: str
"""`release` or `debug`; `doctor` and the benches warn on `debug`."""

class CoreError(Exception):
    """The core cannot do what was asked: a setting out of range, an address in use, a stopped core.
    The text names the setting or address."""

@final
class NetCore:
    """All sockets of one node. Frozen: every method may be called from the one Python thread
    only."""

    def __new__(cls, settings: object) -> NetCore:
        """Check every limit in `settings` (an object with the attributes of `SETTINGS_FIELDS`) and
        allocate pools and queues. Binds nothing. Raises `CoreError` naming the bad field."""

    def start(self) -> dict[str, int]:
        """Bind and serve. Returns the bound ports: keys `client`, `link`, `datagram`, each only
        when configured. Raises `CoreError` when an address is taken. May be called once."""

    def fileno(self) -> int:
        """An eventfd, readable while events wait. Register it with the loop's `add_reader`."""

    def pump(self, on_batch: Callable[[list[Event]], Any], limit: int) -> int:
        """Take up to `limit` waiting events and call `on_batch` once, on this thread, with one
        list. Never blocks; returns how many were taken; does not call when there are none. While
        events remain the descriptor stays readable. An exception of `on_batch` passes through."""

    def send_many(self, messages: Sequence[tuple[int, int, int, bytes]]) -> list[int]:
        """Queue `(conn, opcode, seq, body)` in order; one call a batch. Returns the conns that
        could not take theirs (gone, or closed now as SLOW_CONSUMER), each once. Works for links
        too."""

    def fanout(self, conns: Sequence[int], opcode: int, body: bytes, lossy: bool = False) -> int:
        """One body, shared, to many connections, seq 0. With `lossy` it leaves as a datagram to
        those who proved an address (newest wins) and by TCP to the rest. Returns how many took
        it."""

    def close(self, conn: int, reason: int) -> None:
        """Flush what is queued for at most `close_flush_ms`, then close with `reason`.
        Idempotent."""

    def set_user(self, conn: int, user: int) -> None:
        """Mark an open connection as proved without a token (login server after a password); 0
        demotes it to open. Unknown conns are ignored."""

    def dial(self, peer: int, address: str) -> None:
        """Keep an authenticated link to server number `peer` at `host:port`: dials, shakes hands,
        heartbeats and re-dials with jitter until `undial`. Idempotent; a new address replaces."""

    def undial(self, peer: int) -> None:
        """Stop keeping the link to `peer` and close it."""

    def datagram_key(self, conn: int, room: int) -> tuple[int, bytes]:
        """Make a datagram identity for `conn` in `room` (u32): `(id u64, 16-byte key)`, to be told
        to the client over TCP. A client datagram `id u64, counter u64, mac 8` (MAC = first 8 bytes
        of HMAC-SHA-256 over the first 16 bytes) proves its source address for `datagram_proof_ms`,
        if the connection comes from that address too (of IPv6: from the same /64 network).
        Server datagrams are `room u32, sequence u32, opcode u16, body, mac 8`, MACed with the same
        key over all before the MAC."""

    def stats(self) -> dict[str, int]:
        """All counters and gauges, name to value. Names end in their unit (`_total`, `_bytes`,
        `_ns`). `closed_<reason>_total` per close reason, `inbound_waiting`, `connections`,
        `links`, …"""

    def take_records(self, limit: int) -> list[tuple[int, int, str]]:
        """Up to `limit` sampled log records of the core: `(unix_ms, conn, text)`; hostile closes
        are sampled to `log_records_per_s`."""

    def begin_shutdown(self, grace_ms: int) -> None:
        """Stop accepting and reading, flush outboxes for up to `grace_ms`, close all with
        SERVER_STOPPING; STOPPED is the last event, and by then every port is free."""

    def finish_shutdown(self) -> None:
        """Join the network thread and free everything. Peers that did not close by themselves yet
        are waited for, at most the grace time, `close_flush_ms` and a second. Idempotent."""
