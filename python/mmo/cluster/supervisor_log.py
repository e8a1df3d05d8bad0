"""Lines of the supervisor's own log, which is its standard error: what it did by itself.

Owns their form. Called by the supervisor and by what it is made of.
"""

import contextlib
import sys
import time


def log_line(text: str) -> None:
    """Write one line with its time; on a full disk none."""
    with contextlib.suppress(OSError):
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')}  {text}", file=sys.stderr, flush=True)
