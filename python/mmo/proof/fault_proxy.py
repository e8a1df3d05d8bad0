"""A proxy between clients and servers that breaks connections on request: TCP, byte for byte.

Owns its listeners and the trouble it makes: bytes of one direction vanish, come late, come one by
one, the connection is reset, or all that a client says arrives on a second connection too. A
stream with vanished bytes is reset when the trouble ends, as no TCP could heal it. Judges nothing.
Used by `nemesis`; bots dial it instead of a node.
"""

import asyncio
import contextlib
import random
import socket as sockets
import struct
from collections.abc import Callable

READ_BYTES = 65_536
DRIP_BYTES = 3
DRIP_S = 0.01
DELAY_S = (0.05, 0.6)


class Line:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.torn = False  # bytes are missing: it cannot go on
        self.double: asyncio.StreamWriter | None = None  # hears what the server hears

    def reset(self) -> None:
        """RST to both ends."""
        reset(self.client)
        reset(self.server)


def reset(writer: asyncio.StreamWriter) -> None:
    """RST to whoever is at the other end."""
    transport, sock = writer.transport, writer.get_extra_info("socket")
    if transport is None:
        return
    # The number of a socket that is being closed may be another's by now.
    if sock is not None and not transport.is_closing():
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):  # it may have ended by itself
            sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, linger)
    transport.abort()


class Proxy:
    """In front of one port. `trouble`: what is made of it now, "" for nothing; `up` and `down`:
    which directions are troubled."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.listens = 0
        self.trouble = ""
        self.up = self.down = False
        self.tore = asyncio.Event()  # bytes vanished since the last healing
        self.rng = random.Random(port)
        self._lines: set[Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.listens = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def lines(self) -> int:
        """Connections now."""
        return len(self._lines)

    def reset(self, only: Callable[[Line], bool] = lambda line: True) -> int:
        """Reset connections; how many."""
        found = [line for line in self._lines if only(line)]
        for line in found:
            line.reset()
        return len(found)

    def heal(self) -> None:
        """No more trouble; what lost bytes is reset."""
        self.trouble, self.up, self.down = "", False, False
        self.tore.clear()
        self.reset(lambda line: line.torn)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("peername")[0]  # limits per address still see the client
        try:
            there_reader, there_writer = await asyncio.open_connection(
                "127.0.0.1", self.port, local_addr=(address, 0)
            )
        except OSError:
            writer.transport.abort()
            return
        line = Line(writer, there_writer)
        if self.trouble == "double":
            with contextlib.suppress(OSError):
                # Its answers are never read; a server that fills its line ends it.
                _, line.double = await asyncio.open_connection(
                    "127.0.0.1", self.port, local_addr=(address, 0)
                )
        self._lines.add(line)
        pumps = [
            asyncio.create_task(self._pump(line, reader, there_writer, True)),
            asyncio.create_task(self._pump(line, there_reader, writer, False)),
        ]
        self._tasks.update(pumps)
        for task in pumps:
            task.add_done_callback(self._tasks.discard)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        self._lines.discard(line)
        for one in (writer, there_writer, line.double):
            if one is not None:
                one.close()

    async def _pump(
        self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool
    ) -> None:
        try:
            while data := await reader.read(READ_BYTES):
                troubled = self.up if up else self.down
                if troubled and self.trouble == "loss":
                    line.torn = True
                    self.tore.set()
                    continue
                if troubled and self.trouble == "delay":
                    await asyncio.sleep(self.rng.uniform(*DELAY_S))
                if troubled and self.trouble == "drip":
                    for at in range(0, len(data), DRIP_BYTES):
                        writer.write(data[at : at + DRIP_BYTES])
                        await writer.drain()
                        if self.trouble == "drip":
                            await asyncio.sleep(DRIP_S)
                    continue
                if up and line.double is not None and not line.double.is_closing():
                    line.double.write(data)
                writer.write(data)
                await writer.drain()
        except (OSError, RuntimeError):  # uvloop's word for a closed one
            return  # one end went: so does the other


class Proxies:
    """One in front of each client port."""

    def __init__(self, ports: list[int]) -> None:
        self._proxies = {port: Proxy(port) for port in ports}

    async def start(self) -> None:
        """Listen for all."""
        for proxy in self._proxies.values():
            await proxy.start()

    async def close(self) -> None:
        """End all."""
        for proxy in self._proxies.values():
            await proxy.close()

    def via(self, port: int) -> int:
        """Where to dial instead of a port."""
        proxy = self._proxies.get(port)
        return port if proxy is None else proxy.listens

    async def trouble(self, kind: str, rng: random.Random, seconds: float) -> int:
        """Make trouble in front of one port that is in use, in one direction or both; its number.
        Raises `LookupError` when no port is in use."""
        used = [proxy for proxy in self._proxies.values() if proxy.lines]
        if not used:
            raise LookupError("no connection goes through a proxy now")
        proxy = rng.choice(sorted(used, key=lambda one: one.port))
        if kind == "reset":
            proxy.reset()
            return proxy.port
        proxy.up, proxy.down = rng.choice(((True, False), (False, True), (True, True)))
        proxy.trouble = kind
        if kind == "double":
            proxy.reset()  # who comes back comes twice
        try:
            await asyncio.sleep(seconds)
        finally:
            proxy.heal()
        return proxy.port
