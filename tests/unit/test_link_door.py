"""The door in a link: what is cut arrives late and whole, what is not cut at once."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from tests.unit.test_fault_proxy import echo

from mmo.cluster.home import NodePorts
from mmo.cluster.process import identify
from mmo.proof.link_door import LinkDoor

LIMIT_S = 10.0


def arena() -> Any:
    """A cluster of which this very process is one server."""
    file = SimpleNamespace(processes={"here": identify(os.getpid())})
    return SimpleNamespace(file=lambda: file)


def through(work: Callable[[LinkDoor, int], Awaitable[None]]) -> None:
    """Run `work` with a door in front of an echo."""

    async def run() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        door = LinkDoor(arena())
        node = NodePorts("there", "center", 2, 0, server.sockets[0].getsockname()[1], 0)
        listens = await door._listen(node)
        try:
            async with asyncio.timeout(LIMIT_S):
                await work(door, listens.sockets[0].getsockname()[1])
        finally:
            listens.close()
            tasks = list(door._links)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            server.close()

    asyncio.run(run())


def test_a_link_goes_through_and_both_ends_are_known() -> None:
    async def work(door: LinkDoor, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert list(door._links.values()) == [("here", "there")]
        writer.close()

    through(work)


def test_what_a_cut_held_comes_whole_and_in_order_when_it_is_over() -> None:
    async def work(door: LinkDoor, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"first")
        assert await reader.readexactly(5) == b"first"
        door._cut = lambda pair: pair == ("here", "there")
        writer.write(b"second")
        late, other = await asyncio.open_connection("127.0.0.1", port)  # dialled in the cut
        other.write(b"third")
        waiting = [asyncio.create_task(reader.readexactly(6)),
                   asyncio.create_task(late.readexactly(5))]  # fmt: skip
        done, _ = await asyncio.wait(waiting, timeout=0.2)
        assert not done
        door._cut = lambda pair: False
        door._healed.set()
        assert await asyncio.gather(*waiting) == [b"second", b"third"]
        writer.close()
        other.close()

    through(work)


def test_another_pair_is_not_cut() -> None:
    async def work(door: LinkDoor, port: int) -> None:
        door._cut = lambda pair: pair == ("elsewhere", "there")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()

    through(work)
