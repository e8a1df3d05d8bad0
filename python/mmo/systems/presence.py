"""A player at a center: arriving, the server list, moving to a channel server, lobby, logout.

Owns the rules for what a player asks; what other servers tell is in `session_notices`. A center
decides about seats and tokens only: who owns a player is settled by the head row alone.
"""

from mmo.content import Content
from mmo.contract import (
    Ask,
    Close,
    Env,
    Outcome,
    Presence,
    Refuse,
    Send,
    Tell,
    ToNode,
    ToRole,
    handles,
)
from mmo.state.bag import Bag
from mmo.state.growth import Growth
from mmo.state.place import PlacePrepared, SessionClosed
from mmo.state.player import Head
from mmo.state.score import Score
from mmo.state.servers import Servers
from mmo.state.sessions import MoveBegun, Session, SessionHeld, SessionLost, Sessions
from mmo.state.wallet import Wallet
from mmo.systems import leaving_center
from mmo.systems.missions import PassParts, login_event
from mmo.systems.tokens import LOGIN, MOVE, new_jti, player_claims, session_token, sign
from mmo.systems.welcome import arrival_tells, welcome
from mmo.wire.messages.link import PlayerMoved, SeatHeld, SeatHold, SessionEnded, SessionSeen
from mmo.wire.messages.presence import (
    Lobby,
    Logout,
    LogoutOk,
    Move,
    MoveOk,
    Renew,
    RenewOk,
    ServerListAsk,
    ServerListOk,
    ServerRow,
    SessionOk,
)
from mmo.wire.messages.raid_queue import RaidQueueLeft
from mmo.wire.messages.session import Disconnected, Entered
from mmo.wire.opcode import CloseReason, Code, Op


@handles(
    Op.ENTER,
    by="node",
    needs=("head", "growth", "wallet", "bag", "score", "pass_progress", "sessions", "servers"),
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
    sessions: Sessions,
    servers: Servers,
    env: Env,
) -> Outcome | Refuse:
    """WELCOME for a player who is owned here now; SESSION_OK when another server goes on owning him
    (the client came back to a center, or to another one, while it plays in a channel)."""
    here = env.node.number
    if head is None:
        if message.claims is None:  # he asked for the lobby, and another claim came in between
            return Refuse(Code.RETRY_LATER)
        return _session_only(message, servers, env)
    user, epoch = head.user, head.session_epoch
    before = sessions.get(user)
    previous = message.previous_number or (before.place if before is not None else 0)
    sends: list[Send] = [
        ToRole("center", SessionSeen(user, epoch, here)),
        Presence(user, "online", here),
    ]
    if previous not in (0, here):
        sends.append(ToNode(previous, PlayerMoved(user, epoch, here, head.place_epoch)))
    tells = arrival_tells(user, bag, env)
    if message.typ == LOGIN:
        tells.append(login_event(user))
    if before is not None and before.session_epoch != epoch:
        tells.append(Tell(user, RaidQueueLeft(user)))
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
                session_token=session_token(env, user, head.name, epoch),
                centers=leaving_center.centers(servers, env),
                env=env,
            ),
        ),
        effects=(
            SessionHeld(Session(user, head.name, epoch, env.sender.conn, here, head.place_epoch)),
        ),
        sends=sends,
        tells=tells,
    )


def _session_only(message: Entered, servers: Servers, env: Env) -> Outcome:
    """The session is valid and its player is owned elsewhere: hold the session, touch nothing
    else."""
    user, claims = env.sender.user, message.claims
    session = Session(user, claims.name, claims.epoch, env.sender.conn, message.place_number)
    return Outcome(
        replies=(
            SessionOk(
                user,
                claims.epoch,
                message.place_number,
                session_token(env, user, claims.name, claims.epoch),
                leaving_center.centers(servers, env),
            ),
        ),
        effects=(SessionHeld(session),),
        sends=(ToRole("center", SessionSeen(user, claims.epoch, env.node.number)),),
    )


@handles(Op.SERVER_LIST, needs=("servers",), rate="list")
def list_servers(message: ServerListAsk, *, servers: Servers, env: Env) -> Outcome:
    """All channel servers with their user counts, by number. One that fell silent is not open."""
    content: Content = env.content
    fresh_ms = env.now_ms - content.channels.load_fresh_ms
    rows = [
        ServerRow(
            server.number,
            server.name,
            server.users,
            server.users_max,
            server.host,
            server.port,
            server.open and server.seen_ms >= fresh_ms,
        )
        for server in servers.of_role("channel")
    ]
    return Outcome(replies=(ServerListOk(rows),))


