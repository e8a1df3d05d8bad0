"""Of which code, by which command and under which interpreter a result was made.

Owns the marks that tie a raw result to what made it: a digest of the sources, words of the command
and the interpreter's version. Measures nothing. Called by verdicts, by benches and by whoever keeps
progress.
"""

import hashlib
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
RUST = PACKAGE.parents[1] / "rust"
"""Sources of the core, where the package runs from its repository."""

KINDS = frozenset({".py", ".toml", ".rs", ".lock"})
COMMANDS = frozenset({"mmo-cluster", "__main__.py"})
"""File names of the program when the package's own command runs."""

PLACES = frozenset({"--home", "--config", "--out"})
"""Options whose value is a path of the machine, however it is written."""

PATH = "PATH"
"""Stands for a path."""


@cache
def code_digest() -> str:
    """16 hex digits over every module and table of the package, over the sources of the core where
    they are, and over the interpreter's version: two results with the same one are of the same
    code. Taken once a process, for
    files may change under a long run."""
    return digest_of(PACKAGE, RUST)


def digest_of(*places: Path) -> str:
    """16 hex digits over the interpreter's version and the sources in these folders and files; one
    that is missing counts for nothing."""
    digest = hashlib.sha256(sys.version.encode())
    for place in places:
        for path in [place, *sorted(place.rglob("*"))]:
            inside = path.relative_to(place.parent)
            if path.suffix in KINDS and "target" not in inside.parts and path.is_file():
                digest.update(str(inside).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def arguments(words: list[str] | None = None) -> list[str]:
    """What followed `mmo-cluster`: names of options and plain values; every path of the machine is
    told as `PATH`. Empty when something else than the command runs."""
    program, *given = sys.argv if words is None else words
    if Path(program).name not in COMMANDS:
        return []
    told: list[str] = []
    for word in given:
        option, equals, value = word.partition("=")
        if told and told[-1] in PLACES:
            told.append(PATH)
        elif equals and (option in PLACES or "/" in value):
            told.append(f"{option}={PATH}")
        else:
            told.append(PATH if "/" in word else word)
    return told


def origin() -> dict[str, Any]:
    """All three, as they stand in a raw result."""
    return {
        "code": code_digest(),
        "arguments": arguments(),
        "python": platform.python_version(),
    }
