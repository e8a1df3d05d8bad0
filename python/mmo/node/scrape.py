"""`http://HOST:PORT/metrics`: the figures of this node for whoever reads them every few seconds.

Owns a listener that knows one path and closes after each answer. The snapshot is taken on the loop
and rendered apart from it, so that a scrape costs players nothing. Never changes anything. Started
and stopped by `node`.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from mmo.node.exposition import Snapshot, render

REQUEST_BYTES_MAX = 8_192
REQUEST_S = 5.0
SCRAPES_MAX = 8  # at once; whoever comes then is closed
KIND = "text/plain; version=0.0.4; charset=utf-8"


class Scrape:
    """One per node. `snapshot` is called on the loop for each answer."""

    def __init__(self, host: str, port: int, snapshot: Callable[[], Snapshot], log: Any) -> None:
        """`port` 0: the system picks; negative: nobody listens."""
        self._host = host
        self._port = port
        self._snapshot = snapshot
        self._log = log
        self._server: asyncio.AbstractServer | None = None
        self._open = 0

    async def start(self) -> int:
        """Listen; the port as bound, 0 without. A node plays on without its figures: a port that is
        taken is a line in the log."""
        if self._port < 0:
            return 0
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=REQUEST_BYTES_MAX
            )
        except OSError as fault:
            self._log.warning("figures are not told", port=self._port, fault=str(fault))
            return 0
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening; idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= SCRAPES_MAX:
                async with asyncio.timeout(REQUEST_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._answer(head))
                    await writer.drain()
        except (ValueError, OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # a request that is none, or an asker that left
        except asyncio.LimitOverrunError:
            pass  # a head over the limit
        finally:
            self._open -= 1
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != b"/metrics":
            return _response("404 Not Found", b"only /metrics is here\n")
        if method != b"GET":
            return _response("405 Method Not Allowed", b"only GET\n")
        return _response("200 OK", await asyncio.to_thread(render, self._snapshot()))


def _response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {KIND}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
