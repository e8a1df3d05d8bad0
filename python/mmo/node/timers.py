"""Deadlines of one node, in one heap, on one clock.

Owns what is due when; never reads a clock by itself except through the function it was given, so a
virtual clock drives the same node in tests. Called by everything that waits for a time.
"""

import heapq
from collections.abc import Callable


class Timer:
    """One thing to do at a time; `cancel` makes it a no-op."""

    __slots__ = ("callback", "due_ms")

    def __init__(self, due_ms: int, callback: Callable[[], None] | None) -> None:
        self.due_ms = due_ms
        self.callback = callback

    def cancel(self) -> None:
        """Forget it; may be called at any time."""
        self.callback = None


class Timers:
    """A heap of timers. `on_earlier` is told when a new timer is due before all others."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.on_earlier: Callable[[], None] | None = None
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0

    def after(self, wait_ms: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` in `wait_ms` milliseconds."""
        timer = Timer(self.now_ms() + wait_ms, callback)
        self._count += 1
        heapq.heappush(self._heap, (timer.due_ms, self._count, timer))
        if self.on_earlier is not None and self._heap[0][2] is timer:
            self.on_earlier()
        return timer

    def every(self, period_ms: int, callback: Callable[[], None]) -> None:
        """Call `callback` each `period_ms`; a late call is not made up for."""

        def again() -> None:
            self.after(period_ms, again)
            callback()

        self.after(period_ms, again)

    def next_due_ms(self) -> int | None:
        """When the first timer is due, None without any."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> int:
        """Call what is due now, in order of time; returns how many."""
        called = 0
        now_ms = self.now_ms()
        while self._heap and self._heap[0][0] <= now_ms:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                called += 1
                callback()
        return called
