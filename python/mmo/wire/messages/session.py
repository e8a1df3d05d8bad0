"""Messages that every role speaks: hello, refusal, token, closing."""

from typing import Any

import msgspec

from mmo.wire.codec import message
from mmo.wire.opcode import Op


@message(Op.HELLO)
class Hello(msgspec.Struct, array_like=True, frozen=True):
    """First message of a client: protocol number and the fingerprint of each message it knows."""

    protocol: int
    fingerprints: dict[int, int] = {}


@message(Op.HELLO_OK)
class HelloOk(msgspec.Struct, array_like=True, frozen=True):
    protocol: int
    number: int  # unique number of this server
    role: str
    generation: int
    now_ms: int


@message(Op.CLOSING)
class Closing(msgspec.Struct, array_like=True, frozen=True):
    """The connection ends now; `reason` is a close reason number of the core."""

    reason: int


@message(Op.REFUSED)
class Refused(msgspec.Struct, array_like=True, frozen=True):
    """The one answer of every refusal. `detail` is for a person or a number in decimal."""

    code: int
    detail: str = ""


class Claims(msgspec.Struct, frozen=True):
    """What a verified token says (JSON, not an array: the core hands the JWT's own claims over)."""

    iss: str
    aud: str
    sub: str  # user id in decimal
    exp: int
    nbf: int
    jti: str
    epoch: int  # session epoch
    name: str = ""  # account name
    room: int = 0  # raid id of a raid token
    seat: int = 0


@message(Op.ENTER)
class Entered(msgspec.Struct, array_like=True, frozen=True):
    """Internal: a token was verified and its claim held; handled `by="node"` with the player parts.
    (On the wire the body of ENTER is the JWT itself.)"""

    typ: str  # "login+jwt", "session+jwt", "move+jwt", "raid+jwt", or "" for claim_here
    claims: Any  # Claims
    owned: bool  # the player's parts are here; False: session held, another server owns
    place_number: int = 0  # where the player is owned
    resumed: bool = False  # the resident was still in memory
    operation_counter: int = 0  # highest operation counter used in this session epoch
    previous_number: int = 0  # who owned the player before this claim, 0: nobody
    card: Any = None  # `contract.PlayerCard` of a raid's member, on roles that run raids


@message(Op.CLOSED)
class Disconnected(msgspec.Struct, array_like=True, frozen=True):
    """Internal: the connection of the lane's player ended; handled `by="node"`."""

    user: int
    reason: int
    evicted: bool = False  # True: the grace time is over too, the resident goes now
