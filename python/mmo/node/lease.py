"""This node's right to serve under its number, and what the others' leases say.

Owns the renewal each second and the decision to fence: a node that could not renew for
`lease_fence_ms` while others can is cut off and ends itself. When nobody can renew, the store is
away for all: no other server can take anything over, so everybody stays and combat goes on. Until
it has renewed again it commits nothing: when its lease ended, the cluster may have gone on without
it, by other code. Called by the node's timers.
"""

import msgspec

from mmo.errors import OperatorError, StoreError
from mmo.node.engine import Engine
from mmo.store import LeaseRow
from mmo.wire.messages.link import LeaseSeen


class Lease:
    """One per node. `fence` is set once the right to serve is lost."""

    def __init__(self, engine: Engine) -> None:
        settings = engine.settings
        self._engine = engine
        self._renewing = False
        self.renewed_ms = engine.timers.now_ms()
        self.is_lost = False
        self.row = LeaseRow(
            number=settings.number, role=engine.role.name, name=settings.name, incarnation=0,
            host=settings.host, client_port=settings.client_port, link_host=settings.link_host,
            link_port=settings.link_port, alive=True,
        )  # fmt: skip

    async def take(self) -> int:
        """Take the lease of this number; returns the incarnation of this process. Raises
        `OperatorError` E0702 when a living process holds it, `StoreUnavailable`."""
        engine = self._engine
        incarnation = await engine.store.lease(self.row, engine.settings.lease_ms)
        self.row = msgspec.structs.replace(self.row, incarnation=incarnation)
        engine.renewed_since_ms = engine.timers.now_ms()
        self._renewed(engine.renewed_since_ms)
        return incarnation

    def _renewed(self, asked_ms: int) -> None:
        """The other half of the lease is for a commit on its way, which the store ends before. Who
        could not commit in between had a gap, and the leases of all others may have ended in it."""
        engine = self._engine
        now_ms = engine.timers.now_ms()
        if now_ms > engine.commits_until_ms:
            engine.renewed_since_ms = now_ms
        self.renewed_ms = asked_ms
        engine.commits_until_ms = asked_ms + engine.settings.lease_ms // 2

    async def announce(self, client_port: int, link_port: int) -> None:
        """Tell the ports as bound."""
        self.row = msgspec.structs.replace(self.row, client_port=client_port, link_port=link_port)
        await self._engine.store.lease(self.row, self._engine.settings.lease_ms)

    def renew(self) -> None:
        """Called each `lease_renew_ms`: renew, unless a renewal still runs, and judge."""
        engine = self._engine
        now_ms = engine.timers.now_ms()
        engine.peers.send_all(LeaseSeen(now_ms - self.renewed_ms))
        engine.turn()
        if not self._renewing and not self.is_lost:
            self._renewing = True
            engine.spawn(self._renew())
        self._judge(now_ms)

    async def _renew(self) -> None:
        engine = self._engine
        asked_ms = engine.timers.now_ms()
        try:
            await engine.store.lease(self.row, engine.settings.lease_ms)
            self.renewed_ms = asked_ms  # the number is ours, whatever the reads below tell
            rows = await engine.store.leases()
            mark = engine.generations.mark
            # Who could not renew may have been left out of a switch that is under way: wait for it.
            settled = asked_ms > engine.commits_until_ms
            code = await engine.store.code(settled) if engine.generations.current.digest else None
        except OperatorError as taken:
            engine.log.error("lease taken", cause=taken.cause)
            self.is_lost = True
        except StoreError:
            engine.metrics.count("lease_renewals_failed_total")
        else:
            engine.peers.dial(rows)
            if code is not None:
                engine.generations.seen(code, mark)
            self._renewed(asked_ms)  # when it was asked, not when it was answered
            engine.turn()
        finally:
            self._renewing = False

    def _judge(self, now_ms: int) -> None:
        settings, seen_ms = self._engine.settings, self._engine.peers.lease_seen_ms
        late_ms = now_ms - self.renewed_ms
        if late_ms < settings.lease_fence_ms:
            return
        newest_ms = max(seen_ms.values(), default=0)
        others_can = newest_ms > self.renewed_ms + settings.lease_fence_ms // 2
        # The store remembers who holds the number; alone, without any link, we trust that memory.
        if others_can:
            self._engine.log.error("lease lost", late_ms=late_ms, others_renewed_ms=newest_ms)
            self.is_lost = True
