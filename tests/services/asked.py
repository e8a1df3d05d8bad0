"""Waiting for what a real store shows in its own time.

Owns the deadline, and how long who holds a row may take. Used by the tests of caches, rankings and
locks.
"""

import asyncio
from collections.abc import Awaitable, Callable

from mmo.store.connection import Statement

DEADLINE_S = 30.0
PATIENT = Statement("SET SESSION idle_transaction_timeout = 60")
"""Of who holds a row while another waits 2 s for it: on a slow machine the 3 s of a store are soon
over."""


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again, over the network, until it is so."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            pass
