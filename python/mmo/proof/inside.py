"""Bad input after a token was accepted: numbers at their limits, floods, a second token, odd names.

Owns what a player with a genuine account can do wrong. Called by `hostile`.
"""

import unicodedata
from typing import Any

import msgspec

from mmo.client.aio import Shell, walk_alone
from mmo.client.fleet import PASSWORD, muster, source_of
from mmo.client.hero import Hero
from mmo.client.meter import Meter
from mmo.client.protocol import frame
from mmo.client.session import arrive, ask, log_in, log_out, register, servers, visit_login
from mmo.client.steps import CENTER, LOGIN, Drop, Walk
from mmo.proof.arena import Arena
from mmo.proof.attacks import ANSWER_S, End, Raw, hello_frame, reason_name
from mmo.proof.verdict import Trial
from mmo.wire import codec
from mmo.wire.messages.account import LoginOk, Register, RegisterOk
from mmo.wire.messages.presence import Move, MoveOk
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code, Op

NUMBERS: tuple[Any, ...] = (
    0, -1, 99_999, 2**31, 2**32, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1,
    1.5, float("nan"), float("inf"), True, None, "1", b"1", [], {}, [1],
)  # fmt: skip
"""Sent where a number of a server, channel or monster belongs; none of them names one."""

NO_SUCH = frozenset(
    {
        int(Code.SERVER_UNKNOWN),
        int(Code.CHANNEL_UNKNOWN),
        int(Code.MONSTER_UNKNOWN),
        int(Code.NOT_IN_CHANNEL),
        int(Code.BAD_MESSAGE),
    }
)

NAMES: tuple[tuple[str, bool], ...] = (
    ("용사", True),
    ("가" * 16, True),
    ("ひと漢字", True),
    ("Ω≈ç√", True),
    ("محارب", True),
    ("שלום", True),
    ("naïve", True),
    ("🗡🛡🏹", True),
    ("o'clock", True),
    ('say"no"', True),
    ("';DROP TABLE a--", True),
    ("a\\b%_", True),
    ('" OR 1=1 #', True),
    ("가" * 17, False),
    ("x", False),
    ("", False),
    ("a\0b", False),
    ("a\nb", False),
    ("\x1b[31mred", False),
    ("a\u200eb\u202e", False),
)
"""Names and whether they must be accepted; every one is plain data on its way through the
stores."""


class Entered(msgspec.Struct):
    """A raw connection on which a genuine token was accepted."""

    raw: Raw
    hero: Hero


async def enter_raw(arena: Arena, meter: Meter, index: int, *, at_channel: bool) -> Entered:
    """A fresh player on a raw connection, at the center or at a channel server."""
    me = muster(arena.addresses("login"), 1, index, meter)[0]
    shell = Shell(source_of(index))
    try:
        await shell.walk(register(me))
        if at_channel:
            await shell.walk(arrive(me))
            address, token = await shell.walk(_move_token(me))
        else:
            await shell.walk(log_in(me))
            assert me.center is not None
            address, token = me.center, me.login_token
        raw = await Raw.open(address, source_of(index))
        raw.writer.write(hello_frame(1) + frame(Op.ENTER, 2, token.encode()))
        end = await raw.end(ANSWER_S, 2)
        assert [row[0] for row in end.frames] == [Op.HELLO_OK, Op.WELCOME], str(end)
        return Entered(raw, me)
    finally:
        shell.cut_all()


def _move_token(me: Hero) -> Walk[tuple[tuple[str, int], str]]:
    rows = yield from servers(me)
    reply = yield from ask(me, CENTER, Move(me.rng.choice(rows).number))
    assert isinstance(reply, MoveOk), reply
    return (reply.host, reply.port), reply.token


async def numbers(arena: Arena, trial: Trial, meter: Meter) -> None:
    """Every number at its limits, and what is no number: refused, and the player plays on."""
    cases = (
        (Op.MOVE, False, False),
        (Op.CHANNEL_ENTER, True, False),
        (Op.HIT, True, False),
        (Op.HIT, True, True),
    )
    sent = 0
    for place, (op, at_channel, in_channel) in enumerate(cases):
        entered = await enter_raw(arena, meter, 40_000 + place, at_channel=at_channel)
        raw = entered.raw
        try:
            if in_channel:
                raw.writer.write(frame(Op.CHANNEL_ENTER, 3, codec.encode([1])))
                await raw.end(ANSWER_S, 1)
            for at, number in enumerate(NUMBERS):
                body = msgspec.msgpack.encode([number])
                raw.writer.write(frame(op, 100 + at, body))
            end = await raw.end(ANSWER_S, len(NUMBERS))
            _judge_numbers(trial, op, end)
            sent += len(NUMBERS)
            raw.writer.write(frame(Op.PING, 900, b"still here"))
            alive = await raw.end(ANSWER_S, 1)
            trial.expect(
                [row[0] for row in alive.frames] == [Op.PONG],
                f"after {op.name} with odd numbers the connection is {alive}",
            )
        finally:
            raw.cut()
    trial.tried(f"{sent} numbers at their limits, and what is no number, in three messages")


def _judge_numbers(trial: Trial, op: Op, end: End) -> None:
    answers = {seq: (opcode, body) for opcode, seq, body in end.frames}
    for at, number in enumerate(NUMBERS):
        opcode, body = answers.get(100 + at, (0, b""))
        code = codec.decode(opcode, body).code if opcode == Op.REFUSED else 0
        trial.expect(
            code in NO_SUCH, f"{op.name} with {number!r} was answered by opcode {opcode}, {code}"
        )


