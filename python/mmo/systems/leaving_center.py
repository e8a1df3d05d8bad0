"""A center and servers that drain: seats for players of a leaving channel server, and where its own
players go when the center itself leaves.

Owns the choice of the other server. Prepares a move exactly as for a player who asks; the head row
alone decides who owns him.
"""

from mmo.content import Content
from mmo.contract import Ask, Env, Outcome, Refuse, SendAway, handles
from mmo.state.place import PlacePrepared
from mmo.state.servers import Servers, ServerSeen
from mmo.state.sessions import Sessions
from mmo.systems.tokens import MOVE, new_jti, player_claims, sign
from mmo.wire.messages.link import SeatFound, SeatHeld, SeatHold, SeatSeek
from mmo.wire.messages.presence import Address, NodeLeaving, ServerLeaving
from mmo.wire.opcode import Code, Op


@handles(Op.SEAT_SEEK, by="peer", peers=("channel",), needs=("servers",), lane="user")
def seek_seat(message: SeatSeek, *, servers: Servers, env: Env) -> Outcome:
    """Ask a server that is open for a seat: by chance, those with more free seats more often, so
    that a whole server's players do not all go to one. Without any the player stays until the end
    and comes back by himself."""
    content: Content = env.content
    others = [
        server
        for server in open_servers(servers, "channel", env)
        if server.number != env.sender.peer and server.users < server.users_max
    ]
    if not others:
        return Outcome()
    (chosen,) = env.rng.choices(others, [server.users_max - server.users for server in others])
    hold = SeatHold(
        0,
        message.user,
        new_jti(env),
        content.tokens.seat_hold_ms,
        message.session_epoch,
        message.name,
    )
    return Outcome(asks=(Ask(chosen.number, hold, Code.SERVER_AWAY),))


def seat_found(message: SeatHeld, env: Env) -> Outcome:
    """PREPARE on behalf of the leaving server that asked, and the token for its player. Called by
    the rule of SEAT_HELD; an epoch that is over changes nothing and tells nobody."""
    if not message.held:
        return Outcome()
    content: Content = env.content
    user, epoch = message.user, message.session_epoch
    token = sign(
        env,
        MOVE,
        str(message.number),
        player_claims(user, message.name, epoch),
        content.tokens.move_s,
        message.jti,
    )
    return Outcome(
        replies=(SeatFound(user, epoch, message.number, message.host, message.port, token),),
        row=PlacePrepared(
            user=user,
            session_epoch=epoch,
            target_number=message.number,
            jti=message.jti,
            expires_ms=env.now_ms + content.tokens.move_s * 1000,
            owner_number=env.sender.peer,  # a server sends away nobody but its own players
        ),
        row_refused=Refuse(Code.SESSION_OVER),
    )


@handles(Op.NODE_LEAVING, by="node", needs=("sessions", "servers"))
def leave(message: NodeLeaving, *, sessions: Sessions, servers: Servers, env: Env) -> Outcome:
    """This center drains: another open one takes the session over. Without any, the player shows
    his session token here again when this center is back."""
    others = open_servers(servers, "center", env)
    if not others or sessions.get(message.user) is None:
        return Outcome()
    there = env.rng.choice(others)
    told = ServerLeaving(there.number, there.host, there.port)
    return Outcome(sends=(SendAway(message.user, told),))


def open_servers(servers: Servers, role: str, env: Env) -> list[ServerSeen]:
    """The servers of a role that are open and were heard of lately, without this one."""
    content: Content = env.content
    fresh_ms = env.now_ms - content.channels.load_fresh_ms
    return [
        server
        for server in servers.of_role(role)
        if server.open and server.seen_ms >= fresh_ms and server.number != env.node.number
    ]


def centers(servers: Servers, env: Env) -> list[Address]:
    """Where a session may be resumed: here, or at any other open center."""
    others = open_servers(servers, "center", env)
    return [(env.node.host, env.node.port), *((one.host, one.port) for one in others)]
