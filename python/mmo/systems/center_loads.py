"""What a login server hears of the centers: where they are and how many players they hold."""

from mmo.contract import Env, Outcome, handles
from mmo.state.servers import LoadTold, Servers, ServerSeen
from mmo.wire.messages.link import ServerLoad
from mmo.wire.opcode import Op


@handles(Op.SERVER_LOAD, by="peer", peers=("center",), needs=("servers",))
def center_load(message: ServerLoad, *, servers: Servers, env: Env) -> Outcome:
    """One center told its load."""
    return load_told(message, env)


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
