"""The walks every journey is made of: ask and be answered, log in, arrive, move, leave.

Generators of `steps`; own the client's manners: retry of RETRY_LATER with the same operation
number, patience with full servers, the waiting line. Called by `coming_back`, `journeys`, `play`
and tests; never touches a socket.
"""

from typing import Any

from mmo.client.hero import Address, Hero
from mmo.client.meter import Cut
from mmo.client.protocol import Answer, Ping, Push, Stray, Token, hello
from mmo.client.steps import CENTER, GAME, LOGIN, Dial, Drop, Lost, Pause, Receive, Send, Walk
from mmo.errors import MmoError
from mmo.wire.messages.account import Login, LoginOk, LoginWait, Register, RegisterOk
from mmo.wire.messages.presence import (
    Lobby,
    Logout,
    Move,
    MoveOk,
    Renew,
    RenewOk,
    ServerListAsk,
    ServerRow,
    SessionOk,
    Welcome,
)
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code

COME_AGAIN = frozenset(
    {int(Code.RETRY_LATER), int(Code.BUSY), int(Code.TIMEOUT), int(Code.LOGIN_LINE_FULL)}
)
"""Refusals that are no final answer: the same request is sent again."""

BLAMELESS = frozenset(
    {
        0,
        int(CloseReason.PEER_CLOSED),
        int(CloseReason.SERVER_STOPPING),
        int(CloseReason.NODE_FENCED),
        int(CloseReason.IO_ERROR),
        int(CloseReason.MOVED),
    }
)
"""Ends of a connection that a healthy client may meet while servers come and go."""

OVERTAKEN = {
    int(Code.WRONG_PLACE): 0,
    int(Code.SESSION_OVER): int(CloseReason.SESSION_TAKEN),
}
"""Refusals by which a player hears that an earlier request of his own was done after all, and as
which end of the connection he takes them."""

KNOWN_EVERY_S = 10.0
"""How often a player whose game is elsewhere shows the center that he is there: a connection on
which nothing comes for a minute is closed."""

RENEW_AFTER_S = 300.0
"""A session token lives 15 minutes; it is renewed well before."""


class Unwelcome(MmoError):
    """A refusal that the script does not expect."""

    def __init__(self, what: str, refused: Refused) -> None:
        super().__init__(f"{what} was refused: {code_name(refused.code)} {refused.detail}".rstrip())
        self.refused = refused


class Displaced(MmoError):
    """The session or place this client believed in is over; only a new login helps."""


class Stranded(MmoError):
    """Patience ended without a final answer."""


def code_name(code: int) -> str:
    """The name of a refusal code, its number when this client does not know it."""
    return Code(code).name if code in Code._value2member_map_ else str(code)


class Retry:
    """Counts down a hero's patience, pausing longer each time, with jitter."""

    def __init__(self, me: Hero, what: str) -> None:
        self._me = me
        self._what = what
        self._until = me.clock() + me.policy.patience_ms / 1000
        self._pause_ms = me.policy.pause_ms_min

    def again(self, why: str, least_ms: float = 0.0) -> Walk[None]:
        """Pause, or give up with `Stranded`."""
        me = self._me
        if me.clock() >= self._until:
            me.meter.error(f"{me.name}: {self._what} found no final answer: {why}")
            raise Stranded(f"{self._what}: {why}")
        me.meter.retry(self._what, why)
        yield Pause(max(least_ms, self._pause_ms * (0.5 + me.rng.random())))
        self._pause_ms = min(self._pause_ms * 2, me.policy.pause_ms_max)


