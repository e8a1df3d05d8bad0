"""The tutorials as they are printed: every block is applied to a copy of the tree and run there.

Owns the reading of the Markdown; a block names its file in its first line. Never touches the tree.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """One fenced block: `python` writes its file, `diff` changes it, `sh` is run."""

    kind: str
    file: str
    text: str


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a document in order."""
    return [Block(m["kind"], m["file"] or "", m["text"]) for m in BLOCK.finditer(text)]


def changed(text: str, diff: str) -> str:
    """`text` with a block of ` `, `-` and `+` lines applied at the one place where it fits."""
    lines = diff.splitlines()
    old = "".join(line[1:] + "\n" for line in lines if not line.startswith("+"))
    new = "".join(line[1:] + "\n" for line in lines if not line.startswith("-"))
    assert text.count(old) == 1, f"the block fits {text.count(old)} times:\n{old}"
    return text.replace(old, new)


def apply(block: Block, root: Path) -> None:
    """Do in `root` what the block says."""
    if block.kind == "sh":
        environment = {**os.environ, "PYTHONPATH": str(root / "python")}
        command = [sys.executable, "-m", *block.text.split(), "-p", "no:cacheprovider"]
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return
    path = root / block.file
    if block.kind == "diff":
        path.write_text(changed(path.read_text(encoding="utf-8"), block.text), encoding="utf-8")
        return
    assert block.kind == "python" and not path.exists(), f"{block.file} is there already"
    path.write_text(block.text, encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree as a reader has it."""
    for name in ("python/mmo", "tests/systems"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_add_a_message_works_as_printed(copy: Path) -> None:
    blocks = blocks_of((TUTORIALS / "add-a-message.md").read_text(encoding="utf-8"))
    assert [block.kind for block in blocks].count("sh") == 1
    for block in blocks:
        apply(block, copy)
    role = "from mmo.roles.channel import ROLE; assert 'wave' in ROLE.systems"
    environment = {**os.environ, "PYTHONPATH": str(copy / "python")}
    subprocess.run([sys.executable, "-c", role], cwd=copy, env=environment, check=True)


def test_a_block_that_does_not_fit_is_found(copy: Path) -> None:
    with pytest.raises(AssertionError, match="fits 0 times"):
        changed("one\ntwo\n", "-three\n+four\n")
    assert changed("one\ntwo\n", " one\n-two\n+three\n") == "one\nthree\n"
    broken = Block("sh", "", "pytest -q tests/systems/test_gone.py")
    with pytest.raises(AssertionError):
        apply(broken, copy)
