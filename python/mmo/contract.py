"""The whole contract between game rules and the node that runs them.

Owns the marks (`handles`, `ticks`, `edge`, `before`), what a rule receives (`Env`) and what it
returns (`Outcome`, `Refuse`). Imports nothing of ours and does nothing: marks only set an
attribute; the node builds its tables from the list of modules that a `Role` names.

A rule is a plain function: `(message, *, <needs as keywords>, env) -> Outcome | Refuse`. It never
awaits, never touches a clock, a socket, a store or a module-level variable. All that it wants done
it returns.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import msgspec

By = Literal["user", "open", "peer", "node"]
"""Who may cause a handler to run: `user` a client that proved who it is, `open` a client that did
not yet (login server), `peer` another server over a link, `node` this node itself (an `Earned`, an
admitted player, an edge's result, the answer to an `Ask`)."""

PLAYER_PARTS = ("head", "growth", "wallet", "bag", "score", "pass_progress", "counters")
"""Names in `needs` that are parts of the resident player of the lane. A handler that needs one
runs only where this node owns the player; elsewhere the node answers WRONG_PLACE by itself. One
exception: the handler of `Op.ENTER` also runs for a session whose player another server owns
(`Entered.owned` False) and then gets None for every part. All other names in `needs` are volatile
states of the role (`Role.states`)."""


class NodeView(msgspec.Struct, frozen=True):
    """What a rule may know of the node it runs on."""

    number: int  # unique server number
    name: str  # such as "channel-2"
    role: str
    incarnation: int  # unique for every process start in the cluster
    generation: int  # of the code and content that decides
    host: str = ""  # where clients reach this node
    port: int = 0  # client port as bound, 0: none
    draining: bool = False  # going down: takes no newcomers


class Sender(msgspec.Struct, frozen=True, gc=False):
    """Where the message came from: connection, proved user, peer server number (0: none)."""

    conn: int
    user: int
    seq: int
    peer: int = 0
    address: str = ""  # client address without port, for `by="open"` handlers
    gone: bool = False  # left while its edge ran; only rules marked `when_gone` are asked then


class Env(msgspec.Struct):
    """Time, chance and the outside as arguments."""

    now_ms: int  # unix time in milliseconds, the node's clock
    rng: random.Random  # seeded; for volatile chance (drops, damage), never for money
    content: Any  # mmo.content.tables.Content of this generation
    node: NodeView
    sender: Sender
    new_uid: Callable[[], int]  # next item uid, unique in the cluster for ever
    roll: Callable[[int, int, int, int], int] | None = None
    """`roll(uid, attempt, table, day) -> 0..999,999`: the keyed roll (`state.roll`), on
    roles that own players."""
    sign: Callable[[Mapping[str, object], str], str] | None = None
    """`sign(claims, typ) -> JWT`, on login and center only; adds `iss` and the header. Ed25519 is
    deterministic."""


class Refuse(msgspec.Struct, frozen=True):
    """The game says no: a `wire.opcode.Code` and a short detail for the client. Not an error."""

    code: int
    detail: str = ""


class ToUser(msgspec.Struct, frozen=True):
    """A message to the connection of one player on this node; dropped when he is not connected."""

    user: int
    message: Any


class ToUsers(msgspec.Struct, frozen=True):
    """One message, encoded once, to many players on this node. `lossy`: newest wins, may be
    lost."""

    users: Sequence[int]
    message: Any
    lossy: bool = False


class ToNode(msgspec.Struct, frozen=True):
    """A link message to one server number; dropped (and counted) when the link is down."""

    number: int
    message: Any


class ToRole(msgspec.Struct, frozen=True):
    """A link message to every linked server of a role."""

    role: str
    message: Any


class ToAny(msgspec.Struct, frozen=True):
    """A link message to one linked server of a role, the same one while its link is up; dropped
    (and counted) without any."""

    role: str
    message: Any


class SendAway(msgspec.Struct, frozen=True):
    """As `ToUser`, to a player who shall go to another server: a drain waits until his connection
    here ended."""

    user: int
    message: Any


class Presence(msgspec.Struct, frozen=True):
    """Publish where a player is seen (`Store.online`), best effort: at server `number`."""

    user: int
    state: Literal["online", "moving", "offline", "queued", "raid"]
    number: int


class LookForGrants(msgspec.Struct, frozen=True):
    """Read the unclaimed grants of a player whom this node owns now instead of at the next sweep;
    nothing when it does not own him."""

    user: int


class ProveDatagrams(msgspec.Struct, frozen=True):
    """Give a player's connection on this node a datagram identity for `room` (32 bits are used) and
    push it to him as DATAGRAM_KEY; nothing on a role without datagrams."""

    user: int
    room: int


class Keep(msgspec.Struct, frozen=True):
    """A checkpoint of a raid that this node runs (`state.raid.RaidCheckpoint`), written soon and in
    one statement with those of other rooms; a newer one replaces it before that."""

    checkpoint: Any


Send = (
    ToUser | ToUsers | ToNode | ToRole | ToAny | SendAway
    | Presence | LookForGrants | ProveDatagrams | Keep
)  # fmt: skip


class Ask(msgspec.Struct, frozen=True):
    """A request to another server. The node numbers it (field `request`); the answer, a link
    message with the same number, comes into the sender's lane and is handled by the `by="node"`
    handler of the answer's opcode, with `Env.sender` of the original request. The lane stays
    closed until then. No answer within the deadline or no link: the sender gets
    REFUSED(`refusal`)."""

    number: int
    message: Any
    refusal: int
    deadline_ms: int = 2_000


class Earned(msgspec.Struct, frozen=True):
    """What a volatile act earns: `message` goes into the earner's own lane and is handled there by
    its `by="node"` handler, whose changes commit under the operation id (-incarnation, counter)
    that the node gives it, so a repeat cannot pay twice. `owed`: the same as a
    `state.grant.Bundle`, which the node writes as a `reward_grant` when the player is gone or
    fenced meanwhile; None: nothing."""

    user: int
    message: Any
    owed: Any = None


class Tell(msgspec.Struct, frozen=True):
    """An internal message of this node into the lane of `user` (0: the sender's own lane)."""

    user: int
    message: Any


class Close(msgspec.Struct, frozen=True):
    """Close the connection of `user` on this node (0: the sender's) with a close reason number,
    after the replies were flushed. `forget` also drops the resident and its session."""

    user: int
    reason: int
    forget: bool = False


class Outcome(msgspec.Struct):
    """All that a rule wants done. Order: rows and changes commit; then effects apply, then replies,
    sends, tells, closes leave. Without changes and rows everything happens at once."""

    replies: Sequence[
        Any
    ] = ()  # messages to the sender, seq repeated; the first is the stored answer
    changes: Sequence[Any] = ()  # state.change.Change of ONE player: the lane's
    effects: Sequence[Any] = ()  # state.change.Effect on the role's volatile states
    row: Any = None  # state.change.Row: a guarded write of another aggregate, committed alone
    row_refused: Refuse | Outcome | None = None
    """The reply when the guard of `row` did not hold, or the database's clock was outside the
    window of a change; or all that is to be done instead: an outcome without a row, and with
    changes only where changes were refused."""
    row_insists: bool = False
    """Offer the row again, the lane closed, until the store says whether it holds: for one whose
    sender asks no second time. Its guard must hold for a repeat of the same row."""
    sends: Sequence[Send] = ()
    earned: Sequence[Earned] = ()
    tells: Sequence[Tell] = ()
    asks: Sequence[Ask] = ()  # at most one, and then no changes
    claim_here: bool = False
    """Center only: PREPARE and CLAIM the sender for this node (back to the lobby); the node then
    runs the `by="node"` handler of `Op.ENTER` as after a token."""
    closes: Sequence[Close] = ()
    release: int = 0
    """A user whom another server owns now: drop the resident, keep the connection as a session."""


class Handler(msgspec.Struct, frozen=True):
    """What `handles` marks on a function."""

    opcode: int
    by: By
    needs: tuple[str, ...]
    mutates: bool
    rate: str  # name of the rate class of the opcode on the client port
    lane: (
        str  # peer handlers: the message field that names a lane, of a user or raid; "": the peer's
    )
    peers: tuple[str, ...]  # roles whose servers may send this over a link; only with by="peer"
    when_gone: bool = False


class Tick(msgspec.Struct, frozen=True):
    """What `ticks` marks: called as `(state, *, env) -> Outcome` every `every_ms`, or with `each`
    as `(room, *, env) -> Outcome` for every value of the mapping of that name in the state."""

    every_ms: int
    of: str
    each: str = ""


class Edge(msgspec.Struct, frozen=True):
    """What `edge` marks: `async (message, outside, sender) -> message | Refuse`."""

    opcode: int
    by: By
    deadline_ms: int
    rate: str


class Before(msgspec.Struct, frozen=True):
    """What `before` marks: called as `(message, *, <needs as keywords>, env) -> Refuse | None`."""

    opcode: int
    needs: tuple[str, ...]


F = TypeVar("F", bound=Callable[..., Any])


def handles(
    opcode: int,
    *,
    by: By = "user",
    needs: tuple[str, ...] = (),
    mutates: bool = False,
    rate: str = "action",
    lane: str = "",
    peers: tuple[str, ...] = (),
    when_gone: bool = False,
) -> Callable[[F], F]:
    """Mark a pure rule for one opcode. `mutates`: makes durable changes for its sender, so its
    message carries an operation number (field `op: OperationId`), under which a repeat is answered
    with the same bytes and not done again; changes of a player's rule without it are answered
    INTERNAL. `peers` names the roles that may send it and
    is required with `by="peer"`: the allowlist of the links is made of it. `when_gone`: what an
    edge found is shown to it also when its client has left meanwhile (`env.sender.gone`), as that
    had its cost too; nobody hears the answer."""
    assert (by == "peer") == bool(peers), f"opcode {opcode}: `peers` goes with by='peer'"

    def mark(function: F) -> F:
        function.mmo_handler = Handler(  # type: ignore[attr-defined]
            opcode, by, needs, mutates, rate, lane, peers, when_gone
        )
        return function

    return mark


def ticks(*, every_ms: int, of: str, each: str = "") -> Callable[[F], F]:
    """Mark a rule that runs on time over one volatile state of the role.

    With `each` it runs for every room in the mapping `each` of the state, each with a fixed phase
    of its own, and may return a `row`: the room's next ticks then wait until it is written, however
    long the store is away. A room whose rule raises or takes too long disturbs no other: after a
    few times in a row it is called with the rule that `broken` marks instead."""

    def mark(function: F) -> F:
        function.mmo_tick = Tick(every_ms, of, each)  # type: ignore[attr-defined]
        return function

    return mark


def broken(*, of: str) -> Callable[[F], F]:
    """Mark the rule `(room, *, env) -> Outcome` that ends a room of the state `of` whose tick fails
    again and again."""

    def mark(function: F) -> F:
        function.mmo_broken = of  # type: ignore[attr-defined]
        return function

    return mark


def edge(
    opcode: int, *, deadline_ms: int, by: By = "open", rate: str = "login"
) -> Callable[[F], F]:
    """Mark an async function that turns one message into an internal one by asking the outside."""

    def mark(function: F) -> F:
        function.mmo_edge = Edge(opcode, by, deadline_ms, rate)  # type: ignore[attr-defined]
        return function

    return mark


def before(opcode: int, *, needs: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Mark a pure rule that is asked before the edge of an opcode asks the outside: when its
    message comes, and again right before each time that the edge runs, so it takes no chance from
    `env.rng`. It refuses what would only cost; None lets it through. It changes nothing: the rule
    that decides what the edge found out judges once more, for the state may have moved meanwhile.
    `needs` are volatile states alone."""

    def mark(function: F) -> F:
        function.mmo_before = Before(opcode, needs)  # type: ignore[attr-defined]
        return function

    return mark


class Credentials(msgspec.Struct, frozen=True):
    """What the store knows of an account's password. `locked_until_ms` 0: not locked;
    `banned_until_ms` 0: not shut by an operator."""

    user: int
    name: str
    password_hash: str
    session_epoch: int
    locked_until_ms: int
    failures: int
    banned_until_ms: int = 0


class PlayerCard(msgspec.Struct, frozen=True):
    """What others may read of a player: never decided on by his owner."""

    user: int
    name: str
    session_epoch: int
    level: int
    score_best: int
    worn: tuple[tuple[int, int, int], ...]  # (item code, enhancement, expires_ms) of worn equipment
    raid: int = 0  # unsettled raid that he is a member of, 0 none
    raid_kind: int = 0
    raid_seat: int = 0
    raid_number: int = 0  # server that runs it
    entries: tuple[int, ...] = ()  # kinds of the raids entered on the asked day, aborted left out


class RankingEntry(msgspec.Struct, frozen=True, array_like=True):
    """One place of a season's board, 1 is the best."""

    rank: int
    user: int
    name: str
    score: int


class RankingView(msgspec.Struct, frozen=True):
    """What one question about the board is answered with; `own_rank` 0: no score."""

    season: int
    size: int
    own_rank: int
    own_score: int
    rows: tuple[RankingEntry, ...]


class Outside(Protocol):
    """What edges may ask. Every call has a deadline of its own and raises `StoreUnavailable`."""

    def now_ms(self) -> int:
        """The node's clock, unix time in milliseconds."""
        ...

    @property
    def content(self) -> Any:
        """The tables of the running generation, as in `Env.content`."""
        ...

    async def credentials(self, name: str) -> Credentials | None:
        """The account of a name in NFC; None: there is none."""
        ...

    async def hash_password(self, password: str) -> str:
        """The hash that `verify_password` takes; computed apart from the loop."""
        ...

    async def verify_password(self, password_hash: str | None, password: str) -> bool:
        """False for a wrong one; `None` burns the same time and is False."""
        ...

    async def card(self, user: int, day: int) -> PlayerCard | None:
        """What others may read of a player; `entries` are the raids of `day` (YYYYMMDD)."""
        ...

    async def ranking_page(self, season: int, user: int, start: int, count: int) -> RankingView:
        """`count` places from place `start` on, with the place of `user`."""
        ...

    async def ranking_around(self, season: int, user: int, around: int) -> RankingView:
        """The place of `user` with `around` neighbours on each side; no rows without a score."""
        ...

    async def ranking_of(self, season: int, user: int, users: Sequence[int]) -> RankingView:
        """The board of the named users, with the place of `user`."""
        ...


EdgeFunction = Callable[[Any, Outside, Sender], Awaitable[Any]]


class Role(msgspec.Struct, frozen=True):
    """Which systems, edges, states and links make a role; about thirty lines each in `roles/`."""

    name: str
    systems: tuple[str, ...]  # module names below the systems package, such as "hunt"
    edges: tuple[str, ...] = ()
    states: Mapping[str, Callable[[Any, NodeView], Any]] = {}
    """Volatile states by name: `(content, node) -> state`, made at start. Rooms in them (see
    `ticks`) are waited for when the node drains."""
    placed: Callable[[Any], Any] | None = None
    """What of the content the states were built of once and for all; a reload that changes it is
    refused."""
    dials: tuple[str, ...] = ()  # roles whose servers this one keeps a link to
    owns_players: bool = False  # may CLAIM places
    runs_raids: bool = False
    """Admits members by raid tokens (ENTER comes with their card and without player parts), keeps
    checkpoints, and takes over raids whose server died (RAID_ORPHAN)."""
    token_types: tuple[str, ...] = ()  # accepted at ENTER, such as ("login+jwt", "session+jwt")
    has_clients: bool = True  # opens a client port
    signs: bool = False  # gets `env.sign`
    datagrams: bool = False
    takes_payments: bool = False  # opens the payment door (HTTPS) on its client port
