"""The durable side of the raids of one node: admission by raid token, checkpoints, orphans.

Owns the claim of a raid seat, the newest checkpoint of each room until it is kept, and the look for
raids whose server died. Decides nothing: the rules get a member's card, or an orphan, and say what
becomes of it. Called by admission, outcomes and the node's timers.
"""

from collections.abc import Sequence
from typing import Any

from mmo.errors import StoreError
from mmo.node.engine import Engine
from mmo.node.lanes import Job, Lane, Source
from mmo.state.raid import OrphanRaid, RaidCheckpoint, RaidEntry
from mmo.wire.messages.raid import RaidOrphan
from mmo.wire.messages.session import Claims, Entered
from mmo.wire.opcode import CloseReason, Code, Op

KEEP_EVERY_MS = 250


class Raids:
    """One per node; idle on roles that run no raids."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[int, RaidCheckpoint] = {}
        self._keeping = False
        self._looking = False

    def start(self) -> None:
        """Begin to keep checkpoints and to look for orphans."""
        if self._engine.role.runs_raids:
            self._engine.timers.every(KEEP_EVERY_MS, self._keep_soon)
            self._engine.timers.every(self._engine.settings.sweep_ms, self._look_soon)

    def keep(self, checkpoint: RaidCheckpoint) -> None:
        """Keep this state of a room soon; it replaces an older one that still waits."""
        self._kept[checkpoint.raid] = checkpoint

    def _keep_soon(self) -> None:
        if self._kept and not self._keeping and not self._engine.committer.is_out:
            self._keeping = True
            self._engine.spawn(self._keep())

    async def _keep(self) -> None:
        engine, kept = self._engine, self._kept
        self._kept = {}
        try:
            engine.failpoints.reach("before-checkpoint")
            count = await engine.store.keep_checkpoints(list(kept.values()))
            engine.metrics.count("checkpoints_kept_total", count)
        except StoreError:
            engine.metrics.count("checkpoints_failed_total")
            self._kept = kept | self._kept  # what came meanwhile is newer
        finally:
            self._keeping = False

    def _look_soon(self) -> None:
        engine = self._engine
        if not self._looking and not engine.committer.is_out and not engine.env.node.draining:
            self._looking = True
            engine.spawn(self._look())

    async def _look(self) -> None:
        """Offer every orphan to the rules, in a lane of the raid's own, once at a time."""
        engine = self._engine
        node = engine.env.node
        asked_ms = engine.timers.now_ms()
        try:
            orphans = await engine.store.orphan_raids(node.number, node.incarnation)
        except StoreError:
            engine.metrics.count("orphan_looks_failed_total")
            return
        finally:
            self._looking = False
        engine.now()
        for orphan in self._dead(orphans, asked_ms):
            lane = engine.lanes.of_user(orphan.raid)
            if lane.open and engine.tell(lane, RaidOrphan(orphan.raid, orphan)):
                engine.metrics.count("orphan_raids_seen_total")
        engine.turn()

    def _dead(self, orphans: Sequence[OrphanRaid], asked_ms: int) -> Sequence[OrphanRaid]:
        """Those whose server is dead for sure. In an outage the leases of all end, and who looks
        first at its end would find the raids of living servers: so long as a lease is, each of them
        must have been able to renew, as we were. Who ran our number before us is gone."""
        engine = self._engine
        if engine.timers.now_ms() > engine.commits_until_ms:
            return ()  # it may be ourselves who is not counted among the living
        if asked_ms >= engine.renewed_since_ms + engine.settings.lease_ms:
            return orphans
        return [orphan for orphan in orphans if orphan.number == engine.settings.number]

    async def enter(self, lane: Lane, source: Source, seq: int, typ: str, claims: Claims) -> None:
        """Claim the seat that a raid token names and let the rule meet the member. The lane is
        closed until then."""
        engine = self._engine
        node = engine.env.node
        entry = RaidEntry(
            raid=claims.room, user=source.user, session_epoch=claims.epoch, jti=claims.jti,
            number=node.number, incarnation=node.incarnation, now_ms=engine.clock_ms(),
        )  # fmt: skip
        try:
            engine.failpoints.reach("before-claim")
            card = await engine.store.raid_enter(entry)
        except StoreError:
            engine.now()
            engine.lanes.reopen(lane)
            engine.residents.away(source, seq, typ)
            engine.turn()
            return
        engine.failpoints.reach("after-claim")
        engine.now()
        engine.lanes.reopen(lane)
        if card is None:
            engine.metrics.count("claims_refused_total")
            engine.refuse(source, seq, Code.TOKEN_REFUSED)
            engine.close(source, CloseReason.TOKEN_INVALID)
        else:
            engine.metrics.count("claims_held_total")
            self._install(lane, source, seq, Entered(typ, claims, False, card=card))
        engine.turn()

    def _install(self, lane: Lane, source: Source, seq: int, entered: Entered) -> None:
        engine = self._engine
        old = lane.source
        if old is not None and old is not source:
            engine.residents.detach(old, CloseReason.SESSION_TAKEN)
        lane.source = source
        lane.end_grace()
        source.entered = True
        source.session_epoch = entered.claims.epoch
        if source.gone:
            engine.residents.begin_grace(lane, CloseReason.PEER_CLOSED)
            lane.source = None
        route: Any = engine.table.node.get(int(Op.ENTER))
        if route is not None:
            engine.lanes.put_first(lane, Job(route, source, seq, message=entered))