def ask(me: Hero, lane: str, message: Any, *, expects: tuple[int, ...] = ()) -> Walk[Any]:
    """Send one request and return its final answer. A refusal whose code is in `expects` is
    returned; any other is counted as an error and raised as `Unwelcome`. `Lost` passes through, and
    while servers are made to fail it is raised where another server owns the player or his session
    is over: a move or a login asked for before a connection died may happen after it."""
    what = type(message).__name__
    _go_if_told(me, lane)
    retry = Retry(me, what)
    began = me.take_due()
    while True:
        reply = yield from _once(me, lane, message)
        if isinstance(reply, Refused) and reply.code in COME_AGAIN and reply.code not in expects:
            wait = int(reply.detail) * 1000.0 if reply.code == Code.LOGIN_LINE_FULL else 0.0
            yield from retry.again(code_name(reply.code), wait)
            continue
        break
    me.meter.action(what, (me.clock() - began) * 1000)
    if isinstance(reply, Refused):
        me.meter.refused(what, code_name(reply.code))
        if reply.code in OVERTAKEN and reply.code not in expects and me.policy.faults:
            yield Drop(lane)
            raise Lost(lane, OVERTAKEN[reply.code], code_name(reply.code))
        if reply.code not in expects:
            fault = Unwelcome(what, reply)
            me.meter.error(f"{me.name}: {fault}")
            raise fault
    return reply


def _go_if_told(me: Hero, lane: str) -> None:
    """The server at the end of `lane` ends soon and said so: nothing new is asked of it."""
    if (lane == GAME and me.leaving is not None) or (lane == CENTER and me.center_leaves):
        me.hit_open = False  # not struck yet
        raise Lost(lane, int(CloseReason.MOVED), "the server leaves")


def _once(me: Hero, lane: str, message: Any) -> Walk[Any]:
    seq = yield Send(lane, message)
    until = me.clock() + me.policy.answer_ms / 1000
    while True:
        event = yield Receive(lane, max(0.0, (until - me.clock()) * 1000))
        if event is None:
            yield from silence(me, lane, type(message).__name__)
        elif isinstance(event, Answer) and event.seq == seq:
            return event.message
        elif isinstance(event, Push) and isinstance(event.message, LoginWait):
            # The line moves: each number told is a sign of life.
            me.ticket = event.message.ticket
            until = me.clock() + (me.policy.answer_ms + event.message.wait_ms) / 1000
        else:
            overhear(me, event)


def overhear(me: Hero, event: Any) -> None:
    """An event that is not the awaited answer."""
    if isinstance(event, Push):
        me.hear(event.message)
    elif isinstance(event, Stray):
        me.meter.error(f"{me.name}: request {event.seq} was answered twice or never made")


def note_loss(me: Hero, lost: Lost) -> None:
    """Count a connection that ended under him."""
    me.meter.loss(str(lost), Cut(me.clock(), lost.lane, lost.port, lost.reason))


def silence(me: Hero, lane: str, what: str) -> Walk[None]:
    """A healthy connection said nothing for `answer_ms`: an error, unless faults are being made."""
    yield Drop(lane)
    if not me.policy.faults:
        me.meter.error(f"{me.name}: {what} was not answered")
        raise Stranded(f"{what} was not answered")
    raise Lost(lane, 0, f"no answer to {what}")


def greet(me: Hero, lane: str, address: Address) -> Walk[Any]:
    """Dial and say hello. Returns HELLO_OK."""
    yield Dial(lane, *address)
    if lane == CENTER:
        me.center_leaves = False
    elif lane == GAME:
        me.leaving = None
    return (yield from ask(me, lane, hello()))


def visit_login(me: Hero) -> Walk[None]:
    """Open a connection to a login server, any of those known, until one answers."""
    retry = Retry(me, "reaching a login server")
    while True:
        address = me.rng.choice(me.logins)
        try:
            yield from greet(me, LOGIN, address)
            return
        except Lost as lost:
            yield from retry.again(str(lost))


def register(me: Hero, *, expects: tuple[int, ...] = ()) -> Walk[RegisterOk | Refused]:
    """Register the account. A repeat whose first answer was lost finds the name taken by itself."""
    retry = Retry(me, "registering")
    repeated = False
    while True:
        try:
            yield from visit_login(me)
            taken = (int(Code.NAME_TAKEN),) if repeated else ()
            reply = yield from ask(
                me, LOGIN, Register(me.name, me.password), expects=expects + taken
            )
            yield Drop(LOGIN)
            return reply  # type: ignore[no-any-return]
        except Lost as lost:
            repeated = True
            yield from retry.again(str(lost))


