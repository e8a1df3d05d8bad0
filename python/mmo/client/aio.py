"""The asynchronous shell: sockets of asyncio under the client protocol.

Owns reading and writing only; matching of answers is `protocol`, manners are `session`. Used by
bots, proofs, tests and a game's own scripts.
"""

import asyncio
import contextlib
from collections import deque
from typing import Any, TypeVar

from mmo.client.datagrams import Datagrams
from mmo.client.protocol import PUSHES_KEPT, Answer, ClientProtocol, Event, Push, Token, hello
from mmo.client.shell import AsyncShell
from mmo.client.steps import Dial, Lost, Walk
from mmo.errors import WireError
from mmo.wire.messages.raid import DatagramKey

T = TypeVar("T")

DIAL_S = 10.0
READ_BYTES = 65536


class Connection:
    """One connection to one server. Not for use by two tasks at once."""

    def __init__(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.name = name
        self.protocol = ClientProtocol()
        self.pushes: deque[Any] = deque(maxlen=PUSHES_KEPT)
        self._reader = reader
        self._writer = writer
        self._events: deque[Event] = deque()
        self.datagrams: Datagrams | None = None
        self._socket: asyncio.DatagramTransport | None = None
        self._arrived: asyncio.Event | None = None
        self._reading: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, host: str, port: int, *, source: str = "", name: str = "") -> "Connection":
        """Dial `host:port`, from the local address `source` when one is given. Raises `Lost`."""
        lane = name or f"{host}:{port}"
        try:
            async with asyncio.timeout(DIAL_S):
                reader, writer = await asyncio.open_connection(
                    host, port, local_addr=(source, 0) if source else None
                )
        except (OSError, TimeoutError) as fault:
            raise Lost(lane, 0, f"cannot dial {host}:{port}: {fault}") from None
        return cls(lane, reader, writer)

    def send(self, message: Any) -> int:
        """Write a message; returns its request number. Raises `Lost` when the connection is
        closing."""
        if self._writer.is_closing():
            raise Lost(self.name, self.protocol.reason)
        seq, data = self.protocol.ask(message)
        self._writer.write(data)
        return seq

    def write(self, data: bytes) -> None:
        """Write raw bytes (hostile tests)."""
        self._writer.write(data)

    async def receive(self, wait_s: float) -> Event | None:
        """The next event, None after `wait_s`. Raises `Lost` at the end of the connection."""
        try:
            async with asyncio.timeout(wait_s):
                while not self._events:
                    if self.protocol.reason:
                        raise Lost(self.name, self.protocol.reason)
                    data = await self._read()
                    if data is None:
                        continue
                    if not data:
                        raise Lost(self.name, self.protocol.reason)
                    self._events.extend(self.protocol.receive(data))
        except TimeoutError:
            return None
        except OSError as fault:
            raise Lost(self.name, self.protocol.reason, str(fault)) from None
        return self._events.popleft()

    async def _read(self) -> bytes | None:
        """Bytes of the connection, empty at its end; None when datagrams came instead."""
        if self._arrived is None:
            return await self._reader.read(READ_BYTES)
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._reader.read(READ_BYTES))
        coming = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait((self._reading, coming), return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()  # the read goes on: what it took must not be lost with a deadline
        if self._reading.done():
            reading, self._reading = self._reading, None
            return reading.result()
        self._arrived.clear()
        return None

    async def prove(self, key: DatagramKey) -> None:
        """Prove an address with `key`, from now on or once more; what arrives there is received as
        pushes. Raises `Lost` when no socket can be opened."""
        if self.datagrams is None or self._socket is None:
            host = self._writer.get_extra_info("peername")[0]
            own = self._writer.get_extra_info("sockname")[0]
            self.datagrams = Datagrams(key)
            self._arrived = asyncio.Event()
            loop = asyncio.get_running_loop()
            try:
                self._socket, _ = await loop.create_datagram_endpoint(
                    lambda: _Arrivals(self), local_addr=(own, 0), remote_addr=(host, key.port)
                )
            except OSError as fault:
                raise Lost(self.name, 0, f"no datagram socket: {fault}") from None
        self._socket.sendto(self.datagrams.proof())

    def arrived(self, datagram: bytes) -> None:
        """One datagram came."""
        assert self.datagrams is not None and self._arrived is not None
        message = self.datagrams.receive(datagram)
        if message is not None:
            self._events.append(Push(message))
            self._arrived.set()

    async def ask(self, message: Any, wait_s: float = 10.0) -> Any:
        """Send one message and return its answer; what is pushed meanwhile goes to `pushes`. Raises
        `Lost`, also when there is no answer within `wait_s`."""
        seq = self.send(message)
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            event = await self.receive(max(0.0, until - loop.time()))
            if event is None:
                raise Lost(self.name, 0, f"no answer to {type(message).__name__}")
            if isinstance(event, Answer) and event.seq == seq:
                return event.message
            if isinstance(event, Push):
                self.pushes.append(event.message)

    async def push(self, kind: type[T], wait_s: float = 10.0) -> T:
        """The next pushed message of a kind. Raises `Lost` when none comes within `wait_s`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            for at, message in enumerate(self.pushes):
                if isinstance(message, kind):
                    del self.pushes[at]
                    return message
            event = await self.receive(max(0.0, until - loop.time()))
            if event is None:
                raise Lost(self.name, 0, f"no {kind.__name__} was pushed")
            if isinstance(event, Push):
                self.pushes.append(event.message)

    async def enter(self, token: str) -> Any:
        """Say hello and show a token; returns the answer to the token."""
        await self.ask(hello())
        return await self.ask(Token(token))

    async def ended(self, wait_s: float) -> int:
        """Wait for the end of the connection; returns the reason told, 0 for none. Raises
        `TimeoutError` when it still lives after `wait_s`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while loop.time() < until:
            try:
                await self.receive(max(0.001, until - loop.time()))
            except Lost as lost:
                return lost.reason
            except WireError:
                continue
        raise TimeoutError(f"{self.name} still lives")

    def cut(self, reason: int = 0) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()
        self._deafen()

    def _deafen(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def close(self) -> None:
        """End the connection."""
        self._deafen()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class _Arrivals(asyncio.DatagramProtocol):
    """Hands datagrams to their connection; an address that cannot be reached is no news."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._connection.arrived(data)


class Shell(AsyncShell[Connection]):
    """Carries out the steps of one walk. `source`: local address its connections come from."""

    def __init__(self, source: str = "") -> None:
        super().__init__()
        self.source = source

    async def dial(self, step: Dial) -> Connection:
        """Open a connection. Raises `Lost`."""
        source = self.source if step.host.startswith("127.") else ""
        return await Connection.open(step.host, step.port, source=source, name=step.lane)

    async def pause(self, wait_s: float) -> None:
        """Let time pass."""
        await asyncio.sleep(wait_s)


async def walk_alone(walk: Walk[T], source: str = "") -> T:
    """Walk once on a shell of its own and cut its connections afterwards."""
    shell = Shell(source)
    try:
        return await shell.walk(walk)
    finally:
        shell.cut_all()
