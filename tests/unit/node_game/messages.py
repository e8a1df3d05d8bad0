"""Messages of the tiny game, numbered where the real game has none."""

from typing import Any

import msgspec

from mmo.wire.codec import message

ECHO, ECHOED, BUY, BOUGHT, STRIKE, STRUCK, PAID, PRIZE, LOOK, LOOKED = range(9000, 9010)
FAIL, MOVE_TO, MOVED_TO, RESERVE, WHISPER, ASK_KIN, KNOCK, KNOCKED, NOISE = range(9010, 9019)
KIN, KIN_OK = 90, 91


def declared(opcode: int) -> Any:
    """`message` for a number outside of `Op`."""
    return message(opcode)


@declared(ECHO)
class Echo(msgspec.Struct, array_like=True, frozen=True):
    text: str


@declared(ECHOED)
class Echoed(msgspec.Struct, array_like=True, frozen=True):
    text: str
    count: int


@declared(BUY)
class Buy(msgspec.Struct, array_like=True, frozen=True):
    op: tuple[int, int]
    gold: int


@declared(BOUGHT)
class Bought(msgspec.Struct, array_like=True, frozen=True):
    gold: int


@declared(STRIKE)
class Strike(msgspec.Struct, array_like=True, frozen=True):
    gold: int


@declared(STRUCK)
class Struck(msgspec.Struct, array_like=True, frozen=True):
    blows: int


@declared(PAID)
class Paid(msgspec.Struct, array_like=True, frozen=True):
    user: int
    gold: int


@declared(PRIZE)
class Prize(msgspec.Struct, array_like=True, frozen=True):
    gold: int


@declared(LOOK)
class Look(msgspec.Struct, array_like=True, frozen=True):
    pass


@declared(LOOKED)
class Looked(msgspec.Struct, array_like=True, frozen=True):
    gold: int


@declared(FAIL)
class Fail(msgspec.Struct, array_like=True, frozen=True):
    how: str


@declared(MOVE_TO)
class MoveTo(msgspec.Struct, array_like=True, frozen=True):
    number: int


@declared(MOVED_TO)
class MovedTo(msgspec.Struct, array_like=True, frozen=True):
    number: int


@declared(RESERVE)
class Reserve(msgspec.Struct, array_like=True, frozen=True):
    epoch: int


@declared(WHISPER)
class Whisper(msgspec.Struct, array_like=True, frozen=True):
    user: int
    text: str


@declared(ASK_KIN)
class AskKin(msgspec.Struct, array_like=True, frozen=True):
    number: int


@declared(KIN)
class Kin(msgspec.Struct, array_like=True, frozen=True):
    request: int
    user: int


@declared(KIN_OK)
class KinOk(msgspec.Struct, array_like=True, frozen=True):
    request: int
    word: str


@declared(KNOCK)
class Knock(msgspec.Struct, array_like=True, frozen=True):
    name: str
    ticket: str = ""


@declared(KNOCKED)
class Knocked(msgspec.Struct, array_like=True, frozen=True):
    name: str
    epoch: int


@declared(NOISE)
class Noise(msgspec.Struct, array_like=True, frozen=True):
    users: list[int]
    text: str