def log_in(
    me: Hero, *, password: str | None = None, expects: tuple[int, ...] = ()
) -> Walk[LoginOk | Refused]:
    """Show the password; the answer names a center and carries its token. What was due is that, not
    the hello on the way to it, and it stays due while no center lives."""
    retry = Retry(me, "logging in")
    due, me.due = me.due, None
    while True:
        try:
            yield from visit_login(me)
            meant = me.mean(due)
            ask_in = Login(me.name, me.password if password is None else password, me.ticket)
            reply = yield from ask(me, LOGIN, ask_in, expects=(*expects, int(Code.SERVER_AWAY)))
        except Lost as lost:
            yield from retry.again(str(lost))
            continue
        yield Drop(LOGIN)
        if isinstance(reply, Refused) and reply.code == Code.SERVER_AWAY:
            # No center lives at this moment; one is being restarted.
            due = meant
            yield from retry.again("no center to go to")
            continue
        if isinstance(reply, LoginOk):
            me.ticket = ""
            me.user, me.login_token = reply.user, reply.token
            me.center, me.session_token = (reply.host, reply.port), ""
            me.settle_at(None, 0)
        return reply  # type: ignore[no-any-return]


def show(me: Hero, lane: str, address: Address, token: str) -> Walk[Any]:
    """Dial, say hello and show a token. `Displaced` when it is refused."""
    yield from greet(me, lane, address)
    try:
        # WRONG_PLACE and SERVER_FULL: the place or the seat believed in went to others meanwhile.
        refusals = (
            *(Code.TOKEN_REFUSED, Code.SESSION_OVER, Code.WRONG_PLACE, Code.SERVER_FULL),
            Code.NOT_IN_RAID,
        )
        reply = yield from ask(me, lane, Token(token), expects=tuple(map(int, refusals)))
    except Lost as lost:
        if lost.reason in (CloseReason.TOKEN_INVALID, CloseReason.TOKEN_EXPIRED):
            me.meter.displaced(lane, CloseReason(lost.reason).name)
            raise Displaced(str(lost)) from None
        raise
    if isinstance(reply, Refused):
        me.meter.displaced(lane, code_name(reply.code))
        yield Drop(lane)
        raise Displaced(f"{lane}: {code_name(reply.code)} {reply.detail}")
    if isinstance(reply, Welcome):
        me.meet(reply)
    elif isinstance(reply, SessionOk):
        me.session_token, me.renewed_at = reply.session_token, me.clock()
        me.know_centers(reply.centers)
    if lane == CENTER:
        me.known_at = me.clock()
    return reply


def arrive(me: Hero) -> Walk[Welcome]:
    """Log in and be admitted by the center. Returns what it told of the player."""
    retry = Retry(me, "arriving at the center")
    while True:
        yield from log_in(me)
        assert me.center is not None
        try:
            reply = yield from show(me, CENTER, me.center, me.login_token)
        except (Lost, Displaced) as fault:
            # A login token is spent once; when its answer is lost a new login is the way.
            me.loosen()
            yield from retry.again(str(fault))
            continue
        assert isinstance(reply, Welcome), f"the center answered {reply}"
        return reply


def servers(me: Hero) -> Walk[list[ServerRow]]:
    """The list of channel servers."""
    reply = yield from ask(me, CENTER, ServerListAsk())
    return list(reply.servers)


def move(me: Hero, number: int) -> Walk[bool]:
    """Ask for a seat at server `number` and go there. False when it is full, away or not reachable;
    the player is then where he was."""
    return not (yield from _move(me, number))


