"""Messages between servers. A client can never send or receive one."""

import msgspec

from mmo.wire.codec import message
from mmo.wire.opcode import CloseReason, Op


@message(Op.NODE_HEALTH)
class NodeHealth(msgspec.Struct, array_like=True, frozen=True):
    """`request` numbers asks and answers of the peers layer; 0 in plain sends."""

    request: int


@message(Op.NODE_HEALTH_OK)
class NodeHealthOk(msgspec.Struct, array_like=True, frozen=True):
    request: int
    number: int
    role: str
    ready: bool
    generation: int


@message(Op.SERVER_LOAD)
class ServerLoad(msgspec.Struct, array_like=True, frozen=True):
    """Each second and after changes, from a game server to all centers."""

    number: int
    role: str
    name: str
    host: str
    port: int
    users: int  # residents plus unexpired reservations
    users_max: int
    open: bool  # False while draining


@message(Op.SEAT_HOLD)
class SeatHold(msgspec.Struct, array_like=True, frozen=True):
    """Keep a seat for `user` until `hold_ms` from now or his CLAIM, whichever is first."""

    request: int  # filled by the asking node
    user: int
    jti: str
    hold_ms: int
    session_epoch: int = 0  # not 0: a leaving server asked for `user`; repeated in the answer
    name: str = ""


@message(Op.SEAT_HELD)
class SeatHeld(msgspec.Struct, array_like=True, frozen=True):
    request: int
    user: int
    number: int  # the server that answers
    held: bool  # False: full or draining
    host: str
    port: int
    jti: str
    session_epoch: int = 0  # as asked
    name: str = ""


@message(Op.SEAT_SEEK)
class SeatSeek(msgspec.Struct, array_like=True, frozen=True):
    """This server is leaving: find the player a seat at another one and prepare his move."""

    user: int
    session_epoch: int
    name: str


@message(Op.SEAT_FOUND)
class SeatFound(msgspec.Struct, array_like=True, frozen=True):
    """The move of `user` is prepared; whoever shows the token at `number` within its life is
    there."""

    user: int
    session_epoch: int
    number: int
    host: str
    port: int
    token: str


@message(Op.PLAYER_ARRIVED)
class PlayerArrived(msgspec.Struct, array_like=True, frozen=True):
    user: int
    session_epoch: int
    number: int
    place_epoch: int = 0
    previous_number: int = 0  # who owned the player before, 0: nobody


@message(Op.PLAYER_LEFT)
class PlayerLeft(msgspec.Struct, array_like=True, frozen=True):
    """The connection at `number` ended; the place stays until the next CLAIM."""

    user: int
    session_epoch: int
    number: int


@message(Op.PLAYER_MOVED)
class PlayerMoved(msgspec.Struct, array_like=True, frozen=True):
    """The old owner lets go now instead of at the next sweep."""

    user: int
    session_epoch: int
    number: int  # new owner, 0: nobody
    place_epoch: int = 0  # of the new owner; an owner with a newer claim ignores the message


@message(Op.SESSION_ENDED)
class SessionEnded(msgspec.Struct, array_like=True, frozen=True):
    """Logged out, or a newer login exists: close what still runs under `session_epoch` or older."""

    user: int
    session_epoch: int
    reason: int = CloseReason.SESSION_TAKEN  # what the player is told


@message(Op.SESSION_SEEN)
class SessionSeen(msgspec.Struct, array_like=True, frozen=True):
    """Center `number` holds this session now; other centers forget their connection of it."""

    user: int
    session_epoch: int
    number: int


@message(Op.LEASE_SEEN)
class LeaseSeen(msgspec.Struct, array_like=True, frozen=True):
    """Each second, from node to node, handled by the node itself: `renewed_ms` ago the sender could
    renew its lease. A node that cannot renew while others can is cut off and fences itself; when
    nobody can, the store is away and everybody stays."""

    renewed_ms: int


@message(Op.GRANT_WAITING)
class GrantWaiting(msgspec.Struct, array_like=True, frozen=True):
    """Link: a grant of `user` was written; his owner looks now instead of at the next sweep."""

    user: int
