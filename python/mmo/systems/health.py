"""Answering how a server is. Installed on every role; asked by centers over their links."""

from mmo.contract import Env, Outcome, handles
from mmo.wire.messages.link import NodeHealth, NodeHealthOk
from mmo.wire.opcode import Op


@handles(Op.NODE_HEALTH, by="peer", peers=("center",))
def answer_health(message: NodeHealth, *, env: Env) -> Outcome:
    """Number, role and generation; ready unless it is draining."""
    node = env.node
    return Outcome(
        replies=(
            NodeHealthOk(
                message.request, node.number, node.role, not node.draining, node.generation
            ),
        )
    )
