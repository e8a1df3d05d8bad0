"""How long what ended waits before it is started again.

Owns the rhythm. Called for nodes and for stores alike by whoever watches them.
"""

from collections import deque

from mmo.config import Supervisor


def wait_ms(ends_s: deque[float], now_s: float, settings: Supervisor) -> int:
    """Milliseconds from now to the next start, doubling with each end within the window. `ends_s`:
    when it ended, by the clock of `now_s`, the oldest first; older ones are forgotten."""
    while ends_s and now_s - ends_s[0] > settings.crash_window_ms / 1000:
        ends_s.popleft()
    doublings = max(0, len(ends_s) - 1)
    return min(settings.restart_ms_min << doublings, settings.restart_ms_max)
