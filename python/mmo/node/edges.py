"""Edges: asking the outside before a rule decides.

Owns the running of edge functions, their deadlines, and the waiting line before them. An edge turns
one message into an internal one; its lane is closed meanwhile, and the internal message is decided
first when it opens. Never decides: a rule that the role marks as before an edge may refuse what
would only cost. Called by the router; `run_again` by the committer when the row of an edge's
message lost its guard.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from mmo.contract import Credentials, PlayerCard, RankingView, Refuse, Sender
from mmo.errors import StoreUnavailable
from mmo.node.engine import Engine
from mmo.node.lanes import Job, Lane, Source
from mmo.node.waiting_line import Waiter, WaitingLine
from mmo.node.watchdog import RuleOverran
from mmo.wire.codec import encode
from mmo.wire.messages.account import LoginWait
from mmo.wire.opcode import Code, Op
from mmo.wire.subscriber import subscriber_of

EDGE_TRIES_MAX = 3
LINE_TOLD_MS = 1_000
EDGE_MS_FIRST_GUESS = 50.0


class Passwords(Protocol):
    """What computes password hashes apart from the loop (`node.passwords`, or a fake)."""

    def hash(self, password: str) -> Awaitable[str]:
        """The hash of a new password."""
        ...

    def verify(self, password_hash: str | None, password: str) -> Awaitable[bool]:
        """False for a wrong one; `None` burns the same time and is False."""
        ...


class NodeOutside:
    """`contract.Outside` of this node."""

    def __init__(self, engine: Engine, passwords: Passwords | None) -> None:
        self._store = engine.store
        self._passwords = passwords
        self._engine = engine

    def now_ms(self) -> int:
        """The node's clock."""
        return self._engine.clock_ms()

    @property
    def content(self) -> Any:
        """The tables that rules see now."""
        return self._engine.env.content

    async def credentials(self, name: str) -> Credentials | None:
        """The account of a NFC name."""
        return await self._store.credentials(name)

    async def hash_password(self, password: str) -> str:
        """An argon2id hash, in text form."""
        assert self._passwords is not None, "this role has no password pool"
        return await self._passwords.hash(password)

    async def verify_password(self, password_hash: str | None, password: str) -> bool:
        """Whether it matches; None takes the same time and does not."""
        assert self._passwords is not None, "this role has no password pool"
        return await self._passwords.verify(password_hash, password)

    async def card(self, user: int, day: int) -> PlayerCard | None:
        """What others may read of a player."""
        return await self._store.card(user, day)

    async def ranking_page(self, season: int, user: int, start: int, count: int) -> RankingView:
        """Places from `start` on."""
        return await self._store.ranking_page(season, user, start, count)

    async def ranking_around(self, season: int, user: int, around: int) -> RankingView:
        """The place of `user` and its neighbours."""
        return await self._store.ranking_around(season, user, around)

    async def ranking_of(self, season: int, user: int, users: Sequence[int]) -> RankingView:
        """The board of the named users."""
        return await self._store.ranking_of(season, user, users)


