"""The few lines of the Redis protocol that forming a cluster needs: one blocking connection.

Owns the encoding of commands and the decoding of RESP2 answers. Never retries and holds no pool:
players' data goes through `store`, which has a real client. Called by `redis_servers` and `doctor`.
"""

import socket
from types import TracebackType

from mmo.errors import MmoError

Answer = int | str | bytes | list["Answer"] | None


class RedisAnswerError(MmoError):
    """The server answered with an error; the text is its own."""


class RedisConnection:
    """A connection to one Redis server. Raises `OSError` when it cannot be reached in time."""

    def __init__(self, host: str, port: int, password: str, timeout_s: float) -> None:
        self._socket = socket.create_connection((host, port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        if password:
            try:
                self.ask("AUTH", password)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> "RedisConnection":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._file.close()
        self._socket.close()

    def ask(self, *words: str | int) -> Answer:
        """Send one command and return its answer; error answers raise `RedisAnswerError`."""
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self._socket.sendall(b"".join(parts))
        return self._read()

    def text(self, *words: str | int) -> str:
        """As `ask`, for answers that are text."""
        answer = self.ask(*words)
        return answer.decode() if isinstance(answer, bytes) else str(answer)

    def fields(self, *words: str | int) -> dict[str, str]:
        """As `ask`, for answers of `name:value` lines (INFO, CLUSTER INFO)."""
        lines = (line.partition(":") for line in self.text(*words).splitlines())
        return {name: value for name, colon, value in lines if colon}

    def _read(self) -> Answer:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the Redis server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RedisAnswerError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self._file.read(length + 2)[:-2]
        if kind == b"*":
            return [self._read() for _ in range(max(0, int(rest)))]
        raise RedisAnswerError(f"not a Redis answer: {line[:40]!r}")
