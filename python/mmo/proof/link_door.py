"""Doors in the links between servers: single links, or all of one server, are troubled for a while.

Owns the doors and the way servers are led through them: a trigger in the database tells each server
another port of its peers, for a few seconds that the trigger itself knows the end of. So a run that
is killed leaves links that mend themselves. A cut link is held as a network holds it that delivers
nothing: no byte and no end arrives, and what was held comes when the cut is over, unless the
servers gave the link up before. One direction alone may be held, what is said may come late, and
links may be reset. Judges nothing. Used by `nemesis`.
"""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import mysql.connector

from mmo.cluster.home import NodePorts
from mmo.proof.arena import Arena
from mmo.proof.economy_books import connected
from mmo.proof.fault_proxy import DELAY_S, reset

READ_BYTES = 65_536
THROUGH_S = 6.0
"""How long servers may take to dial through the doors, and to dial past them again: they look at
each other's addresses every second, and a lease is renewed every second."""

STILL_S = 1.6
"""So long without a new link: everyone has come through."""

TRIGGER_LIFE_S = 30
TRIGGERS = {"chaos_links_insert": "INSERT", "chaos_links_update": "UPDATE"}

Pair = tuple[str, str]
"""Names of who dialled and of whom he dialled."""


class Trouble(msgspec.Struct, frozen=True):
    """What becomes of a link. `forth`, `back`: whether what the dialler, what the dialled server
    says is held; `late`: whether all comes late; `resets`: whether it is reset as it begins."""

    forth: bool = False
    back: bool = False
    late: bool = False
    resets: bool = False


SILENT = Trouble(forth=True, back=True)


