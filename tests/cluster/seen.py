"""One running cluster for all tests of this folder that only look at it, and how they look.

Owns the table of its nodes: those in the box, a second center and a third channel server, both by
table entries alone. Starts and stops nothing itself; `conftest` does.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.cluster import RedisCluster

from mmo.client.aio import Shell
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.hunting import hunt_while, settle
from mmo.client.meter import Meter
from mmo.client.session import arrive, register, servers
from mmo.client.steps import Pause, Walk
from mmo.cluster import control
from mmo.cluster.secret_files import read_secrets
from mmo.config.load import load_config
from mmo.proof.arena import Arena
from mmo.wire.messages.presence import ServerRow

WAIT_S = 20.0
LOOK_EVERY_MS = 250  # under the rate that a client may ask for lists with
NODES = (
    *(("login-1", "login", 1), ("center-1", "center", 2), ("center-2", "center", 3)),
    *(("channel-1", "channel", 11), ("channel-2", "channel", 12), ("channel-3", "channel", 13)),
    *(("matching-1", "matching", 21), ("raid-1", "raid", 31), ("cash-1", "cash", 41)),
)
OVERLAY = "".join(
    f'[[nodes]]\nname = "{name}"\nrole = "{role}"\nnumber = {number}\n'
    for name, role, number in NODES
)
CENTERS = {2, 3}


async def until(true: Callable[[], Awaitable[bool]]) -> bool:
    """Ask again and again, each time over a socket, until it is true or the time is over."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        if await true():
            return True
    return False


def looked(me: Hero) -> Walk[list[ServerRow]]:
    """The list of servers, at the pace of a client that looks again and again."""
    yield Pause(LOOK_EVERY_MS)
    rows = yield from servers(me)
    return rows


async def details(arena: Arena, name: str) -> dict[str, Any]:
    """What a node says of itself."""
    socket = arena.home.socket(name, arena.file())
    return await control.ask_async(socket, {"ask": "status"}, 2.0)


def hero_of(arena: Arena, seed: int) -> tuple[Hero, Shell]:
    """A new player and the connections he uses."""
    (me,) = muster(arena.addresses("login"), 1, seed, Meter())
    return me, Shell(source_of(seed))


async def playing(arena: Arena, seed: int) -> tuple[Hero, Shell]:
    """A player at a channel server who has hunted, with his connection to a center."""
    me, shell = hero_of(arena, seed)
    await shell.walk(register(me))
    await shell.walk(arrive(me))
    await shell.walk(settle(me))
    await shell.walk(hunt_while(me, lambda: me.record.kills < 1))
    return me, shell


def redis_of(arena: Arena) -> RedisCluster:
    """The cluster's Redis, as an operator reaches it."""
    config = load_config(environment={}).config
    host, _, port = arena.file().redis_nodes[0].rpartition(":")
    password = read_secrets(arena.home, config).redis
    return RedisCluster(host=host, port=int(port), password=password)
