"""A long simulation: its progress is kept and taken up again, never mixed with that of other code,
and many seeds in which something never happened do not hold.
"""

from pathlib import Path
from typing import Any

import pytest

from mmo.errors import OperatorError
from mmo.proof.simulation import BLOWS, SHORT_SEEDS, VARIED_SEEDS, begun, judge, keep
from mmo.proof.verdict import Trial
from mmo.testing import simulation

TOLD: dict[str, Any] = {
    "seeds": 500, "failed": 1, "acknowledged": 900, "raids": 9, "virtual_hours": 4.5, "cpu_s": 60.0,
    "faults": {"crash": 3}, "findings": ["seed 7: a coin is missing"],
}  # fmt: skip


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    place = tmp_path / "progress.json"
    progress = begun(place, 100, 2_000)
    progress.add(TOLD)
    progress.add(TOLD)
    keep(place, progress)
    again = begun(place, 100, 2_000)
    assert again == progress
    assert (again.done, again.sums["acknowledged"], again.faults["crash"]) == (1_000, 1_800, 6)
    assert again.findings == TOLD["findings"] * 2


def test_other_seeds_and_other_code_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "progress.json"
    keep(place, begun(place, 0, 2_000))
    with pytest.raises(OperatorError, match="other code or other seeds"):
        begun(place, 0, 3_000)
    monkeypatch.setattr("mmo.proof.simulation.simulated_digest", lambda: "other")
    with pytest.raises(OperatorError, match="other code or other seeds"):
        begun(place, 0, 2_000)


def test_a_file_of_something_else_is_refused_and_left(tmp_path: Path) -> None:
    place = tmp_path / "letter.txt"
    place.write_text("dear operator")
    with pytest.raises(OperatorError, match="keeps no progress"):
        begun(place, 0, 2_000)
    assert place.read_text() == "dear operator"


def judged(seeds: int, **changed: Any) -> list[str]:
    """What is found in the sums of so many clean seeds."""
    progress = begun(None, 0, seeds)
    told = {**TOLD, "seeds": seeds, "failed": 0, "findings": [], "faults": dict.fromkeys(BLOWS, 1)}
    progress.add(told | changed)
    trial = Trial("simulation", lambda _: None)
    judge(trial, progress, 2)
    return trial.verdict().findings


def test_clean_seeds_in_which_everything_happened_hold() -> None:
    assert judged(VARIED_SEEDS) == []
    assert SHORT_SEEDS >= VARIED_SEEDS


@pytest.mark.parametrize("name", BLOWS)
def test_many_seeds_without_a_kind_of_blow_do_not_hold(name: str) -> None:
    others = {other: 1 for other in BLOWS if other != name}
    assert judged(VARIED_SEEDS, faults=others) == [f"no {name} in {VARIED_SEEDS} seeds"]
    assert judged(VARIED_SEEDS - 1, faults=others) == []


def test_many_seeds_without_a_finished_raid_do_not_hold() -> None:
    found = judged(VARIED_SEEDS, raids=0)
    assert found == [f"no raid was finished in {VARIED_SEEDS} seeds"]


def test_every_kind_of_blow_is_expected_and_so_many_seeds_have_raids_and_reloads() -> None:
    assert set(BLOWS) == {*simulation.BLOWS, "crash at an effect", "reload"}
    assert VARIED_SEEDS >= simulation.RELOADS_EVERY
    assert len(simulation.CLUSTERS) <= VARIED_SEEDS
    assert simulation.RAIDS in simulation.CLUSTERS
