"""What every shell of a journey does alike, whatever its connections are made of.

Owns the connections of one walk by name, and the carrying out of steps where waiting is
asynchronous. Opens nothing itself: `aio` does on sockets of asyncio, `connection` on blocking ones
(it walks by itself), a simulation on its own network.
"""

from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, TypeVar

from mmo.client.steps import Dial, Lost, Pause, Prove, Receive, Send, Step, Walk
from mmo.wire.messages.raid import DatagramKey

T = TypeVar("T")


class Line(Protocol):
    """One connection, as far as it is ended by its shell."""

    def cut(self, reason: int = 0) -> None:
        """End it without a word; nothing happens when it is over already."""


class AsyncLine(Line, Protocol):
    """One connection that is waited for asynchronously. Every call may raise `Lost`."""

    def send(self, message: Any) -> int:
        """Write; the request's number."""

    async def receive(self, wait_s: float) -> Any:
        """The next event, None after `wait_s`."""

    async def prove(self, key: DatagramKey) -> None:
        """Prove an address for datagrams."""


L = TypeVar("L", bound=Line)
A = TypeVar("A", bound=AsyncLine)


class Lanes(Generic[L]):
    """The open connections of one walk, by name."""

    def __init__(self) -> None:
        self.lanes: dict[str, L] = {}
        self.ports: dict[str, int] = {}  # of the servers that were dialled last

    def lane(self, name: str) -> L:
        """An open connection. Raises `Lost` when there is none of that name."""
        lane = self.lanes.get(name)
        if lane is None:
            raise Lost(name, 0, "not connected")
        return lane

    def drop(self, name: str) -> None:
        """End one without a word; nothing happens when it is not open."""
        lane = self.lanes.pop(name, None)
        if lane is not None:
            lane.cut()

    def cut_all(self) -> None:
        """End every connection without a word."""
        for name in list(self.lanes):
            self.drop(name)


class AsyncShell(Lanes[A], ABC):
    """Carries out the steps of one walk; a shell says how it dials and how it pauses."""

    async def walk(self, walk: Walk[T]) -> T:
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
                result = await self._do(step)
            except Lost as lost:
                lost.port = self.ports.get(lost.lane, 0)
                self.drop(lost.lane)
                fault = lost

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Receive):
            return await self.lane(step.lane).receive(step.wait_ms / 1000)
        if isinstance(step, Send):
            return self.lane(step.lane).send(step.message)
        if isinstance(step, Pause):
            return await self.pause(step.wait_ms / 1000)
        if isinstance(step, Prove):
            return await self.lane(step.lane).prove(step.key)
        self.drop(step.lane)
        if isinstance(step, Dial):
            self.ports[step.lane] = step.port
            self.lanes[step.lane] = await self.dial(step)
        return None

    @abstractmethod
    async def dial(self, step: Dial) -> A:
        """Open a connection. Raises `Lost`."""

    @abstractmethod
    async def pause(self, wait_s: float) -> None:
        """Let time pass."""
