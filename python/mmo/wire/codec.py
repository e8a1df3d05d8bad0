"""Bodies to messages and back: the only decoder and encoder of message bodies.

Owns the table opcode -> message class, filled by `@message`. A body is a MessagePack array in field
order; ranges are `Annotated` and checked while decoding; appended fields with defaults are
compatible both ways. Called by nodes, clients and tests; never by rules.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec

from mmo.errors import WireError
from mmo.wire.opcode import INTERNAL

T = TypeVar("T", bound=type)

OperationId = tuple[int, int]
"""(session epoch it was minted in, client counter from 1): names one mutating request for ever."""

_classes: dict[int, type] = {}
_decoders: dict[int, Any] = {}
_streams: dict[int, type] = {}
_encoder = msgspec.msgpack.Encoder()


def message(opcode: int) -> Callable[[T], T]:
    """Declare a `msgspec.Struct(array_like=True)` as the one body of `opcode`. Sets `opcode` on the
    class. A second class for the same number is an assertion."""

    def declare(cls: T) -> T:
        known = _classes.get(int(opcode))
        assert known is None, f"opcode {opcode!r} is {known} already"
        _classes[int(opcode)] = cls
        _decoders[int(opcode)] = msgspec.msgpack.Decoder(cls)
        cls.opcode = int(opcode)  # type: ignore[attr-defined]
        return cls

    return declare


def stream(opcode: int) -> Callable[[T], T]:
    """Declare the class that reads the fixed little-endian record which the message of `opcode`
    carries: for high-rate streams, where every byte and microsecond counts and newest wins."""

    def declare(cls: T) -> T:
        assert opcode not in _streams, f"{opcode!r} has two records"
        _streams[int(opcode)] = cls
        return cls

    return declare


def stream_of(opcode: int) -> type | None:
    """The class declared by `stream` for an opcode."""
    return _streams.get(opcode)


class Encoded(msgspec.Struct, frozen=True):
    """A message that was encoded before, such as a page of a catalogue: one body, shared by all who
    ask for it. Takes the place of a message wherever one is sent."""

    opcode: int
    body: bytes


def encode(value: Any) -> bytes:
    """The body of a message."""
    if type(value) is Encoded:
        return value.body
    return _encoder.encode(value)


def decode(opcode: int, body: bytes) -> Any:
    """The message of `opcode` in `body`. Raises `WireError` naming the place of the first fault,
    also for an opcode without a declared message."""
    decoder = _decoders.get(opcode)
    if decoder is None:
        raise WireError(f"opcode {opcode} has no message")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as fault:
        raise WireError(str(fault)) from None


def decoder_of(opcode: int) -> Callable[[bytes], Any] | None:
    """The raw decode function of `opcode` for hot loops; raises msgspec errors, not `WireError`."""
    decoder = _decoders.get(opcode)
    return None if decoder is None else decoder.decode


def class_of(opcode: int) -> type | None:
    """The declared message class of an opcode."""
    return _classes.get(opcode)


def opcodes() -> tuple[int, ...]:
    """All opcodes with a declared message, ascending."""
    return tuple(sorted(_classes))


def fingerprint_of(cls: type) -> int:
    """32 bits over the name and the required fields (name and type) of a message class, so that
    appended fields with defaults do not change it."""
    fields = [
        (field.name, str(field.type)) for field in msgspec.structs.fields(cls) if field.required
    ]
    text = repr((cls.__name__, fields))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


@cache
def fingerprint(opcode: int) -> int:
    """That of the message of `opcode`. Computed once: a client says all of them in its first
    message, which would cost it milliseconds for each connection."""
    return fingerprint_of(_classes[opcode])


def fingerprints() -> dict[int, int]:
    """Fingerprint of every message that clients send or receive, for HELLO."""
    return {n: fingerprint(n) for n in opcodes() if n >= 100 and n not in INTERNAL}
