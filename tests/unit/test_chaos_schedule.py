"""When faults strike: one after the other, or in their rhythm with several at once; and how the
stores are looked at meanwhile."""

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmo.proof import chaos
from mmo.proof.chaos import Chaos, Order
from mmo.proof.ground import Ground


async def passes(count: int) -> None:
    """Let everyone else go on so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


LOOK_NS = 1_000_000


class Stage:
    """Faults that last until they are let go, and a cluster that recovers when it is told to. Time
    passes by a millisecond with each look at the clock: what the machine does costs none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
        self.begun: list[str] = []
        self.running = self.most = 0
        self.recovered = asyncio.Event()
        self.recovered.set()
        self.lines: list[dict[str, Any]] = []
        monkeypatch.setattr(chaos, "MENU", {name: self._fault(name) for name in names})
        looks = itertools.count(1)
        clock = SimpleNamespace(
            monotonic=lambda: next(looks) * LOOK_NS / 1e9,
            monotonic_ns=lambda: next(looks) * LOOK_NS,
        )
        monkeypatch.setattr(chaos, "time", clock)

        async def survey(_: Any) -> None:
            return None

        monkeypatch.setattr(Ground, "survey", survey)

    def _fault(self, name: str) -> Callable[[Any], Any]:
        async def fault(_: Any) -> str:
            if name == "never":
                raise LookupError("not here")
            self.begun.append(name)
            self.running += 1
            self.most = max(self.most, self.running)
            await passes(5)
            self.running -= 1
            if name == "broken":
                raise ZeroDivisionError
            return name

        return fault

    async def strike(self, order: Order) -> Chaos:
        """All faults of an order."""

        async def until(holds: Any, what: str, within_s: float) -> float:
            await self.recovered.wait()
            return 0.0

        band: Any = SimpleNamespace(until=until, disturbances=0, recovered_since=lambda *_: True)
        history: Any = SimpleNamespace(
            line=lambda kind, **fields: self.lines.append({"kind": kind, **fields})
        )
        arena: Any = SimpleNamespace(home=SimpleNamespace(directory=Path("of a test")))
        run = Chaos(arena, order, Path(), lambda _: None)
        async with asyncio.timeout(10):
            await run._strike(history, band, SimpleNamespace())  # type: ignore[arg-type]
        return run


def test_alone_each_fault_waits_for_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, ("a", "b"))
    run = asyncio.run(stage.strike(Order(1, 0.1, ("a", "b"), every_s=0.0)))
    assert stage.most == 1
    assert len(stage.lines) == len(stage.begun) >= 2
    assert sum(run._struck.values()) == len(stage.begun)
    assert {*stage.begun[:2]} == {"a", "b"}  # each comes before any comes twice


def test_together_they_keep_their_rhythm(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, ("a", "b", "c"))
    asyncio.run(stage.strike(Order(1, 0.1, ("a", "b", "c"), every_s=0.0, together=2)))
    assert stage.most == 2
    assert len(stage.lines) == len(stage.begun)


def test_nothing_strikes_a_cluster_that_is_still_down(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, ("a", "b", "c"))
    stage.recovered.clear()

    async def run() -> None:
        striking = asyncio.create_task(
            stage.strike(Order(1, 0.5, ("a", "b", "c"), every_s=0.0, together=2))
        )
        await passes(200)
        assert len(stage.begun) == 2
        stage.recovered.set()
        await striking

    asyncio.run(run())
    assert len(stage.begun) > 2


def test_what_cannot_be_done_is_named_and_another_takes_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, ("never", "a"))
    run = asyncio.run(stage.strike(Order(1, 0.1, ("never", "a"), every_s=0.0)))
    assert {*stage.begun} == {"a"}
    assert run._not_done == {"never": "not here"}


def test_a_fault_that_breaks_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, ("broken",))
    with pytest.raises(ZeroDivisionError):
        asyncio.run(stage.strike(Order(1, 5.0, ("broken",), every_s=0.0)))


def test_a_look_that_fails_is_counted_and_the_moment_of_one_is_before_redis_was_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moments = iter(range(100, 200))
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(moments))
    monkeypatch.setattr(chaos, "SAMPLE_EVERY_S", 0.0)
    read: list[tuple[str, int]] = []

    class Seen:
        def __init__(self, arena: Any) -> None:
            self._turn = 0

        def snapshots(self, users: list[int]) -> dict[int, int]:
            self._turn += 1
            if self._turn <= 2:
                raise ConnectionError("away")
            read.append(("redis", next(moments)))
            return {7: 3}

        def heads(self) -> dict[int, int]:
            read.append(("mysql", next(moments)))
            return {7: 4, 8: 1}

    class Enough(Exception):
        """One sample is written."""

    lines: list[dict[str, Any]] = []

    def line(kind: str, **fields: Any) -> None:
        lines.append({"kind": kind, **fields})
        raise Enough

    monkeypatch.setattr(chaos, "Stores", Seen)
    band: Any = SimpleNamespace(heroes=[SimpleNamespace(user=7), SimpleNamespace(user=0)])
    arena: Any = SimpleNamespace(home=SimpleNamespace(directory=tmp_path))
    history: Any = SimpleNamespace(line=line)
    run = Chaos(arena, Order(1, 0.1, ()), tmp_path, lambda _: None)
    with pytest.raises(Enough):
        asyncio.run(run._sample(history, band))
    assert [name for name, _ in read] == ["redis", "mysql"]
    (sample,) = lines
    assert sample["looked"] < read[0][1] < read[1][1]
    assert (sample["redis"], sample["mysql"]) == ({7: 3}, {7: 4})
    names = ("operations", "acknowledged", "lost", "duplicated", "stale")
    answer = run._answer({**dict.fromkeys(names, 0), "recovery": {}, "findings": []}, {})
    assert (answer["samples_taken"], answer["samples_failed"]) == (1, 2)
    assert 0.0 <= answer["samples_took_s"] <= answer["sampled_s"]
    assert answer["sample_fault"] == "ConnectionError: away"
    assert run._without_home(OSError(f"no {tmp_path}/mysql")) == "no HOME/mysql"


def test_a_look_that_fails_tells_no_path_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Away:
        def __init__(self, arena: Any) -> None:
            pass

        def snapshots(self, users: list[int]) -> dict[int, int]:
            raise ConnectionError(f"nobody at {tmp_path}/mysql/server.sock")

    async def once(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(chaos, "Stores", Away)
    monkeypatch.setattr(asyncio, "sleep", once)
    arena: Any = SimpleNamespace(home=SimpleNamespace(directory=tmp_path))
    band: Any = SimpleNamespace(heroes=[])
    run = Chaos(arena, Order(1, 0.1, ()), tmp_path, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run._sample(SimpleNamespace(), band))  # type: ignore[arg-type]
    assert run._look_fault == "ConnectionError: nobody at HOME/mysql/server.sock"
