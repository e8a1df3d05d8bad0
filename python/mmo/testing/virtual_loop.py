"""An event loop whose time jumps to whatever is due next: seconds of waiting cost nothing.

Owns virtual time in seconds from 0. Everything of `asyncio` works on it (tasks, timeouts,
semaphores) except real sockets, files and threads, of which a simulation has none. One thread, one
order: what is due at the same time runs in the order in which it was asked for, on every run. Used
by `simulation`.
"""

import asyncio
import heapq
from typing import Any


async def passes(seconds: float) -> None:
    """Let so much time of the running loop pass, whatever time that is."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    handle = loop.call_later(max(0.0, seconds), _end, over)
    try:
        await over
    finally:
        handle.cancel()


def _end(over: "asyncio.Future[None]") -> None:
    if not over.done():
        over.set_result(None)


class StoodStill(AssertionError):
    """Nothing is due and nothing is ready: whatever is awaited never comes."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`now_s`: how much time has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._due: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = 0

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self.now_s

    def now_ms(self) -> int:
        """The same in whole milliseconds; a callback that is due in one finds it begun."""
        return int(self.now_s * 1_000 + 1e-6)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *arguments: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Run a callback at a time of this loop."""
        handle = asyncio.TimerHandle(when, callback, arguments, self, context)
        self._count += 1
        heapq.heappush(self._due, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def _run_once(self) -> None:
        """Run what is ready; when nothing is, let the time until the next callback pass."""
        ready = self._ready  # type: ignore[attr-defined]
        while not ready:
            if not self._due:
                raise StoodStill("nothing is due and nothing is ready")
            when, _, handle = heapq.heappop(self._due)
            if not handle._cancelled:
                self.now_s = max(self.now_s, when)
                ready.append(handle)
        for _ in range(len(ready)):
            one = ready.popleft()
            if not one._cancelled:
                one._run()

    def add_reader(self, *arguments: Any) -> None:  # type: ignore[override]
        """A core without a descriptor says itself when events wait."""

    def remove_reader(self, *arguments: Any) -> bool:
        """Nothing was added."""
        return False

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else writes."""
