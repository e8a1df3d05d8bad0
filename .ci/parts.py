"""All tests, part by part: each is run, timed and counted, and one that fails does not hide others.

Owns the list of parts and the sums: a line a part with its share of the time, what all took of what
a cold run may take, and at the end `N passed, N failed`. The time of a part is written to
`target/test-times.tsv` as it ends. Called by `make test` and, with names of groups, by `make lint`;
exits 1 when anything failed or a part ran nothing.
"""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from shown import ROOT, shown

TIMES = ROOT / "target" / "test-times.tsv"
WHOLE_S_MAX = 20 * 60
"""What `make test` may take with what it needs built; a run that took more says so."""
COMPILED = ROOT / "target" / "pycache"
"""Bytecode of all parts, whatever the environment says: rewriting and compiling our modules costs
every one of hundreds of processes otherwise."""

PYTHON = sys.executable
BIN = Path(PYTHON).parent
SOURCES = ["python", "tests", "loadtest", ".ci"]


class Part(NamedTuple):
    """One command. `counts`: how its output tells what passed ("" for a check that is one test)."""

    group: str
    name: str
    command: list[str]
    counts: str = ""
    environment: tuple[tuple[str, str], ...] = ()


class Result(NamedTuple):
    """What a part came to."""

    part: Part
    seconds: float
    passed: int
    failed: int


def parts() -> Iterator[Part]:
    """Every part, the quick ones first."""
    sources = [name for name in SOURCES if (ROOT / name).exists()]
    yield Part("lint", "ruff check", [str(BIN / "ruff"), "check", *sources])
    yield Part("lint", "ruff format", [str(BIN / "ruff"), "format", "--check", *sources])
    yield Part("lint", "cargo fmt", ["cargo", "fmt", "--all", "--check"])
    typed = [name for name in ("python/mmo", "tests", "loadtest", ".ci") if (ROOT / name).exists()]
    yield Part("lint", "mypy", [str(BIN / "mypy"), *typed])
    yield Part("lint", "stubtest", [PYTHON, "-m", "mypy.stubtest", "mmo._core"])
    clippy = ["cargo", "clippy", "--locked", "--quiet", "--workspace", "--all-targets"]
    yield Part("lint", "clippy", [*clippy, "--", "-D", "warnings"])
    bridge = ["cargo", "clippy", "--locked", "--quiet", "--package", "mmo-core"]
    bridge += ["--features", "python"]
    yield Part("lint", "clippy bridge", [*bridge, "--", "-D", "warnings"])
    # In two processes, a file or a group of tests in one of them. Most of a test that drives a real
    # cluster is waiting: for a repair, a grace time, the end of a raid.
    halves = ["-n", "2"]
    pure = [*pytest("house", "systems", "unit", "sim"), *halves]
    yield Part("python", "pytest pure", pure, "pytest")
    rust = ["cargo", "test", "--locked", "--quiet"]
    yield Part("rust", "cargo test", [*rust, "--workspace"], "cargo")
    loom = [*rust, "--package", "mmo-core", "--profile", "loom"]
    loom += ["--test", "loom"]
    yield Part(
        "rust",
        "loom",
        [*loom, "--target-dir", "target/loom"],
        "cargo",
        (("RUSTFLAGS", "--cfg loom"), ("LOOM_MAX_PREEMPTIONS", "3")),
    )
    yield Part("python", "pytest stores", pytest("contract", "services"), "pytest")
    yield Part("python", "pytest cluster", [*pytest("cluster"), *halves], "pytest")


def pytest(*rooms: str) -> list[str]:
    """pytest over the rooms of `tests/` that exist."""
    existing = [f"tests/{room}" for room in rooms if (ROOT / "tests" / room).is_dir()]
    return [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", *existing]


def run(part: Part) -> Result:
    """Run one part with its output shown, and count."""
    print(f"\n== {part.name}", flush=True)
    began = time.monotonic()
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(COMPILED)}
    code, lines = shown(part.command, {**bytecode, **dict(part.environment)})
    passed, failed = counted(part.counts, lines)
    if not part.counts:
        passed, failed = (1, 0) if code == 0 else (0, 1)
    elif code != 0 or passed == 0:
        # A part that ended badly, or ran nothing at all, is never a success.
        failed = max(failed, 1)
    return Result(part, time.monotonic() - began, passed, failed)


def counted(kind: str, lines: list[str]) -> tuple[int, int]:
    """Passed and failed tests that the output tells."""
    if kind == "cargo":
        found = [re.match(r"test result: \w+\. (\d+) passed; (\d+) failed", line) for line in lines]
        pairs = [(int(match[1]), int(match[2])) for match in found if match]
        return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    for line in reversed(lines):
        if re.search(r"\d+ (passed|failed|error)", line) and " in " in line:
            told = {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", line)}
            # A test that is skipped proves nothing and counts as failed.
            bad = sum(told.get(word, 0) for word in ("failed", "error", "errors", "skipped"))
            return told.get("passed", 0), bad
    return 0, 0


def shares(results: list[Result]) -> list[str]:
    """A line a part with its share of the time, and one of all."""
    whole = sum(result.seconds for result in results)
    lines = [
        f"{result.seconds / (whole or 1.0):5.0%} {result.seconds:7.1f} s  {result.part.name:<16}"
        f" {result.passed:6} passed {result.failed:4} failed  {'failed' if result.failed else 'ok'}"
        for result in results
    ]
    word = "" if whole <= WHOLE_S_MAX else ": too long"
    return [*lines, f"{whole / WHOLE_S_MAX:5.0%} {whole:7.1f} s  of {WHOLE_S_MAX} s{word}"]


def main(groups: list[str]) -> int:
    """Run the parts of the named groups, all without names. Returns the exit code."""
    results = []
    TIMES.parent.mkdir(parents=True, exist_ok=True)
    with TIMES.open("w", encoding="utf-8") as times:
        for part in parts():
            if not groups or part.group in groups:
                results.append(run(part))
                times.write(f"{part.name}\t{results[-1].seconds:.1f}\n")
                times.flush()
    print("", *shares(results), sep="\n")
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    print(f"\n{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
