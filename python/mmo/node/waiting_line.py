"""The bounded line before the edges: who is next, and his number.

Owns the order of waiting clients and their tickets. A ticket keeps its place over a short
reconnect, unless somebody who is there needs it. Never runs anything: it tells who may go. Called
by `edges`.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable

from mmo.node.lanes import Job, Lane


class Waiter:
    """One place in the line. Without a job its client is away and may come back with the ticket."""

    __slots__ = ("away_since_ms", "job", "lane", "subscriber", "ticket", "told")

    def __init__(self, lane: Lane, job: Job, subscriber: str) -> None:
        self.ticket = secrets.token_hex(16)
        self.lane: Lane | None = lane
        self.job: Job | None = job
        self.subscriber = subscriber  # who took the place, as limits of one address count him
        self.away_since_ms = 0
        self.told = 0  # the number that the client heard last


class WaitingLine:
    """First come, first served, bounded in all and for each subscriber."""

    def __init__(
        self, places_max: int, subscriber_max: int, ticket_ms: int, now_ms: Callable[[], int]
    ) -> None:
        self._places_max = places_max
        self._subscriber_max = subscriber_max or places_max  # 0: no limit of its own
        self._ticket_ms = ticket_ms
        self._now_ms = now_ms
        self._waiters: OrderedDict[str, Waiter] = OrderedDict()
        self._away: OrderedDict[str, Waiter] = OrderedDict()  # of them, the longest away first
        self._places_of: dict[str, int] = {}  # by subscriber

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, lane: Lane, job: Job, ticket: str, subscriber: str) -> Waiter | None:
        """Stand at the end, or at the place that `ticket` kept. Who is away gives way to who is
        there. None: the line, or the share of this subscriber, is full of those who are there."""
        kept = self._away.pop(ticket, None)
        if kept is not None:
            kept.lane, kept.job, kept.told = lane, job, 0
            return kept
        if self._places_of.get(subscriber, 0) >= self._subscriber_max:
            freed = next((one for one in self._away.values() if one.subscriber == subscriber), None)
            if freed is None:
                return None
            self._remove(freed)
        if len(self._waiters) >= self._places_max:
            if not self._away:
                return None
            self._remove(next(iter(self._away.values())))
        waiter = Waiter(lane, job, subscriber)
        self._waiters[waiter.ticket] = waiter
        self._places_of[subscriber] = self._places_of.get(subscriber, 0) + 1
        return waiter

    def leave(self, lane: Lane) -> None:
        """The client of `lane` is gone; his place is kept for `ticket_ms`."""
        for waiter in self._waiters.values():
            if waiter.lane is lane:
                waiter.lane = waiter.job = None
                waiter.away_since_ms = self._now_ms()
                self._away[waiter.ticket] = waiter

    def take(self) -> Waiter | None:
        """The first who is there; those before him who stayed away too long lose their place."""
        for waiter in list(self._waiters.values()):
            if waiter.job is not None:
                self._remove(waiter)
                return waiter
            if self._is_over(waiter):
                self._remove(waiter)
        return None

    def number_of(self, waiter: Waiter) -> int:
        """The number of one who waits; 1 is next. Those away before him count too."""
        if self._waiters and next(reversed(self._waiters.values())) is waiter:
            return len(self._waiters)
        return list(self._waiters).index(waiter.ticket) + 1

    def numbers(self) -> list[tuple[int, Waiter]]:
        """Everyone who is there with his number, 1 is next. Drops who stayed away too long."""
        while self._away:
            longest = next(iter(self._away.values()))
            if not self._is_over(longest):
                break
            self._remove(longest)
        return [
            (number, waiter)
            for number, waiter in enumerate(self._waiters.values(), 1)
            if waiter.job is not None
        ]

    def _remove(self, waiter: Waiter) -> None:
        del self._waiters[waiter.ticket]
        self._away.pop(waiter.ticket, None)
        left = self._places_of[waiter.subscriber] - 1
        if left:
            self._places_of[waiter.subscriber] = left
        else:
            del self._places_of[waiter.subscriber]

    def _is_over(self, waiter: Waiter) -> bool:
        return waiter.job is None and self._now_ms() - waiter.away_since_ms > self._ticket_ms
