"""An event loop whose time jumps to whatever is due next: seconds of waiting cost nothing.

Owns virtual time in seconds from 0. Everything of `asyncio` works on it (tasks, timeouts,
semaphores) except real sockets, files and threads, of which a simulation has none, and context
variables, which nothing here sets. One thread, one order: what is due at the same time runs in the
order in which it was asked for, on every run. Used by `simulation`.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Coroutine
from typing import Any


def passes(seconds: float) -> "asyncio.Future[None]":
    """Await it to let so much time of the running loop pass, whatever time that is."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(max(0.0, seconds), _end, over)
    return over


def _end(over: "asyncio.Future[None]") -> None:
    if not over.done():
        over.set_result(None)


def _nothing(*arguments: Any) -> None:
    """What is left of a callback that was cancelled."""


class StoodStill(AssertionError):
    """Nothing is due and nothing is ready: whatever is awaited never comes."""


class Callback(list[Any]):
    """What runs at a time: `[when, count, callback, arguments]`, in the order of the first two. In
    place of asyncio's handles, whose making costs more than most of what they call."""

    __slots__ = ()

    def cancel(self) -> None:
        """It is passed over when its time comes."""
        self[2], self[3] = _nothing, ()

    def cancelled(self) -> bool:
        """Whether it never runs."""
        return self[2] is _nothing

    def when(self) -> float:
        """When it is due, by the time of its loop."""
        return float(self[0])


class VirtualLoop(asyncio.BaseEventLoop):
    """`now_s`: how much time has passed; `now_ms`: the same in whole milliseconds, of which a
    callback that is due in one finds it begun; `broken`: what callbacks raised, which nobody else
    hears of."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.now_ms = 0
        self.broken: list[BaseException] = []
        self._due: list[Callback] = []
        self._soon: deque[Callback] = deque()
        self._count = 0

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self.now_s

    def call_soon(  # type: ignore[override]
        self, callback: Any, *arguments: Any, context: Any = None
    ) -> Callback:
        """Run a callback after what is ready, before time passes."""
        one = Callback((0.0, 0, callback, arguments))
        self._soon.append(one)
        return one

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *arguments: Any, context: Any = None
    ) -> Callback:
        """Run a callback at a time of this loop."""
        self._count = count = self._count + 1
        one = Callback((when, count, callback, arguments))
        heapq.heappush(self._due, one)
        return one

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *arguments: Any, context: Any = None
    ) -> Callback:
        """Run a callback after a while."""
        self._count = count = self._count + 1
        one = Callback((self.now_s + delay, count, callback, arguments))
        heapq.heappush(self._due, one)
        return one

    def create_future(self) -> "asyncio.Future[Any]":
        """See `asyncio`."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, work: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None
    ) -> "asyncio.Task[Any]":
        """See `asyncio`."""
        return asyncio.Task(work, loop=self, name=name)

    def _run_once(self) -> None:
        """Run what is ready; when nothing is, let the time until the next callback pass."""
        try:
            self._run_all()
        except (SystemExit, KeyboardInterrupt, StoodStill):
            raise
        except BaseException as fault:
            self.broken.append(fault)

    def _run_all(self) -> None:
        soon, due, pop = self._soon, self._due, heapq.heappop
        while True:
            while soon:
                one = soon.popleft()
                one[2](*one[3])
            if self._stopping:  # type: ignore[attr-defined]
                return
            if not due:
                raise StoodStill("nothing is due and nothing is ready")
            when, _, callback, arguments = pop(due)
            if callback is not _nothing:
                if when > self.now_s:
                    self.now_s = when
                    self.now_ms = int(when * 1_000 + 1e-6)
                callback(*arguments)

    def add_reader(self, *arguments: Any) -> None:  # type: ignore[override]
        """A core without a descriptor says itself when events wait."""

    def remove_reader(self, *arguments: Any) -> bool:
        """Nothing was added."""
        return False

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else writes."""
