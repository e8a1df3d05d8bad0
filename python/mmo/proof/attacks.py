"""Bad input before a token: raw bytes at a client port, and what a sound server does with each.

Owns the table of attacks and the raw connection. Speaks no protocol but bytes; expects of every
attack one of the ends its row allows. Called by `hostile`.
"""

import asyncio
import random
import struct
from collections.abc import Callable

import msgspec

from mmo.client.protocol import HEADER, frame, hello
from mmo.proof.fault_proxy import reset
from mmo.wire import codec
from mmo.wire.messages.session import Hello
from mmo.wire.opcode import CloseReason, Code, Op

ANSWER_S = 5.0
GIVE_UP_S = 75.0
"""Longest that a slow or silent connection may be kept: the default of `net.open_ms` and a
margin."""


class End(msgspec.Struct):
    """How a raw connection ended: frames received, and the reason told if it was closed."""

    frames: list[tuple[int, int, bytes]]
    closed: bool
    reason: int

    def refusals(self) -> list[int]:
        """Codes of all REFUSED frames."""
        found = []
        for opcode, _, body in self.frames:
            if opcode == Op.REFUSED:
                found.append(int(codec.decode(opcode, body).code))
        return found

    def __str__(self) -> str:
        told = [f"{opcode}" for opcode, _, _ in self.frames]
        state = f"closed with {reason_name(self.reason)}" if self.closed else "still open"
        return f"{state}, frames {told}, refusals {self.refusals()}"


def reason_name(reason: int) -> str:
    """The name of a close reason, `no reason` for 0."""
    return CloseReason(reason).name if reason else "no reason"


class Raw:
    """A connection that sends any bytes and only takes frames apart."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, address: tuple[str, int], source: str) -> "Raw":
        """Dial from a loopback address of one's own. Raises `OSError`."""
        async with asyncio.timeout(ANSWER_S):
            return cls(*await asyncio.open_connection(*address, local_addr=(source, 0)))

    async def end(self, within_s: float, frames_max: int = 0) -> End:
        """Read until the connection ends, `frames_max` answers came (0: any), or time is over. What
        the server pushes unasked (request number 0) is passed over."""
        end = End([], False, 0)
        try:
            async with asyncio.timeout(within_s):
                while not frames_max or len(end.frames) < frames_max:
                    length, opcode, seq = HEADER.unpack(await self._reader.readexactly(HEADER.size))
                    body = await self._reader.readexactly(length - 6)
                    if opcode == Op.CLOSING:
                        end.reason = int(codec.decode(opcode, body).reason)
                    elif seq:
                        end.frames.append((opcode, seq, body))
        except (asyncio.IncompleteReadError, ConnectionError):
            end.closed = True
        except TimeoutError:
            pass
        return end

    def cut(self) -> None:
        """RST, also when nothing is unread."""
        reset(self.writer)


class Attack(msgspec.Struct, frozen=True):
    """`pieces` are written one after the other. The end is right when it is a close with one of
    `reasons`, or a refusal with one of `codes`, or exactly the opcodes of `answers` for the
    requests 1, 2, … in order. `waits`: the server ends it only after its own time limit."""

    name: str
    pieces: tuple[bytes, ...]
    reasons: frozenset[int] = frozenset()
    codes: frozenset[int] = frozenset()
    answers: tuple[int, ...] = ()
    waits: bool = False

    def judge(self, end: End) -> bool:
        """True when the end is one of those allowed."""
        if self.answers:
            told = tuple(opcode for opcode, _, _ in end.frames)
            numbers = [seq for _, seq, _ in end.frames]
            return told == self.answers and numbers == list(range(1, len(numbers) + 1))
        if any(code in self.codes for code in end.refusals()):
            return True
        return end.closed and (end.reason in self.reasons)


def _closes(*reasons: CloseReason) -> frozenset[int]:
    return frozenset(int(reason) for reason in reasons)


