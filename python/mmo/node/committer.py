"""Durable outcomes in groups: one transaction for all that waits, when a connection is free.

Owns what is on its way to the store and what each verdict means for its player. Nothing here has a
timer of its own except the wait after LOCKED. `StoreUnavailable` of commits is caught here and only
here: RETRY_LATER, the player is loaded again, and the operation id decides on the retry. Called by
`outcomes`; gives lanes back when their result is applied.
"""

import time
from collections import deque

import msgspec

from mmo.contract import Outcome, Refuse
from mmo.errors import StoreError, StoreUnavailable
from mmo.node import operations
from mmo.node.engine import Engine
from mmo.node.lanes import Job, Lane
from mmo.node.rooms import ROW_AGAIN_MS
from mmo.state.grant import Grant
from mmo.state.player import OperationRecord, Player
from mmo.store import PlayerCommit, Verdict
from mmo.wire.codec import encode
from mmo.wire.opcode import Code, Op

DECISIONS_MAX = 3  # times one message is decided on a moved version
LOCKED_WAIT_MS = 10
LOCKED_MS_MAX = 2_000
PROBE_MS = 200
CALM_MS = 1_000
COUNTERS = {verdict: f"commits_{verdict.name.lower()}_total" for verdict in Verdict}


class Pending:
    """One outcome on its way to the store; its lane is closed meanwhile."""

    __slots__ = ("commit", "encoded", "job", "lane", "outcome", "since_ms")

    def __init__(self, lane: Lane, job: Job, outcome: Outcome, since_ms: int) -> None:
        self.lane = lane
        self.job = job
        self.outcome = outcome
        self.since_ms = since_ms
        self.encoded: list[tuple[int, bytes]] = []
        self.commit: PlayerCommit | None = None  # None: a row


