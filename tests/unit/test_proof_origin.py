"""A raw result tells of which code and by which command it was made, and no path of a machine."""

import json
import platform
import re
import sys
from pathlib import Path

import pytest

from mmo.proof import origin
from mmo.proof.bench_result import BenchResult, Check
from mmo.proof.origin import arguments, code_digest, digest_of
from mmo.proof.verdict import Trial

COMMAND = "/somewhere/bin/mmo-cluster"


def test_any_source_changes_the_digest_and_nothing_else_does(tmp_path: Path) -> None:
    package, rust = tmp_path / "package", tmp_path / "rust"
    for file in (package / "a.py", package / "b.toml", rust / "core" / "lib.rs"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")
    before = digest_of(package, rust)
    assert len(before) == 16 and before == digest_of(package, rust)
    (rust / "target").mkdir()
    (rust / "target" / "made.rs").write_text("generated")
    (package / "a.pyc").write_text("compiled")
    assert digest_of(package, rust) == before
    for file in (package / "a.py", package / "b.toml", rust / "core" / "lib.rs"):
        file.write_text("2")
        assert digest_of(package, rust) != before
        file.write_text("1")
    assert digest_of(package) == digest_of(package, tmp_path / "nowhere") != before


def test_the_sources_of_the_core_are_part_of_the_code() -> None:
    assert origin.RUST.is_dir() and digest_of(origin.PACKAGE) != code_digest()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["prove", "contrast"], ["prove", "contrast"]),
        (["bench", "raid", "--for", "20s", "--json"], ["bench", "raid", "--for", "20s", "--json"]),
        (["prove", "odds", "--out", "results"], ["prove", "odds", "--out", "PATH"]),
        (["--home", ".mmo", "prove", "odds"], ["--home", "PATH", "prove", "odds"]),
        (["prove", "odds", "--out=results"], ["prove", "odds", "--out=PATH"]),
        (["prove", "odds", "--seeds=5"], ["prove", "odds", "--seeds=5"]),
        (["prove", "/somewhere/x", "--y=/somewhere/x"], ["prove", "PATH", "--y=PATH"]),
    ],
)
def test_words_of_the_command_are_told_without_paths(words: list[str], told: list[str]) -> None:
    assert arguments([COMMAND, *words]) == told
    assert arguments(["/somewhere/mmo/cli/__main__.py", *words]) == told


def test_another_program_tells_no_arguments() -> None:
    assert arguments(["/somewhere/bin/pytest", "-q", "secret"]) == []


def test_raw_results_carry_what_they_were_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [COMMAND, "prove", "odds", "--out", "results"])
    trial = Trial("odds", lambda text: None)
    trial.expect(True, "")
    made = {
        "code": code_digest(),
        "arguments": ["prove", "odds", "--out", "PATH"],
        "python": platform.python_version(),
        "machine": origin.machine(),
    }
    assert made.items() <= trial.verdict().figures.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", trial.verdict().figures["day"])
    bench = BenchResult("x", 2.0, "floor", 1.0, 2.0, "us", 1.0, 2.0, (Check("a", True),), {"b": 1})
    assert made.items() <= json.loads(json.dumps(bench.as_json()))["more"].items()
