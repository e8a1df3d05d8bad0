"""Of which code, by which command, when and on what a result was made.

Owns the marks that tie a raw result to what made it: a digest of the sources, words of the command,
the interpreter's version, the day and the machine. Measures nothing. Called by verdicts, by benches
and by whoever keeps progress.
"""

import hashlib
import os
import platform
import sys
import time
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


def machine() -> str:
    """Processors, memory and system, in one line; nothing that tells one host from its like."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores of {cpu}, {memory:.0f} GB, {platform.system()}"


def origin() -> dict[str, Any]:
    """All of them, as they stand in a raw result; the day by UTC."""
    return {
        "code": code_digest(),
        "arguments": arguments(),
        "python": platform.python_version(),
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
    }
