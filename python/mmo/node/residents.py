"""Who is here: connections, owned players, and every way of leaving.

Owns connections from OPENED to CLOSED, the grace time after a lost connection, eviction, and the
sweep that finds what no notice told: newer sessions, places elsewhere, unclaimed grants. So no
ghost lives longer than a sweep. Never decides a rule; tells rules by `Disconnected`. Called by the
router, the committer and the node's timers.
"""

import asyncio
import sys
from functools import partial
from typing import Any

from mmo.errors import StoreError
from mmo.node.admission import Admission
from mmo.node.engine import Engine
from mmo.node.lanes import Job, Lane, Source
from mmo.node.reloading import Reloading
from mmo.state.player import Player
from mmo.store import Seat
from mmo.wire.messages.hunt import GrantClaim
from mmo.wire.messages.presence import PlaceSeen
from mmo.wire.messages.session import Disconnected
from mmo.wire.opcode import CloseReason, Code, Op

SWEEP_USERS_MAX = 500
SESSION_HOLDER_TYPE = "login+jwt"


class Residents:
    """One per node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        admission, reloading = Admission(engine), Reloading(engine)
        self.enter = admission.enter
        self.claim_here = admission.claim_here
        self.away = admission.away
        self.reload = reloading.reload
        self.look_up = reloading.look_up
        self.make_certain = reloading.make_certain
        self._has_happened = reloading.has_happened
        self.stopped = asyncio.Event()
        # A center keeps the connection of a player that a channel owns, a raid server never owns
        # its members; elsewhere place is all.
        self._holds_sessions = SESSION_HOLDER_TYPE in engine.role.token_types
        self._minds_places = not (self._holds_sessions or engine.role.runs_raids)
        self._sweeping = False
        self.is_draining = False
        self.routes_of_users = engine.table.user
        self._routes_of_strangers = engine.table.open

    def drain(self) -> None:
        """From now on every message of a client is answered RETRY_LATER."""
        self.is_draining = True
        self.routes_of_users = self._routes_of_strangers = {}
        for source in self._engine.sources.values():
            if not source.peer:
                source.routes = {}

    def dismiss_all(self, reason: int) -> None:
        """Everyone goes now; the rules are told of each."""
        for lane in list(self._engine.lanes.users.values()):
            if lane.owns or lane.source is not None or lane.grace is not None:
                self.dismiss(lane, reason)

    @property
    def connections(self) -> int:
        """Client connections now."""
        return sum(1 for source in self._engine.sources.values() if not source.peer)

    @property
    def players(self) -> int:
        """Players that this node owns."""
        return sum(1 for lane in self._engine.lanes.users.values() if lane.owns)

    def opened(self, conn: int, body: bytes) -> None:
        """A client connected from `address:port`."""
        lane = Lane()
        source = Source(conn, self._routes_of_strangers, lane)
        source.address = sys.intern(body.decode().rpartition(":")[0])
        lane.source = source
        self._engine.sources[conn] = source

    def closed(self, source: Source, reason: int) -> None:
        """A client connection ended; its player stays for the grace time."""
        engine = self._engine
        engine.sources.pop(source.conn, None)
        source.gone = True
        engine.edges.forget(source)
        lane = source.lane
        if lane.user and lane.source is source:
            lane.source = None
            self.begin_grace(lane, reason)
        engine.metrics.count("connections_ended_total")

    def detach(self, source: Source, reason: int) -> None:
        """Close a connection that no longer speaks for its player."""
        self._engine.close(source, reason)
        source.gone = True

    def step_back(self, source: Source) -> None:
        """A claim could not be made: the connection is as before its token."""
        source.user = 0
        source.routes = self._routes_of_strangers
        source.lane = Lane()
        source.lane.source = source

    def epoch_of(self, lane: Lane) -> int:
        """The session epoch under which the lane's connection entered."""
        if lane.source is not None:
            return lane.source.session_epoch
        fence = lane.fence
        return fence.session_epoch if fence is not None else 0

    def begin_grace(self, lane: Lane, reason: int) -> None:
        """Tell the rules, and evict later unless a token of the same session comes first."""
        engine = self._engine
        self._tell_end(lane, reason, None, evicted=False)
        mark = lane.aside.grace = object()
        engine.timers.after(engine.settings.resume_grace_ms, partial(self._end_grace, lane, mark))

    def _end_grace(self, lane: Lane, mark: object) -> None:
        if lane.grace is mark:
            self._engine.now()
            self.evict(lane, CloseReason.PEER_CLOSED)
            self._engine.turn()

    def evict(self, lane: Lane, reason: int, was: Player | None = None) -> None:
        """The player goes now: rules first, then his parts, in the order of his lane. `was`: the
        player as the rules see him when he is fenced already."""
        engine = self._engine
        lane.end_grace()
        self._tell_end(lane, reason, lane.player or was, evicted=True)
        engine.lanes.put(lane, partial(self._drop, lane.player))
        engine.metrics.count("players_evicted_total")
        engine.log.info("player gone", reason=_reason_name(reason), **engine.about(lane))

    def _tell_end(self, lane: Lane, reason: int, player: Player | None, evicted: bool) -> None:
        """Tell the rules in the order of the lane that a connection ended. A claim that is on its
        way when it ends is installed before: the rules have met the newer connection by then and
        must not take this end for its own."""
        route = self._engine.table.node.get(int(Op.CLOSED))
        if route is None:
            return
        job = Job(route, message=Disconnected(lane.user, int(reason), evicted=evicted))
        job.player = player
        self._engine.lanes.put(lane, partial(self._told_end, job, lane.source))

    def _told_end(self, job: Job, source: Source | None, lane: Lane) -> None:
        if lane.source is None or lane.source is source:
            self._engine.lanes.put_first(lane, job)

    def _drop(self, player: Player | None, lane: Lane) -> None:
        if player is None or lane.player is None:
            return
        # Loaded again he is still the same; a claim that came meanwhile raised the epoch.
        if lane.player.head.place_epoch == player.head.place_epoch:
            lane.player = None
            lane.stale = False

    def dismiss(self, lane: Lane, reason: int, was: Player | None = None) -> None:
        """Close the player's connection and evict him without grace."""
        source = lane.source
        if source is not None and reason:
            lane.source = None
            self.detach(source, reason)
        self.evict(lane, reason, was)

    def release(self, user: int) -> None:
        """Another server owns the player now; his connection stays as a session."""
        lane = self._engine.lanes.users.get(user)
        if lane is not None and lane.owns:
            self._engine.lanes.put(lane, partial(self._drop, lane.player))

    def absent(self, lane: Lane, job: Job) -> None:
        """A job needs parts of a player whom this node does not own."""
        engine = self._engine
        if job.earned is not None:
            self.fenced(lane, job)
        elif job.source is not None:
            engine.refuse(job.source, job.seq, Code.WRONG_PLACE)
        else:
            engine.metrics.count("messages_of_absent_players_total")

    def fenced(self, lane: Lane, job: Job) -> None:
        """The store says that the player is owned elsewhere, or never was ours."""
        engine = self._engine
        engine.refuse(job.source, job.seq, Code.WRONG_PLACE)
        if job.earned is not None:
            engine.committer.owings += 1
            engine.spawn(self._owe(lane, job))
        player = lane.player
        if player is not None:
            lane.player, lane.stale = None, False
            engine.spawn(self._why_fenced(lane, player))

    async def _owe(self, lane: Lane, job: Job) -> None:
        """What a gone player earned becomes a grant, unless its commit happened after all."""
        engine = self._engine
        happened = False if job.certain else await self._has_happened(lane, job)
        if happened is None:
            engine.timers.after(
                engine.settings.sweep_ms, lambda: engine.spawn(self._owe(lane, job))
            )
            return
        engine.committer.owings -= 1
        if happened:
            engine.outcomes.spent(lane, job)
        else:
            engine.outcomes.owe(lane, job)

    async def _why_fenced(self, lane: Lane, player: Player) -> None:
        """A newer session closes the connection as taken, a move as moved."""
        engine = self._engine
        try:
            swept = await engine.store.sweep([lane.user])
        except StoreError:
            return  # the next sweep finds it: the lane still has its connection
        engine.now()
        for seat in swept.seats:
            self._lost(lane, seat, player)
        engine.turn()

    def sweep(self) -> None:
        """Compare all residents with their heads, unless a sweep still runs."""
        if not self._sweeping and not self._engine.committer.is_out:
            self._sweeping = True
            self._engine.spawn(self._sweep())

    async def _sweep(self) -> None:
        engine = self._engine
        users = [
            user
            for user, lane in engine.lanes.users.items()
            if lane.owns or (lane.source is not None and lane.source.entered)
        ]
        try:
            for first in range(0, len(users), SWEEP_USERS_MAX):
                swept = await engine.store.sweep(users[first : first + SWEEP_USERS_MAX])
                engine.now()
                for seat in swept.seats:
                    self._judge_seat(seat)
                for grant in swept.grants:
                    self._offer(grant)
                engine.turn()
        except StoreError:
            engine.metrics.count("sweeps_failed_total")
        finally:
            self._sweeping = False

    def look_for_grants(self, user: int) -> None:
        """Read the grants of one player now, when this node owns him."""
        lane = self._engine.lanes.users.get(user)
        if lane is not None and lane.owns and not self._engine.committer.is_out:
            self._engine.spawn(self._look_for_grants(user))

    async def _look_for_grants(self, user: int) -> None:
        try:
            swept = await self._engine.store.sweep([user])
        except StoreError:
            return  # the next sweep finds them
        self._engine.now()
        for grant in swept.grants:
            self._offer(grant)
        self._engine.turn()

    def _judge_seat(self, seat: Seat) -> None:
        lane = self._engine.lanes.users.get(seat.user)
        if lane is None or lane.shut:
            # What is being written for him right now may be the very change that was read, such as
            # his own logout: the next sweep judges.
            return
        fence = lane.fence
        if fence is not None:
            epoch, moved = fence.session_epoch, seat.place_epoch > fence.place_epoch
        else:
            epoch = self.epoch_of(lane)
            moved = self._minds_places and seat.place_number != self._engine.settings.number
        if seat.session_epoch > epoch or moved:
            self._lost(lane, seat, lane.player)

    def _lost(self, lane: Lane, seat: Seat, player: Player | None) -> None:
        """A seat read from the store is newer than what is here."""
        engine = self._engine
        here = lane.player
        if here is not None and here.head.place_epoch >= seat.place_epoch:
            return  # claimed again meanwhile
        source = lane.source
        epoch = source.session_epoch if source is not None else seat.session_epoch
        if seat.session_epoch > epoch:
            engine.metrics.count("sessions_taken_total")
            self.dismiss(lane, CloseReason.SESSION_TAKEN, player)
        elif self._holds_sessions and source is not None and seat.session_epoch == epoch:
            self.release(lane.user)
            seen = PlaceSeen(lane.user, seat.session_epoch, seat.place_number)
            engine.lanes.put(lane, partial(self._tell_place, seen))
        else:
            self.dismiss(lane, CloseReason.MOVED, player)

    def _tell_place(self, seen: PlaceSeen, lane: Lane) -> None:
        """The rules hear of a place that no notice told, unless he was claimed again meanwhile."""
        route = self._engine.table.node.get(int(Op.PLACE_SEEN))
        if route is not None and not lane.owns:
            self._engine.lanes.put_first(lane, Job(route, message=seen))

    def _offer(self, grant: Any) -> None:
        """An unclaimed grant becomes a message in its player's lane, once at a time."""
        engine = self._engine
        lane = engine.lanes.users.get(grant.user)
        name = (grant.source_kind, grant.source_id)
        if lane is None or lane.player is None or name in lane.player.grants_claimed:
            return
        grants = lane.aside.grants
        if grants is None:
            grants = lane.aside.grants = set()
        if name in grants:
            return
        message = GrantClaim(grant.user, grant.source_kind, grant.source_id, grant.bundle)
        if engine.tell(lane, message):
            grants.add(name)
            engine.lanes.put(lane, partial(_passed, name))


def _passed(name: tuple[int, int], lane: Lane) -> None:
    """A grant left the lane, claimed or not; an unclaimed one comes again with a later sweep."""
    if lane.aside.grants is not None:
        lane.aside.grants.discard(name)


def _reason_name(reason: int) -> str:
    try:
        return CloseReason(reason).name
    except ValueError:
        return str(reason)
