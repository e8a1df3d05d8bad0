"""How an exception is told where its traceback does not come along.

Owns one line: the type, the words, and the file and line that raised it. Keeps no frame of it
alive. Used by the logs of worlds and by the findings of simulations.
"""

import traceback
from pathlib import Path

from mmo.node.code_faults import where_raised

WORDS_CHARACTERS_MAX = 300
PARTS_MAX = 3
"""Folders and file of a path that are told: enough to find it, the same on every machine."""


def raised(fault: BaseException) -> str:
    """`KeyError: 'gold' at systems/dice.py:34`: the innermost line of a rule that a generation
    brought, else the innermost line of all; no place for what was never raised."""
    path, line = where_raised(fault)
    if not path:
        for frame, number in traceback.walk_tb(fault.__traceback__):
            path, line = "/".join(Path(frame.f_code.co_filename).parts[-PARTS_MAX:]), number
    place = f" at {path}:{line}" if path else ""
    return f"{type(fault).__name__}: {str(fault)[:WORDS_CHARACTERS_MAX]}{place}"
