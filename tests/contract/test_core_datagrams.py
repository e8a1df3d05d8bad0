"""The stream by datagram: the real core on one side, both shells of the client on the other.

Owns the questions about proved addresses and newest-wins; asked over loopback sockets.
"""

import asyncio
import hashlib
import hmac
import threading
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.contract.core_sides import RealSide, core_settings

from mmo._core import NetCore
from mmo.client import aio, connection
from mmo.client.datagrams import HEAD, Datagrams
from mmo.client.protocol import Push
from mmo.wire.codec import encode
from mmo.wire.messages.raid import DatagramKey, RaidStream
from mmo.wire.opcode import Op

KEY = DatagramKey(7, b"k" * 16, 3, 1)


def told(room: int, sequence: int, record: bytes, key: bytes = KEY.key) -> bytes:
    """A server's datagram as `_core.pyi` writes it."""
    said = HEAD.pack(room, sequence, Op.RAID_STREAM) + encode(RaidStream(record))
    return said + hmac.new(key, said, hashlib.sha256).digest()[:8]


def test_datagram_when_it_is_older_foreign_or_forged_then_is_dropped() -> None:
    stream = Datagrams(KEY)
    assert stream.receive(told(3, 2, b"new")) == RaidStream(b"new")
    assert stream.receive(told(3, 1, b"old")) is None
    assert stream.receive(told(3, 2, b"again")) is None
    assert stream.receive(told(4, 9, b"other room")) is None
    assert stream.receive(told(3, 9, b"forged", key=b"x" * 16)) is None
    assert stream.receive(b"short") is None
    assert (stream.received, stream.stale, stream.forged) == (1, 3, 2)
    assert stream.receive(told(3, 3, b"next")) == RaidStream(b"next")


def test_proof_when_made_twice_then_each_is_new() -> None:
    stream = Datagrams(KEY)
    assert stream.proof() != stream.proof()


class StreamingSide(RealSide):
    """A real core that serves datagrams to clients that are users by its own word."""

    def __init__(self) -> None:
        super().__init__()
        self.core.finish_shutdown()
        settings = msgspec.structs.replace(
            core_settings(31, "raid"), datagram_port=0, prove_ms=60_000
        )
        self.core = NetCore(settings)
        self.ports = self.core.start()

    def tell_key(self, conn: int, room: int) -> None:
        """Tell the client its key. It leaves behind the command that makes it known to the core's
        thread; a key that comes by another way can be used before it is known."""
        identity, key = self.core.datagram_key(conn, room)
        told = DatagramKey(identity, key, room, self.ports["datagram"])
        self.core.send_many([(conn, Op.DATAGRAM_KEY, 0, encode(told))])

    def proved(self) -> int:
        return self.core.stats()["datagrams_proved_total"]


@pytest.fixture
async def side() -> AsyncIterator[StreamingSide]:
    made = StreamingSide()
    yield made
    made.core.begin_shutdown(0)
    made.end()


async def test_stream_when_an_address_is_proved_then_comes_by_datagram(side: StreamingSide) -> None:
    client = await aio.Connection.open("127.0.0.1", side.ports["client"])
    conn = side.event(Op.OPENED)[0]
    side.core.fanout([conn], Op.RAID_STREAM, encode(RaidStream(b"by tcp")), True)
    assert await client.push(RaidStream) == RaidStream(b"by tcp")
    side.tell_key(conn, 5)
    await client.prove(await client.push(DatagramKey))
    await asyncio.to_thread(side.until, side.proved)
    side.core.fanout([conn], Op.RAID_STREAM, encode(RaidStream(b"by udp")), True)
    assert await client.push(RaidStream) == RaidStream(b"by udp")
    assert client.datagrams is not None and client.datagrams.received == 1
    await client.close()


def test_stream_when_the_shell_blocks_then_comes_all_the_same() -> None:
    side = StreamingSide()
    heard: list[Any] = []
    try:
        client = connection.Connection("127.0.0.1", side.ports["client"])
        conn = side.event(Op.OPENED)[0]
        side.tell_key(conn, 5)
        key = client.receive(5.0)
        assert isinstance(key, Push)
        client.prove(key.message)
        side.until(side.proved)
        listening = threading.Thread(target=lambda: heard.append(client.receive(5.0)))
        listening.start()
        side.core.fanout([conn], Op.RAID_STREAM, encode(RaidStream(b"by udp")), True)
        listening.join()
        assert heard == [Push(RaidStream(b"by udp"))]
        client.close()
    finally:
        side.core.begin_shutdown(0)
        side.end()


async def test_stream_when_deadlines_are_short_then_nothing_of_the_connection_is_lost(
    side: StreamingSide,
) -> None:
    client = await aio.Connection.open("127.0.0.1", side.ports["client"])
    conn = side.event(Op.OPENED)[0]
    side.tell_key(conn, 5)
    await client.prove(await client.push(DatagramKey))
    await asyncio.to_thread(side.until, side.proved)
    rounds = 400
    told: list[bytes] = []
    for number in range(rounds):
        side.core.send_many([(conn, Op.RAID_STREAM, 0, encode(RaidStream(b"tcp %d" % number)))])
        side.core.fanout([conn], Op.RAID_STREAM, encode(RaidStream(b"udp")), True)
        event = await client.receive(0.0002 * (number % 5))  # over before, while or after it comes
        if isinstance(event, Push):
            told.append(event.message.record)
    while sum(record != b"udp" for record in told) < rounds:
        event = await client.receive(5.0)
        assert isinstance(event, Push), told[-3:]
        told.append(event.message.record)
    assert [record for record in told if record != b"udp"] == [b"tcp %d" % n for n in range(rounds)]
    await client.close()
