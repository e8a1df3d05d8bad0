"""Where the time of `make test` goes: told part by part, and held against what a cold run may take.

Owns the judgement over what `.ci/parts.py` says of times that are given here; runs no part of it.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.unit.ci_script import loaded


@pytest.fixture(scope="module")
def parts() -> ModuleType:
    return loaded("parts")


def ended(parts: ModuleType, name: str, seconds: float, failed: int = 0) -> Any:
    """What a part came to that took so long."""
    return parts.Result(parts.Part("group", name, []), seconds, 7, failed)


def test_the_shares_of_the_tests_are_told(parts: ModuleType) -> None:
    results = [ended(parts, "rust", 270.0), ended(parts, "pytest pure", 90.0, failed=2)]
    assert parts.shares(results) == [
        "  75%   270.0 s  rust                  7 passed    0 failed  ok",
        "  25%    90.0 s  pytest pure           7 passed    2 failed  failed",
        "  30%   360.0 s  of 1200 s",
    ]
    assert len(parts.shares([])) == 1


def test_a_run_of_more_than_twenty_minutes_says_so(parts: ModuleType) -> None:
    assert parts.shares([ended(parts, "rust", 1_200.0)])[-1].endswith("of 1200 s")
    assert parts.shares([ended(parts, "rust", 1_200.5)])[-1].endswith("of 1200 s: too long")


def test_the_time_of_a_part_is_written_as_it_ends(
    parts: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    times = tmp_path / "target" / "times.tsv"
    monkeypatch.setattr(parts, "TIMES", times)
    written = []

    def some() -> Iterator[Any]:
        for name in ("first", "second"):
            yield parts.Part("group", name, [])
            written.append(times.read_text(encoding="utf-8"))

    monkeypatch.setattr(parts, "parts", some)
    monkeypatch.setattr(parts, "run", lambda part: ended(parts, part.name, 1.5))
    assert parts.main([]) == 0
    assert written == ["first\t1.5\n", "first\t1.5\nsecond\t1.5\n"]
