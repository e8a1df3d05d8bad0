"""The simulator finds bugs: each is planted, and a seed that is clean without it is not with it."""

from collections.abc import Callable

import pytest
from tests.sim.planted import BUGS

from mmo.cli import switching
from mmo.testing.plugin import simulation
from mmo.testing.simulation import Report

__all__ = ["simulation"]

Simulate = Callable[..., Report]


@pytest.mark.parametrize("seed", sorted({seed for _, seed in BUGS.values()}))
def test_without_a_bug_these_seeds_find_nothing(simulation: Simulate, seed: int) -> None:
    assert simulation(seed, coordinator=switching).findings == []


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(
    simulation: Simulate, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plant, seed = BUGS[name]
    plant(monkeypatch)
    found = simulation(seed, coordinator=switching).findings
    assert found, f"a cluster with the bug {name!r} looked well"
