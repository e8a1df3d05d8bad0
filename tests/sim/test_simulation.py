"""Seeds of the simulator: clean, repeatable, and able to fail."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mmo.cli import switching
from mmo.client.hero import Hero
from mmo.client.session import arrive
from mmo.client.steps import Walk
from mmo.node.node import compose
from mmo.store import Verdict
from mmo.testing import sim_node
from mmo.testing import simulation as simulated
from mmo.testing.plugin import simulation
from mmo.testing.sim_store import SimStore
from mmo.testing.simulation import Report, Setup

__all__ = ["simulation"]

Simulate = Callable[..., Report]
KEPT = (33, 42, 53, 84, 109, 1055, 1085, 1142, 2469, 2772, 5108, 8540, 85893, 94200, 211020)
"""Seeds that once found something, in the product or in the simulator itself. What happens in a
seed changes with the code; bugs that must go on being found are planted in `test_planted`."""


@pytest.mark.parametrize("seed", KEPT)
def test_players_under_the_misfortunes_of_a_seed_lose_nothing(
    simulation: Simulate, seed: int
) -> None:
    report = simulation(seed)
    assert not report.findings, f"python -m mmo.testing.simulate {seed}: {report.findings}"
    assert report.acknowledged


@pytest.mark.parametrize("seed", [17, 20], ids=["without raids", "with raids"])
def test_code_is_changed_under_players_and_one_generation_decides(
    simulation: Simulate, seed: int
) -> None:
    report = simulation(seed, coordinator=switching)
    assert not report.findings, report.findings
    assert report.faults["reload"]


@pytest.mark.parametrize(
    ("seed", "found"),
    [
        (3793, "who could not renew in an outage committed by replaced code"),
        (6177, "the same, in another order"),
        (47572, "a center's late notice ended a newer connection as if another had logged in"),
    ],
)
def test_players_whose_code_is_changed_lose_nothing_where_a_seed_once_found_something(
    simulation: Simulate, seed: int, found: str
) -> None:
    report = simulation(seed, coordinator=switching)
    assert not report.findings, f"{found}: {report.findings}"


def test_a_seed_when_run_twice_then_is_the_same_run(simulation: Simulate) -> None:
    first, second = simulation(6), simulation(6)
    assert first.trace == second.trace
    assert (first.operations, first.virtual_s) == (second.operations, second.virtual_s)
    assert simulation(7).trace != first.trace


@pytest.mark.parametrize("seed", ["11", "13713"])
def test_a_seed_when_run_in_another_process_then_is_the_same_run(seed: str) -> None:
    """Neither the hashes of strings nor the places of objects in memory may choose an order."""

    def shown(**environment: str) -> str:
        command = [sys.executable, "-m", "mmo.testing.simulate", seed, "--coordinator"]
        command.append(switching.__name__)
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
        )
        return done.stdout

    others = {"PYTHONHASHSEED": "2", "PYTHONMALLOC": "malloc"}
    assert shown(PYTHONHASHSEED="1") == shown(**others)


def test_without_misfortune_nothing_is_struck(simulation: Simulate) -> None:
    report = simulation(1, Setup(seconds=3.0, misfortune=0.0))
    assert (report.findings, report.faults) == ([], {})


def test_misfortune_scales_how_often_single_blows_fall(simulation: Simulate) -> None:
    seldom, usual, often = (
        sum("blow: " in line for line in simulation(1, setup).trace)
        for setup in (
            Setup(seconds=20.0, misfortune=share, servers=simulated.THREE)
            for share in (0.25, 1.0, 4.0)
        )
    )
    assert 2 * seldom <= usual and 2 * usual <= often


def seeds_of_chance(patch: pytest.MonkeyPatch, simulate: Simulate, seed: int) -> list[int]:
    """By which seed the rules of each process of a run had their chance."""
    seeds: list[int] = []

    def composed(settings: Any, *rest: Any, **named: Any) -> Any:
        seeds.append(settings.seed)
        return compose(settings, *rest, **named)

    patch.setattr(sim_node, "compose", composed)
    simulate(seed, Setup(seconds=3.0, servers=simulated.THREE))
    return seeds


def test_the_chance_of_rules_is_another_in_every_process_of_every_seed(
    simulation: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (seeds_of_chance(monkeypatch, simulation, seed) for seed in (6, 7))
    assert len(first) > len(simulated.THREE), "no process was started again"
    assert len({0, *first, *second}) == 1 + len(first) + len(second)
    assert seeds_of_chance(monkeypatch, simulation, 6) == first


def wakes_up_with(gold: int) -> Callable[..., Walk[None]]:
    """A walk of somebody who was told of so much more gold than he owns, and looks."""

    def walk(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
        me.record.gold += gold
        me.loosen()
        yield from arrive(me)

    return walk


@pytest.mark.parametrize(("gold", "finds"), [(5, True), (-5, False)], ids=["less", "more"])
def test_a_raider_who_owns_less_than_he_was_told_is_found(
    simulation: Simulate, monkeypatch: pytest.MonkeyPatch, gold: int, finds: bool
) -> None:
    """A reward may come unheard; a loss is a loss."""
    walk = wakes_up_with(gold)
    monkeypatch.setattr(simulated, "raid_until_over", walk)
    calm = Setup(seconds=1.0, misfortune=0.0, servers=simulated.THREE)
    found = simulation(1, calm, walks=(walk,)).findings
    assert found == (["bot hero 0: gold 3000, acknowledged 3005"] if finds else [])


def test_a_coordinator_that_breaks_is_found_with_the_line_that_broke(
    simulation: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def switch(self: Any, *rest: Any, **named: Any) -> None:
        raise KeyError("gone")

    monkeypatch.setattr(switching.Coordinator, "switch", switch)
    found = simulation(1, coordinator=switching).findings
    line = switch.__code__.co_firstlineno + 1
    assert f"the run broke: KeyError: 'gone' at tests/sim/test_simulation.py:{line}" in found


def test_a_walk_that_breaks_is_found_with_the_line_that_broke(simulation: Simulate) -> None:
    def walk(me: Any, goes_on: Any) -> Walk[None]:
        yield from ()
        me.purse.count()

    found = simulation(1, Setup(seconds=1.0, misfortune=0.0), walks=(walk,)).findings
    assert len(found) == 1
    assert found[0].startswith("the run broke: AttributeError: 'Hero' object")
    line = walk.__code__.co_firstlineno + 2
    assert found[0].endswith(f" at tests/sim/test_simulation.py:{line}")


def test_a_store_that_forgets_is_found(
    simulation: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commit(self: Any, group: Any) -> list[Verdict]:
        return [Verdict.COMMITTED] * len(group)

    monkeypatch.setattr(SimStore, "commit", commit)
    monkeypatch.setattr(simulated, "CALM_S", 20.0)  # nobody comes to an end without what he has
    found = simulation(1, Setup(seconds=3.0, misfortune=0.0)).findings
    assert any("gold 0, acknowledged 3000" in text for text in found), found
