"""Registering and logging in (login role)."""

from typing import Annotated

import msgspec

from mmo.wire.codec import message
from mmo.wire.opcode import Op

Password = Annotated[str, msgspec.Meta(max_length=1024)]
Name = Annotated[str, msgspec.Meta(max_length=256)]


@message(Op.REGISTER)
class Register(msgspec.Struct, array_like=True, frozen=True):
    """`name`: 2..16 characters after NFC, any script; `password`: 8..128 characters."""

    name: Name
    password: Password


@message(Op.REGISTER_OK)
class RegisterOk(msgspec.Struct, array_like=True, frozen=True):
    name: str  # as stored, NFC


@message(Op.REGISTER_HASHED)
class RegisterHashed(msgspec.Struct, array_like=True, frozen=True):
    """Internal, from the edge."""

    name: str  # NFC
    password_hash: str
    password_length: int = 0  # characters


@message(Op.LOGIN)
class Login(msgspec.Struct, array_like=True, frozen=True):
    """`ticket`: from an earlier LOGIN_WAIT, keeps the number over a short reconnect."""

    name: Name
    password: Password
    ticket: Annotated[str, msgspec.Meta(max_length=64)] = ""


@message(Op.LOGIN_WAIT)
class LoginWait(msgspec.Struct, array_like=True, frozen=True):
    """Pushed when the line has many before you, and again as it moves. `number` 1 is next."""

    number: int
    ticket: str
    wait_ms: int


@message(Op.LOGIN_VERIFIED)
class LoginVerified(msgspec.Struct, array_like=True, frozen=True):
    """Internal, from the edge: `matches` False is a wrong password of a known account."""

    user: int  # 0: unknown name
    name: str
    matches: bool
    session_epoch: int
    locked_until_ms: int
    failures: int  # wrong passwords in a row before this one
    banned_until_ms: int = 0


@message(Op.LOGIN_OK)
class LoginOk(msgspec.Struct, array_like=True, frozen=True):
    """Go to `host:port` (a center) and show `token` within 60 s."""

    user: int
    token: str
    host: str
    port: int
    number: int  # server number of that center
