"""Which systems, edges, states and links make each kind of server."""

from collections.abc import Mapping
from types import MappingProxyType

from mmo.contract import Role
from mmo.roles import cash, center, channel, login, matching, raid

ROLES: Mapping[str, Role] = MappingProxyType(
    {
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
)
"""All roles by name."""
