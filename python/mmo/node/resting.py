"""Residents at rest: who does nothing takes a tenth of the memory of who plays.

Owns when a resident is looked at: soon after he came, since many come and then only watch, and then
about once in `resident_rest_ms`; a slice at a time, so that ten thousand who fall silent together
never hold up the loop. What resting means is `lanes.Lane`'s and `state.rest`'s. Told of newcomers
by `admission`, started by `node`.
"""

from mmo.node.engine import Engine
from mmo.node.lanes import Lane

SLICES = 20  # of one round over all residents
SLICE_LANES_MIN = 16


class Resting:
    """One per node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._round: list[Lane] = []
        self._arrived: list[Lane] = []
        self._lain_down: list[Lane] = []  # who arrived a slice ago
        self._slice = SLICE_LANES_MIN
        self._rounds_from_ms = engine.timers.now_ms()

    def start(self) -> None:
        """Look from now on."""
        rest_ms = self._engine.settings.resident_rest_ms
        self._engine.timers.every(max(1, rest_ms // SLICES), self.look)

    def arrived(self, lane: Lane) -> None:
        """A player was installed: he is looked at in the next two slices."""
        self._arrived.append(lane)

    def look(self) -> None:
        """Newcomers and the next slice of residents; a new round begins when the time of the last
        is over."""
        if not self._round:
            self._begin_round()
        packed = 0
        for lane in self._lain_down:
            packed += lane.look()
        self._lain_down, self._arrived = self._arrived, []
        for lane in self._lain_down:
            packed += lane.look()
        for lane in self._round[-self._slice :]:
            packed += lane.look()
        del self._round[-self._slice :]
        if packed:
            self._engine.metrics.count("players_put_to_rest_total", packed)

    def _begin_round(self) -> None:
        now_ms = self._engine.timers.now_ms()
        if now_ms >= self._rounds_from_ms:
            self._rounds_from_ms = now_ms + self._engine.settings.resident_rest_ms
            self._round = list(self._engine.lanes.users.values())
            self._slice = max(SLICE_LANES_MIN, len(self._round) // SLICES + 1)
