"""Planted bugs of the node: answers, operation records, rolls, the switch of code, each broken in
one place.

Owns the mutations only; each replaces one name of a module of `mmo.node` or `mmo.state` in this
process. Called by `planted`.
"""

import asyncio
import random
import time
from typing import Any

import msgspec

from mmo.node import committer, engine, generations, operations, payments, residents
from mmo.state import roll as rolls
from mmo.state.grant import SourceKind
from mmo.testing.virtual_loop import passes

HALF = 0.5
SELDOM = 0.03
LATE_S = 1.0


def reply_before_commit() -> None:
    """The answer leaves while the commit has not begun."""
    submit = committer.Committer.submit

    def early(self: Any, lane: Any, job: Any, outcome: Any) -> None:
        submit(self, lane, job, outcome)
        pending = self._waiting[-1] if self._waiting else None
        source = job.source if job.source is not None else lane.source
        if pending is not None and pending.job is job and source is not None:
            for opcode, body in pending.encoded:
                self._engine.reply(source, job.seq, opcode, body)
            pending.encoded = []

    committer.Committer.submit = early  # type: ignore[method-assign]


def payment_acknowledged_early() -> None:
    """The payment service hears `booked` before the row is written."""
    book = payments.Payments.book
    late: set[asyncio.Task[Any]] = set()

    async def early(self: Any, notice: Any) -> str:
        async def write() -> None:
            await passes(LATE_S)
            await book(self, notice)

        task = asyncio.get_running_loop().create_task(write())
        late.add(task)
        task.add_done_callback(late.discard)
        return "booked"

    payments.Payments.book = early  # type: ignore[method-assign]


def apply_before_commit() -> None:
    """What was decided counts in memory at once, whatever becomes of the commit."""
    submit, apply = committer.Committer.submit, committer.Committer._apply

    def early(self: Any, lane: Any, job: Any, outcome: Any) -> None:
        submit(self, lane, job, outcome)
        pending = self._waiting[-1] if self._waiting else None
        if pending is not None and pending.job is job:
            for change in outcome.changes:
                change.apply(lane.player)

    def late(self: Any, pending: Any) -> None:
        changes = pending.commit.changes
        pending.commit = msgspec.structs.replace(pending.commit, changes=())
        apply(self, pending)
        assert changes is not None

    committer.Committer.submit = early  # type: ignore[method-assign]
    committer.Committer._apply = late  # type: ignore[method-assign]


def re_roll() -> None:
    """A roll depends on when it is made."""
    due = rolls.roll

    def again(key: bytes, uid: int, attempt: int, table: int) -> int:
        return due(key, uid, attempt + time.time_ns() % 2, table)

    rolls.roll = again


def operation_forgotten() -> None:
    """A repeat is done again, under no number."""
    judge, submit = operations.judge, committer.Committer.submit

    def forgetful(player: Any, operation: tuple[int, int], asked: bytes) -> Any:
        judged = judge(player, operation, asked)
        known = operation in player.operations.records
        return operations.Judged.NEW if known else judged

    def nameless(self: Any, lane: Any, job: Any, outcome: Any) -> None:
        if job.operation in lane.player.operations.records:
            job.operation = None
        submit(self, lane, job, outcome)

    operations.judge = forgetful
    committer.Committer.submit = nameless  # type: ignore[method-assign]


def request_not_compared() -> None:
    """Whatever is asked under a known number gets the answer of that number."""
    operations.judge_record = lambda record, asked: record


def stored_answer_differs() -> None:
    """What is recorded of an operation is now and then not what was told."""
    submit = committer.Committer.submit

    def other(self: Any, lane: Any, job: Any, outcome: Any) -> None:
        submit(self, lane, job, outcome)
        pending = self._waiting[-1] if self._waiting else None
        if pending is not None and pending.job is job and random.random() < SELDOM:
            pending.commit = msgspec.structs.replace(pending.commit, answer=b"\x90")

    committer.Committer.submit = other  # type: ignore[method-assign]


def grant_never_offered() -> None:
    """Whoever looks for what waits for a player passes rewards of raids and payments over."""
    offer = residents.Residents._offer

    def some(self: Any, grant: Any) -> None:
        if grant.source_kind not in (SourceKind.RAID, SourceKind.PAYMENT):
            offer(self, grant)

    residents.Residents._offer = some  # type: ignore[method-assign]


def old_generation_decides() -> None:
    """Every other switch passes a node by: it says that the new code decides, and goes on by the
    former, which therefore must stay whole."""
    decide_by = engine.Engine.decide_by

    def perhaps(self: Any, role: Any, env: Any, table: Any) -> None:
        if random.random() >= HALF:
            decide_by(self, role, env, table)

    engine.Engine.decide_by = perhaps  # type: ignore[method-assign]
    generations.Generations._retire = lambda self, old: None  # type: ignore[method-assign]
