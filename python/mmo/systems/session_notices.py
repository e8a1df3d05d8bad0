"""What a center hears from other servers, and what it tells them about itself.

Notices speed things up; none of them is needed to be right. One that is lost is made good by the
one-second sweep over epochs and places.
"""

from mmo.contract import (
    Close,
    Env,
    LookForGrants,
    Outcome,
    Presence,
    Send,
    Tell,
    ToNode,
    ToRole,
    handles,
    ticks,
)
from mmo.state.servers import HealthSeen, HealthTold, Servers
from mmo.state.sessions import MoveOver, SessionLost, SessionPlaced, Sessions
from mmo.systems.center_loads import load_of, load_told
from mmo.wire.messages.link import (
    GrantWaiting,
    NodeHealth,
    NodeHealthOk,
    PlayerArrived,
    PlayerLeft,
    PlayerMoved,
    ServerLoad,
    SessionEnded,
    SessionSeen,
)
from mmo.wire.messages.presence import PlaceSeen
from mmo.wire.messages.raid_queue import RaidQueueLeft
from mmo.wire.opcode import CloseReason, Op

ASKED_ROLES = ("login", "center", "channel", "matching", "raid", "cash")


@handles(Op.SESSION_ENDED, by="peer", peers=("login", "channel"), needs=("sessions",), lane="user")
def session_ended(message: SessionEnded, *, sessions: Sessions, env: Env) -> Outcome:
    """A newer login or a logout: close what runs here under the old epoch and tell the owner."""
    session = sessions.get(message.user)
    if session is None or session.session_epoch > message.session_epoch:
        return Outcome()
    sends: list[Send] = [Presence(message.user, "offline", env.node.number)]
    if session.place not in (0, env.node.number, env.sender.peer):
        sends.append(ToNode(session.place, message))
    return Outcome(
        effects=(SessionLost(message.user),),
        sends=sends,
        tells=(Tell(message.user, RaidQueueLeft(message.user)),),
        closes=(Close(message.user, message.reason, forget=True),),
    )


@handles(Op.SESSION_SEEN, by="peer", peers=("center",), needs=("sessions",), lane="user")
def session_seen(message: SessionSeen, *, sessions: Sessions, env: Env) -> Outcome:
    """Another center holds this session or a newer one now; the connection here is a left-over. Of
    the same session it was no other login that took it: nothing orders two centers to which he
    came one after the other, and a notice that is late may end the newer connection. He is told
    to come again, not that somebody else plays."""
    session = sessions.get(message.user)
    if session is None or session.session_epoch > message.session_epoch:
        return Outcome()
    is_newer = message.session_epoch > session.session_epoch
    reason = CloseReason.SESSION_TAKEN if is_newer else CloseReason.MOVED
    return Outcome(
        effects=(SessionLost(message.user),),
        sends=(Presence(message.user, "offline", env.node.number),),
        tells=(Tell(message.user, RaidQueueLeft(message.user)),),
        closes=(Close(message.user, reason, forget=True),),
    )


@handles(Op.PLAYER_ARRIVED, by="peer", peers=("channel",), needs=("sessions",), lane="user")
def player_arrived(message: PlayerArrived, *, sessions: Sessions, env: Env) -> Outcome:
    """A channel server claimed the player: let go of him here, and tell the owner before it. A
    notice that comes after a later claim, such as this center's own, says nothing any more."""
    here = env.node.number
    session = sessions.get(message.user)
    if session is None or session.session_epoch != message.session_epoch:
        return Outcome()
    if 0 < message.place_epoch <= session.place_epoch:
        return Outcome()
    previous = message.previous_number or session.place
    # Takes back only this center's own word; the channel server speaks for him from now on.
    sends: list[Send] = [Presence(message.user, "offline", here)]
    if previous not in (0, here, message.number):
        sends.append(
            ToNode(
                previous,
                PlayerMoved(
                    message.user, message.session_epoch, message.number, message.place_epoch
                ),
            )
        )
    return Outcome(
        effects=(SessionPlaced(message.user, message.number, message.place_epoch),),
        sends=sends,
        release=message.user if session.place == here else 0,
    )


@handles(Op.PLACE_SEEN, by="node", needs=("sessions",))
def place_seen(message: PlaceSeen, *, sessions: Sessions, env: Env) -> Outcome:
    """The notice of his arrival elsewhere was lost, and the sweep saw it: as if it had come."""
    session = sessions.get(message.user)
    if session is None or session.session_epoch != message.session_epoch:
        return Outcome()
    return Outcome(
        effects=(SessionPlaced(message.user, message.number),),
        sends=(Presence(message.user, "offline", env.node.number),),
    )


@handles(Op.PLAYER_LEFT, by="peer", peers=("channel",), needs=("sessions",), lane="user")
def player_left(message: PlayerLeft, *, sessions: Sessions, env: Env) -> Outcome:
    """His connection to a channel server is over; with one to this center he is still online."""
    session = sessions.get(message.user)
    if (
        session is None
        or session.session_epoch != message.session_epoch
        or session.place != message.number
    ):
        return Outcome()
    return Outcome(
        effects=(SessionPlaced(message.user, 0),),
        sends=(Presence(message.user, "online", env.node.number),),
    )


@handles(Op.GRANT_WAITING, by="peer", peers=("cash", "raid"), needs=("sessions",), lane="user")
def grant_waiting(message: GrantWaiting, *, sessions: Sessions, env: Env) -> Outcome:
    """Somebody left something for a player: his owner looks now."""
    session = sessions.get(message.user)
    if session is None or not session.place:
        return Outcome()
    if session.place == env.node.number:
        return Outcome(sends=(LookForGrants(message.user),))
    return Outcome(sends=(ToNode(session.place, message),))


@handles(
    Op.SERVER_LOAD,
    by="peer",
    peers=("channel", "matching", "raid", "center"),
    needs=("servers",),
)
def server_load(message: ServerLoad, *, servers: Servers, env: Env) -> Outcome:
    """Where a game server or another center is and how full; from a matching server: that it
    lives."""
    return load_told(message, env)


@handles(Op.NODE_HEALTH_OK, by="peer", peers=ASKED_ROLES, needs=("servers",))
def health_told(message: NodeHealthOk, *, servers: Servers, env: Env) -> Outcome:
    """How a server of any role is."""
    return Outcome(
        effects=(
            HealthTold(
                HealthSeen(
                    message.number, message.role, message.ready, message.generation, env.now_ms
                )
            ),
        )
    )


@ticks(every_ms=250, of="sessions")
def tell_load(sessions: Sessions, *, env: Env) -> Outcome:
    """Tell the login and matching servers and the other centers where this center is and how many
    it holds, and show as online again who never finished his move."""
    node = env.node
    over = [user for user, over_ms in sessions.moving.items() if over_ms <= env.now_ms]
    load = load_of(env, len(sessions), 0)
    return Outcome(
        effects=[MoveOver(user) for user in over],
        sends=[
            ToRole("login", load),
            ToRole("center", load),
            ToRole("matching", load),
            *(Presence(user, "online", node.number) for user in over),
        ],
    )


@ticks(every_ms=1000, of="servers")
def ask_health(servers: Servers, *, env: Env) -> Outcome:
    """Ask every linked server how it is."""
    return Outcome(sends=tuple(ToRole(role, NodeHealth(0)) for role in ASKED_ROLES))
