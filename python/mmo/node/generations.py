"""Which generation decides on this node: prepare, hold, switch between two batches, give up.

Owns the running generation, the candidate beside it and the pause of input in between. The one row
in the store is the only switch: a held node asks it until it says so, or until no switch of that
moment can happen any more by the clock of the database. Whoever finds himself behind the row fences
himself. Asked by the admin socket and by the lease's renewal.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from mmo.errors import OperatorError, StoreError
from mmo.node.bundle import Bundle
from mmo.node.core_table import core_fields
from mmo.node.engine import Engine
from mmo.node.generation import Generation, build_beside
from mmo.node.handlers import build_table
from mmo.node.pins import Pins
from mmo.store.code_rows import CodeRow

LOOK_MS = 100
"""How often a held node reads the row by itself; the coordinator tells it sooner."""
CANARY_GRACE_MS = 15_000
"""How long after its time a canary waits for whoever began it."""
FROZEN_OF_ROLE = (
    *("name", "edges", "dials", "owns_players", "token_types", "has_clients", "signs"),
    *("datagrams", "takes_payments"),
)


class Generations:
    """One per node."""

    def __init__(self, engine: Engine, current: Generation, edges_package: str) -> None:
        self._engine = engine
        self._edges_package = edges_package
        self.current = current
        self.candidate: Generation | None = None
        self.pins = Pins(engine)
        self.older: list[Generation] = []  # kept for the rooms that began with them
        self.is_held = False
        self.mark = 0  # counts switches: what was read before one says nothing after it
        self.on_behind: Callable[[CodeRow], None] = lambda row: None
        self.trusted_until_ns = 1 << 63  # for ever, until somebody watches over the loop
        self.switched_ms = 0
        self.started_ms = time.time_ns() // 1_000_000  # what is frozen is as old as this
        self._by = ""  # who let the candidate prepare
        self._deadline_ms = 0  # of the hold, by the database's clock
        self._asked = False  # the row is being read
        self._awaiting: list[asyncio.Future[None]] = []  # the end of that
        self._before: Generation | None = None  # what a canary goes back to
        self._is_behind = False  # found out to be: nothing is decided here any more
        # While its lease lives nobody switches without this node; one that was stopped for as long
        # as it takes to lose the lease may have missed a switch.
        self._asleep_ns = engine.settings.lease_fence_ms * 1_000_000

    def view(self) -> dict[str, Any]:
        """What the operator is told."""
        candidate = self.candidate
        return {
            "generation": self.current.number,
            "bundle": self.current.digest,
            "candidate": candidate.number if candidate is not None else 0,
            "held": self.is_held,
            "started_ms": self.started_ms,
            "rooms": self.pins.counts(),
            "quarantined": list(self._engine.quarantine.rules.values()),
            "last_failure": self._engine.quarantine.last,
        }

    async def prepare(self, question: dict[str, Any]) -> dict[str, Any]:
        """Build and check a candidate beside what runs. Raises `OperatorError`."""
        number, digest = int(question["number"]), str(question["bundle"])
        self.give_up()
        began = time.perf_counter()
        packed = await self._engine.store.bundle(digest)
        if packed is None:
            raise OperatorError("E0421", f"the store has no code {digest[:8]}")
        bundle = Bundle.unpacked(packed, digest)
        engine = self._engine
        generation = await build_beside(number, bundle, engine.role.name, engine.work_s)
        try:
            self._furnish(generation)
            differences, failures = await self._engine.recorder.compare(generation, self.current)
            if failures:
                raise OperatorError(
                    "E0430",
                    f"recorded messages fail in the new code: {failures[0]}",
                    f"{len(failures)} of them did not before; nothing was changed",
                )
            if self.is_held or number <= self.current.number:
                raise OperatorError("E0419", "another reload came in between", "try again")
        except BaseException:
            generation.free()
            raise
        if self.candidate is not None:
            self.candidate.free()
        self.candidate, self._by = generation, str(question.get("by", ""))
        took_ms = (time.perf_counter() - began) * 1_000
        return {
            "prepared": number, "took_ms": round(took_ms, 1), "differences": differences,
        }  # fmt: skip

    def hold(self, question: dict[str, Any]) -> dict[str, Any]:
        """Decide nothing more until the row was read. `deadline_ms` of the database's clock: no
        switch to this candidate happens after it."""
        number = int(question["number"])
        if not self._is_prepared(question):
            raise OperatorError("E0419", f"generation {number} is not prepared here", "try again")
        self._deadline_ms = int(question["deadline_ms"])
        self._hold()
        self._engine.timers.after(LOOK_MS, self._look_again)
        return {"held": number}

    async def canary(self, question: dict[str, Any]) -> dict[str, Any]:
        """Decide by the candidate alone, as the row says; after `for_ms` and the time of a reload
        without a word it ends by itself."""
        number = int(question["number"])
        row = await self._engine.store.code(settled=True)
        candidate = self.candidate
        if candidate is None or not self._is_prepared(question) or row.canary != number:
            raise OperatorError("E0419", f"generation {number} is not prepared here", "try again")
        self._before = self.current
        self.switch(candidate)
        after_ms = int(question["for_ms"]) + CANARY_GRACE_MS
        self._engine.timers.after(after_ms, lambda: self._engine.spawn(self._end_canary(number)))
        return self.view()

    async def _end_canary(self, number: int) -> None:
        """Nobody decided about the canary in time."""
        if self._before is None or self.current.number != number:
            return
        mark = self.mark
        try:
            await self._engine.store.end_canary(number, "nobody decided in time")
            row = await self._engine.store.code(settled=True)
        except StoreError:
            self._engine.timers.after(
                CANARY_GRACE_MS, lambda: self._engine.spawn(self._end_canary(number))
            )
            return
        self.seen(row, mark)

    async def look(self, question: dict[str, Any]) -> dict[str, Any]:
        """Read the row now and do what it says; what was switched is committed by now. A read that
        is under way may have begun before."""
        while self._asked:
            answered = asyncio.get_running_loop().create_future()
            self._awaiting.append(answered)
            await answered
        await self._read(settled=False)
        return self.view()

    def abandon(self, question: dict[str, Any]) -> dict[str, Any]:
        """The coordinator promises not to switch: give its candidate up and go on. Another one's,
        also of the same number, stays."""
        if self._is_prepared(question):
            self._deadline_ms = 0
            self.give_up()
            self._release()
        return self.view()

    def _is_prepared(self, question: dict[str, Any]) -> bool:
        """Whether the candidate is the one that this asker let prepare."""
        candidate = self.candidate
        asked = (int(question["number"]), str(question["bundle"]), str(question.get("by", "")))
        return candidate is not None and asked == (candidate.number, candidate.digest, self._by)

    def give_up(self) -> None:
        """Forget a candidate that is not held."""
        if self.candidate is not None and not self._deadline_ms:
            self.candidate.free()
            self.candidate = None

    def seen(self, row: CodeRow, mark: int, settled: bool = False) -> None:
        """The row was read; `mark` as it was when the reading began."""
        if mark != self.mark:
            return
        candidate = self.candidate
        if candidate is not None and (row.generation, row.bundle) == (
            candidate.number,
            candidate.digest,
        ):
            self.switch(candidate)
        elif row.generation == self.current.number:
            self._forget_before()
            self._give_up_late(row, settled)
        elif self._before is not None and row.canary != self.current.number:
            self.switch(self._before)  # the canary went back
        elif not row.allows(self.current.number, self._engine.settings.number):
            self._engine.log.error(
                "generation behind", generation=self.current.number, row=row.generation
            )
            self._is_behind = True
            self._hold()
            self.on_behind(row)
        else:
            self._give_up_late(row, settled)

    def _give_up_late(self, row: CodeRow, settled: bool) -> None:
        """End a hold whose switch can happen no more."""
        if settled and self.is_held and self._deadline_ms and row.now_ms > self._deadline_ms:
            self._engine.log.warning("switch given up", generation=self.current.number)
            self._deadline_ms = 0
            self.give_up()
            self._release()

    def _forget_before(self) -> None:
        """What a canary could go back to is not needed any more."""
        before, self._before = self._before, None
        if before is not None and before is not self.current and before not in self.older:
            self._retire(before)

    def switch(self, generation: Generation) -> None:
        """Decide by another generation from the next message on."""
        engine, old = self._engine, self.current
        assert generation.env is not None and generation.table is not None
        goes_back = generation is self._before
        engine.recorder.disarm()  # what waits in a route would hold what the pins put there
        is_kept = not goes_back and self.pins.keep(old)
        self.pins.unpin(generation)
        engine.decide_by(generation.role, generation.env, generation.table)
        self.pins.lead(engine.table)
        self.current, self.candidate = generation, None
        self.mark += 1
        self._deadline_ms = 0
        self.switched_ms = engine.clock_ms()
        self._release()
        if goes_back:
            self._before = None
        if generation in self.older:
            self.older.remove(generation)
        if is_kept:
            self.older.append(old)
        elif old is not self._before:
            self._retire(old)
        engine.metrics.count("generations_switched_total")
        engine.log.info(
            "generation switched", generation=generation.number, before=old.number,
            bundle=generation.digest[:8],
        )  # fmt: skip

    def trust(self) -> None:
        """The loop turns: whatever is switched is noticed. Called before timers run, from the start
        on, or never. It may itself be what first runs after a long sleep."""
        now_ns = time.perf_counter_ns()
        if now_ns > self.trusted_until_ns:
            self.slept()
        else:
            self.trusted_until_ns = now_ns + self._asleep_ns

    def slept(self) -> None:
        """The loop stood still for so long that the row may have changed: read it first."""
        self.trusted_until_ns = time.perf_counter_ns() + self._asleep_ns
        if not self.is_held:
            self._engine.metrics.count("sleeps_total")
            self._hold()
            self._engine.spawn(self._read_after_sleep())

    async def _read_after_sleep(self) -> None:
        if not await self._read():
            after_ms = self._engine.settings.lease_renew_ms
            self._engine.timers.after(
                after_ms, lambda: self._engine.spawn(self._read_after_sleep())
            )
        elif not self._deadline_ms:
            self._release()

    def release(self, generation: Generation) -> None:
        """The last room of an older generation ended."""
        if generation in self.older:
            self.older.remove(generation)
        if generation is not self._before and generation is not self.current:
            self._retire(generation)
            self._engine.log.info("generation freed", generation=generation.number)

    def _retire(self, old: Generation) -> None:
        old.free()

    def _furnish(self, generation: Generation) -> None:
        """Environment and table of a candidate; what is frozen must be as it is."""
        engine = self._engine
        check_role(engine.role, generation.role, engine.states)
        check_placed(engine.role, self.current.content, generation.content)
        env = generation.env = engine.env_of(generation.content, generation.number)
        table = generation.table = build_table(
            generation.role, engine.states, env, generation.systems_package, self._edges_package
        )
        check_gate(
            core_fields(engine.role, engine.table, engine.settings.number, ()),
            core_fields(generation.role, table, engine.settings.number, ()),
        )

    def _hold(self) -> None:
        if not self.is_held:
            self.is_held = self._engine.lanes.held = True
            self._engine.hold_input(True)

    def _release(self) -> None:
        if self.is_held and not self._is_behind:
            self.is_held = self._engine.lanes.held = False
            self._engine.hold_input(False)
            self._engine.now()
            self._engine.turn()

    def _look_again(self) -> None:
        if self.is_held and self._deadline_ms:
            self._engine.spawn(self._read_held())
            self._engine.timers.after(LOOK_MS, self._look_again)

    async def _read_held(self) -> None:
        await self._read()

    async def _read(self, settled: bool = True) -> bool:
        """Read the row and do what it says; False when the store did not answer."""
        if self._asked:
            return False
        self._asked = True
        mark = self.mark
        try:
            row = await self._engine.store.code(settled)
        except StoreError:
            self._engine.metrics.count("code_reads_failed_total")
            return False
        finally:
            self._asked = False
            for answered in self._awaiting:
                if not answered.done():  # who waited may be gone
                    answered.set_result(None)
            self._awaiting.clear()
        self.seen(row, mark, settled)
        return True


def check_role(running: Any, wanted: Any, states: Any) -> None:
    """Raises `OperatorError` E0417 for a role that differs in more than its systems."""
    differing = [name for name in FROZEN_OF_ROLE if getattr(running, name) != getattr(wanted, name)]
    if set(wanted.states) != set(states):
        differing.append("states")
    if differing:
        raise OperatorError(
            "E0417",
            f"role {running.name} changed in {', '.join(differing)}, which a running node keeps",
            "mmo-cluster restart --rolling",
        )


def check_placed(role: Any, running: Any, wanted: Any) -> None:
    """Raises `OperatorError` E0417 when states would have to be built anew."""
    if role.placed is not None and role.placed(running) != role.placed(wanted):
        raise OperatorError(
            "E0417",
            f"what the states of a {role.name} server were built of changed: they would go on with"
            " what was there before",
            "mmo-cluster restart --rolling",
        )


def check_gate(running: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises `OperatorError` E0417 when the core would have to let other messages through."""
    for name in ("client_opcodes", "link_opcodes"):
        if running[name] != wanted[name]:
            rows = set(map(tuple, running[name])) ^ set(map(tuple, wanted[name]))
            opcodes = sorted({row[0] if name == "client_opcodes" else row[1] for row in rows})
            raise OperatorError(
                "E0417",
                f"who may send opcode {', '.join(map(str, opcodes))} changed, and the gate of a "
                "running node is fixed",
                "mmo-cluster restart --rolling",
            )
