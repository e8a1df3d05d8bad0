"""A door in front of the database's Unix socket, through which one process is not let.

Owns the socket's name for as long as the door stands: the real socket is renamed, the door listens
in its place, lines of before are ended by the database, and each new one is let through or held by
the pid of who dials. Afterwards the real socket has its name again. Judges nothing. Used by
`nemesis`.
"""

import asyncio
import os
import socket
import struct

import mysql.connector

from mmo.proof.arena import Arena
from mmo.proof.economy_books import connected
from mmo.proof.not_done import Uncertain

READ_BYTES = 65_536


class MysqlDoor:
    """Stands only while something is cut."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._dialled: list[asyncio.StreamWriter] = []  # of everyone at the door
        self._stands = False
        self._is_open = False  # who comes when it is no more is sent away

    async def cut(self, pid: int, seconds: float) -> None:
        """The process `pid` reaches the database no more, for so long. Raises `LookupError` when
        the database is away itself, or the door stands already, and `Uncertain` when it stood but
        lines of before may not have been ended."""
        if self._stands:
            raise LookupError("somebody is cut off already")
        self._stands = True
        try:
            await self._stand(pid, seconds)
        except mysql.connector.Error as error:
            raise Uncertain(f"the door stood, lines of before may have too: {error}") from error
        finally:
            self._stands = False

    async def _stand(self, pid: int, seconds: float) -> None:
        path = self._arena.file().mysql_socket
        behind = path + ".behind"
        tasks: set[asyncio.Task[None]] = set()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not self._is_open:
                writer.transport.abort()
                return
            self._dialled.append(writer)
            peer = writer.get_extra_info("socket")
            credentials = peer.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
            )
            if struct.unpack("3i", credentials)[0] == pid:
                return  # the handshake never begins
            # A task of its own: the server's own would cry when it is cancelled.
            tasks.add(asyncio.create_task(_through(reader, writer, behind)))

        try:
            os.rename(path, behind)
        except OSError as error:
            raise LookupError("the database is away") from error
        server, ours = None, 0
        self._is_open = True
        try:
            server = await asyncio.start_unix_server(accepted, path)
            ours = _inode(path)
            await asyncio.to_thread(_end_lines, self._arena, behind)
            await asyncio.sleep(seconds)
        finally:
            self._is_open = False
            try:
                # The database may have been started anew meanwhile, under its own name.
                if _inode(path) in (0, ours):
                    os.rename(behind, path)
                else:
                    os.unlink(behind)
            finally:
                if server is not None:
                    server.close()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                # Also of a task that was cancelled before it began: it ended nothing itself.
                for writer in self._dialled:
                    writer.transport.abort()
                self._dialled.clear()


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


async def _through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: str) -> None:
    ends, pumps = [writer], []
    try:
        there_reader, there_writer = await asyncio.open_unix_connection(behind)
        ends.append(there_writer)
        pumps = [
            asyncio.create_task(_pump(reader, there_writer)),
            asyncio.create_task(_pump(there_reader, writer)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    except OSError:
        return  # the database is away
    finally:
        for pump in pumps:
            pump.cancel()
        for one in ends:
            one.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    except (OSError, RuntimeError):  # uvloop's word for a closed one
        return  # one end went: so does the other


def _end_lines(arena: Arena, behind: str) -> None:
    """End every connection of before."""
    connection = connected(arena, through=behind)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()")
        for (number,) in cursor.fetchall():
            try:
                cursor.execute(f"KILL CONNECTION {int(number)}")
            except mysql.connector.Error:
                continue  # it ended by itself
    finally:
        connection.close()
