"""A whole cluster from outside: its processes, numbers, links and what Redis shows of players.

Owns one cluster for all its tests: the nodes in the box, a second center and a third channel
server, both by table entries alone. Judges as an operator would: control sockets, Redis, clients.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest
from redis.cluster import RedisCluster

from mmo.client.aio import Shell
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.journeys import choose_channel, hunt_while, settle
from mmo.client.meter import Meter
from mmo.client.session import arrive, log_out, register, servers
from mmo.cluster import control
from mmo.cluster.secret_files import read_secrets
from mmo.config.load import load_config
from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.state.player import Snapshot

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

WAIT_S = 20.0
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


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """The cluster, started by the product's own command and stopped by it."""
    made = Arena(None, OVERLAY)
    asyncio.run(made.__aenter__())
    try:
        yield made
    finally:
        asyncio.run(made.__aexit__())


async def until(true: Callable[[], Awaitable[bool]]) -> bool:
    """Ask again and again, each time over a socket, until it is true or the time is over."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        if await true():
            return True
    return False


async def details(arena: Arena, name: str) -> dict[str, Any]:
    """What a node says of itself."""
    socket = arena.home.socket(name, arena.file())
    return await control.ask_async(socket, {"ask": "status"}, 2.0)


def hero_of(arena: Arena, seed: int) -> tuple[Hero, Shell]:
    """A new player and the connections he uses."""
    (me,) = muster(arena.addresses("login"), 1, seed, Meter())
    return me, Shell(source_of(seed))


def redis_of(arena: Arena) -> RedisCluster:
    """The cluster's Redis, as an operator reaches it."""
    config = load_config(environment={}).config
    host, _, port = arena.file().redis_nodes[0].rpartition(":")
    password = read_secrets(arena.home, config).redis
    return RedisCluster(host=host, port=int(port), password=password)


async def test_every_role_is_a_process_of_its_own(arena: Arena) -> None:
    rows = (await arena.status())["nodes"]
    assert {(row["name"], row["role"], row["number"]) for row in rows} == set(NODES)
    pids = [row["pid"] for row in rows]
    assert len(set(pids)) == len(NODES)
    for pid in pids:
        os.kill(pid, 0)  # raises when there is no such process


async def test_numbers_and_ports_are_unique_and_come_from_one_table(arena: Arena) -> None:
    nodes = arena.file().nodes
    numbers = [node.number for node in nodes]
    ports = [port for node in nodes for port in (node.client_port, node.link_port) if port > 0]
    assert len(set(numbers)) == len(numbers) and len(set(ports)) == len(ports)


async def test_a_server_of_four_more_lines_is_listed_and_entered(arena: Arena) -> None:
    me, shell = hero_of(arena, 7001)
    try:
        await shell.walk(register(me))
        await shell.walk(arrive(me))
        rows = await shell.walk(servers(me))
        assert {row.number for row in rows if row.open} == {11, 12, 13}
        await shell.walk(log_out(me))
    finally:
        shell.cut_all()


@pytest.mark.parametrize("name", [name for name, role, _ in NODES if role != "center"])
async def test_every_server_is_linked_to_every_center(arena: Arena, name: str) -> None:
    async def linked() -> bool:
        return set((await details(arena, name))["links"]) >= CENTERS

    assert await until(linked), (await details(arena, name))["links"]


async def test_centers_are_linked_and_raid_is_linked_to_matching(arena: Arena) -> None:
    async def linked() -> bool:
        centers = set((await details(arena, "center-1"))["links"])
        return 3 in centers and 21 in (await details(arena, "raid-1"))["links"]

    assert await until(linked)


async def test_the_cash_server_is_linked_to_the_center(arena: Arena) -> None:
    async def linked() -> bool:
        return 41 in (await details(arena, "center-1"))["links"]

    assert await until(linked)


async def test_a_second_server_with_a_taken_number_is_refused(arena: Arena) -> None:
    before = (await arena.node("raid-1"))["pid"]
    with pytest.raises(OperatorError, match="E07"):
        await arena.command("run", "raid", "--number", "31")
    row = await arena.node("raid-1")
    assert row["ready"] and row["pid"] == before


async def test_a_player_is_seen_online_in_redis_and_offline_after_leaving(arena: Arena) -> None:
    me, shell = hero_of(arena, 7002)
    redis = redis_of(arena)
    try:
        await shell.walk(register(me))
        told = await shell.walk(arrive(me))
        key = f"{{u:{told.user}}}:online"

        async def shown(word: bytes) -> bool:
            value = await asyncio.to_thread(redis.get, key)
            return value is not None and word in value

        assert await until(lambda: shown(b"online"))
        await shell.walk(log_out(me))

        async def gone() -> bool:
            value = await asyncio.to_thread(redis.get, key)
            return value is None or b"offline" in value

        assert await until(gone)
    finally:
        shell.cut_all()
        redis.close()


async def test_a_new_level_is_in_redis_at_once_and_the_cache_may_be_dropped(arena: Arena) -> None:
    me, shell = hero_of(arena, 7003)
    redis = redis_of(arena)
    try:
        await shell.walk(register(me))
        told = await shell.walk(arrive(me))
        await shell.walk(settle(me))
        await shell.walk(choose_channel(me))
        await shell.walk(hunt_while(me, lambda: me.record.level < 2))
        key = f"{{u:{told.user}}}:snap"

        async def same() -> bool:
            blob = await asyncio.to_thread(redis.hget, key, "blob")
            return isinstance(blob, bytes) and (
                msgspec.msgpack.decode(blob, type=Snapshot).level == me.record.level
            )

        assert await until(same)
        assert redis.ttl(key) > 0
    finally:
        shell.cut_all()
        redis.close()


async def test_the_login_before_this_one_is_told(arena: Arena) -> None:
    me, shell = hero_of(arena, 7004)
    try:
        await shell.walk(register(me))
        first = await shell.walk(arrive(me))
        await shell.walk(log_out(me))
        second = await shell.walk(arrive(me))
    finally:
        shell.cut_all()
    assert first.last_login_ms == 0
    assert 0 < second.last_login_ms <= second.now_ms


async def test_a_lost_center_is_dialled_again_by_all(arena: Arena) -> None:
    dead = await arena.kill_node("center-2")
    assert await arena.repaired_s("center-2", dead) is not None

    async def linked() -> bool:
        links = [set((await details(arena, name))["links"]) for name, _, n in NODES if n != 3]
        return all(3 in numbers for numbers in links)

    assert await until(linked)


async def test_one_server_is_stopped_in_order_and_the_others_go_on(arena: Arena) -> None:
    said = await arena.command("stop", "channel-3")
    assert said["stopped"] == ["channel-3"] and said["unflushed"] == 0
    rows = {row["name"]: row for row in (await arena.status())["nodes"]}
    assert not rows["channel-3"]["ready"]
    assert all(row["ready"] for name, row in rows.items() if name != "channel-3")
