"""Reading one player, or one finished operation, again when memory cannot be trusted.

Owns the three waits of a lane for a read: reload a stale player, look up an old operation id, make
certain whether an earlier commit of the same job happened. Never writes. Called by the router.
"""

from mmo.errors import StoreError, StoreUnavailable
from mmo.node import operations
from mmo.node.committer import is_ours
from mmo.node.engine import Engine
from mmo.node.lanes import Job, Lane
from mmo.wire.opcode import Code


class Reloading:
    """One per node; every call closes the lane until its read is done."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def reload(self, lane: Lane, job: Job) -> None:
        """Load the lane's player again, then perform `job`."""
        self._engine.lanes.close(lane)
        self._engine.spawn(self._reload(lane, job))

    async def _reload(self, lane: Lane, job: Job) -> None:
        engine = self._engine
        old = lane.player
        assert old is not None
        try:
            player = await engine.store.load(lane.user)
        except StoreError as fault:
            engine.now()
            if isinstance(fault, StoreUnavailable):
                engine.committer.went_out()
                engine.lanes.put_first(lane, job)
            else:
                self._unreadable(lane, job, fault)
            engine.lanes.reopen(lane)
            engine.turn()
            return
        engine.now()
        engine.lanes.reopen(lane)
        if player is None or not is_ours(player, engine.settings.number, old.head.place_epoch):
            engine.residents.fenced(lane, job)
        else:
            lane.player = player
            lane.stale = False
            engine.metrics.count("players_reloaded_total")
            engine.lanes.put_first(lane, job)
        engine.turn()

    def _unreadable(self, lane: Lane, job: Job, fault: StoreError) -> None:
        """What the store has of this player is no player: his trouble, not that of the node. What
        he earned waits until somebody has mended it."""
        engine = self._engine
        engine.committer.tell_corrupt(lane, job, fault)
        if job.earned is not None:
            engine.committer.keep(lane, job)
        else:
            engine.refuse(job.source, job.seq, Code.INTERNAL)

    def look_up(self, lane: Lane, job: Job, asked: bytes) -> None:
        """Ask the store for the record of the job's operation id; without one, perform the job."""
        self._engine.lanes.close(lane)
        self._engine.spawn(self._look_up(lane, job, asked))

    async def _look_up(self, lane: Lane, job: Job, asked: bytes) -> None:
        engine = self._engine
        assert job.operation is not None
        try:
            record = await engine.store.find_operation(lane.user, *job.operation)
        except StoreError as fault:
            engine.now()
            engine.committer.met(fault)
            engine.lanes.reopen(lane)
            engine.refuse(job.source, job.seq, Code.RETRY_LATER)
            engine.turn()
            return
        engine.now()
        engine.lanes.reopen(lane)
        if record is not None:
            engine.router.answer_judged(job, operations.judge_record(record, asked))
        else:
            job.looked_up = True
            engine.lanes.put_first(lane, job)
        engine.turn()

    def make_certain(self, lane: Lane, job: Job) -> None:
        """An earlier commit of this job may have happened: perform it only if it did not."""
        self._engine.lanes.close(lane)
        self._engine.spawn(self._make_certain(lane, job))

    async def _make_certain(self, lane: Lane, job: Job) -> None:
        engine = self._engine
        assert job.operation is not None
        try:
            record = await engine.store.find_operation(lane.user, *job.operation, settled=True)
        except StoreError as fault:
            engine.now()
            engine.lanes.reopen(lane)
            engine.committer.met(fault)
            engine.committer.keep(lane, job)
            engine.turn()
            return
        engine.now()
        engine.lanes.reopen(lane)
        if record is None:
            job.certain = True
            engine.lanes.put_first(lane, job)
        else:
            # It is durable and was never told: the stored answer is told now.
            source = job.source if job.source is not None else lane.source
            if source is not None:
                engine.reply(source, job.seq, record.answer_opcode, record.answer)
            engine.outcomes.spent(lane, job)
        engine.turn()

    async def has_happened(self, lane: Lane, job: Job) -> bool | None:
        """Whether the job's operation is recorded; None when the store is away, or the commit may
        still be under way."""
        assert job.operation is not None
        store = self._engine.store
        try:
            record = await store.find_operation(lane.user, *job.operation, settled=True)
        except StoreError:
            return None
        return record is not None
