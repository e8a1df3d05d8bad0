"""A clock that moves only when a test says so.

Owns the virtual time of a test, in milliseconds. Never waits. Used by `world` and by unit tests.
"""

START_MS = 1_700_000_000_000


class VirtualClock:
    """Call it for the time now."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def move(self, by_ms: int) -> None:
        """Let time pass; time never goes back."""
        assert by_ms >= 0, "time does not go back"
        self.now_ms += by_ms
