"""The loop in virtual time: order, cancelling, and what becomes of faults."""

import asyncio

import pytest

from mmo.testing.virtual_loop import StoodStill, VirtualLoop, passes


def test_what_is_due_runs_in_order_of_time_and_then_of_asking() -> None:
    loop, seen = VirtualLoop(), list[str]()

    async def work() -> None:
        loop.call_later(2.0, seen.append, "late")
        loop.call_at(1.0, seen.append, "first asked")
        loop.call_at(1.0, seen.append, "then asked")
        loop.call_soon(seen.append, "soon")
        await passes(3.0)

    loop.run_until_complete(work())
    loop.close()
    assert seen == ["soon", "first asked", "then asked", "late"]
    assert (loop.now_s, loop.now_ms, loop.broken) == (3.0, 3_000, [])


def test_what_is_cancelled_never_runs_and_takes_no_time() -> None:
    loop, seen = VirtualLoop(), list[str]()

    async def work() -> None:
        loop.call_later(5.0, seen.append, "cancelled").cancel()
        loop.call_soon(seen.append, "cancelled").cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await loop.create_future()

    loop.run_until_complete(work())
    loop.close()
    assert (seen, loop.now_s) == ([], 1.0)


def test_what_a_callback_raises_is_kept_and_the_others_run() -> None:
    loop, seen = VirtualLoop(), list[str]()

    def breaks() -> None:
        raise ValueError("a bug")

    async def work() -> None:
        loop.call_later(0.5, breaks)
        loop.call_later(1.0, seen.append, "after it")
        await passes(2.0)

    loop.run_until_complete(work())
    loop.close()
    assert [str(one) for one in loop.broken] == ["a bug"]
    assert seen == ["after it"]


def test_waiting_for_what_never_comes_is_told() -> None:
    loop = VirtualLoop()
    with pytest.raises(StoodStill):
        loop.run_until_complete(loop.create_future())
    loop.close()