@handles(Op.MOVE, needs=("sessions", "servers"))
def move(message: Move, *, sessions: Sessions, servers: Servers, env: Env) -> Outcome | Refuse:
    """Ask the channel server to keep a seat; it alone knows whether one is free."""
    content: Content = env.content
    user = env.sender.user
    if sessions.get(user) is None:
        return Refuse(Code.NOT_ENTERED)
    server = servers.loads.get(message.number)
    if server is None or server.role != "channel":
        return Refuse(Code.SERVER_UNKNOWN)
    if not server.open or server.seen_ms < env.now_ms - content.channels.load_fresh_ms:
        return Refuse(Code.SERVER_AWAY)
    hold = SeatHold(0, user, new_jti(env), content.tokens.seat_hold_ms)
    return Outcome(asks=(Ask(message.number, hold, Code.SERVER_AWAY),))


@handles(Op.SEAT_HELD, by="node", needs=("sessions",))
def seat_held(message: SeatHeld, *, sessions: Sessions, env: Env) -> Outcome | Refuse:
    """PREPARE: the reservation is written before the token leaves. The old owner goes on owning
    until the CLAIM at the new one."""
    content: Content = env.content
    if message.session_epoch:
        return leaving_center.seat_found(message, env)
    session = sessions.get(env.sender.user)
    if session is None:
        return Refuse(Code.SESSION_OVER)
    if not message.held:
        return Refuse(Code.SERVER_FULL)
    user, epoch = session.user, session.session_epoch
    in_lobby = session.place == env.node.number  # else his present server speaks for him
    token = sign(
        env,
        MOVE,
        str(message.number),
        player_claims(user, session.name, epoch),
        content.tokens.move_s,
        message.jti,
    )
    return Outcome(
        replies=(MoveOk(message.number, message.host, message.port, token),),
        row=PlacePrepared(
            user=user,
            session_epoch=epoch,
            target_number=message.number,
            jti=message.jti,
            expires_ms=env.now_ms + content.tokens.move_s * 1000,
        ),
        row_refused=Refuse(Code.SESSION_OVER),
        effects=(MoveBegun(user, env.now_ms + content.tokens.seat_hold_ms),) if in_lobby else (),
        sends=(Presence(user, "moving", message.number),) if in_lobby else (),
    )


@handles(Op.LOBBY, needs=("sessions",))
def lobby(message: Lobby, *, sessions: Sessions, env: Env) -> Outcome | Refuse:
    """Take the player over from wherever he is, a dead server included. Who seems to be here is
    taken over too: he may have moved a moment ago, of which the notice is still on its way, or ask
    again because the first answer was lost."""
    if sessions.get(env.sender.user) is None:
        return Refuse(Code.NOT_ENTERED)
    return Outcome(claim_here=True)


@handles(Op.LOGOUT, needs=("sessions",))
def logout(message: Logout, *, sessions: Sessions, env: Env) -> Outcome | Refuse:
    """End the session everywhere: both epochs rise, so nothing of it can be used again."""
    session = sessions.get(env.sender.user)
    if session is None:
        return Refuse(Code.NOT_ENTERED)
    user, epoch, here = session.user, session.session_epoch, env.node.number
    sends: list[Send] = [Presence(user, "offline", session.place)]
    if session.place not in (0, here):
        ended = SessionEnded(user, epoch, CloseReason.LOGGED_OUT)
        sends.append(ToNode(session.place, ended))
    return Outcome(
        replies=(LogoutOk(),),
        row=SessionClosed(user, epoch),
        row_refused=Refuse(Code.SESSION_OVER),
        effects=(SessionLost(user),),
        sends=sends,
        tells=(Tell(user, RaidQueueLeft(user)),),
        closes=(Close(0, CloseReason.LOGGED_OUT, forget=True),),
    )


@handles(Op.RENEW, needs=("sessions", "servers"))
def renew(message: Renew, *, sessions: Sessions, servers: Servers, env: Env) -> Outcome | Refuse:
    """A fresh session token for a session that is held here."""
    session = sessions.get(env.sender.user)
    if session is None:
        return Refuse(Code.NOT_ENTERED)
    token = session_token(env, session.user, session.name, session.session_epoch)
    return Outcome(replies=(RenewOk(token, leaving_center.centers(servers, env)),))


@handles(Op.CLOSED, by="node", needs=("sessions",))
def disconnected(message: Disconnected, *, sessions: Sessions, env: Env) -> Outcome:
    """The connection ended. A player whom a channel server owns goes on playing there; one who was
    only here is offline. His session token brings him back."""
    session = sessions.get(message.user)
    if session is None or env.sender.conn not in (0, session.conn):
        return Outcome()
    sends: list[Send] = []
    if session.place in (0, env.node.number):
        sends.append(Presence(message.user, "offline", env.node.number))
    return Outcome(
        effects=(SessionLost(message.user),),
        sends=sends,
        tells=(Tell(message.user, RaidQueueLeft(message.user)),),
    )
