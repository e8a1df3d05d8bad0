"""How `make test` counts: nothing that failed, was skipped or did not run is a success."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.unit.ci_script import loaded

CARGO = "test result:"
SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "parts.py"


@pytest.fixture(scope="module")
def parts() -> ModuleType:
    return loaded("parts")


@pytest.mark.parametrize(
    ("kind", "text", "counts"),
    [
        ("pytest", "....\n12 passed in 3.21s\n", (12, 0)),
        ("pytest", "3 failed, 12 passed, 1 error in 3.21s\n", (12, 4)),
        ("pytest", "12 passed, 2 skipped in 3.21s\n", (12, 2)),
        ("pytest", "12 passed, 1 warning in 63.21s (0:01:03)\n", (12, 0)),
        ("pytest", "no tests ran in 0.01s\n", (0, 0)),
        ("cargo", "test result: ok. 5 passed; 0 failed; 0 ignored;\nx\n", (5, 0)),
        ("cargo", f"{CARGO} ok. 5 passed; 0 failed\n{CARGO} FAILED. 1 passed; 2 failed\n", (6, 2)),
        ("cargo", "error: could not compile\n", (0, 0)),
    ],
)  # fmt: skip
def test_the_counts_are_those_of_the_output(
    parts: ModuleType, kind: str, text: str, counts: tuple[int, int]
) -> None:
    assert parts.counted(kind, text.splitlines(keepends=True)) == counts


@pytest.mark.parametrize(
    ("kind", "code", "result"),
    [
        ("", "pass", (1, 0)),
        ("", "raise SystemExit(1)", (0, 1)),
        ("pytest", "print('2 passed in 1s')", (2, 0)),
        ("pytest", "print('2 passed in 1s'); raise SystemExit(1)", (2, 1)),
        ("pytest", "print('no tests ran in 1s')", (0, 1)),
        ("cargo", "pass", (0, 1)),
    ],
)
def test_a_part_that_ends_badly_or_runs_nothing_fails(
    parts: ModuleType, kind: str, code: str, result: tuple[int, int]
) -> None:
    part = parts.Part("group", "name", [sys.executable, "-c", code], kind)
    done = parts.run(part)
    assert (done.passed, done.failed) == result
    assert done.seconds > 0


def test_every_room_of_the_tests_is_in_a_part(parts: ModuleType) -> None:
    asked = {word for part in parts.parts() for word in part.command if word.startswith("tests/")}
    root = SCRIPT.parents[1]
    rooms = {
        f"tests/{path.name}"
        for path in (root / "tests").iterdir()
        if path.is_dir() and any(path.rglob("test_*.py"))
    }
    assert rooms <= asked
    groups = {part.group for part in parts.parts()}
    assert groups == {"lint", "python", "rust"}
