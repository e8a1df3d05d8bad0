"""Being in the world: what a player is told on arrival, server list, moves, logout."""

from typing import Annotated

import msgspec

from mmo.wire.codec import message
from mmo.wire.messages.pass_view import PassView
from mmo.wire.opcode import Op

Address = tuple[str, int]
"""Host and client port of a server."""


class ItemView(msgspec.Struct, array_like=True, frozen=True):
    """One item as the client sees it. `kind` 0 equipment, 1 consumable, 2 material."""

    uid: int
    kind: int
    slot: int
    code: int
    count: int
    enhance: int
    equipped: bool = False
    expires_ms: int = 0  # rented until then, unix time; 0: for ever


@message(Op.WELCOME)
class Welcome(msgspec.Struct, array_like=True, frozen=True):
    """Everything the server knows of the player, after a token was claimed here."""

    user: int
    name: str
    session_epoch: int  # operation numbers are minted in it
    operation_counter: int  # highest counter used in this epoch; go on with the next
    number: int  # this server
    level: int
    exp: int
    gold: int
    cash: int
    mileage: int
    score_best: int  # of all seasons
    last_login_ms: int  # the login before this one, 0: never
    equipment: list[ItemView]
    consumables: list[ItemView]
    materials: list[ItemView]
    session_token: str = ""  # at a center: resumes at any center or channel, 15 minutes
    now_ms: int = 0
    passes: list[PassView] = []
    passes_more: list[int] = []  # running passes that did not fit: ask with PASS_STATE
    centers: list[Address] = []  # at a center: every center that is open, this one first


@message(Op.SERVER_LEAVING)
class ServerLeaving(msgspec.Struct, array_like=True, frozen=True):
    """Push: this server ends soon. From a channel server: a seat is kept at server `number` and
    `token` claims it (15 s, once); until then everything is served here. From a center: `token` is
    empty and the session token resumes there."""

    number: int
    host: str
    port: int
    token: str = ""


@message(Op.NODE_LEAVING)
class NodeLeaving(msgspec.Struct, array_like=True, frozen=True):
    """Internal: this node drains and `user` is connected here; his rule says where he goes."""

    user: int


@message(Op.SESSION_OK)
class SessionOk(msgspec.Struct, array_like=True, frozen=True):
    """A center holds your session again; you are owned by server `place_number`."""

    user: int
    session_epoch: int
    place_number: int
    session_token: str
    centers: list[Address] = []  # every center that is open, this one first


@message(Op.SERVER_LIST)
class ServerListAsk(msgspec.Struct, array_like=True, frozen=True):
    pass


class ServerRow(msgspec.Struct, array_like=True, frozen=True):
    """One channel server of the list; `users` counts players and seats held for movers."""

    number: int
    name: str
    users: int
    users_max: int
    host: str
    port: int
    open: bool


@message(Op.SERVER_LIST_OK)
class ServerListOk(msgspec.Struct, array_like=True, frozen=True):
    servers: list[ServerRow]


ServerNumber = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


@message(Op.MOVE)
class Move(msgspec.Struct, array_like=True, frozen=True):
    """Ask a center for a seat and a token at channel server `number`."""

    number: ServerNumber


@message(Op.MOVE_OK)
class MoveOk(msgspec.Struct, array_like=True, frozen=True):
    number: int
    host: str
    port: int
    token: str  # for that server only, 15 s, once


@message(Op.LOBBY)
class Lobby(msgspec.Struct, array_like=True, frozen=True):
    """Back to the lobby: this center takes the player over. Answered by WELCOME."""


@message(Op.LOGOUT)
class Logout(msgspec.Struct, array_like=True, frozen=True):
    """End the session everywhere."""


@message(Op.LOGOUT_OK)
class LogoutOk(msgspec.Struct, array_like=True, frozen=True):
    pass


@message(Op.RENEW)
class Renew(msgspec.Struct, array_like=True, frozen=True):
    """A fresh session token, at a center."""


@message(Op.RENEW_OK)
class RenewOk(msgspec.Struct, array_like=True, frozen=True):
    session_token: str
    centers: list[Address] = []  # every center that is open, this one first


@message(Op.PLACE_SEEN)
class PlaceSeen(msgspec.Struct, array_like=True, frozen=True):
    """Internal: server `number` owns the player of this session epoch by now."""

    user: int
    session_epoch: int
    number: int
