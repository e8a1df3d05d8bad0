"""Fuzzing of the core with cargo-fuzz: each target for a while, what it did as one JSON file.

Owns the order of it and the reading of libFuzzer's own figures; what must hold for any bytes stands
in `rust/fuzz/src`. What a run finds is kept in `target/fuzz/TARGET`, and with `--keep` as much of
it as adds coverage goes to `rust/fuzz/corpus/TARGET`, which `cargo test` replays. The figures go to
`target/fuzz/fuzz.json`. Called by `make fuzz`; exits 1 when a claim failed.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shown import ROOT, shown

PROJECT = ROOT / "rust" / "fuzz"
GROWN = ROOT / "target" / "fuzz"
CARGO_FUZZ = ["cargo", "+nightly", "fuzz"]
INPUT_S_MAX = 10
"""An input that takes longer is a failure: a client could send it."""
MISSING = {
    "nightly": "no nightly Rust toolchain: rustup toolchain install nightly --profile minimal",
    "cargo-fuzz": "cargo-fuzz is not installed: cargo install cargo-fuzz --locked",
}


def told_by(command: Sequence[str]) -> str:
    """The output of a command; empty when it fails or is not there."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def tools() -> dict[str, str]:
    """The versions of what fuzzing needs; an empty one is missing."""
    return {
        "nightly": told_by(["rustc", "+nightly", "--version"]),
        "cargo-fuzz": told_by([*CARGO_FUZZ, "--version"]),
    }


def targets() -> list[str]:
    """The programs of the fuzz project, by name."""
    return sorted(path.stem for path in (PROJECT / "fuzz_targets").glob("*.rs"))


def run(target: str, corpora: Sequence[Path], *options: str) -> tuple[int, list[str]]:
    """One call of a target, with its output shown. What is new goes to the first corpus. Returns
    the exit code and the lines."""
    command = [*CARGO_FUZZ, "run", "--fuzz-dir", str(PROJECT), target, *map(str, corpora)]
    return shown([*command, "--", *options])


def fuzz(target: str, seconds: int) -> dict[str, Any]:
    """One target from the kept corpus on; its figures."""
    grown, kept = GROWN / target, PROJECT / "corpus" / target
    grown.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_total_time={seconds}", f"-timeout={INPUT_S_MAX}", "-print_final_stats=1")
    code, lines = run(target, [grown, kept], *limits)
    return {"failures": int(code != 0), **figures(lines)}


def figures(lines: Sequence[str]) -> dict[str, int]:
    """What libFuzzer says at its end: inputs run, seconds, edges and features (edges by how often
    they were taken, compared values) that were reached."""
    text = "".join(lines)
    done = re.search(r"^Done (\d+) runs in (\d+) second", text, re.MULTILINE)
    reached = re.findall(r"\bcov: (\d+) ft: (\d+)", text)
    executions, seconds = (int(done[1]), int(done[2])) if done else (0, 0)
    edges, features = map(int, reached[-1]) if reached else (0, 0)
    return {"executions": executions, "seconds": seconds, "edges": edges, "features": features}


def keep(target: str) -> int:
    """Add the fewest grown inputs that reach every edge which the kept ones do not reach. Returns
    the exit code."""
    code, _ = run(target, [PROJECT / "corpus" / target, GROWN / target], "-set_cover_merge=1")
    return code


def kept(target: str) -> dict[str, int]:
    """The corpus in the tree: files and bytes."""
    sizes = [path.stat().st_size for path in (PROJECT / "corpus" / target).iterdir()]
    return {"corpus_files": len(sizes), "corpus_bytes": sum(sizes)}


def main() -> int:
    """Run all targets; the exit code."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--for", dest="seconds", type=int, default=60, help="of each target")
    reader.add_argument("--keep", action="store_true", help="what is found goes to the corpus")
    asked = reader.parse_args()
    found = tools()
    missing = [name for name, version in found.items() if not version]
    for name in missing:
        print(MISSING[name], file=sys.stderr)
    if missing:
        return 1
    result: dict[str, Any] = {"name": "fuzz", "tools": found, "targets": {}}
    for target in targets():
        print(f"\n== {target} for {asked.seconds} s", flush=True)
        figures_of = fuzz(target, asked.seconds)
        # Inputs of a target that failed may be what it failed of: nothing of them is kept.
        if asked.keep and not figures_of["failures"]:
            figures_of["failures"] += int(keep(target) != 0)
        result["targets"][target] = {**figures_of, **kept(target)}
    rows = result["targets"].values()
    result["held"] = all(one["executions"] and not one["failures"] for one in rows)
    result["ended"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    file = GROWN / "fuzz.json"
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print()
    for target, one in result["targets"].items():
        word = "failed" if one["failures"] else "ok"
        print(
            f"{target:<16} {one['executions']:>12,} runs in {one['seconds']} s,"
            f" {one['edges']} edges, {one['corpus_files']} files kept: {word}"
        )
    print(f"\n{file.relative_to(ROOT)}", flush=True)
    return 0 if result["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
