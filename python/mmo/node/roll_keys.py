"""The keys of the rolls in public: commitments ahead of their day, keys once nobody can roll.

Owns when a day is published and revealed, and tells the rules what is public; derives keys with the
function it is given and keeps none. Every server that owns players does this; the rows are the same
whoever writes them. Made by `cli`.
"""

from collections.abc import Callable

from mmo.errors import OperatorError, StoreError
from mmo.node.engine import NOBODY, Engine
from mmo.node.lanes import Job, Lane
from mmo.state.roll import DAY_MS, REVEAL_AFTER_MS, DayKey, commitment, day_of, rolls_until_ms
from mmo.store import Store
from mmo.wire.messages.enhance import RollKeyRow, RollKeysSeen
from mmo.wire.opcode import Op

REFRESH_MS = 300_000
DAYS_READ_MAX = 400


async def publish(
    store: Store, key_of: Callable[[int], bytes], now_ms: int, days_ahead: int
) -> None:
    """Publish today and the days ahead. Raises `OperatorError` E0110 when another secret's hash was
    published for one of them: rolls under this one would not be the promised ones."""
    days = [day_of(now_ms + ahead * DAY_MS) for ahead in range(days_ahead + 1)]
    strangers = await store.publish_keys([(day, commitment(key_of(day))) for day in days])
    if strangers:
        raise OperatorError(
            "E0110",
            f"the roll secret is not the one whose commitment was published for {strangers[0]}",
            "give all servers the secret of the first start (secrets/roll)",
        )


class RollKeys:
    """One per node that owns players."""

    def __init__(self, engine: Engine, key_of: Callable[[int], bytes], days_ahead: int) -> None:
        self._engine = engine
        self._key_of = key_of
        self._days_ahead = days_ahead
        self._lane = Lane(0)

    def start(self) -> None:
        """Refresh now and from time to time."""
        self._refresh_soon()
        self._engine.timers.every(REFRESH_MS, self._refresh_soon)

    def _refresh_soon(self) -> None:
        self._engine.spawn(self.refresh())

    async def refresh(self) -> None:
        """Publish, reveal, read, tell."""
        engine = self._engine
        now_ms = engine.clock_ms()
        try:
            await publish(engine.store, self._key_of, now_ms, self._days_ahead)
            rows = await self._revealed(now_ms)
        except StoreError as error:
            engine.log.warning("roll keys not refreshed", fault=str(error))
            return
        engine.now()
        self._tell(rows)
        engine.turn()

    async def _revealed(self, now_ms: int) -> list[DayKey]:
        store = self._engine.store
        first = day_of(now_ms - (DAYS_READ_MAX - 1 - self._days_ahead) * DAY_MS)
        rows = await store.roll_keys(first, DAYS_READ_MAX)
        due = [
            (row.day, self._key_of(row.day), rolls_until_ms(row.day) + REVEAL_AFTER_MS)
            for row in rows
            if not row.key and rolls_until_ms(row.day) + REVEAL_AFTER_MS <= now_ms
        ]
        if not due:
            return rows
        revealed = await store.reveal_keys(due)
        self._engine.log.info("roll keys revealed", days=[day for day, _, _ in due], new=revealed)
        return await store.roll_keys(first, DAYS_READ_MAX)

    def _tell(self, rows: list[DayKey]) -> None:
        engine = self._engine
        message = RollKeysSeen([RollKeyRow(*row) for row in rows])
        route = engine.table.node.get(int(Op.ROLL_KEYS_SEEN))
        if route is None:
            return
        engine.env.sender = NOBODY
        job = Job(route, message=message)
        try:
            outcome = route.call(message, None)
        except Exception:
            engine.router.raised(job)
            return
        engine.outcomes.deliver(self._lane, job, outcome)
