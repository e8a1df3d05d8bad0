"""Points where a test lets this process kill itself.

Owns the armed points. Does nothing unless the configuration allows it and the admin socket armed
one; then the process ends as by `kill -9`, exactly between two steps.
"""

import os
import signal

POINTS = (
    *("before-commit", "after-commit", "before-row", "after-row", "before-claim", "after-claim"),
    "before-checkpoint",
)


class Failpoints:
    """`reach` is called by the machinery between steps that must survive a crash."""

    def __init__(self, allowed: bool) -> None:
        self.allowed = allowed
        self._armed: dict[str, int] = {}

    def arm(self, point: str, times: int) -> None:
        """Die at the `times`-th reach of `point` from now. Raises `ValueError` for an unknown point
        or where failpoints are not allowed."""
        if not self.allowed or point not in POINTS or times < 1:
            raise ValueError(f"{point!r} is no failpoint here")
        self._armed[point] = times

    def reach(self, point: str) -> None:
        """The machinery is at `point`."""
        if self._armed:
            left = self._armed.get(point, 0) - 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            elif left > 0:
                self._armed[point] = left