# A reset may overtake the frame that says why, so "no reason told" is a close like any other: the
# server's own counters, compared afterwards, say that it was counted.
NOT_FRAMES = _closes(
    CloseReason.PROTOCOL_ERROR,
    CloseReason.FRAME_TOO_LARGE,
    CloseReason.UNKNOWN_OPCODE,
    CloseReason.FORBIDDEN_OPCODE,
    CloseReason.FRAME_TIMEOUT,
    CloseReason.PROVE_TIMEOUT,
    CloseReason.UNPROVED_BYTES,
) | {0}
NOT_HERE = _closes(CloseReason.UNKNOWN_OPCODE, CloseReason.FORBIDDEN_OPCODE) | {0}
BAD_BODY = _closes(CloseReason.BAD_MESSAGE, CloseReason.UNPROVED_BYTES) | {0}
BAD_CODES = frozenset({int(Code.BAD_MESSAGE), int(Code.PROTOCOL_MISMATCH)})

SERVER_WORDS = (101, 106, 201, 203, 204, 300, 301, 303, 305, 308, 310, 401, 403, 407, 409, 411, 413)
INTERNAL_WORDS = (int(Op.REGISTER_HASHED), int(Op.LOGIN_VERIFIED), int(Op.KILL_EARNED))


def hello_frame(seq: int = 1) -> bytes:
    """A proper greeting."""
    return frame(Op.HELLO, seq, codec.encode(hello()))


def attacks(seed: int, frame_unproved_bytes_max: int) -> list[Attack]:
    """Every attack that needs no token; garbage follows from `seed`."""
    return [
        *_lengths(frame_unproved_bytes_max),
        *_garbage(seed),
        *_cuts(),
        *_opcodes(),
        *_bodies(),
        *_floods(),
        *_slow(),
    ]


def _lengths(unproved_max: int) -> list[Attack]:
    rows = []
    for length in (0, 1, 5):
        data = struct.pack("<IHI", length, Op.HELLO, 1)
        rows.append(Attack(f"length {length}", (data,), _closes(CloseReason.PROTOCOL_ERROR) | {0}))
    for length in (unproved_max + 1, 1 << 20, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF):
        data = struct.pack("<IHI", length, Op.HELLO, 1) + bytes(64)
        reasons = _closes(CloseReason.FRAME_TOO_LARGE, CloseReason.PROTOCOL_ERROR) | {0}
        rows.append(Attack(f"length {length}", (data,), reasons))
    return rows


def _garbage(seed: int) -> list[Attack]:
    rng = random.Random(seed)
    rows = [
        Attack(f"garbage {turn}", (rng.randbytes(rng.randint(10, 3000)),), NOT_FRAMES, waits=True)
        for turn in range(24)
    ]
    for name, text in (
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("TLS", bytes.fromhex("16030100c8010000c40303") + bytes(200)),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("nothing but NUL", bytes(4096)),
        ("nothing but 0xFF", b"\xff" * 4096),
    ):
        rows.append(Attack(name, (text,), NOT_FRAMES, waits=True))
    return rows


def _cuts() -> list[Attack]:
    first, second, third = (hello_frame(seq) for seq in (1, 2, 3))
    whole = first + second + third
    greeted = (int(Op.HELLO_OK),)
    return [
        Attack(
            "a frame in single bytes",
            tuple(first[at : at + 1] for at in range(len(first))),
            answers=greeted,
        ),
        Attack("frames joined in one write", (whole,), answers=greeted * 3),
        Attack(
            "frames cut across their borders",
            (whole[:7], whole[7 : len(first) + 5], whole[len(first) + 5 : -9], whole[-9:]),
            answers=greeted * 3,
        ),
    ]


def _opcodes() -> list[Attack]:
    numbers = [*range(0, 6), *range(16, 100), 999, 5000, 0x7FFF, 0xFFFF]
    numbers += [*SERVER_WORDS, *INTERNAL_WORDS]
    rows = [
        Attack(f"opcode {number}", (frame(number, 1, b"\x90"),), NOT_HERE) for number in numbers
    ]
    for op in (Op.HIT, Op.MOVE, Op.CHANNEL_ENTER, Op.LOGOUT, Op.LOBBY):
        rows.append(
            Attack(f"{op.name} before any token", (frame(op, 1, codec.encode([1])),), NOT_HERE)
        )
    return rows


