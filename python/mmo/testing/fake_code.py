"""The part of the fake store that says which code decides.

Owns the same guards as `store.code`, in dicts. Used by `fake_store`; the contract tests of the
store run on it.
"""

from collections.abc import Callable, Sequence

import msgspec

from mmo.store import CodeRecord, CodeRow, CodeSwitch, Meanwhile
from mmo.testing.fake_tables import FakeDatabase


class FakeCodeStore:
    """Mixed into `FakeStore`, which has the database and its faults."""

    database: FakeDatabase
    _begin: Callable[[], None]
    _lose_answer: Callable[[], None]

    async def code(self, settled: bool = False) -> CodeRow:
        """See `Store.code`."""
        self._begin()
        row, newest = self.database.code, max(self.database.generations, default=0)
        return CodeRow(
            *(row.generation, row.bundle, max(newest, row.generation) + 1, row.rolling_from),
            *(row.canary, row.canary_number, self.database.clock_ms()),
        )

    async def add_bundle(self, digest: str, packed: bytes) -> None:
        """See `Store.add_bundle`."""
        self._begin()
        self.database.bundles.setdefault(digest, packed)
        self.database.bundles_ms.setdefault(digest, self.database.clock_ms())

    async def forget_bundles(self, oldest: int, unused_ms: int) -> int:
        """See `Store.forget_bundles`."""
        self._begin()
        database = self.database
        kept = {one.bundle for one in database.generations.values() if one.generation >= oldest}
        before_ms = database.clock_ms() - unused_ms
        gone = [
            digest
            for digest in database.bundles
            if digest not in kept | {database.code.bundle}
            and database.bundles_ms.get(digest, 0) < before_ms
        ]
        for digest in gone:
            del database.bundles[digest]
        return len(gone)

    async def bundle(self, digest: str) -> bytes | None:
        """See `Store.bundle`."""
        self._begin()
        return self.database.bundles.get(digest)

    async def switch_code(self, switch: CodeSwitch, meanwhile: Meanwhile | None = None) -> bool:
        """See `Store.switch_code`."""
        self._begin()
        if not self._may_change(switch):
            return False
        if meanwhile is not None:
            await meanwhile()
        if not (self._may_change(switch) and self._is_complete(switch)):
            return False
        row = self.database.code
        if switch.kind == "first":
            row.bundle = switch.bundle
        elif switch.kind == "canary":
            row.canary, row.canary_number = switch.generation, switch.canary_number
        else:
            row.generation, row.bundle = switch.generation, switch.bundle
            row.rolling_from = switch.before if switch.kind == "rolling" else 0
            row.canary = row.canary_number = 0
        self.database.generations[switch.generation] = CodeRecord(
            *(switch.generation, switch.bundle, switch.before, switch.kind),
            *(switch.who, switch.note, self.database.clock_ms()),
        )
        self._lose_answer()
        return True

    def _may_change(self, switch: CodeSwitch) -> bool:
        row, now_ms = self.database.code, self.database.clock_ms()
        if row.generation != switch.before:
            return False
        if switch.kind == "first":
            return not row.bundle
        if row.rolling_from:
            return False
        if row.canary:
            tried = self.database.generations[row.canary]
            if (tried.generation, tried.bundle) != (switch.generation, switch.bundle):
                return False
        if switch.kind == "canary" and row.canary:
            return False
        return not switch.deadline_ms or now_ms <= switch.deadline_ms

    def _is_complete(self, switch: CodeSwitch) -> bool:
        now_ms, known = self.database.clock_ms(), set(switch.holders or ())
        return switch.holders is None or all(
            (held.row.number, held.row.incarnation) in known or (held.row.number, 0) in known
            for held in self.database.leases.values()
            if held.until_ms > now_ms
        )

    async def end_canary(self, generation: int, why: str) -> bool:
        """See `Store.end_canary`."""
        self._begin()
        row = self.database.code
        if not generation or row.canary != generation:
            return False
        row.canary = row.canary_number = 0
        record = self.database.generations[generation]
        self.database.generations[generation] = msgspec.structs.replace(
            record, state="back", note=why
        )
        return True

    async def turn_rolling(self, generation: int, back_to: int) -> bool:
        """See `Store.turn_rolling`."""
        self._begin()
        row = self.database.code
        if not back_to or (row.generation, row.rolling_from) != (generation, back_to):
            return False
        row.generation, row.rolling_from = back_to, generation
        row.bundle = self.database.generations[back_to].bundle
        return True

    async def end_rolling(self) -> None:
        """See `Store.end_rolling`."""
        self._begin()
        self.database.code.rolling_from = 0

    async def code_of_operation(self, user: int, epoch: int, counter: int) -> int:
        """See `Store.code_of_operation`."""
        self._begin()
        return self.database.decided_by.get((user, epoch, counter), 0)

    async def code_records(self, newest: int, count_max: int) -> Sequence[CodeRecord]:
        """See `Store.code_records`."""
        self._begin()
        known = sorted(n for n in self.database.generations if n <= newest)
        return [self.database.generations[n] for n in reversed(known)][:count_max]
