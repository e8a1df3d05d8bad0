"""The proxy that breaks lines: byte for byte when left alone, each trouble as it says."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from mmo.proof.fault_proxy import Proxies, Proxy

LIMIT_S = 10.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


def through(work: Callable[[Proxy], Awaitable[None]]) -> None:
    """Run `work` with a proxy in front of an echo."""

    async def run() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        proxy = Proxy(server.sockets[0].getsockname()[1])
        await proxy.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                await work(proxy)
        finally:
            await proxy.close()
            server.close()

    asyncio.run(run())


async def dial(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.listens)


@pytest.mark.parametrize("trouble", ["", "drip", "delay"])
def test_bytes_that_are_not_lost_arrive_whole_and_in_order(trouble: str) -> None:
    async def work(proxy: Proxy) -> None:
        reader, writer = await dial(proxy)
        proxy.trouble, proxy.up, proxy.down = trouble, True, True
        sent = bytes(range(200))
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        assert proxy.lines == 1

    through(work)


def test_a_reset_ends_the_line_at_once() -> None:
    async def work(proxy: Proxy) -> None:
        reader, writer = await dial(proxy)
        writer.write(b"first")
        assert await reader.readexactly(5) == b"first"
        assert proxy.reset() == 1
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)

    through(work)


def test_lost_bytes_never_arrive_and_a_torn_line_ends_when_it_heals() -> None:
    async def work(proxy: Proxy) -> None:
        reader, writer = await dial(proxy)
        writer.write(b"first")
        assert await reader.readexactly(5) == b"first"
        proxy.trouble, proxy.up = "loss", True
        writer.write(b"lost")
        await proxy.tore.wait()
        proxy.heal()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)

    through(work)


def test_trouble_is_made_only_where_somebody_is() -> None:
    async def run() -> None:
        proxies = Proxies([1])
        with pytest.raises(LookupError):
            await proxies.trouble("reset", random.Random(1), 0.0)
        assert proxies.via(2) == 2

    asyncio.run(run())


def test_what_a_client_says_arrives_on_a_second_connection_and_is_answered_once() -> None:
    heard: list[bytes] = []
    both = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(4))
        if len(heard) == 2:
            both.set()
        writer.write(b"answer")
        await reader.read()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        proxy = Proxy(server.sockets[0].getsockname()[1])
        await proxy.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                proxy.trouble = "double"
                reader, writer = await dial(proxy)
                writer.write(b"said")
                assert await reader.readexactly(6) == b"answer"
                writer.write_eof()
                assert await reader.read() == b""
                await both.wait()
        finally:
            await proxy.close()
            server.close()
        assert heard == [b"said", b"said"]

    asyncio.run(run())
