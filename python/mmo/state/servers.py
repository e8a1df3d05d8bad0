"""The servers that a login server or a center hears of: where they are, how full, how well.

Volatile and always newest wins: each server tells of itself several times a second; one that fell
silent counts as away. Changes only through the effects of this file.
"""

from typing import Any, ClassVar

import msgspec

from mmo.state.change import Effect


class ServerSeen(msgspec.Struct, frozen=True):
    """What one server told last."""

    number: int
    role: str
    name: str
    host: str
    port: int
    users: int
    users_max: int  # 0: no limit of its own
    open: bool
    seen_ms: int


class HealthSeen(msgspec.Struct, frozen=True):
    """How one server answered last when asked for its health."""

    number: int
    role: str
    ready: bool
    generation: int
    seen_ms: int


class Servers:
    """All servers heard of, by number."""

    __slots__ = ("health", "loads")

    def __init__(self) -> None:
        self.loads: dict[int, ServerSeen] = {}
        self.health: dict[int, HealthSeen] = {}

    def of_role(self, role: str) -> list[ServerSeen]:
        """The servers of a role by number, fresh or not."""
        return sorted(
            (server for server in self.loads.values() if server.role == role),
            key=lambda server: server.number,
        )


class ServersEffect(Effect, frozen=True):
    """Base of the effects on `servers`."""

    of: ClassVar[str] = "servers"


class LoadTold(ServersEffect, frozen=True):
    """A server told its address and load."""

    server: ServerSeen

    def apply(self, state: Any) -> None:
        state.loads[self.server.number] = self.server


class HealthTold(ServersEffect, frozen=True):
    """A server answered for its health."""

    health: HealthSeen

    def apply(self, state: Any) -> None:
        state.health[self.health.number] = self.health
