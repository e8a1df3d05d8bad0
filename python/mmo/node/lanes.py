"""Lanes: one FIFO per key, so that nothing is decided on what is not committed.

Owns the order of things: a lane that is busy (its outcome commits, its token is claimed, its edge
or its request runs) keeps all later messages waiting. Never decides and never commits. Used by the
router and by whatever closes a lane for a while.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmo.state import rest
from mmo.state.player import Player

if TYPE_CHECKING:
    from mmo.contract import Earned
    from mmo.node.handlers import Route


class Source:
    """Where events come from: one client connection (or, as `Link`, one server link)."""

    __slots__ = (
        "address", "conn", "entered", "gone", "lane", "refused", "routes", "session_epoch", "user",
    )  # fmt: skip
    peer: int = 0
    role: str = ""

    def __init__(self, conn: int, routes: "dict[int, Route]", lane: "Lane") -> None:
        self.conn = conn
        self.routes = routes  # what this source may cause in its present state
        self.lane = lane
        self.user = 0  # as proved by the token
        self.address = ""  # of a client, without port
        self.session_epoch = 0  # of the session that entered
        self.entered = False  # the claim of its token held
        self.refused = False  # it was told to go: what it sent before is dropped
        self.gone = False  # its end was seen


class Link(Source):
    """A server link, proved by its handshake."""

    __slots__ = ("peer", "role")

    def __init__(self, conn: int, routes: "dict[int, Route]", number: int, role: str) -> None:
        super().__init__(conn, routes, Lane())
        self.peer = number  # server number
        self.role = role
        self.entered = True


class Job:
    """One message on its way through a lane."""

    __slots__ = (
        "asked", "body", "certain", "decided", "earned", "edge", "looked_up", "message",
        "operation", "player", "route", "seq", "source", "tries", "version",
    )  # fmt: skip

    def __init__(
        self,
        route: "Route",
        source: Source | None = None,
        seq: int = 0,
        body: bytes = b"",
        message: Any = None,
    ) -> None:
        self.route = route
        self.source = source  # None: an internal message of this node
        self.seq = seq
        self.body = body
        self.message = message  # None: still to be decoded
        self.player: Player | None = None  # set: decided on this one, whoever owns him now
        self.operation: tuple[int, int] | None = None
        self.asked = b""  # hash of what the operation asks; empty: not computed yet
        self.earned: Earned | None = None
        self.edge: tuple[Job, int] | None = None  # the edge that made this message, and its tries
        self.decided: Route | None = None  # the rule that did: of an older room, not `route`
        self.tries = 0
        self.looked_up = False  # the store has no record of its operation id
        self.certain = True  # False: an earlier commit of it may have happened
        self.version: int | None = None  # of the player, when a commit without an id of it failed


Step = Callable[["Lane"], None]
OPEN, WAITING, BUSY = 0, 1, 2


class Aside:
    """What few lanes have and fewer need at a time."""

    __slots__ = ("earned", "earned_count", "grace", "grants")

    def __init__(self) -> None:
        self.earned: list[Job] | None = None  # kept over an outage
        self.earned_count = 0  # earned and not yet committed
        self.grants: set[tuple[int, int]] | None = None  # on their way through the lane
        self.grace: object | None = None  # identity of the running grace time

    @property
    def is_empty(self) -> bool:
        """Nothing would be lost by forgetting it."""
        return not (self.earned or self.earned_count or self.grants or self.grace)


class Lane:
    """The queue of one player, one unproved connection or one peer, and the player that this node
    owns. An idle one is small: there are tens of thousands."""

    __slots__ = (
        "_aside", "_resting", "awake", "shut", "source", "stale", "user", "waiting",
    )  # fmt: skip

    def __init__(self, user: int = 0) -> None:
        self.user = user  # 0: not a player's lane
        self.shut = OPEN  # the only question of the fast path: nothing runs and nothing waits
        self.waiting: list[Job | Step] | None = None
        self.source: Source | None = None  # the player's connection
        self.awake: Player | None = None  # what this node owns, unless he rests
        self.stale = False  # `player` must be loaded again before anything durable
        self._resting: Player | bytes | None = None  # untouched for one look, or packed
        self._aside: Aside | None = None

    @property
    def open(self) -> bool:
        """Nothing runs and nothing waits."""
        return self.shut == OPEN

    @property
    def busy(self) -> bool:
        """What was taken from it has not ended; nothing of it runs until then."""
        return self.shut == BUSY

    @property
    def player(self) -> Player | None:
        """What this node owns; wakes him."""
        resting = self._resting
        if resting is not None:
            self.awake = rest.unpack(resting) if isinstance(resting, bytes) else resting
            self._resting = None
        return self.awake

    @player.setter
    def player(self, player: Player | None) -> None:
        """He is owned here from now on, awake; None: nobody is."""
        self.awake = player
        self._resting = None

    @property
    def owns(self) -> bool:
        """This node owns the lane's player, awake or at rest."""
        return self.awake is not None or self._resting is not None

    @property
    def fence(self) -> rest.Fence | None:
        """Epochs of the owned player, None: nobody is owned. Does not wake him."""
        resting = self._resting
        if isinstance(resting, bytes):
            return rest.fence_of(resting)
        player = self.awake or resting
        if player is None:
            return None
        return rest.Fence(player.head.session_epoch, player.head.place_epoch)

    def look(self) -> bool:
        """Put a player to rest whom nobody touched since the look before; True when he was packed
        now. Until the second look he only lies down, so waking costs those who play nothing."""
        if self.shut or self.stale:
            return False
        if self.awake is not None:
            self._resting, self.awake = self.awake, None
        elif type(self._resting) is Player:
            self._resting = rest.pack(self._resting)
            if self._aside is not None and self._aside.is_empty:
                self._aside = None
            return True
        return False

    @property
    def aside(self) -> Aside:
        """Made when it is needed."""
        if self._aside is None:
            self._aside = Aside()
        return self._aside

    @property
    def earned(self) -> list[Job] | None:
        """Jobs kept over an outage."""
        return None if self._aside is None else self._aside.earned

    @property
    def earned_count(self) -> int:
        """Earned and not yet committed."""
        return 0 if self._aside is None else self._aside.earned_count

    @property
    def grace(self) -> object | None:
        """Identity of the running grace time."""
        return None if self._aside is None else self._aside.grace

    def end_grace(self) -> None:
        """The player is here again, or gone for good."""
        if self._aside is not None:
            self._aside.grace = None

    @property
    def idle(self) -> bool:
        """Nothing would be lost by forgetting it."""
        return (
            not self.shut and self.source is None and not self.owns
            and self.grace is None and not self.earned
        )  # fmt: skip