class Committer:
    """One per node. `is_out`: the store did not answer last time; durable outcomes are refused at
    once until a probe finds it again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_out = False
        self.in_flight = 0
        self._waiting: deque[Pending] = deque()
        self._rows: deque[Pending] = deque()
        self._grants: deque[Grant] = deque()
        self._kept: dict[Lane, None] = {}  # lanes with jobs kept over an outage, in their order
        self._locked = 0  # outcomes that wait for a lock of others
        self.owings = 0  # rewards of players who are owned elsewhere, not yet decided whose
        self._insisting = 0  # rows that wait to be offered again
        self._row_turn = False
        self._granting = False
        self._back_ms = -CALM_MS  # when the last outage ended

    @property
    def is_idle(self) -> bool:
        """Nothing is on its way, waits for a lock or is kept over an outage."""
        return not (
            self.in_flight
            or self._waiting
            or self._rows
            or self._granting
            or self._locked
            or self._insisting
            or self._kept
            or self.owings
        )

    @property
    def waiting(self) -> int:
        """Outcomes that no group took yet."""
        return len(self._waiting) + len(self._rows)

    def submit(self, lane: Lane, job: Job, outcome: Outcome) -> None:
        """Commit the changes of `outcome` to the lane's player; the lane is closed until then."""
        engine = self._engine
        player = lane.player
        assert player is not None and outcome.changes
        pending = Pending(lane, job, outcome, engine.timers.now_ms())
        try:
            pending.encoded = [(reply.opcode, encode(reply)) for reply in outcome.replies]
        except Exception:
            engine.router.raised(job)
            engine.outcomes.spent(lane, job)
            return
        opcode, answer = pending.encoded[0] if pending.encoded else (0, b"")
        pending.commit = PlayerCommit(
            player=player,
            operation=job.operation or (0, player.head.version + 1),
            kind=job.route.opcode,
            request_hash=job.asked or operations.request_hash(job.route.opcode, job.body),
            answer_opcode=opcode,
            answer=answer,
            changes=tuple(outcome.changes),
            generation=engine.env.node.generation,
            now_ms=engine.env.now_ms,
        )
        engine.lanes.close(lane)
        if self.is_out or self._is_late():
            self._away(pending, tried=False)
        else:
            self._waiting.append(pending)

    def _is_late(self) -> bool:
        """Whether this process may commit nothing before its lease is renewed."""
        late = self._engine.timers.now_ms() > self._engine.commits_until_ms
        if late:
            self.went_out()
        return late

    def submit_row(self, lane: Lane, job: Job, outcome: Outcome) -> None:
        """Write the row of `outcome`; the lane is closed until then."""
        self._engine.lanes.close(lane)
        pending = Pending(lane, job, outcome, self._engine.timers.now_ms())
        if self.is_out:
            self._away(pending, tried=False)
        else:
            self._rows.append(pending)

    def owe(self, grant: Grant) -> None:
        """Write a grant as soon as the store takes it. A repeat of a grant adds nothing."""
        self._grants.append(grant)
        if not self._granting:
            self._granting = True
            self._engine.spawn(self._write_grants())

    def start_groups(self) -> None:
        """Start groups and rows while store connections are free."""
        settings = self._engine.settings
        while self.in_flight < settings.groups_in_flight_max and (self._waiting or self._rows):
            self.in_flight += 1
            self._row_turn = bool(self._rows) and (not self._waiting or not self._row_turn)
            if self._row_turn:
                self._engine.spawn(self._write(self._rows.popleft()))
                continue
            size = min(len(self._waiting), settings.group_members_max)
            group = [self._waiting.popleft() for _ in range(size)]
            self._engine.spawn(self._commit(group))

    async def _commit(self, group: list[Pending]) -> None:
        engine = self._engine
        if self._is_late():  # since it was submitted
            self.in_flight -= 1
            for pending in group:
                self._away(pending, tried=False)
            return engine.turn()
        members = [pending.commit for pending in group if pending.commit is not None]
        started = time.perf_counter()
        verdicts: list[Verdict] | None = None
        fault: StoreError | None = None
        engine.failpoints.reach("before-commit")
        try:
            verdicts = await engine.store.commit(members)
        except StoreError as error:
            fault = error
        engine.failpoints.reach("after-commit")
        self.in_flight -= 1
        engine.now()
        engine.metrics.sample("group_members", len(group))
        engine.metrics.sample("commit_ms", (time.perf_counter() - started) * 1_000)
        if verdicts is None:
            for pending in group:
                self._failed(pending, fault)
        else:
            for pending, verdict in zip(group, verdicts, strict=True):
                self._judge(pending, verdict)
        engine.turn()

    def _judge(self, pending: Pending, verdict: Verdict) -> None:
        engine, lane, job = self._engine, pending.lane, pending.job
        engine.metrics.count(COUNTERS[verdict])
        if engine.traces:
            engine.tracing.committed(lane, job)
        if verdict is Verdict.COMMITTED:
            self._apply(pending)
            engine.lanes.reopen(lane)
            return
        if verdict is Verdict.LOCKED:
            self._wait_for_lock(pending)
            return
        engine.lanes.reopen(lane)
        if verdict is Verdict.FENCED:
            engine.residents.fenced(lane, job)
            return
        if verdict is Verdict.REFUSED:
            instead = pending.outcome.row_refused
            engine.outcomes.settle(lane, job, instead or Refuse(Code.INTERNAL))
            return
        lane.stale = True
        if verdict is Verdict.STALE:
            job.tries += 1
            job.certain = job.operation is None
            if job.tries < DECISIONS_MAX:
                engine.lanes.put_first(lane, job)
            else:
                self._retry_later(pending)
        else:
            engine.log.error("commit broke a constraint", **engine.about(lane, job))
            engine.quarantine.failed(job.decided or job.route, "its changes broke a constraint")
            engine.refuse(job.source, job.seq, Code.INTERNAL)
            engine.outcomes.spent(lane, job)

    def _apply(self, pending: Pending) -> None:
        """Only now is it true: changes, version, operation record; then the answer leaves."""
        lane, job, commit = pending.lane, pending.job, pending.commit
        assert commit is not None
        player = commit.player
        for change in commit.changes:
            change.apply(player)
        head = player.head
        player.head = msgspec.structs.replace(head, version=head.version + 1)
        if commit.operation[0] > 0:
            player.operations.add(
                OperationRecord(
                    *commit.operation, commit.request_hash, commit.answer_opcode, commit.answer
                )
            )
        if job.earned is not None:
            lane.aside.earned_count -= 1
        engine = self._engine
        engine.metrics.sample("reply_ms", engine.timers.now_ms() - pending.since_ms)
        engine.outcomes.deliver(lane, job, pending.outcome, pending.encoded)

    def _wait_for_lock(self, pending: Pending) -> None:
        """Its row is locked elsewhere: into a later group, until its deadline."""
        engine = self._engine
        if engine.timers.now_ms() - pending.since_ms < LOCKED_MS_MAX:
            self._locked += 1
            engine.timers.after(LOCKED_WAIT_MS, lambda: self._again(pending))
            return
        engine.lanes.reopen(pending.lane)
        if pending.job.version is not None:
            # Whether its commit of before happened shows by the version: nothing else may raise it.
            engine.lanes.put_first(pending.lane, pending.job)
        else:
            self._retry_later(pending)

    def _again(self, pending: Pending) -> None:
        self._locked -= 1
        self._waiting.append(pending)
        self._engine.turn()

    async def _write(self, pending: Pending) -> None:
        engine, lane, job = self._engine, pending.lane, pending.job
        engine.failpoints.reach("before-row")
        try:
            held = await engine.store.write(pending.outcome.row)
        except StoreError as fault:
            self.in_flight -= 1
            engine.now()
            if pending.outcome.row_insists and isinstance(fault, StoreUnavailable):
                self._insist(pending)
            else:
                self._failed(pending, fault)
            engine.turn()
            return
        engine.failpoints.reach("after-row")
        self.in_flight -= 1
        engine.now()
        if engine.traces:
            engine.tracing.committed(lane, job)
        if held:
            engine.metrics.count("rows_written_total")
            # Delivered while the lane is still closed would let an ask close it twice.
            engine.lanes.reopen(lane)
            engine.outcomes.deliver(lane, job, pending.outcome)
        else:
            engine.metrics.count("rows_refused_total")
            engine.lanes.reopen(lane)
            instead = pending.outcome.row_refused
            if isinstance(instead, Outcome):
                engine.outcomes.deliver(lane, job, instead)
            elif instead is not None:
                engine.refuse(job.source, job.seq, instead.code, instead.detail)
            else:
                engine.edges.run_again(lane, job)
        engine.turn()

    def _insist(self, pending: Pending) -> None:
        """It may have happened: only the store knows, and nobody else asks it again."""
        self.went_out()
        self._insisting += 1
        self._engine.timers.after(ROW_AGAIN_MS, lambda: self._offer_again(pending))

    def _offer_again(self, pending: Pending) -> None:
        self._insisting -= 1
        self.in_flight += 1
        self._engine.spawn(self._write(pending))

    def _failed(self, pending: Pending, fault: StoreError | None) -> None:
        engine = self._engine
        if isinstance(fault, StoreUnavailable):
            self._away(pending, tried=True)
            return
        self.tell_corrupt(pending.lane, pending.job, fault)
        pending.lane.stale = pending.lane.owns
        engine.lanes.reopen(pending.lane)
        engine.refuse(pending.job.source, pending.job.seq, Code.INTERNAL)
        engine.outcomes.spent(pending.lane, pending.job)

    def tell_corrupt(self, lane: Lane, job: Job, fault: StoreError | None) -> None:
        """The store answered, and what it has or was given is wrong: somebody has to look."""
        engine = self._engine
        engine.log.error("store corrupt", fault=str(fault), **engine.about(lane, job))
        engine.metrics.count("store_corrupt_total")

    def _away(self, pending: Pending, tried: bool) -> None:
        """The store is away. A commit that was tried may have happened all the same."""
        lane, job = pending.lane, pending.job
        if tried:
            lane.stale = lane.owns
            job.certain = job.operation is None
            if pending.commit is not None and job.operation is None:
                job.version = pending.commit.player.head.version
            self.went_out()
        self._engine.lanes.reopen(lane)
        self._retry_later(pending)

    def _retry_later(self, pending: Pending) -> None:
        """Its client asks again, a later sweep offers its grant again; what comes once is kept."""
        lane, job = pending.lane, pending.job
        is_once = job.source is None and job.route.opcode != Op.GRANT_CLAIM
        if job.earned is not None or (is_once and pending.commit is not None):
            self.keep(lane, job)
        else:
            self._engine.refuse(job.source, job.seq, Code.RETRY_LATER)

    def keep(self, lane: Lane, job: Job) -> None:
        """What was earned, or comes once, waits for the store, told to nobody. An event that waits
        already waits once: each request of an outage may bring forth the same."""
        waiting = lane.earned or []
        if job.earned is None and any(
            one.earned is None and (one.route, one.message) == (job.route, job.message)
            for one in waiting
        ):
            return
        lane.aside.earned = [*waiting, job]
        self._kept[lane] = None
        if not self.is_out:
            self._engine.timers.after(PROBE_MS, self._put_kept_back)

    def met(self, fault: StoreError) -> None:
        """A call of somebody else failed; only one that had no answer is an outage."""
        if isinstance(fault, StoreUnavailable):
            self.went_out()

    def went_out(self) -> None:
        """The store did not answer: refuse durable outcomes at once until a probe finds it."""
        if not self.is_out:
            self.is_out = True
            self._engine.metrics.count("store_outages_total")
            self._engine.log.warning("store away")
            if self._engine.timers.now_ms() - self._back_ms > CALM_MS:
                self._engine.spawn(self._probe())
            else:  # it answers questions and fails commits: no probe after probe without a pause
                self._engine.timers.after(PROBE_MS, self._probe_again)

    async def _probe(self) -> None:
        try:
            await self._engine.store.leases()
        except StoreError:
            self._engine.timers.after(PROBE_MS, self._probe_again)
            return
        if self._is_late():
            self._engine.timers.after(PROBE_MS, self._probe_again)
            return
        self.is_out = False
        self._back_ms = self._engine.timers.now_ms()
        self._engine.log.info("store back")
        self._put_kept_back()

    def _probe_again(self) -> None:
        self._engine.spawn(self._probe())

    def _put_kept_back(self) -> None:
        """What was kept over the outage goes into its lanes again, in its order."""
        if self.is_out:
            return
        kept, self._kept = self._kept, {}
        for lane in kept:
            jobs, lane.aside.earned = lane.earned or [], None
            for job in reversed(jobs):
                self._engine.lanes.put_first(lane, job)
        self._engine.now()
        self._engine.turn()

    async def _write_grants(self) -> None:
        alone = 0  # so many are offered one by one, because the store refused them together
        while self._grants:
            batch = [self._grants[0]] if alone else list(self._grants)
            try:
                await self._engine.store.grant(batch)
            except StoreUnavailable:
                self.went_out()
                self._engine.timers.after(PROBE_MS, self._grant_again)
                return
            except StoreError as fault:
                if len(batch) > 1:
                    alone = len(batch)
                    continue
                self._engine.metrics.count("store_corrupt_total")
                self._engine.log.error(
                    "grant refused by the store", fault=str(fault), grant=repr(batch[0])
                )
            else:
                self._engine.metrics.count("grants_written_total", len(batch))
            for _ in batch:
                self._grants.popleft()
            alone = max(0, alone - 1)
        self._granting = False

    def _grant_again(self) -> None:
        self._engine.spawn(self._write_grants())


def is_ours(player: Player, number: int, place_epoch: int) -> bool:
    """Whether a freshly loaded player is still owned here under the same claim."""
    return player.head.place_number == number and player.head.place_epoch == place_epoch
