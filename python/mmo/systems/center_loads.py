"""How full a server is: said alike by every role, heard by login servers and centers."""

from mmo.contract import Env, Outcome, handles
from mmo.state.servers import LoadTold, Servers, ServerSeen
from mmo.wire.messages.link import ServerLoad
from mmo.wire.opcode import Op


@handles(Op.SERVER_LOAD, by="peer", peers=("center",), needs=("servers",))
def center_load(message: ServerLoad, *, servers: Servers, env: Env) -> Outcome:
    """One center told its load."""
    return load_told(message, env)


def load_of(env: Env, users: int, users_max: int) -> ServerLoad:
    """What this server tells of itself; `users_max` 0: no limit of its own."""
    node = env.node
    return ServerLoad(
        node.number,
        node.role,
        node.name,
        node.host,
        node.port,
        users,
        users_max,
        not node.draining,
    )


def load_told(message: ServerLoad, env: Env) -> Outcome:
    """The load of a server, of any role, as of now. Shared with the center's notices."""
    return Outcome(
        effects=(
            LoadTold(
                ServerSeen(
                    message.number,
                    message.role,
                    message.name,
                    message.host,
                    message.port,
                    message.users,
                    message.users_max,
                    message.open,
                    env.now_ms,
                )
            ),
        )
    )
