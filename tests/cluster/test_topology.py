"""A whole cluster from outside: its processes, numbers, links and the order of its stopping.

Owns the questions only; judges as an operator would, by the command line and the control sockets.
"""

import os

import pytest
from tests.cluster.seen import CENTERS, NODES, details, hero_of, looked, until

from mmo.client.coming_back import come_back
from mmo.client.hunting import settle
from mmo.client.session import arrive, log_out, register, servers
from mmo.client.steps import CENTER, Lost
from mmo.errors import OperatorError
from mmo.proof.arena import Arena

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


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

        async def listed() -> bool:
            rows = await shell.walk(looked(me))
            return {row.number for row in rows if row.open} == {11, 12, 13}

        assert await until(listed)
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
    assert await arena.ready_s() is not None
    assert (await arena.node("raid-1"))["pid"] == before


async def test_a_lost_center_is_dialled_again_by_all(arena: Arena) -> None:
    dead = await arena.kill_node("center-2")
    assert await arena.repaired_s("center-2", dead) is not None

    async def linked() -> bool:
        links = [set((await details(arena, name))["links"]) for name, _, n in NODES if n != 3]
        return all(3 in numbers for numbers in links)

    assert await until(linked)


async def test_a_player_whose_center_is_gone_goes_on_at_another_without_a_login(
    arena: Arena,
) -> None:
    """It stays gone: he must have been told of the other one before."""
    me, shell = hero_of(arena, 7020)
    names = {("127.0.0.1", node.client_port): node.name for node in arena.file().nodes}
    try:
        await shell.walk(register(me))
        told = await shell.walk(arrive(me))
        await shell.walk(settle(me))
        assert me.center is not None and len(told.centers) == 2
        first = names[me.center]
        await arena.command("stop", first)
        lost = Lost(CENTER, await shell.lanes[CENTER].ended(10.0))
        await shell.walk(come_back(me, lost))
        assert names[me.center] != first and me.session_epoch == told.session_epoch
        assert {row.number for row in await shell.walk(servers(me))} >= {11, 12}
        await shell.walk(log_out(me))
    finally:
        shell.cut_all()
        await arena.command("start", deadline_s=60)


async def test_one_server_is_stopped_in_order_and_the_others_go_on(arena: Arena) -> None:
    async def others_serve() -> bool:
        rows = (await arena.status())["nodes"]  # who does not answer in time is shown as not ready
        return all(row["ready"] for row in rows if row["name"] != "channel-3")

    try:
        said = await arena.command("stop", "channel-3")
        assert said["stopped"] == ["channel-3"] and said["unflushed"] == 0
        assert await until(others_serve)
        assert not (await arena.node("channel-3"))["ready"]
    finally:
        assert (await arena.command("start", deadline_s=60))["ready"]
