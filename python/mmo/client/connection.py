"""The synchronous shell: plain blocking sockets under the client protocol.

For locust (gevent patches Python sockets only) and scripts without an event loop. Owns reading and
writing only.
"""

import select
import socket
import time
from collections import deque
from typing import Any, TypeVar

from mmo.client.datagrams import DATAGRAM_BYTES_MAX, Datagrams
from mmo.client.protocol import PUSHES_KEPT, Answer, ClientProtocol, Event, Push, Token, hello
from mmo.client.shell import Lanes
from mmo.client.steps import Dial, Lost, Pause, Prove, Receive, Send, Step, Walk
from mmo.wire.messages.raid import DatagramKey

T = TypeVar("T")

DIAL_S = 10.0
READ_BYTES = 65536
MOMENT_S = 0.001


class Connection:
    """One connection to one server. Raises `Lost` from every call once it ended."""

    def __init__(self, host: str, port: int, *, source: str = "", name: str = "") -> None:
        self.name = name or f"{host}:{port}"
        self.protocol = ClientProtocol()
        self.pushes: deque[Any] = deque(maxlen=PUSHES_KEPT)
        self._events: deque[Event] = deque()
        self.datagrams: Datagrams | None = None
        self._stream: socket.socket | None = None
        try:
            self._socket = socket.create_connection(
                (host, port), DIAL_S, source_address=(source, 0) if source else None
            )
        except OSError as fault:
            raise Lost(self.name, 0, f"cannot dial {host}:{port}: {fault}") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: Any) -> int:
        """Write a message; returns its request number."""
        seq, data = self.protocol.ask(message)
        try:
            self._socket.settimeout(DIAL_S)
            self._socket.sendall(data)
        except OSError as fault:
            raise Lost(self.name, self.protocol.reason, str(fault)) from None
        return seq

    def receive(self, wait_s: float) -> Event | None:
        """The next event, None after `wait_s`."""
        until = time.monotonic() + wait_s
        while not self._events:
            if self.protocol.reason:
                raise Lost(self.name, self.protocol.reason)
            left = until - time.monotonic()
            if left <= 0:
                return None
            try:
                if self._stream is not None and self._hear(self._stream, left):
                    continue
                self._socket.settimeout(max(MOMENT_S, until - time.monotonic()))
                data = self._socket.recv(READ_BYTES)
            except TimeoutError:
                return None
            except OSError as fault:
                raise Lost(self.name, self.protocol.reason, str(fault)) from None
            if not data:
                raise Lost(self.name, self.protocol.reason)
            self._events.extend(self.protocol.receive(data))
        return self._events.popleft()

    def _hear(self, stream: socket.socket, wait_s: float) -> bool:
        """Wait for either socket; True when the connection itself has nothing to read now."""
        ready, _, _ = select.select((self._socket, stream), (), (), wait_s)
        if stream in ready:
            assert self.datagrams is not None
            message = self.datagrams.receive(stream.recv(DATAGRAM_BYTES_MAX))
            if message is not None:
                self._events.append(Push(message))
        return self._socket not in ready

    def prove(self, key: DatagramKey) -> None:
        """Prove an address with `key`, from now on or once more; what arrives there is received as
        pushes."""
        if self.datagrams is None or self._stream is None:
            self.datagrams = Datagrams(key)
            self._stream = socket.socket(self._socket.family, socket.SOCK_DGRAM)
            self._stream.bind((self._socket.getsockname()[0], 0))
            self._stream.connect((self._socket.getpeername()[0], key.port))
        try:
            self._stream.send(self.datagrams.proof())
        except OSError as fault:
            raise Lost(self.name, 0, f"no datagrams: {fault}") from None

    def ask(self, message: Any, wait_s: float = 10.0) -> Any:
        """Send one message and return its answer; what is pushed meanwhile goes to `pushes`."""
        seq = self.send(message)
        until = time.monotonic() + wait_s
        while True:
            event = self.receive(max(0.0, until - time.monotonic()))
            if event is None:
                raise Lost(self.name, 0, f"no answer to {type(message).__name__}")
            if isinstance(event, Answer) and event.seq == seq:
                return event.message
            if isinstance(event, Push):
                self.pushes.append(event.message)

    def enter(self, token: str) -> Any:
        """Say hello and show a token; returns the answer to the token."""
        self.ask(hello())
        return self.ask(Token(token))

    def cut(self, reason: int = 0) -> None:
        """End the connection without a word."""
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class Shell(Lanes[Connection]):
    """Carries out the steps of one walk on blocking sockets."""

    def __init__(self, source: str = "") -> None:
        super().__init__()
        self.source = source

    def walk(self, walk: Walk[T]) -> T:
        """Walk to the end and return what the walk returns. What it raises passes through."""
        result: Any = None
        fault: Lost | None = None
        while True:
            try:
                step = walk.throw(fault) if fault is not None else walk.send(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            result, fault = None, None
            try:
                result = self._do(step)
            except Lost as lost:
                self.drop(lost.lane)
                fault = lost

    def _do(self, step: Step) -> Any:
        if isinstance(step, Receive):
            return self.lane(step.lane).receive(step.wait_ms / 1000)
        if isinstance(step, Send):
            return self.lane(step.lane).send(step.message)
        if isinstance(step, Pause):
            return time.sleep(step.wait_ms / 1000)
        if isinstance(step, Prove):
            return self.lane(step.lane).prove(step.key)
        self.drop(step.lane)
        if isinstance(step, Dial):
            source = self.source if step.host.startswith("127.") else ""
            self.lanes[step.lane] = Connection(step.host, step.port, source=source, name=step.lane)
        return None
