"""A reload over several nodes: all or none, whatever fails in between.

The nodes are real but for their core and their sockets: a question is a call.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.node_game import messages as m
from tests.unit.reload_game import RULES, Game, bundle_of

from mmo.cli.switching import Coordinator, Switched
from mmo.cluster.control import NotRunning
from mmo.config.load import load_config
from mmo.errors import OperatorError, StoreUnavailable
from mmo.store import LeaseRow
from mmo.testing.clock import VirtualClock
from mmo.testing.fake_store import FakeDatabase, FakeStore
from mmo.testing.world import World

NUMBERS = (11, 12, 13)


class Cluster:
    """Three nodes over one database and who reloads them. `on_ask` may fail a question."""

    def __init__(self, world: Callable[..., World]) -> None:
        self.database = FakeDatabase(clock_ms=VirtualClock())
        self.games = {number: Game(world, self.database, number=number) for number in NUMBERS}
        self.on_ask: Callable[[int, str], None] = lambda number, kind: None
        self.asked: list[tuple[int, str]] = []
        settings = load_config(environment={}).config.reload
        self.settings = msgspec.structs.replace(settings, patience_ms=1)
        self.store = FakeStore(self.database)
        self.coordinator = Coordinator(self.store, self._ask, self.settings, "ann@here")

    async def _ask(self, node: LeaseRow, question: dict[str, Any], wait_s: float) -> dict[str, Any]:
        kind = str(question["ask"])
        self.asked.append((node.number, kind))
        self.on_ask(node.number, kind)
        generations = self.games[node.number].generations
        if kind == "generation":
            return {"generation": generations.current.number}
        answer = getattr(generations, kind)(question)
        return answer if isinstance(answer, dict) else stepped(answer)

    def reloads(self, word: str, **files: str) -> Switched:
        """One reload to the game that says `word`."""
        return asyncio.run(self.coordinator.switch(bundle_of(word, **files)))

    @property
    def generations(self) -> list[int]:
        """What each node decides by."""
        return [game.generations.current.number for game in self.games.values()]

    @property
    def held(self) -> list[bool]:
        """Who is paused."""
        return [game.generations.is_held for game in self.games.values()]


def stepped(work: Coroutine[Any, Any, dict[str, Any]] | Awaitable[dict[str, Any]]) -> Any:
    """Run what only ever yields to the loop, without one."""
    assert isinstance(work, Coroutine)
    while True:
        try:
            work.send(None)
        except StopIteration as end:
            return end.value


@pytest.fixture
def cluster(world: Callable[..., World]) -> Cluster:
    """Three nodes on generation 1."""
    return Cluster(world)


def test_all_nodes_switch_together(cluster: Cluster) -> None:
    done = cluster.reloads("two")
    assert (done.generation, sorted(done.nodes)) == (2, ["node-under-test"] * 3)
    assert done.changed == ["systems/words.py"] and not done.late
    assert cluster.generations == [2, 2, 2] and not any(cluster.held)
    ann = cluster.games[12].world.player("ann")
    assert cluster.games[12].says(ann) == m.Echoed("two", 2)
    kinds = [kind for _, kind in cluster.asked]
    assert kinds == ["prepare"] * 3 + ["hold"] * 3 + ["look"] * 3, "nobody holds before all built"


def test_what_is_the_code_already_is_left_alone(cluster: Cluster) -> None:
    assert cluster.reloads("one").generation == 1
    assert cluster.asked == []


@pytest.mark.parametrize("phase", ["prepare", "hold"])
@pytest.mark.parametrize("victim", NUMBERS)
def test_when_one_node_fails_before_the_row_nobody_switches(
    cluster: Cluster, victim: int, phase: str
) -> None:
    def fails(number: int, kind: str) -> None:
        if (number, kind) == (victim, phase):
            raise OperatorError("E0412", "it does not import here")

    cluster.on_ask = fails
    with pytest.raises(OperatorError, match="does not import here"):
        cluster.reloads("two")
    assert cluster.generations == [1, 1, 1] and not any(cluster.held)
    assert cluster.database.code.generation == 1
    cluster.on_ask = lambda number, kind: None
    assert cluster.reloads("two").generation == 2


def test_a_node_that_is_silent_and_alive_refuses_the_reload(cluster: Cluster) -> None:
    def silent(number: int, kind: str) -> None:
        if number == 12:
            raise NotRunning(Path("nowhere"))

    cluster.on_ask = silent
    with pytest.raises(OperatorError) as raised:
        cluster.reloads("two")
    assert raised.value.code == "E0415" and cluster.generations == [1, 1, 1]


def test_a_node_that_answers_is_not_left_out_though_its_lease_has_ended(cluster: Cluster) -> None:
    """The database was away for longer than leases live, and its turn to renew has not come."""
    cluster.database.leases[12].until_ms = 0
    done = cluster.reloads("two")
    assert done.generation == 2 and len(done.nodes) == 3
    assert cluster.generations == [2, 2, 2]


def test_a_dead_node_is_left_out_when_its_lease_has_ended(cluster: Cluster) -> None:
    cluster.database.leases[12].until_ms = 0

    def dead(number: int, kind: str) -> None:
        if number == 12:
            raise NotRunning(Path("12.sock"))

    cluster.on_ask = dead
    done = cluster.reloads("two")
    assert done.generation == 2 and len(done.nodes) == 2
    assert cluster.generations == [2, 1, 2]
    behind = cluster.games[12]
    behind.world.move(2_000)  # it lives after all: it reads the row at its renewal
    assert behind.generations.is_held or behind.world.engine.residents.is_draining


def test_a_node_that_came_alive_in_between_makes_it_begin_again(cluster: Cluster) -> None:
    lease = cluster.database.leases[13]
    until_ms, lease.until_ms = lease.until_ms, 0

    def awakes(number: int, kind: str) -> None:
        if kind == "hold":
            lease.until_ms = until_ms
        elif number == 13 and not lease.until_ms:
            raise NotRunning(Path("it stands still"))

    cluster.on_ask = awakes
    assert cluster.reloads("two").generation == 2
    assert cluster.generations == [2, 2, 2]
    assert [kind for _, kind in cluster.asked].count("prepare") == 2 + 3


def test_nodes_that_nobody_tells_switch_by_the_row(cluster: Cluster) -> None:
    def dies(number: int, kind: str) -> None:
        if kind == "look":
            raise NotRunning(Path("nowhere"))

    cluster.on_ask = dies
    done = cluster.reloads("two")
    assert len(done.late) == 3 and all(cluster.held)
    for game in cluster.games.values():
        game.world.settle()
        game.world.move(100)
    assert cluster.generations == [2, 2, 2] and not any(cluster.held)


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_answer_of_the_switch_is_looked_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    switch = cluster.store.switch_code

    async def loses(wanted: Any, meanwhile: Any) -> bool:
        if happened:
            assert await switch(wanted, meanwhile)
        else:
            await meanwhile()
            cluster.database.clock_ms = lambda: wanted.deadline_ms + 1
        monkeypatch.undo()
        raise StoreUnavailable("the line broke")

    monkeypatch.setattr(cluster.store, "switch_code", loses)
    done = cluster.reloads("two")
    assert (done.generation, cluster.generations) == (2, [2, 2, 2])


def test_a_database_that_is_lost_before_all_pause_refuses_the_reload(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def loses(wanted: Any, meanwhile: Any) -> bool:
        raise StoreUnavailable("the line broke")

    monkeypatch.setattr(cluster.store, "switch_code", loses)
    with pytest.raises(OperatorError) as raised:
        cluster.reloads("two")
    assert raised.value.code == "E0418"
    assert cluster.generations == [1, 1, 1] and not any(cluster.held)
    monkeypatch.undo()
    assert cluster.reloads("two").generation == 2


def test_two_reloads_at_once_end_in_one_code_everywhere(cluster: Cluster) -> None:
    other = Coordinator(FakeStore(cluster.database), cluster._ask, cluster.settings, "bob@there")

    async def both() -> list[Any]:
        switches = (
            cluster.coordinator.switch(bundle_of("two")),
            other.switch(bundle_of("three")),
        )
        return list(await asyncio.gather(*switches, return_exceptions=True))

    done = asyncio.run(both())
    assert any(isinstance(one, Switched) for one in done), done
    assert len(set(cluster.generations)) == 1 and cluster.generations[0] > 1
    assert not any(cluster.held)
    assert cluster.database.code.generation == cluster.generations[0]


def test_without_the_database_nothing_is_reloaded(cluster: Cluster) -> None:
    cluster.database.is_down = True
    with pytest.raises(OperatorError) as raised:
        cluster.reloads("two")
    assert raised.value.code == "E0418" and cluster.generations == [1, 1, 1]


def test_a_reload_waits_for_the_end_of_a_rolling_restart(cluster: Cluster) -> None:
    cluster.database.code.rolling_from = 1
    with pytest.raises(OperatorError) as raised:
        cluster.reloads("two")
    assert raised.value.code == "E0420"


def test_sources_over_the_limit_are_refused(cluster: Cluster) -> None:
    import random

    noise = random.Random(1).randbytes(10_000_000).hex()
    with pytest.raises(OperatorError) as raised:
        cluster.reloads("two", rules=RULES + f"# {noise}\n")
    assert raised.value.code == "E0424"


def test_who_still_decides_by_the_generation_before_is_named(cluster: Cluster) -> None:
    assert asyncio.run(cluster.coordinator.deciding_by(1)) == ["node-under-test"] * 3
    cluster.reloads("two")
    assert asyncio.run(cluster.coordinator.deciding_by(1)) == []

    def silent(number: int, kind: str) -> None:
        if number == 12:
            raise NotRunning(Path("12.sock"))

    cluster.on_ask = silent
    assert asyncio.run(cluster.coordinator.deciding_by(1)) == ["node-under-test"], "it may"