def _bodies() -> list[Attack]:
    deep = b"\x91" * 3000
    wide = b"\xdd" + struct.pack(">I", 0xFFFF_FFFF)
    wrong = {
        "empty": b"",
        "not MessagePack": b"\xc1\xc1\xc1",
        "deep": deep,
        "wider than memory": wide,
        "a string longer than memory": b"\xdb" + struct.pack(">I", 0xFFFF_FFFF) + b"a",
        "wrong types": codec.encode(["one", "two"]),
        "too few fields": codec.encode([]),
        "a number over 64 bits": b"\x91\xcf" + b"\xff" * 8,
        "invalid UTF-8": b"\x91\xa4\xff\xfe\xfd\xfc",
        "trailing bytes": codec.encode(hello()) + b"\x01",
    }
    rows = [
        Attack(
            f"HELLO with a body that is {name}", (frame(Op.HELLO, 1, body),), BAD_BODY, BAD_CODES
        )
        for name, body in wrong.items()
    ]
    foreign = (
        ("another protocol number", Hello(99, {})),
        ("another HIT", hello(unlike=int(Op.HIT))),
    )
    for name, greeting in foreign:
        rows.append(
            Attack(
                f"HELLO with {name}",
                (frame(Op.HELLO, 1, codec.encode(greeting)),),
                _closes(CloseReason.PROTOCOL_MISMATCH),
                frozenset({int(Code.PROTOCOL_MISMATCH)}),
            )
        )
    return rows


def _floods() -> list[Attack]:
    limited = _closes(CloseReason.RATE_LIMITED, CloseReason.UNPROVED_BYTES) | {0}
    pings = b"".join(frame(Op.PING, seq, b"") for seq in range(2, 3000))
    return [
        Attack("a flood of PING", (hello_frame() + pings,), limited),
        Attack("a flood of HELLO", (b"".join(hello_frame(seq) for seq in range(1, 60)),), limited),
        Attack(
            "a megabyte before any token",
            tuple(frame(Op.PING, seq, bytes(2000)) for seq in range(1, 500)),
            limited,
        ),
    ]


def _slow() -> list[Attack]:
    given_up = _closes(
        CloseReason.FRAME_TIMEOUT,
        CloseReason.PROVE_TIMEOUT,
        CloseReason.OPEN_TIMEOUT,
        CloseReason.IDLE,
    ) | {0}
    return [
        Attack("a connection that says nothing", (), given_up, waits=True),
        Attack("half a header", (b"\x40\x00",), given_up, waits=True),
        Attack("a frame without its end", (hello_frame()[:-3],), given_up, waits=True),
        Attack("a greeting and then nothing", (hello_frame(),), given_up, waits=True),
    ]


async def launch(attack: Attack, address: tuple[str, int], source: str) -> End:
    """Carry one attack out on a connection of its own."""
    raw = await Raw.open(address, source)
    try:
        for piece in attack.pieces:
            raw.writer.write(piece)
            try:
                await raw.writer.drain()
            except ConnectionError:
                break
        within = GIVE_UP_S if attack.waits else ANSWER_S
        return await raw.end(within, len(attack.answers))
    finally:
        raw.cut()


async def launch_all(
    rows: list[Attack], address: tuple[str, int], source: Callable[[int], str], at_once: int = 24
) -> list[tuple[Attack, End | str]]:
    """Carry all out, `at_once` at a time. The end is a text when the port could not be dialled."""
    gate = asyncio.Semaphore(at_once)

    async def one(index: int, attack: Attack) -> tuple[Attack, End | str]:
        async with gate:
            try:
                return attack, await launch(attack, address, source(index))
            except (OSError, TimeoutError) as fault:
                return attack, f"the port could not be dialled: {fault}"

    return list(await asyncio.gather(*(one(at, row) for at, row in enumerate(rows))))