def _move(me: Hero, number: int) -> Walk[int]:
    """0 when he is there, else the code of the refusal."""
    refusals = (Code.SERVER_FULL, Code.SERVER_AWAY, Code.ALREADY_THERE, Code.TOKEN_REFUSED)
    reply = yield from ask(me, CENTER, Move(number), expects=tuple(map(int, refusals)))
    if isinstance(reply, Refused) and reply.code == Code.ALREADY_THERE:
        yield from lobby(me)
    if not isinstance(reply, MoveOk):
        return int(reply.code)
    try:
        yield from show(me, GAME, (reply.host, reply.port), reply.token)
    except Displaced:
        return int(Code.TOKEN_REFUSED)
    me.settle_at((reply.host, reply.port), number)
    return 0


def move_somewhere(me: Hero, *, avoid: int = 0) -> Walk[None]:
    """Move to the emptiest open server but `avoid`, waiting for a seat. While nobody has one, the
    seat held now is given up, so that two full servers whose players want to swap cannot wait for
    ever. A move stays due over servers that are away."""
    retry, due = Retry(me, "finding a server with a seat"), None
    while True:
        rows = yield from servers(me)
        rows = [row for row in rows if row.open and row.number != avoid]
        rows.sort(key=lambda row: (row.users >= row.users_max, row.users + 2 * me.rng.random()))
        for row in rows:
            meant = me.mean(due)
            code = yield from _move(me, row.number)
            if not code:
                return
            due = meant if code == Code.SERVER_AWAY else None
        if me.game is not None:
            yield from lobby(me)
        yield from retry.again("every server is full or away")


def lobby(me: Hero) -> Walk[Welcome]:
    """Back to the lobby: the center takes the player over; the game connection ends."""
    yield Drop(GAME)
    me.loosen()
    told = yield from ask(me, CENTER, Lobby())
    me.meet(told)
    me.settle_at(None, 0)
    return told  # type: ignore[no-any-return]


def compare_and_leave(me: Hero) -> Walk[None]:
    """The end of a walk: gone without a word, here once more to compare all that is owned with what
    was told, and logged out."""
    yield Drop(GAME)
    yield Drop(CENTER)
    me.loosen()
    yield from arrive(me)
    yield from log_out(me)


def log_out(me: Hero) -> Walk[None]:
    """End the session everywhere. When the connection dies before the answer, the session token
    tells whether it happened: a session that is over is the answer."""
    retry = Retry(me, "logging out")
    while True:
        try:
            yield from ask(me, CENTER, Logout(), expects=(int(Code.SESSION_OVER),))
            break
        except Lost as lost:
            note_loss(me, lost)
            if lost.reason not in BLAMELESS:
                raise
            if not (yield from _held_still(me, retry)):
                break
    yield Drop(CENTER)
    yield Drop(GAME)
    me.session_token, me.game, me.center = "", None, None


def _held_still(me: Hero, retry: Retry) -> Walk[bool]:
    """Whether a center takes the session token; False when the session is over."""
    while me.session_token and me.center is not None:
        try:
            yield from show(me, CENTER, me.center, me.session_token)
            return True
        except Displaced:
            return False
        except Lost as lost:
            if lost.reason not in BLAMELESS:
                raise
            me.try_another_center()
            yield from retry.again(str(lost))
    return False


def stay_known(me: Hero) -> Walk[None]:
    """Keep the center connection alive and its session token fresh."""
    if me.clock() - me.renewed_at > RENEW_AFTER_S:
        reply = yield from ask(me, CENTER, Renew())
        assert isinstance(reply, RenewOk)
        me.session_token, me.renewed_at = reply.session_token, me.clock()
        me.know_centers(reply.centers)
    else:
        yield from ask(me, CENTER, Ping())
    me.known_at = me.clock()


def keep_known(me: Hero) -> Walk[None]:
    """`stay_known` when it is time; called often by walks that have nothing to ask of a center."""
    if me.clock() - me.known_at > KNOWN_EVERY_S:
        yield from stay_known(me)