async def misuse(arena: Arena, trial: Trial, meter: Meter) -> None:
    """A flood of blows, a second token, link and server messages, each from a proved player."""
    flood = b"".join(frame(Op.HIT, seq, codec.encode([1])) for seq in range(100, 2100))
    lists = b"".join(frame(Op.SERVER_LIST, seq, b"\x90") for seq in range(100, 1100))
    long = frame(Op.HIT, 9, bytes(1 << 20))
    rows: tuple[tuple[str, bool, bytes, CloseReason], ...] = (
        ("a flood of blows", True, flood, CloseReason.RATE_LIMITED),
        ("a flood of lists", False, lists, CloseReason.RATE_LIMITED),
        ("a frame of a megabyte", True, long, CloseReason.FRAME_TOO_LARGE),
        ("a second token", False, frame(Op.ENTER, 9, b"a.b.c"), CloseReason.FORBIDDEN_OPCODE),
        (
            "a link message",
            True,
            frame(Op.PLAYER_ARRIVED, 9, b"\x90"),
            CloseReason.FORBIDDEN_OPCODE,
        ),
        (
            "a reward of one's own",
            True,
            frame(Op.KILL_EARNED, 9, b"\x90"),
            CloseReason.UNKNOWN_OPCODE,
        ),
        (
            "a grant of one's own",
            True,
            frame(Op.GRANT_CLAIM, 9, b"\x90"),
            CloseReason.UNKNOWN_OPCODE,
        ),
        ("an answer", True, frame(Op.KILL_REWARD, 9, b"\x90"), CloseReason.UNKNOWN_OPCODE),
    )
    opcode_reasons = {int(CloseReason.FORBIDDEN_OPCODE), int(CloseReason.UNKNOWN_OPCODE)}
    for place, (name, at_channel, data, reason) in enumerate(rows):
        entered = await enter_raw(arena, meter, 41_000 + place, at_channel=at_channel)
        try:
            entered.raw.writer.write(data)
            end = await entered.raw.end(ANSWER_S)
        finally:
            entered.raw.cut()
        allowed = {0, int(reason)} | (opcode_reasons if reason in opcode_reasons else set())
        trial.expect(
            end.closed and end.reason in allowed,
            f"{name}: {end} instead of {reason_name(reason)}",
        )
        told = await walk_alone(arrive(entered.hero), source_of(41_500 + place))
        trial.expect(told.level == 1 and told.gold == 0, f"{name} changed the player: {told}")
    trial.tried(f"{len(rows)} misuses by proved players: each closed, none gained anything")


async def odd_names(arena: Arena, trial: Trial, meter: Meter) -> None:
    """Names with quotes, NULs and in many scripts: registered as they are or refused, never
    more."""
    users: dict[int, str] = {}
    salt = muster([("", 0)], 1, 0, meter)[0].name[-3:-1]
    accepted = 0
    for index, (wanted, good) in enumerate(NAMES):
        # A salt makes short names new on a cluster that was proved before.
        name = wanted + salt if good and len(wanted) <= 13 else wanted
        me = muster(arena.addresses("login"), 1, index, meter)[0]
        me.name = name
        reply = await walk_alone(_register_odd(me), source_of(42_000 + index))
        if isinstance(reply, Refused):
            fine = not good or reply.code == Code.NAME_TAKEN
            trial.expect(
                fine and reply.code in (Code.NAME_INVALID, Code.BAD_MESSAGE, Code.NAME_TAKEN),
                f"the name {name!r} was refused with {reply.code} {reply.detail}",
            )
            continue
        trial.expect(good, f"the name {name!r} was accepted")
        told = await walk_alone(_in_and_out(me), source_of(42_000 + index))
        trial.expect(
            told.name == unicodedata.normalize("NFC", name),
            f"the name {name!r} came back as {told.name!r}",
        )
        trial.expect(
            users.setdefault(told.user, name) == name,
            f"{name!r} and {users[told.user]!r} are the same player",
        )
        accepted += 1
    await _same_name_decomposed(arena, trial, meter, salt)
    trial.tried(f"{len(NAMES)} names in many scripts, with quotes and NULs: {accepted} play")


def _register_odd(me: Hero) -> Walk[RegisterOk | Refused]:
    yield from visit_login(me)
    codes = (Code.NAME_INVALID, Code.BAD_MESSAGE, Code.NAME_TAKEN)
    reply = yield from ask(
        me, LOGIN, Register(me.name, PASSWORD), expects=tuple(int(code) for code in codes)
    )
    yield Drop(LOGIN)
    return reply  # type: ignore[no-any-return]


def _in_and_out(me: Hero) -> Walk[Any]:
    told = yield from arrive(me)
    yield from log_out(me)
    return told


async def _same_name_decomposed(arena: Arena, trial: Trial, meter: Meter, salt: str) -> None:
    """The same Hangul name typed composed and decomposed is one account."""
    me = muster(arena.addresses("login"), 1, 1, meter)[0]
    me.name = f"한글이름{salt}{me.name[-6:]}"
    await walk_alone(register(me), source_of(43_000))
    me.name = unicodedata.normalize("NFD", me.name)
    entry = await walk_alone(log_in(me, expects=(int(Code.CREDENTIALS_WRONG),)), source_of(43_000))
    trial.expect(isinstance(entry, LoginOk), "a decomposed Hangul name is another account")
