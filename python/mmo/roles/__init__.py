"""Which systems, edges, states and links make each kind of server."""

from mmo.contract import Role
from mmo.roles import cash, center, channel, login, matching, raid

ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        login.ROLE,
        center.ROLE,
        channel.ROLE,
        matching.ROLE,
        raid.ROLE,
        cash.ROLE,
    )
}
"""All roles by name."""
