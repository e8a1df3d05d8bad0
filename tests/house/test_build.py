"""The build is one command that anybody can run, and no secret is among the sources.

Owns the comparison of Makefile, `.ci/run`, the workflow and the README with each other.
"""

import os
import re
from pathlib import Path

from tests.house.tree import ROOT, committed_files, short

PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
GIVEN = re.compile(
    r"""(?ix)\b(?:password|secret|pepper|token)\s*[=:]\s*["']([^"'{}<>$\s]{12,})["']"""
)
TEXTS = {".py", ".rs", ".toml", ".sql", ".yml", ".json", ".sh", ".pem", ".md", ""}


def targets(makefile: str) -> set[str]:
    """What can be made."""
    return set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))


def secrets_in(text: str) -> list[str]:
    """Private keys, and values of a secret that look like one."""
    return [*PRIVATE.findall(text), *(m.group() for m in GIVEN.finditer(text))]


def test_the_test_command_of_the_readme_is_what_continuous_integration_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"(?m)^make test\b", readme)
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert re.search(r"\bmake test\b", run.read_text(encoding="utf-8"))
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert ".ci/run" in workflow


def test_every_make_command_of_the_readme_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?m)(?:^|`)make ([a-z][\w-]*)", readme))
    assert {"start", "test"} <= named
    assert named <= targets((ROOT / "Makefile").read_text(encoding="utf-8"))


def test_no_secret_is_among_the_sources() -> None:
    faults, judged = [], set()
    for path in committed_files():
        # Bots and tests play with accounts of their own, made and wiped with their cluster.
        players = {"tests", "client", "proof"} & set(path.relative_to(ROOT).parts)
        if path.suffix in TEXTS and not players:
            judged.add(short(path))
            text = path.read_text(encoding="utf-8", errors="replace")
            faults += [f"{short(path)}: {found}" for found in secrets_in(text)]
    assert {"README.md", "Makefile", "python/mmo/default.toml", "rust/src/lib.rs"} <= judged
    assert not faults, "\n".join(faults)


def test_a_planted_secret_is_found(tmp_path: Path) -> None:
    assert secrets_in("pass" + 'word = "hunter2hunter2"')
    assert secrets_in("-----BEGIN PRI" + "VATE KEY-----")
    assert not secrets_in('password = ""\npassword_file = "a/long/path/of/a/file"\n')
    assert targets("start: build\n\t@x\n.PHONY: y\n") == {"start"}
