"""Lanes: one FIFO per key, so that nothing is decided on what is not committed.

Owns the order of things: a lane that is busy (its outcome commits, its token is claimed, its edge
or its request runs) keeps all later messages waiting. Never decides and never commits. Used by the
router and by whatever closes a lane for a while.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmo.state.player import Player

if TYPE_CHECKING:
    from mmo.contract import Earned
    from mmo.node.handlers import Route


class Source:
    """Where events come from: one client connection or one server link."""

    __slots__ = (
        "address", "conn", "entered", "gone", "lane", "peer", "refused", "role", "routes",
        "session_epoch", "user",
    )  # fmt: skip

    def __init__(self, conn: int, routes: "dict[int, Route]", lane: "Lane") -> None:
        self.conn = conn
        self.routes = routes  # what this source may cause in its present state
        self.lane = lane
        self.user = 0  # as proved by the token
        self.peer = 0  # server number on a link
        self.role = ""  # of the peer
        self.address = ""  # of a client, without port
        self.session_epoch = 0  # of the session that entered
        self.entered = False  # the claim of its token held
        self.refused = False  # it was told to go: what it sent before is dropped
        self.gone = False  # its end was seen


class Job:
    """One message on its way through a lane."""

    __slots__ = (
        "asked", "body", "certain", "earned", "edge", "looked_up", "message",
        "operation", "player", "route", "seq",        "source", "tries",
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
        self.tries = 0
        self.looked_up = False  # the store has no record of its operation id
        self.certain = True  # False: an earlier commit of it may have happened


Step = Callable[["Lane"], None]


class Lane:
    """The queue of one player, one unproved connection or one peer."""

    __slots__ = (
        "busy", "earned", "earned_count", "grace", "grants", "key", "open", "player", "source",
        "stale", "user", "waiting",
    )  # fmt: skip

    def __init__(self, key: int, user: int = 0) -> None:
        self.key = key
        self.user = user  # 0: not a player's lane
        self.open = True  # nothing runs and nothing waits: the only question of the fast path
        self.busy = False
        self.waiting: list[Job | Step] = []  # short, and far smaller than a deque when empty
        self.source: Source | None = None  # the player's connection
        self.player: Player | None = None  # what this node owns
        self.stale = False  # `player` must be loaded again before anything durable
        self.earned: list[Job] | None = None  # kept over an outage
        self.earned_count = 0  # earned and not yet committed
        self.grants: set[tuple[int, int]] | None = None  # on their way through this lane
        self.grace: object | None = None  # identity of the running grace time

    @property
    def idle(self) -> bool:
        """Nothing would be lost by forgetting it."""
        return (
            self.open and self.source is None and self.player is None
            and self.grace is None and not self.earned
        )  # fmt: skip


class Lanes:
    """All players' lanes by user id, and those that have something to do."""

    def __init__(self, perform: Callable[[Lane, Job], None]) -> None:
        self.users: dict[int, Lane] = {}
        self._perform = perform
        self._ready: deque[Lane] = deque()

    def of_user(self, user: int) -> Lane:
        """The lane of a player, made when there is none."""
        lane = self.users.get(user)
        if lane is None:
            lane = self.users[user] = Lane(user, user)
        return lane

    def put(self, lane: Lane, item: Job | Step) -> None:
        """Let `item` run when everything before it in the lane is done."""
        lane.waiting.append(item)
        lane.open = False
        if not lane.busy:
            self._ready.append(lane)

    def put_first(self, lane: Lane, item: Job | Step) -> None:
        """Let `item` run before everything that waits in the lane."""
        lane.waiting.insert(0, item)
        lane.open = False
        if not lane.busy:
            self._ready.append(lane)

    def close(self, lane: Lane) -> None:
        """Nothing of the lane runs until `reopen`."""
        assert not lane.busy, f"lane {lane.key} closed twice"
        lane.busy = True
        lane.open = False

    def reopen(self, lane: Lane) -> None:
        """Go on with what waits."""
        assert lane.busy, f"lane {lane.key} reopened twice"
        lane.busy = False
        self._ready.append(lane)

    def run(self) -> None:
        """Run all lanes that have something to do, until none has."""
        ready = self._ready
        while ready:
            self._drain(ready.popleft())

    def _drain(self, lane: Lane) -> None:
        waiting = lane.waiting
        while waiting and not lane.busy:
            item = waiting.pop(0)
            if type(item) is Job:
                self._perform(lane, item)
            else:
                item(lane)  # type: ignore[operator]
        lane.open = not lane.busy and not waiting
        if lane.user and lane.idle and self.users.get(lane.user) is lane:
            del self.users[lane.user]