class Edges:
    """One per node."""

    def __init__(self, engine: Engine, passwords: Passwords | None) -> None:
        settings = engine.settings
        self._engine = engine
        self._outside = NodeOutside(engine, passwords)
        self._running = 0
        self._running_max = settings.edges_running_max
        self._edge_ms = EDGE_MS_FIRST_GUESS  # moving mean, for the wait that is told
        self._telling = False
        self.line = WaitingLine(
            settings.waiting_max,
            settings.waiting_per_address_max,
            settings.ticket_ms,
            engine.timers.now_ms,
        )

    def start(self, lane: Lane, job: Job) -> None:
        """Run the edge of `job`, or let it wait in the line."""
        engine = self._engine
        if self._is_refused_before(job):
            return
        if job.route.by == "user":
            self._start_of_player(lane, job)
            return
        ticket = getattr(job.message, "ticket", "")
        if self._running < self._running_max and (not len(self.line) or not self.line.numbers()):
            engine.lanes.close(lane)
            self._begin(lane, job, tries=1)
            return
        assert job.source is not None
        waiter = self.line.join(lane, job, ticket, subscriber_of(job.source.address))
        if waiter is None:
            seconds = max(1, round(self._wait_ms(len(self.line)) / 1_000))
            engine.refuse(job.source, job.seq, Code.LOGIN_LINE_FULL, str(seconds))
            engine.metrics.count("line_full_total")
            return
        engine.lanes.close(lane)
        engine.metrics.count("line_joined_total")
        self._tell_number(waiter, self.line.number_of(waiter))
        self._tell_later()

    def _start_of_player(self, lane: Lane, job: Job) -> None:
        """A player's edge waits in no line: beyond the bound he is told to come again."""
        engine = self._engine
        if self._running >= engine.settings.player_edges_max:
            engine.metrics.count("player_edges_full_total")
            engine.refuse(job.source, job.seq, Code.RETRY_LATER)
            return
        engine.lanes.close(lane)
        self._begin(lane, job, tries=1)

    def _is_refused_before(self, job: Job) -> bool:
        """Whether the rule before this edge refused it, or failed: its sender was told then."""
        engine, source = self._engine, job.source
        if job.route.before is None or job.route.edge is None:
            return False
        assert source is not None
        engine.env.sender = Sender(source.conn, source.user, job.seq, 0, source.address)
        try:
            refusal = job.route.before(job.message)
        except (Exception, RuleOverran):
            engine.router.raised(job)
            return True
        if refusal is not None:
            engine.refuse(source, job.seq, refusal.code, refusal.detail)
            engine.metrics.count("edges_refused_before_total")
        return refusal is not None

    def forget(self, source: Source) -> None:
        """The connection is gone; its place in the line is kept for a while."""
        if len(self.line):
            self.line.leave(source.lane)

    def run_again(self, lane: Lane, job: Job) -> None:
        """The row of an edge's message lost its guard: ask the outside again, at most thrice."""
        if job.source is not None and job.source.gone:
            self._engine.metrics.count("edges_abandoned_total")
            return
        if job.edge is None or job.edge[1] >= EDGE_TRIES_MAX:
            self._engine.refuse(job.source, job.seq, Code.RETRY_LATER)
            return
        edge_job, tries = job.edge
        self._engine.lanes.close(lane)
        self._begin(lane, edge_job, tries + 1)

    def _begin(self, lane: Lane, job: Job, tries: int) -> None:
        self._running += 1
        self._engine.spawn(self._run(lane, job, tries))

    async def _run(self, lane: Lane, job: Job, tries: int) -> None:
        engine = self._engine
        job.route = job.route.newest()  # it may have waited while the code was switched
        started_ms = engine.timers.now_ms()
        engine.now()
        # Asked again: what it is judged by may have changed while it waited in the line.
        if self._is_refused_before(job):
            result: Any = None
        else:
            result = await self._asked(job)
            self._edge_ms += (engine.timers.now_ms() - started_ms - self._edge_ms) / 16
        self._running -= 1
        engine.now()
        engine.lanes.reopen(lane)
        self._settle(lane, job, result, tries)
        self._next()
        engine.turn()

    async def _asked(self, job: Job) -> Any:
        """What the edge found, a refusal, or None: it raised, and its sender was told."""
        engine, source = self._engine, job.source
        assert source is not None
        edge = job.route.edge
        if edge is None:  # gone with the new code, or in quarantine
            return Refuse(Code.QUARANTINED, str(job.route.opcode))
        sender = Sender(source.conn, source.user, job.seq, 0, source.address)
        try:
            async with asyncio.timeout(edge.deadline_ms / 1_000):
                return await job.route.call(job.message, self._outside, sender)
        except StoreUnavailable:
            return Refuse(Code.RETRY_LATER)
        except TimeoutError:
            return Refuse(Code.TIMEOUT)
        except Exception:
            engine.router.raised(job)
            return None

    def _settle(self, lane: Lane, job: Job, result: Any, tries: int) -> None:
        engine = self._engine
        if result is None:
            return
        route = engine.table.node.get(getattr(result, "opcode", 0))
        if job.source is not None and job.source.gone:
            # Most rules would end the session that the same client opened since.
            engine.metrics.count("edges_abandoned_total")
            if route is None or not route.when_gone:
                return
        if isinstance(result, Refuse):
            engine.refuse(job.source, job.seq, result.code, result.detail)
            return
        if route is None:
            engine.log.error("edge wrong", edge=job.route.name, fault=type(result).__name__)
            engine.refuse(job.source, job.seq, Code.INTERNAL)
            return
        inner = Job(route, job.source, job.seq, message=result)
        inner.edge = (job, tries)
        engine.lanes.put_first(lane, inner)

    def _next(self) -> None:
        while self._running < self._running_max:
            waiter = self.line.take()
            if waiter is None:
                return
            assert waiter.lane is not None and waiter.job is not None
            self._begin(waiter.lane, waiter.job, tries=1)

    def _wait_ms(self, number: int) -> int:
        return int(number * self._edge_ms / self._running_max)

    def _tell_numbers(self) -> None:
        """Tell everyone in the line his number when it changed."""
        for number, waiter in self.line.numbers():
            if waiter.told != number:
                self._tell_number(waiter, number)

    def _tell_later(self) -> None:
        if not self._telling and len(self.line):
            self._telling = True
            self._engine.timers.after(LINE_TOLD_MS, self._tell_again)

    def _tell_number(self, waiter: Waiter, number: int) -> None:
        assert waiter.job is not None and waiter.job.source is not None
        waiter.told = number
        body = encode(LoginWait(number, waiter.ticket, self._wait_ms(number)))
        self._engine.reply(waiter.job.source, 0, int(Op.LOGIN_WAIT), body)

    def _tell_again(self) -> None:
        self._telling = False
        self._tell_numbers()
        self._tell_later()
        self._engine.turn()
