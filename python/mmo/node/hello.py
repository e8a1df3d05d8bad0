"""The first message of a client: do we speak the same protocol?

Owns the comparison of fingerprints: only a message that both sides know and that differs is
refused, by name, so an old client lives through a rolling restart that appends fields. Called by
the router.
"""

import msgspec

from mmo.errors import WireError
from mmo.node.engine import Engine
from mmo.node.lanes import Source
from mmo.wire import codec
from mmo.wire.messages.session import Hello, HelloOk
from mmo.wire.opcode import PROTOCOL_NUMBER, CloseReason, Code, Op


def greet(engine: Engine, source: Source, seq: int, body: bytes) -> None:
    """Answer HELLO with HELLO_OK, or refuse it and close."""
    try:
        differing = None if body == _own.said else _first_difference(codec.decode(Op.HELLO, body))
    except WireError as fault:
        engine.refuse(source, seq, Code.BAD_MESSAGE, str(fault)[:200])
        return
    if differing is not None:
        engine.refuse(source, seq, Code.PROTOCOL_MISMATCH, differing)
        engine.close(source, CloseReason.PROTOCOL_MISMATCH)
        return
    answer = HelloOk(
        protocol=PROTOCOL_NUMBER, number=engine.settings.number, role=engine.role.name,
        generation=engine.env.node.generation, now_ms=engine.env.now_ms,
    )  # fmt: skip
    engine.reply(source, seq, int(Op.HELLO_OK), codec.encode(answer))


def _first_difference(hello: Hello) -> str | None:
    if hello.protocol != PROTOCOL_NUMBER:
        return f"protocol {PROTOCOL_NUMBER}"
    ours = _fingerprints()
    if not _own.said:
        _own.said = codec.encode(Hello(PROTOCOL_NUMBER, ours))
    for opcode in sorted(hello.fingerprints):
        known = ours.get(opcode)
        if known is not None and known != hello.fingerprints[opcode]:
            message = codec.class_of(opcode)
            return message.__name__ if message is not None else str(opcode)
    return None


class _Own(msgspec.Struct):
    fingerprints: dict[int, int] = {}
    said: bytes = b""  # what a client of the same messages says: nothing of it can differ


_own = _Own()


def _fingerprints() -> dict[int, int]:
    """Ours, computed at the first HELLO: all messages are declared by then."""
    if not _own.fingerprints:
        _own.fingerprints = codec.fingerprints()
    return _own.fingerprints
