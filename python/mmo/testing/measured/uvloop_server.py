"""A hand-written uvloop server: the same framing and rule as the node's, and nothing else.

Owns what a competent programmer writes in an afternoon: no token, no limits, no lanes, no session.
It shows what the node's promises cost beside bare Python. Measured by `bench handler`.
"""

import argparse
import asyncio
import struct
from typing import Any, cast

import msgspec

from mmo.testing.measured.life import announce, pin, serve, until_stopped
from mmo.testing.measured.strike import DAMAGE, HP_MAX, MONSTERS, Arena
from mmo.wire.messages.hunt import Hit, HitOk
from mmo.wire.opcode import Op

HIT, HIT_OK = int(Op.HIT), int(Op.HIT_OK)
HEADER = struct.Struct("<IHI")
decode = msgspec.msgpack.Decoder(Hit).decode
encode = msgspec.msgpack.Encoder().encode


class StrikeProtocol(asyncio.Protocol):
    """Frames in, blows dealt, frames out; one write a read."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.rest = b""
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports write but do not derive from asyncio's class.
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        arena = self.arena
        hp = arena.hp
        answers = []
        at, end = 0, len(data)
        while end - at >= HEADER.size:
            length, opcode, seq = HEADER.unpack_from(data, at)
            if end - at < length + 4:
                break
            monster = decode(data[at + HEADER.size : at + length + 4]).monster
            at += length + 4
            if opcode != HIT or not 0 <= monster < MONSTERS:
                continue
            left = hp[monster] - DAMAGE
            killed = left <= 0
            arena.blows += 1
            if killed:
                arena.fallen += 1
            hp[monster] = left + HP_MAX if killed else left
            body = encode(HitOk(monster, DAMAGE, 0 if killed else left, killed))
            answers.append(HEADER.pack(len(body) + 6, HIT_OK, seq) + body)
        self.rest = data[at:]
        if answers and self.transport is not None:
            self.transport.write(b"".join(answers))


async def run() -> dict[str, Any]:
    """Serve until stopped; the books."""
    arena = Arena()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: StrikeProtocol(arena), "127.0.0.1", 0)
    announce(listener.sockets[0].getsockname()[1])
    await until_stopped()
    listener.close()
    return dict(arena.books())


def main() -> None:
    """Command line of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpu", type=int, default=-1)
    pin(parser.parse_args().cpu)
    serve(run)


if __name__ == "__main__":
    main()