class LinkDoor:
    """In front of the link ports of one cluster, while something is cut."""

    def __init__(self, arena: Arena, rng: random.Random) -> None:
        self._arena = arena
        self._rng = rng
        self._links: dict[asyncio.Task[None], Pair] = {}
        self._trouble: Callable[[Pair], Trouble | None] = lambda pair: None
        self._healed = asyncio.Event()
        self._stands = False
        self._came = 0.0  # when the last link came through
        self._closing: asyncio.Task[None] | None = None

    async def cut(
        self,
        choose: Callable[[list[Pair]], list[Pair]],
        seconds: float,
        trouble: Trouble = SILENT,
    ) -> list[Pair]:
        """Lead all links through doors, and trouble those of the pairs that `choose` picks for so
        long; which. Raises `LookupError` when links cannot be led here or none is picked."""
        if self._stands:
            raise LookupError("links are being cut already")
        self._stands = True
        try:
            return await self._stand(choose, seconds, trouble)
        finally:
            self._stands = False

    async def _stand(
        self, choose: Callable[[list[Pair]], list[Pair]], seconds: float, trouble: Trouble
    ) -> list[Pair]:
        await self.close()
        self._healed.clear()
        nodes = [node for node in self._arena.file().nodes if node.link_port]
        servers = [await self._listen(node) for node in nodes]
        try:
            ports = {
                node.number: server.sockets[0].getsockname()[1]
                for node, server in zip(nodes, servers, strict=True)
            }
            await asyncio.to_thread(_lead, self._arena, ports)
            picked = choose(await self._through())
            if not picked:
                raise LookupError("no link to cut goes through the doors now")
            troubled = set(picked)
            self._trouble = lambda pair: trouble if pair in troubled else None
            if trouble.resets:
                self._reset(troubled)
            await asyncio.sleep(seconds)
            return picked
        finally:
            self._trouble = lambda pair: None
            self._healed.set()
            # Servers find their own way back while the next fault strikes.
            self._closing = asyncio.create_task(self._close(servers))

    def _reset(self, pairs: set[Pair]) -> None:
        for task, pair in self._links.items():
            if pair in pairs:
                task.cancel()

    async def close(self) -> None:
        """Wait until every link of before goes past the doors again."""
        if self._closing is not None:
            await self._closing
            self._closing = None

    async def _through(self) -> list[Pair]:
        """The links that were led through, when no more come."""
        until = time.monotonic() + THROUGH_S
        while time.monotonic() < until:
            await asyncio.sleep(0.1)
            if self._links and time.monotonic() - self._came > STILL_S:
                break
        return sorted({pair for pair in self._links.values() if all(pair)})

    async def _listen(self, node: NodePorts) -> asyncio.Server:
        tasks: set[asyncio.Task[None]] = set()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # A task of its own: the server's own would cry when it is cancelled.
            ends = [writer.get_extra_info(end)[1] for end in ("peername", "sockname")]
            pair = (self._who(*ends), node.name)
            task = asyncio.create_task(self._link(pair, node.link_port, reader, writer))
            self._came = time.monotonic()
            self._links[task] = pair
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            task.add_done_callback(lambda task: self._links.pop(task, None))

        return await asyncio.start_server(accepted, "127.0.0.1", 0)

    def _who(self, port: int, door_port: int) -> str:
        """The server whose process holds the other end of a connection; empty: none of them."""
        inode = _inode_of(port, door_port)
        for name, process in self._arena.file().processes.items():
            if inode and inode in _sockets_of(process.pid):
                return name
        return ""

    async def _link(
        self, pair: Pair, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there = None
        try:
            await self._dialled(pair)
            there_reader, there = await asyncio.open_connection("127.0.0.1", port)
            pumps = [
                asyncio.create_task(self._pump(pair, reader, there, forth=True)),
                asyncio.create_task(self._pump(pair, there_reader, writer, forth=False)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
        except OSError:
            return  # the server is away
        except asyncio.CancelledError:
            for one in (writer, there):
                if one is not None:
                    reset(one)
            raise
        finally:
            for one in (writer, there):
                if one is not None:
                    one.transport.abort()

    async def _pump(
        self,
        pair: Pair,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        forth: bool,
    ) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # one end went: so does the other
            while data := await reader.read(READ_BYTES):
                await self._said(pair, forth)
                writer.write(data)
                await writer.drain()
            await self._said(pair, forth)  # nor does an end arrive through a cut

    async def _said(self, pair: Pair, forth: bool) -> None:
        """Whatever becomes of what is said on a link now."""
        trouble = self._trouble(pair)
        if trouble is None:
            return
        if trouble.forth if forth else trouble.back:
            await self._healed.wait()
        if trouble.late:
            await asyncio.sleep(self._rng.uniform(*DELAY_S))

    async def _dialled(self, pair: Pair) -> None:
        """A dial needs both directions."""
        trouble = self._trouble(pair)
        if trouble is not None and (trouble.forth or trouble.back):
            await self._healed.wait()

    async def _close(self, servers: list[asyncio.Server]) -> None:
        """Lead nobody any more; end what still goes through after a while."""
        until = time.monotonic() + 2 * THROUGH_S
        while time.monotonic() < until:
            try:
                await asyncio.to_thread(_lead, self._arena, {})
                break
            except LookupError:  # the database is away: it is the next fault's
                await asyncio.sleep(0.5)
        if self._links:
            await asyncio.wait(list(self._links), timeout=THROUGH_S)
        for server in servers:
            server.close()
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _lead(arena: Arena, ports: dict[int, int]) -> None:
    """Tell servers other link ports from now on; without any, their own again."""
    cases = " ".join(f"WHEN {number:d} THEN {port:d}" for number, port in ports.items())
    until = int(time.time()) + TRIGGER_LIFE_S
    statements = [f"DROP TRIGGER IF EXISTS {name}" for name in TRIGGERS]
    if ports:
        statements += [
            f"CREATE TRIGGER {name} BEFORE {moment} ON node_lease FOR EACH ROW "
            f"SET NEW.link_port = IF(UNIX_TIMESTAMP() < {until:d} AND NEW.link_port > 0, "
            f"CASE NEW.number {cases} ELSE NEW.link_port END, NEW.link_port)"
            for name, moment in TRIGGERS.items()
        ]
    try:
        connection = connected(arena)
        try:
            cursor = connection.cursor()
            cursor.execute("SET SESSION lock_wait_timeout = 5")
            for statement in statements:
                cursor.execute(statement)
        finally:
            connection.close()
    except mysql.connector.Error as error:
        raise LookupError(f"links cannot be led elsewhere: {error}") from error


def _inode_of(port: int, to_port: int) -> str:
    """The socket of 127.0.0.1 that is connected from one local port to another, as `/proc` names
    it. By both: the kernel gives a port again for another destination, and keeps the rows of ended
    connections for a minute."""
    ends = [f"0100007F:{one:04X}" for one in (port, to_port)]
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == ends:
            return f"socket:[{fields[9]}]"
    return ""


def _sockets_of(pid: int) -> set[str]:
    """Sockets that a process holds."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(entry.path))
    return found
