"""Where the time of `make test` goes: printed, and checked to be a whole.

Owns the reading of `target/test-times.tsv`, which `make test` writes while it runs (a part and its
seconds a line). A run of pytest alone has no such file and then only proves the reading itself.
"""

from pathlib import Path

import pytest
from tests.house.tree import ROOT

TIMES_FILE = ROOT / "target" / "test-times.tsv"


def shares(text: str) -> list[tuple[str, float, float]]:
    """`(part, seconds, share of the whole)` of each line, longest first."""
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    seconds = [(name, float(spent)) for name, spent in rows]
    whole = sum(spent for _, spent in seconds) or 1.0
    ordered = sorted(seconds, key=lambda row: -row[1])
    return [(name, spent, spent / whole) for name, spent in ordered]


def told(path: Path) -> list[str]:
    """One line a part, nothing when no file was written."""
    if not path.is_file():
        return []
    parts = shares(path.read_text(encoding="utf-8"))
    return [f"{share:5.0%} {spent:7.1f} s  {name}" for name, spent, share in parts]


def test_the_shares_of_the_tests_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        lines = told(TIMES_FILE)
        print("\n".join(["", *lines]) if lines else "", end="")
    written = tmp_path / "times.tsv"
    written.write_text("rust\t30.0\npytest pure\t10.0\n", encoding="utf-8")
    assert told(written) == ["  75%    30.0 s  rust", "  25%    10.0 s  pytest pure"]
    assert told(tmp_path / "none.tsv") == []


def test_a_line_that_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        shares("rust\tlong\n")
