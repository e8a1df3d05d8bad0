"""The first half of a drain: everybody is served while he is sent elsewhere and what runs ends.

Owns who was told to go, how fast, and when there is nothing left to wait for. Where a player goes
his rule says (`NODE_LEAVING`); what must end first are the rooms of the role. Closes nothing and
flushes nothing: that is the second half, in `node`. Called by `node` once.
"""

import asyncio

from mmo.node.engine import Engine
from mmo.node.lanes import Job, Source
from mmo.wire.messages.presence import NodeLeaving
from mmo.wire.opcode import Op

LOOK_MS = 20
TOLD_A_LOOK = 8
"""Players told at once, so 400 a second: a center prepares 1,000 moves a second and more, and the
other servers take newcomers beside their own players."""
ANSWER_MS = 500
"""Who was not sent away within this after he was told has nowhere to go: nobody waits for it."""


class Leaving:
    """One per drain."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._route = engine.table.node.get(int(Op.NODE_LEAVING))
        self._told: set[Source] = set()
        self._told_ms = 0

    async def go(self, leave_ms: int, busy_ms: int, *, move: bool) -> None:
        """Until all who can go have gone, at most `leave_ms`, and nothing is busy, at most
        `busy_ms`. Without `move` nobody is sent anywhere."""
        engine, over = self._engine, asyncio.Event()
        began_ms = engine.timers.now_ms()

        def look() -> None:
            took_ms = engine.timers.now_ms() - began_ms
            going = move and took_ms < leave_ms and self._somebody_goes()
            if going or (took_ms < busy_ms and self.busy):
                engine.timers.after(LOOK_MS, look)
            else:
                over.set()

        look()
        await over.wait()
        engine.log.info(
            "players sent elsewhere", told=len(self._told), left=len(engine.sent_away),
            waited_ms=engine.timers.now_ms() - began_ms,
        )  # fmt: skip

    @property
    def busy(self) -> bool:
        """Rooms run here, which a drain lets end first."""
        return any(rooms.running for rooms in self._engine.rooms)

    def _somebody_goes(self) -> bool:
        """Tell a few more; whether anybody is still to be told, answered for or gone."""
        engine = self._engine
        if self._route is None:
            return False
        now_ms = engine.timers.now_ms()
        untold = [
            lane
            for lane in engine.lanes.users.values()
            if lane.source is not None and lane.source.entered and lane.source not in self._told
        ]
        for lane in untold[:TOLD_A_LOOK]:
            assert lane.source is not None
            self._told.add(lane.source)
            self._told_ms = now_ms
            engine.lanes.put(lane, Job(self._route, message=NodeLeaving(lane.user)))
        if untold:
            engine.now()
            engine.turn()
        # Whose connection ended has gone; the drain waits for the others.
        engine.sent_away = {source for source in engine.sent_away if not source.gone}
        answers_due = bool(self._told) and now_ms - self._told_ms < ANSWER_MS
        return bool(untold or engine.sent_away or answers_due)
