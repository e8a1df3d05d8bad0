"""Loops of the store: one that ends by a bug is never silent."""

import asyncio
from typing import Any

import pytest

from mmo.store import loops
from mmo.store.loops import LOOP_ENDED, start_loop


async def _broken() -> None:
    raise ZeroDivisionError("a bug")


async def _told(work: Any) -> list[dict[str, Any]]:
    """What the loop's exception handler heard of `work` by its end."""
    loop, heard = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: heard.append(context))
    task = start_loop(work)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    return heard


async def test_loop_when_it_ends_by_a_bug_then_the_event_loop_is_told() -> None:
    heard = await _told(_broken())
    assert [context["message"] for context in heard] == [LOOP_ENDED]
    assert isinstance(heard[0]["exception"], ZeroDivisionError)


async def test_loop_when_it_ends_well_then_nobody_is_told() -> None:
    assert await _told(asyncio.sleep(0)) == []


async def test_loop_when_a_cancel_is_swallowed_then_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loops, "CANCEL_AGAIN_S", 0.0)
    swallowed = []

    async def deaf() -> None:
        """As `asyncio.wait_for` of CPython 3.11 when the answer is there already."""
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            swallowed.append(1)
        await asyncio.get_running_loop().create_future()

    task = start_loop(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await loops.end_loops(task)
    assert task.cancelled() and swallowed == [1]
