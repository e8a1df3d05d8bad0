"""A queue by age: the oldest first, and anything may leave from anywhere or come back to its place.

Owns the order only. Cut into short sorted parts, so that adding, leaving and looking at the oldest
cost the logarithm of the number of parts and the length of one part, whatever waits (the idea of
the sorted lists of Grant Jenks' sortedcontainers). Used by `match_tickets`.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

PART_MAX = 512

Aged = tuple[int, int, Any]
"""(unix ms, a number that no other has, what waits)."""


class AgeQueue:
    """Everything that waits in one line, oldest first."""

    __slots__ = ("_lasts", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[list[Aged]] = []
        self._lasts: list[Aged] = []  # the last of each part
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Aged]:
        """From the oldest on. The queue must not change meanwhile."""
        for part in self._parts:
            yield from part

    def add(self, aged: Aged) -> None:
        """Put one into its place."""
        self._size += 1
        if not self._parts:
            self._parts.append([aged])
            self._lasts.append(aged)
            return
        at = min(bisect_left(self._lasts, aged), len(self._parts) - 1)
        part = self._parts[at]
        insort(part, aged)
        if len(part) > PART_MAX:
            half = len(part) // 2
            self._parts.insert(at + 1, part[half:])
            self._lasts.insert(at + 1, part[-1])
            del part[half:]
        self._lasts[at] = part[-1]

    def remove(self, aged: Aged) -> None:
        """Take one out that is in it."""
        at = bisect_left(self._lasts, aged)
        part = self._parts[at]
        place = bisect_left(part, aged)
        assert part[place] is aged or part[place] == aged, "not in the queue"
        del part[place]
        self._size -= 1
        if part:
            self._lasts[at] = part[-1]
        else:
            del self._parts[at], self._lasts[at]
