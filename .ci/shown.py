"""A command whose output is shown line by line while it runs, and kept.

Owns the reading of it. Called by the scripts beside it.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def shown(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Run a command at the root of the project, with `environment` over that of this process.
    Returns its exit code and its lines, errors among them."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        print(line, end="", flush=True)
    return process.wait(), lines
