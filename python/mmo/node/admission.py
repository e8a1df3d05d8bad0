"""From a shown token to a player in his lane.

Owns ENTER: the core verified the signature, here the claim is made in the store, once, and only
when it holds the player is installed and his rule runs. While the claim runs, later messages of the
connection wait in the lane. Also takes a player back to the lobby. Called by the router through
`residents`.
"""

import asyncio
from functools import partial
from typing import Any

import msgspec

from mmo.errors import StoreError
from mmo.node.engine import Engine
from mmo.node.lanes import Job, Lane, Source
from mmo.state.place import Claim
from mmo.store import Claimed
from mmo.wire.messages.session import Claims, Entered
from mmo.wire.opcode import CloseReason, Code, Op

CLAIMS_IN_FLIGHT_MAX = 8  # more wait their turn here instead of in the store's pool
SINGLE_USE_TYPES = ("login+jwt", "move+jwt")


class TokenShown(msgspec.Struct):
    """Body of an ENTER event: what the core verified."""

    typ: str
    claims: Claims


class Admission:
    """One per node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = msgspec.json.Decoder(TokenShown)
        self._free = asyncio.Semaphore(CLAIMS_IN_FLIGHT_MAX)

    def enter(self, source: Source, user: int, seq: int, body: bytes) -> None:
        """A verified token came: the connection joins its player's lane, in order."""
        try:
            shown = self._decoder.decode(body)
        except msgspec.DecodeError as fault:
            self._engine.refuse(source, seq, Code.TOKEN_REFUSED, str(fault)[:200])
            self._engine.close(source, CloseReason.TOKEN_INVALID)
            return
        source.user = user
        lanes, was_open = self._engine.lanes, source.lane.open
        lanes.put(source.lane, partial(self._join, source, seq, shown))
        if was_open:
            lanes.run()

    def _join(self, source: Source, seq: int, shown: TokenShown, old: Lane) -> None:
        engine = self._engine
        lane = engine.lanes.of_user(source.user)
        source.lane = lane
        source.routes = engine.residents.routes_of_users
        if engine.traces:
            engine.tracing.slow(source)
        engine.lanes.put(lane, partial(self._begin, source, seq, shown))
        moved, old.waiting = old.waiting or [], None
        for item in moved:
            engine.lanes.put(lane, item)

    def _begin(self, source: Source, seq: int, shown: TokenShown, lane: Lane) -> None:
        if source.gone or source.refused:
            return
        claims = shown.claims
        engine = self._engine
        if engine.role.runs_raids:
            engine.lanes.close(lane)
            engine.spawn(engine.raids.enter(lane, source, seq, shown.typ, claims))
            return
        claim = Claim(
            user=source.user,
            session_epoch=claims.epoch,
            number=self._engine.settings.number,
            jti=claims.jti if shown.typ in SINGLE_USE_TYPES else "",
        )
        self._engine.lanes.close(lane)
        self._engine.spawn(self._claim(lane, source, seq, claim, shown.typ, claims))

    def claim_here(self, lane: Lane, job: Job) -> None:
        """Prepare and claim the sender for this node, from wherever he is."""
        source = job.source
        assert source is not None, "claim_here without a sender"
        claim = Claim(
            user=lane.user,
            session_epoch=self._engine.residents.epoch_of(lane),
            number=self._engine.settings.number,
            lobby=True,
        )
        self._engine.lanes.close(lane)
        self._engine.spawn(self._claim(lane, source, job.seq, claim, "", None))

    async def _claim(
        self, lane: Lane, source: Source, seq: int, claim: Claim, typ: str, claims: Any
    ) -> None:
        engine = self._engine
        try:
            async with self._free:
                if source.gone:
                    # It came with the end of its connection, as of a server that stood still: its
                    # claim would take the player from where he went since.
                    engine.metrics.count("claims_abandoned_total")
                    engine.lanes.reopen(lane)
                    engine.turn()
                    return
                engine.failpoints.reach("before-claim")
                claimed = await engine.store.claim(
                    msgspec.structs.replace(claim, now_ms=engine.clock_ms())
                )
        except StoreError:
            engine.now()
            engine.lanes.reopen(lane)
            self.away(source, seq, typ)
            engine.turn()
            return
        engine.failpoints.reach("after-claim")
        engine.now()
        engine.lanes.reopen(lane)
        if claimed is None:
            engine.metrics.count("claims_refused_total")
            engine.log.info("claim refused", typ=typ or "lobby", **engine.about(lane))
            if typ:
                engine.refuse(source, seq, Code.TOKEN_REFUSED)
                engine.close(source, CloseReason.TOKEN_INVALID)
            else:
                engine.refuse(source, seq, Code.SESSION_OVER)
        else:
            engine.metrics.count("claims_held_total")
            self._install(lane, source, seq, claimed, typ, claims)
        engine.turn()

    def away(self, source: Source, seq: int, typ: str) -> None:
        """The store is away: the same connection may show a token again."""
        engine = self._engine
        if typ and not source.gone:
            engine.residents.step_back(source)
            engine.core.set_user(source.conn, 0)  # before the answer, which invites the next token
        engine.refuse(source, seq, Code.RETRY_LATER)

    def _install(
        self, lane: Lane, source: Source, seq: int, claimed: Claimed, typ: str, claims: Any
    ) -> None:
        engine = self._engine
        old = lane.source
        if old is not None and old is not source:
            engine.residents.detach(old, CloseReason.SESSION_TAKEN)
        head, player = claimed.head, claimed.player
        fence = lane.fence
        resumed = player is not None and fence is not None and fence.place_epoch == head.place_epoch
        lane.source = source
        lane.player = player
        if player is not None:
            engine.resting.arrived(lane)
        lane.stale = False
        lane.end_grace()
        source.entered = True
        source.session_epoch = head.session_epoch
        engine.log.info(
            "player entered", typ=typ or "lobby", place=head.place_number, epoch=head.session_epoch,
            resumed=resumed, **engine.about(lane),
        )  # fmt: skip
        counter = player.operations.highest.get(head.session_epoch, 0) if player else 0
        entered = Entered(
            typ=typ, claims=claims, owned=player is not None, place_number=head.place_number,
            resumed=resumed, operation_counter=counter, previous_number=claimed.previous_number,
        )  # fmt: skip
        route = engine.table.node.get(int(Op.ENTER))
        if source.gone:
            engine.residents.begin_grace(lane, CloseReason.PEER_CLOSED)
            lane.source = None
        if route is not None:
            engine.lanes.put_first(lane, Job(route, source, seq, message=entered))