class Lanes:
    """All players' lanes by user id, and those that have something to do."""

    def __init__(self, perform: Callable[[Lane, Job], None]) -> None:
        self.users: dict[int, Lane] = {}
        self.held = False  # while true nothing is decided: a switch of generations is near
        self._perform = perform
        self._ready: deque[Lane] = deque()

    def of_user(self, user: int) -> Lane:
        """The lane of a player, made when there is none."""
        lane = self.users.get(user)
        if lane is None:
            lane = self.users[user] = Lane(user)
        return lane

    def put(self, lane: Lane, item: Job | Step) -> None:
        """Let `item` run when everything before it in the lane is done."""
        if lane.waiting:
            lane.waiting.append(item)
        else:
            lane.waiting = [item]
        self._waits(lane)

    def put_first(self, lane: Lane, item: Job | Step) -> None:
        """Let `item` run before everything that waits in the lane."""
        lane.waiting = [item, *(lane.waiting or ())]
        self._waits(lane)

    def _waits(self, lane: Lane) -> None:
        if lane.shut != BUSY:
            lane.shut = WAITING
            self._ready.append(lane)

    def close(self, lane: Lane) -> None:
        """Nothing of the lane runs until `reopen`."""
        assert lane.shut != BUSY, f"lane of {lane.user} closed twice"
        lane.shut = BUSY

    def reopen(self, lane: Lane) -> None:
        """Go on with what waits."""
        assert lane.shut == BUSY, f"lane of {lane.user} reopened twice"
        if lane.waiting or lane.source is None:
            lane.shut = WAITING
            self._ready.append(lane)
        else:
            lane.shut = OPEN

    def run(self) -> None:
        """Run all lanes that have something to do, until none has."""
        ready = self._ready
        while ready and not self.held:
            self._drain(ready.popleft())

    def _drain(self, lane: Lane) -> None:
        while lane.waiting and lane.shut != BUSY:
            item = lane.waiting.pop(0)
            if type(item) is Job:
                self._perform(lane, item)
            else:
                item(lane)  # type: ignore[operator]
        if not lane.waiting:
            lane.waiting = None
        if lane.shut != BUSY:
            lane.shut = WAITING if lane.waiting else OPEN
        if lane.user and lane.idle and self.users.get(lane.user) is lane:
            del self.users[lane.user]
