"""The node's own socket for the operator: one JSON line in, one JSON line out.

Owns the form of questions and answers on a Unix socket with mode 0600; what each means is handed
in. Asked by the supervisor and the command line.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mmo.errors import OperatorError, StoreError

LINE_BYTES_MAX = 65_536
Answer = dict[str, Any]
Answerer = Callable[[dict[str, Any]], Answer | Awaitable[Answer]]


class Admin:
    """Serves questions by name; an unknown one or a bad line gets an error object."""

    def __init__(self, path: str, answers: Mapping[str, Answerer]) -> None:
        self._path = path
        self._answers = answers
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Listen. A socket file left by a killed process is replaced."""
        self._remove()
        self._server = await asyncio.start_unix_server(
            self._serve, self._path, limit=LINE_BYTES_MAX
        )
        os.chmod(self._path, 0o600)

    async def stop(self) -> None:
        """Stop listening and remove the file; idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = await self._answer(line)
                writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # a line over the limit, or the asker is gone
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            question = json.loads(line)
            answer = self._answers[question["ask"]]
        except (ValueError, KeyError, TypeError):
            return _error("E0703", "the node does not know this question", "ask status or stats")
        try:
            said = answer(question)
            return said if isinstance(said, dict) else await said
        except OperatorError as fault:
            return _error(fault.code, fault.cause, fault.fix)
        except StoreError as fault:
            return _error("E0418", f"the store does not answer: {fault}", "mmo-cluster status")
        except (ValueError, KeyError, TypeError) as fault:
            return _error("E0704", f"the question is not right: {fault}", "see the question's form")


def _error(code: str, cause: str, fix: str) -> dict[str, Any]:
    return {"error": {"code": code, "cause": cause, "fix": fix}}
