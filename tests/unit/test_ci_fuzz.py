"""What `make fuzz` reads out of libFuzzer's words: a run that did nothing is never a success."""

from pathlib import Path
from types import ModuleType

import pytest
from tests.unit.ci_script import loaded

ENDED = """INFO: seed corpus: files: 6 min: 10b max: 40b total: 117b rss: 31Mb
#7	INITED cov: 31 ft: 32 corp: 6/117b exec/s: 0 rss: 31Mb
#524288	pulse  cov: 43 ft: 99 corp: 21/1024b lim: 4096 exec/s: 262144 rss: 60Mb
#900000	DONE   cov: 44 ft: 101 corp: 22/1100b lim: 4096 exec/s: 300000 rss: 61Mb
Done 900000 runs in 3 second(s)
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded("fuzz")


def test_the_figures_are_those_of_the_end(script: ModuleType) -> None:
    told = script.figures(ENDED.splitlines(keepends=True))
    assert told == {"executions": 900_000, "seconds": 3, "edges": 44, "features": 101}


def test_a_run_that_never_ended_has_no_executions(script: ModuleType) -> None:
    lines = ENDED.splitlines(keepends=True)[:3]
    assert script.figures(lines) == {"executions": 0, "seconds": 0, "edges": 43, "features": 99}
    assert script.figures(["error: no such command: `fuzz`\n"])["executions"] == 0


def test_what_is_missing_is_told_with_its_command(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "tools", lambda: {"nightly": "rustc 1", "cargo-fuzz": ""})
    monkeypatch.setattr("sys.argv", ["fuzz.py"])
    assert script.main() == 1
    assert "cargo install cargo-fuzz" in capsys.readouterr().err


def test_a_target_that_fails_fails_the_run_and_nothing_of_it_is_kept(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "fuzz_targets").mkdir()
    (tmp_path / "fuzz_targets" / "frame.rs").touch()
    (tmp_path / "corpus" / "frame").mkdir(parents=True)
    calls: list[tuple[str, ...]] = []
    code = 77

    def run(target: str, corpora: object, *options: str) -> tuple[int, list[str]]:
        calls.append(options)
        return code, ENDED.splitlines(keepends=True)

    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "PROJECT", tmp_path)
    monkeypatch.setattr(script, "GROWN", tmp_path / "target")
    monkeypatch.setattr(script, "tools", lambda: {"nightly": "1", "cargo-fuzz": "2"})
    monkeypatch.setattr(script, "run", run)
    monkeypatch.setattr("sys.argv", ["fuzz.py", "--for", "3", "--keep"])
    assert script.main() == 1 and len(calls) == 1
    code = 0
    assert script.main() == 0 and calls[-1] == ("-set_cover_merge=1",)
