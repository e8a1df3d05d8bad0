"""The bounded line before the edges: who is next, and his number.

Owns the order of waiting clients and their tickets. A ticket keeps its place over a short
reconnect. Never runs anything: it tells who may go. Called by `edges`.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable

from mmo.node.lanes import Job, Lane


class Waiter:
    """One place in the line. Without a job its client is away and may come back with the ticket."""

    __slots__ = ("away_since_ms", "job", "lane", "ticket", "told")

    def __init__(self, lane: Lane, job: Job) -> None:
        self.ticket = secrets.token_hex(16)
        self.lane: Lane | None = lane
        self.job: Job | None = job
        self.away_since_ms = 0
        self.told = 0  # the number that the client heard last


class WaitingLine:
    """First come, first served, bounded."""

    def __init__(self, places_max: int, ticket_ms: int, now_ms: Callable[[], int]) -> None:
        self._places_max = places_max
        self._ticket_ms = ticket_ms
        self._now_ms = now_ms
        self._waiters: OrderedDict[str, Waiter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, lane: Lane, job: Job, ticket: str) -> Waiter | None:
        """Stand at the end, or at the place that `ticket` kept. None: the line is full."""
        kept = self._waiters.get(ticket)
        if kept is not None and kept.job is None:
            kept.lane, kept.job, kept.told = lane, job, 0
            return kept
        if len(self._waiters) >= self._places_max:
            return None
        waiter = Waiter(lane, job)
        self._waiters[waiter.ticket] = waiter
        return waiter

    def leave(self, lane: Lane) -> None:
        """The client of `lane` is gone; his place is kept for `ticket_ms`."""
        for waiter in self._waiters.values():
            if waiter.lane is lane:
                waiter.lane = waiter.job = None
                waiter.away_since_ms = self._now_ms()

    def take(self) -> Waiter | None:
        """The first who is there; those before him who stayed away too long lose their place."""
        for ticket, waiter in list(self._waiters.items()):
            if waiter.job is not None:
                del self._waiters[ticket]
                return waiter
            if self._is_over(waiter):
                del self._waiters[ticket]
        return None

    def number_of(self, waiter: Waiter) -> int:
        """The number of one who waits; 1 is next. Those away before him count too."""
        if self._waiters and next(reversed(self._waiters.values())) is waiter:
            return len(self._waiters)
        return list(self._waiters).index(waiter.ticket) + 1

    def numbers(self) -> list[tuple[int, Waiter]]:
        """Everyone who is there with his number, 1 is next. Drops who stayed away too long."""
        for ticket, waiter in list(self._waiters.items()):
            if self._is_over(waiter):
                del self._waiters[ticket]
        return [
            (number, waiter)
            for number, waiter in enumerate(self._waiters.values(), 1)
            if waiter.job is not None
        ]

    def _is_over(self, waiter: Waiter) -> bool:
        return waiter.job is None and self._now_ms() - waiter.away_since_ms > self._ticket_ms
