"""Loops of the store that must not end in silence.

Owns how a background loop is started and ended: one that ends by a bug is told to the event loop's
exception handler under `LOOP_ENDED`, where the node ends the process, as for any bug. Catches
nothing itself.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

LOOP_ENDED = "a loop of the store ended"
CANCEL_AGAIN_S = 1.0


def start_loop(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Run `work` until it is cancelled; an exception of it reaches the loop's exception handler."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(_ended)
    return task


async def end_loops(*tasks: "asyncio.Task[None]") -> None:
    """Cancel until all have ended: a cancel that meets the answer within `asyncio.wait_for`, which
    both drivers use, is swallowed there by CPython 3.11, and a loop goes on for ever."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


def _ended(task: "asyncio.Task[None]") -> None:
    fault = None if task.cancelled() else task.exception()
    if fault is not None:
        context = {"message": LOOP_ENDED, "exception": fault, "task": task}
        task.get_loop().call_exception_handler(context)
