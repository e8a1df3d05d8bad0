"""Seeds of the simulator: clean, repeatable, and able to fail."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mmo.cli import switching
from mmo.content import load_content
from mmo.roles import ROLES
from mmo.store import Verdict
from mmo.testing import simulation as simulated
from mmo.testing.plugin import simulation
from mmo.testing.sim_store import SimStore
from mmo.testing.simulation import Report, Setup, Simulation

__all__ = ["simulation"]

Simulate = Callable[..., Report]
KEPT = (33, 42, 53, 84, 109, 1055, 1085, 1142, 2469, 2772, 5108, 85893, 94200)
"""Seeds that once found something, in the product or in the simulator itself."""


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
    report = simulation(1, Setup(seconds=3.0, misfortune=0.0, players=3))
    assert (report.findings, report.faults) == ([], {})


def test_raid_when_the_answer_to_its_taking_over_is_lost_then_its_members_find_it() -> None:
    """The row named a server that knew of no such room, and its members were kept out for ever."""
    assert not Simulation(116, Setup(), ROLES, load_content()).run().findings


def test_a_store_that_forgets_is_found(
    simulation: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commit(self: Any, group: Any) -> list[Verdict]:
        return [Verdict.COMMITTED] * len(group)

    monkeypatch.setattr(SimStore, "commit", commit)
    monkeypatch.setattr(simulated, "CALM_S", 20.0)  # nobody comes to an end without what he has
    found = simulation(1, Setup(seconds=3.0, misfortune=0.0)).findings
    assert found, "a store that writes nothing went unnoticed"
