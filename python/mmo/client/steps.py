"""What a journey may ask of the shell that walks it: its steps, and how a connection is lost.

Owns the vocabulary only. A journey is a generator that yields these and gets their results; the
shells in `aio` and `connection` carry them out on sockets, tests on anything else.
"""

from collections.abc import Generator
from typing import Any, TypeVar

import msgspec

from mmo.errors import MmoError
from mmo.wire.messages.raid import DatagramKey
from mmo.wire.opcode import CloseReason

T = TypeVar("T")

CENTER = "center"
GAME = "game"
LOGIN = "login"
RAID = "raid"
"""Names of the connections a journey holds."""


class Dial(msgspec.Struct, frozen=True):
    """Open connection `lane` (an open one of that name is dropped first). Result: None."""

    lane: str
    host: str
    port: int


class Send(msgspec.Struct, frozen=True):
    """Write one message. Result: its request number."""

    lane: str
    message: Any


class Receive(msgspec.Struct, frozen=True):
    """Wait for the next event of a connection. Result: the event, None after `wait_ms`."""

    lane: str
    wait_ms: float


class Prove(msgspec.Struct, frozen=True):
    """Prove an address for the datagrams of connection `lane` with the key it was told; again, it
    proves the same address again. What arrives comes out of `Receive` as pushes. Result: None."""

    lane: str
    key: DatagramKey


class Drop(msgspec.Struct, frozen=True):
    """End a connection without a word. Result: None; nothing happens when it is not open."""

    lane: str


class Pause(msgspec.Struct, frozen=True):
    """Do nothing for a while. Result: None."""

    wait_ms: float


Step = Dial | Send | Receive | Prove | Drop | Pause
Walk = Generator[Step, Any, T]


class Lost(MmoError):
    """A connection ended or could not be made. `reason`: what the server told, 0 when it told
    nothing."""

    def __init__(self, lane: str, reason: int = 0, cause: str = "") -> None:
        name = CloseReason(reason).name if reason in CloseReason._value2member_map_ else str(reason)
        super().__init__(f"connection to {lane} lost: {cause or name}")
        self.lane = lane
        self.reason = reason
        self.port = 0  # of the server, where the shell knew it
