"""How long anything waits for the database: a host that is gone without a word answers never.

Owns the limit of one call; never retries. Used by `durable` around every call of a node, and by the
loops that repair what Redis missed.
"""

import asyncio
from types import TracebackType

from mmo.errors import StoreUnavailable


class Deadline:
    """`async with`: a call that is not done in time ends as StoreUnavailable; its connection, in an
    unknown state by then, is destroyed by the pool."""

    __slots__ = ("_limit_s", "_timeout")

    def __init__(self, limit_ms: int) -> None:
        self._limit_s = limit_ms / 1_000
        self._timeout = asyncio.timeout(self._limit_s)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise StoreUnavailable(f"the store did not answer in {self._limit_s:g} s") from None
