"""The door in a link: what is cut arrives late and whole, what is not cut at once."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.test_fault_proxy import echo

from mmo.cluster.home import NodePorts
from mmo.cluster.process import identify
from mmo.proof.link_door import SILENT, LinkDoor, Trouble

LIMIT_S = 10.0


def arena() -> Any:
    """A cluster of which this very process is one server."""
    file = SimpleNamespace(processes={"here": identify(os.getpid())})
    return SimpleNamespace(file=lambda: file)


Serves = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def through(work: Callable[[LinkDoor, int], Awaitable[None]], serves: Serves = echo) -> None:
    """Run `work` with a door in front of an echo, or of what else serves."""

    async def run() -> None:
        server = await asyncio.start_server(serves, "127.0.0.1", 0)
        door = LinkDoor(arena(), random.Random(1))
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
        door._trouble = lambda pair: SILENT if pair == ("here", "there") else None
        writer.write(b"second")
        late, other = await asyncio.open_connection("127.0.0.1", port)  # dialled in the cut
        other.write(b"third")
        waiting = [asyncio.create_task(reader.readexactly(6)),
                   asyncio.create_task(late.readexactly(5))]  # fmt: skip
        done, _ = await asyncio.wait(waiting, timeout=0.2)
        assert not done
        door._trouble = lambda pair: None
        door._healed.set()
        assert await asyncio.gather(*waiting) == [b"second", b"third"]
        writer.close()
        other.close()

    through(work)


def test_another_pair_is_not_cut() -> None:
    async def work(door: LinkDoor, port: int) -> None:
        door._trouble = lambda pair: SILENT if pair == ("elsewhere", "there") else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()

    through(work)


@pytest.mark.parametrize("forth", [True, False])
def test_one_direction_alone_may_be_held(forth: bool) -> None:
    heard: list[bytes] = []
    came = asyncio.Event()

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            heard.append(data)
            if data == b"b":
                came.set()
            writer.write(data)
        writer.close()

    async def work(door: LinkDoor, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        door._trouble = lambda pair: Trouble(forth=forth, back=not forth)
        writer.write(b"b")
        waiting = asyncio.create_task(reader.readexactly(1))
        if not forth:
            await came.wait()
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done and heard == ([b"a"] if forth else [b"a", b"b"])
        door._trouble = lambda pair: None
        door._healed.set()
        assert await waiting == b"b"
        writer.close()

    through(work, answers)


def test_what_comes_late_comes_whole_and_in_order() -> None:
    async def work(door: LinkDoor, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        door._trouble = lambda pair: Trouble(late=True)
        writer.write(b"one")
        writer.write(b"two")
        assert await reader.readexactly(6) == b"onetwo"
        writer.close()

    through(work)


def test_a_link_that_is_reset_ends_and_may_be_dialled_again() -> None:
    async def work(door: LinkDoor, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        door._reset({("here", "there")})
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        again, other = await asyncio.open_connection("127.0.0.1", port)
        other.write(b"two")
        assert await again.readexactly(3) == b"two"
        writer.close()
        other.close()

    through(work)
