"""Questions over Unix sockets: one JSON line in, one JSON line out.

Owns the framing and the error form `{"error": {"code", "cause", "fix"}}`. Decides nothing. The
supervisor and every node answer; the command line and the supervisor ask.
"""

import contextlib
import json
import os
import socket
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmo.errors import OperatorError

if TYPE_CHECKING:
    import asyncio

ANSWER_BYTES_MAX = 4 << 20
PING_S = 2.0

Request = dict[str, Any]
Reply = dict[str, Any]
Answerer = Callable[[Request], Awaitable[Reply]]


class NotRunning(OperatorError):
    """Nobody answers behind the socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("E0701", f"nothing answers on {path}", "mmo-cluster start")


def ask(path: Path, request: Request, timeout_s: float) -> Reply:
    """Ask and wait. Raises `NotRunning` (E0701) or `OperatorError` as the other side said."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as file:
                line = file.readline(ANSWER_BYTES_MAX)
    except OSError as error:
        raise NotRunning(path) from error
    return _opened(path, line)


def ask_long(path: Path, request: Request, timeout_s: float) -> Reply:
    """As `ask`, for what takes its time. Raises `NotRunning` when nobody is there, and
    `OperatorError` E0724 when the one who is does not answer in time."""
    ask(path, {"ask": "ping"}, PING_S)
    try:
        return ask(path, request, timeout_s)
    except NotRunning as error:
        if not isinstance(error.__cause__, TimeoutError):
            raise  # it ended, and with it what was asked for
        raise OperatorError(
            "E0724", f"no answer within {timeout_s:.0f} s", "mmo-cluster status; it may go on"
        ) from error


async def ask_async(path: Path, request: Request, timeout_s: float) -> Reply:
    """As `ask`, without blocking the loop."""
    import asyncio  # Only here and below: `status` asks without a loop, and must be quick.

    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=ANSWER_BYTES_MAX)
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        raise NotRunning(path) from error
    return _opened(path, line)


def _opened(path: Path, line: bytes) -> Reply:
    if not line.endswith(b"\n"):
        raise NotRunning(path)
    reply: Reply = json.loads(line)
    error = reply.get("error")
    if error:
        raise OperatorError(error["code"], error["cause"], error.get("fix", ""))
    return reply


async def serve(path: Path, answer: Answerer) -> "asyncio.Server":
    """Answer on a socket that only this user may reach. The asker is told its errors."""
    import asyncio

    async def talk(reader: "asyncio.StreamReader", writer: "asyncio.StreamWriter") -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _answered(line, answer)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # The asker left, or sent a line without end: nothing to answer.
        finally:
            writer.close()

    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    server = await asyncio.start_unix_server(talk, str(path), limit=65_536)
    os.chmod(path, 0o600)
    return server


async def _answered(line: bytes, answer: Answerer) -> Reply:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("not an object")
    except ValueError as error:
        return {"error": {"code": "E0707", "cause": f"not a JSON object: {error}", "fix": ""}}
    try:
        return await answer(request)
    except OperatorError as error:
        return {"error": {"code": error.code, "cause": error.cause, "fix": error.fix}}
    except Exception as error:
        # A full disk above all: the asker hears what it is, and the details go to the log.
        traceback.print_exc()
        cause = f"unexpected failure: {type(error).__name__}: {error}"
        return {"error": {"code": "E0001", "cause": cause, "fix": "the details are in its log"}}
