"""The progress of a long simulation: kept, taken up again, and never mixed with other code."""

from pathlib import Path
from typing import Any

import pytest

from mmo.errors import OperatorError
from mmo.proof.simulation import begun, keep

TOLD: dict[str, Any] = {
    "seeds": 500, "failed": 1, "acknowledged": 900, "virtual_hours": 4.5, "cpu_s": 60.0,
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
