"""A rule that does not end costs its message, not the node.

Owns one timer of processor time: an idle node never sees it. When the same call of a rule is met
several times in a row it is interrupted where it stands, by an exception that only the machinery
catches. Code in C (a sum over a huge range) cannot be interrupted so; then the supervisor ends the
silent process. Started by `node_runner` on the main thread.
"""

import signal
from types import FrameType

from mmo.node.modules import is_hot

LOOKS = 2  # times that one call may be met; the timer runs `LOOKS` times within a budget


class RuleOverran(BaseException):
    """Raised inside of a rule that used up its budget. No `except Exception` of a rule stops it."""


class Watchdog:
    """One per process, or none."""

    def __init__(self, budget_ms: int) -> None:
        self._budget_ms = budget_ms
        self._frame: FrameType | None = None
        self._met = 0

    def start(self) -> None:
        """Look from now on. Only on the main thread."""
        every_s = self._budget_ms / LOOKS / 1_000
        signal.signal(signal.SIGVTALRM, self._look)
        signal.setitimer(signal.ITIMER_VIRTUAL, every_s, every_s)

    def stop(self) -> None:
        """Look no more."""
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
        self._frame = None

    def forget(self) -> None:
        """The loop turned: no call is older than now. What it held of a frame is let go."""
        self._frame = None

    def _look(self, number: int, frame: FrameType | None) -> None:
        outermost = None
        while frame is not None:
            if is_hot(frame.f_code.co_filename):
                outermost = frame
            frame = frame.f_back
        if outermost is None or outermost is not self._frame:
            self._frame, self._met = outermost, 0
            return
        self._met += 1
        if self._met >= LOOKS:
            self._frame = None
            raise RuleOverran(f"not done after {self._budget_ms} ms of processor time")
