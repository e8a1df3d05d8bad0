"""A player at a channel server: the seat he moves into, arriving, leaving, logging out there.

Owns who may sit here. The count that others see is made of seats and held seats, so it cannot leak:
a held seat ends by itself, a seat ends with its resident.
"""

from mmo.content import Content
from mmo.contract import (
    Close,
    Env,
    LookForGrants,
    Outcome,
    Presence,
    Refuse,
    Send,
    ToRole,
    handles,
    ticks,
)
from mmo.state.bag import Bag
from mmo.state.channel_world import (
    ChannelWorld,
    HoldsEnded,
    SeatFreed,
    SeatParted,
    SeatReserved,
    SeatTaken,
)
from mmo.state.growth import Growth
from mmo.state.place import SessionClosed
from mmo.state.player import Head
from mmo.state.score import Score
from mmo.state.wallet import Wallet
from mmo.systems.center_loads import load_of
from mmo.systems.missions import PassParts
from mmo.systems.welcome import arrival_tells, welcome
from mmo.wire.messages.link import (
    GrantWaiting,
    PlayerArrived,
    PlayerLeft,
    PlayerMoved,
    SeatHeld,
    SeatHold,
    SessionEnded,
)
from mmo.wire.messages.presence import Logout, LogoutOk
from mmo.wire.messages.session import Disconnected, Entered, Refused
from mmo.wire.opcode import CloseReason, Code, Op

ELSEWHERE = (CloseReason.SESSION_TAKEN, CloseReason.MOVED, CloseReason.LOGGED_OUT)
"""Close reasons after which the centers know already where the player is."""


@handles(Op.SEAT_HOLD, by="peer", peers=("center",), needs=("world",), lane="user")
def hold_seat(message: SeatHold, *, world: ChannelWorld, env: Env) -> Outcome:
    """Keep a seat for a mover if there is one. Who sits here already keeps his own."""
    content: Content = env.content
    node = env.node
    held = not node.draining and world.has_room(
        message.user, content.channels.server_users_max, env.now_ms
    )
    answer = SeatHeld(
        message.request, message.user, node.number, held, node.host, node.port, message.jti,
        message.session_epoch, message.name,
    )  # fmt: skip
    if not held:
        return Outcome(replies=(answer,))
    return Outcome(
        replies=(answer,),
        effects=(SeatReserved(message.user, env.now_ms + message.hold_ms),),
    )


@handles(
    Op.ENTER,
    by="node",
    needs=("head", "growth", "wallet", "bag", "score", "pass_progress", "world"),
)
def enter(
    message: Entered,
    *,
    head: Head | None,
    growth: Growth,
    wallet: Wallet,
    bag: Bag,
    score: Score,
    pass_progress: PassParts,
    world: ChannelWorld,
    env: Env,
) -> Outcome | Refuse:
    """WELCOME for a player who is owned here now. A session token shown to a server that does not
    own him is refused: the way here is a move."""
    content: Content = env.content
    if head is None:
        return Outcome(
            replies=(Refused(Code.WRONG_PLACE, str(message.place_number)),),
            closes=(Close(0, CloseReason.TOKEN_INVALID, forget=True),),
        )
    user, epoch, here = head.user, head.session_epoch, env.node.number
    if not world.has_room(user, content.channels.server_users_max, env.now_ms):
        # His grace is over and the seat was given away: the lobby takes him.
        return Outcome(
            replies=(Refused(Code.SERVER_FULL),),
            closes=(Close(0, CloseReason.SERVER_FULL, forget=True),),
        )
    arrived = PlayerArrived(user, epoch, here, head.place_epoch, message.previous_number)
    return Outcome(
        replies=(
            welcome(
                head=head,
                growth=growth,
                wallet=wallet,
                bag=bag,
                score=score,
                pass_progress=pass_progress,
                operation_counter=message.operation_counter,
                session_token="",
                env=env,
            ),
        ),
        effects=(SeatTaken(user, epoch, head.place_epoch, env.sender.conn),),
        sends=(ToRole("center", arrived), Presence(user, "online", here)),
        tells=arrival_tells(user, bag, env),
    )


@handles(Op.CLOSED, by="node", needs=("world",))
def disconnected(message: Disconnected, *, world: ChannelWorld, env: Env) -> Outcome:
    """The connection ended: seat and channel stay for the grace time. When the resident goes too,
    nothing of him stays."""
    seat = world.seats.get(message.user)
    if seat is None:
        return Outcome()
    if not message.evicted:
        if env.sender.conn not in (0, seat.conn):
            return Outcome()
        return Outcome(effects=(SeatParted(message.user),))
    here = env.node.number
    sends: list[Send] = [Presence(message.user, "offline", here)]
    if message.reason not in ELSEWHERE:
        sends.append(ToRole("center", PlayerLeft(message.user, seat.session_epoch, here)))
    return Outcome(effects=(SeatFreed(message.user),), sends=sends)


@handles(Op.PLAYER_MOVED, by="peer", peers=("center",), needs=("world",), lane="user")
def player_moved(message: PlayerMoved, *, world: ChannelWorld, env: Env) -> Outcome:
    """Another server owns him now: let go at once instead of at the next sweep. A notice older than
    his claim here changes nothing."""
    seat = world.seats.get(message.user)
    if seat is None or seat.place_epoch >= message.place_epoch:
        return Outcome()
    return Outcome(
        effects=(SeatFreed(message.user),),
        sends=(Presence(message.user, "offline", env.node.number),),
        closes=(Close(message.user, CloseReason.MOVED, forget=True),),
    )


@handles(Op.SESSION_ENDED, by="peer", peers=("center",), needs=("world",), lane="user")
def session_ended(message: SessionEnded, *, world: ChannelWorld, env: Env) -> Outcome:
    """A newer login or a logout at a center ends what runs here under the old epoch."""
    seat = world.seats.get(message.user)
    if seat is None or seat.session_epoch > message.session_epoch:
        return Outcome()
    return Outcome(
        effects=(SeatFreed(message.user),),
        sends=(Presence(message.user, "offline", env.node.number),),
        closes=(Close(message.user, message.reason, forget=True),),
    )


@handles(Op.GRANT_WAITING, by="peer", peers=("center",), lane="user")
def grant_waiting(message: GrantWaiting, *, env: Env) -> Outcome:
    """Somebody left something for a player who is owned here, as a center knows."""
    return Outcome(sends=(LookForGrants(message.user),))


@handles(Op.LOGOUT, needs=("head", "world"))
def logout(message: Logout, *, head: Head, world: ChannelWorld, env: Env) -> Outcome:
    """End the session everywhere, from here: works while every center is down."""
    user, epoch = head.user, head.session_epoch
    ended = SessionEnded(user, epoch, CloseReason.LOGGED_OUT)
    return Outcome(
        replies=(LogoutOk(),),
        row=SessionClosed(user, epoch),
        row_refused=Refuse(Code.SESSION_OVER),
        effects=(SeatFreed(user),),
        sends=(Presence(user, "offline", env.node.number), ToRole("center", ended)),
        closes=(Close(0, CloseReason.LOGGED_OUT, forget=True),),
    )


@ticks(every_ms=250, of="world")
def tell_load(world: ChannelWorld, *, env: Env) -> Outcome:
    """Tell all centers where this server is and how full, and free seats that nobody came for."""
    content: Content = env.content
    load = load_of(env, world.seats_taken(env.now_ms), content.channels.server_users_max)
    ended = (HoldsEnded(env.now_ms),) if world.holds else ()
    return Outcome(effects=ended, sends=(ToRole("center", load),))
