"""What the core must know of a role: who may send which opcode, and under which rate class.

Owns the derivation of the opcode tables from the handler table. Never opens anything. Called by the
node before it makes its core.
"""

from typing import Any

from mmo.contract import Role
from mmo.node.handlers import LINK_OPCODES, RATES, Table
from mmo.wire.opcode import Op

STATE_OPEN, STATE_USER, STATE_BOTH = 0, 1, 2


def core_fields(role: Role, table: Table, number: int, roles: tuple[str, ...]) -> dict[str, Any]:
    """The fields of the core's settings that follow from the role. `roles`: all roles of the
    cluster. Rate classes are indices into `handlers.RATES`."""
    hello, ping = RATES.index("hello"), RATES.index("ping")
    client = [(int(Op.HELLO), STATE_BOTH, hello), (int(Op.PING), STATE_BOTH, ping)]
    if role.token_types:
        client.append((int(Op.ENTER), STATE_OPEN, hello))
    for state, routes in ((STATE_OPEN, table.open), (STATE_USER, table.user)):
        client += [(opcode, state, RATES.index(route.rate)) for opcode, route in routes.items()]
    return {
        "role": role.name,
        "server_number": number,
        "client_opcodes": sorted(client),
        "core_echo_opcodes": [(int(Op.PING), int(Op.PONG))],
        "link_opcodes": sorted(_link_opcodes(table, roles)),
        "token_audiences": [role.name, str(number), "session"],
        "token_types": list(role.token_types),
    }


def _link_opcodes(table: Table, roles: tuple[str, ...]) -> set[tuple[str, int]]:
    allowed = {
        (peer, opcode) for opcode, route in table.peer.items() for peer in route.peers or roles
    }
    answers = [opcode for opcode in table.node if opcode in LINK_OPCODES]
    allowed |= {(peer, opcode) for opcode in answers for peer in roles}
    return allowed | {(peer, int(Op.LEASE_SEEN)) for peer in roles}
