"""The first hour as it is printed, on a cluster of its own.

Owns the running of each `mmo-cluster` line of the document, in order; each must end well. `status`
is asked until all is ready, as the document says.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "tutorials" / "first-hour.md"
READY_S = 30.0

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

Run = Callable[[str], "subprocess.CompletedProcess[str]"]


def commands_of(text: str) -> list[str]:
    """Every line of every `sh` block."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs one printed line in a home of its own; whatever was started is stopped at the end."""
    environment = {**os.environ, "MMO_HOME": str(tmp_path / "home")}

    def one(line: str) -> "subprocess.CompletedProcess[str]":
        program, *arguments = line.split()
        assert program == "mmo-cluster", line
        return subprocess.run(
            [sys.executable, "-m", "mmo.cli", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    yield one
    one("mmo-cluster stop --wipe --yes")


def test_the_first_hour_works_as_printed(run: Run) -> None:
    lines = commands_of(DOCUMENT.read_text(encoding="utf-8"))
    assert len(lines) > 10
    for line in lines:
        done = run(line)
        deadline_s = time.monotonic() + READY_S
        while " status" in line and done.returncode and time.monotonic() < deadline_s:
            done = run(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        if " audit" in line:
            assert "balanced" in done.stdout.split("\n")
