"""The simulator finds bugs: each is planted, and a seed that is clean without it tells of what it
breaks with it."""

from collections.abc import Callable

import pytest
from tests.sim.planted import BUGS

from mmo.testing.plugin import simulation
from mmo.testing.simulation import Report

__all__ = ["simulation"]

Simulate = Callable[..., Report]


@pytest.mark.parametrize("seed", sorted({bug.seed for bug in BUGS.values()}))
def test_without_a_bug_these_seeds_find_nothing(simulation: Simulate, seed: int) -> None:
    for coordinator in {bug.coordinator for bug in BUGS.values() if bug.seed == seed}:
        assert simulation(seed, coordinator=coordinator).findings == []


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(
    simulation: Simulate, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bug = BUGS[name]
    bug.plant(monkeypatch)
    found = simulation(bug.seed, coordinator=bug.coordinator).findings
    assert any(bug.words in text for text in found), f"of the bug {name!r} was only told: {found}"
