"""The tutorials that need a cluster as they are printed, each on one of its own.

Owns the running of each line, in order; each must end well, or with the code that its block names.
`status` is asked until all is ready, as the first hour says, and a reload that was refused because
somebody did not answer is tried again, as its error says.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmo.proof.live_code import AGAIN

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "tutorials" / "first-hour.md"
READY_S = 30.0

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

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
        program, *arguments = shlex.split(line)
        module = {"mmo-cluster": ["-m", "mmo.cli"], "pytest": ["-m", "pytest"], "python": []}
        if program == "pytest":
            root = arguments[-1].partition("/")[0]
            arguments += ["-p", "no:cacheprovider", "--rootdir", root]
        return subprocess.run(
            [sys.executable, *module[program], *arguments],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    yield one
    one("mmo-cluster stop --wipe --yes")


def insisted(run: Run, line: str) -> "subprocess.CompletedProcess[str]":
    """Runs a line, and again for a while when it says that it was too early: `status` before all is
    ready, a reload while a node did not answer in time."""
    deadline_s = time.monotonic() + READY_S
    while True:
        done = run(line)
        early = " status" in line or any(code in done.stderr for code in AGAIN)
        if not (early and done.returncode) or time.monotonic() > deadline_s:
            return done


def test_the_first_hour_works_as_printed(run: Run) -> None:
    lines = commands_of(DOCUMENT.read_text(encoding="utf-8"))
    assert len(lines) > 10
    for line in lines:
        done = insisted(run, line)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        if " audit" in line:
            assert "balanced" in done.stdout.split("\n")


BLOCK = re.compile(
    r"^```(?P<kind>\w+)(?: (?P<file>\S+))?(?: (?P<code>E\d{4}))?\n(?P<text>.*?)^```$", re.M | re.S
)


def changed(text: str, diff: str) -> str:
    """`text` with the lines of a block taken out and put in at the one place where it fits."""
    lines = diff.splitlines()
    old = "".join(line[1:] + "\n" for line in lines if line.startswith("-"))
    new = "".join(line[1:] + "\n" for line in lines if line.startswith("+"))
    assert text.count(old) == 1, f"the block fits {text.count(old)} times:\n{old}"
    return text.replace(old, new)


def test_change_it_live_works_as_printed(run: Run, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorials" / "change-it-live.md").read_text(encoding="utf-8")
    blocks = [match.groupdict() for match in BLOCK.finditer(text)]
    assert [block["kind"] for block in blocks].count("diff") > 5
    answers: list[str] = []
    for block in blocks:
        if block["kind"] == "diff":
            path = tmp_path / block["file"]
            path.write_text(changed(path.read_text("utf-8"), block["text"]), encoding="utf-8")
        elif block["kind"] == "python":
            (tmp_path / block["file"]).write_text(block["text"], encoding="utf-8")
        else:
            for line in block["text"].splitlines():
                done = insisted(run, line)
                said = f"{line}\n{done.stdout}\n{done.stderr}"
                assert (done.returncode == 0) == (block["code"] is None), said
                assert block["code"] is None or block["code"] in done.stderr, said
                assert "Traceback" not in done.stderr, said
                if "ROLL_DICE" in line:
                    answers.append("".join(done.stdout.split()))
    # rolled; loaded; loaded while the save is broken; seven of them by the mended table
    loaded = ['"eyes":[6,6]' in answer for answer in answers[1:3]]
    assert loaded == [True, True] and '"eyes":[6,6,6,6,6,6,6]' in answers[3], answers


def test_write_a_client_works_as_printed(run: Run, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorials" / "write-a-client.md").read_text(encoding="utf-8")
    for name, count in (("client.py", 4), ("raid.py", 1)):
        parts = [match["text"] for match in BLOCK.finditer(text) if match["file"] == name]
        assert len(parts) == count
        (tmp_path / name).write_text("\n\n".join(parts), encoding="utf-8")
    printed = [run(line) for line in commands_of(text)]
    for done in printed:
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    said = [done.stdout for done in printed]
    assert any("the same answer again" in lines for lines in said), said
    ended = [line for lines in said for line in lines.splitlines() if " datagrams, " in line]
    assert len(ended) == 2 and not any("; 0 datagrams" in line for line in ended), said
