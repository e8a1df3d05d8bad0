"""Waiting for what a real store shows in its own time.

Owns the deadline. Used by the tests of caches and rankings.
"""

import asyncio
from collections.abc import Awaitable, Callable

DEADLINE_S = 30.0


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again, over the network, until it is so."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            pass
