"""What an operator is told of a file or folder that the system does not let us use.

Owns the words; never touches the file. Called by whoever opens files below a home or writes a game.
"""

import os
from pathlib import Path

from mmo.errors import OperatorError


def unwritable(path: Path, fault: OSError, other: str) -> OperatorError:
    """E0735 for the path that `fault` names, else `path`. `other`: what else the operator may name
    in its place, such as `another --home`."""
    place = fault.filename if isinstance(fault.filename, str) else str(path)
    both = " ".join(dict.fromkeys((str(path), place)))
    return OperatorError(
        "E0735",
        f"{place} cannot be used: {fault.strerror}",
        f"ls -ld {both} shows whose it is: chown it to user {os.geteuid()}, or {other}",
    )
