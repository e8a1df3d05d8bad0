"""Rules of the tiny game: read, change, earn, ask, fail."""

from typing import Any, ClassVar

import msgspec
from tests.unit.node_game import messages as m

from mmo.contract import (
    Ask,
    Close,
    Earned,
    Env,
    Outcome,
    Refuse,
    Tell,
    ToUser,
    ToUsers,
    handles,
    ticks,
)
from mmo.state.change import Effect
from mmo.state.grant import Bundle, GrantClaimed
from mmo.state.place import PlacePrepared, SessionOpened
from mmo.state.player import Head
from mmo.state.wallet import Account, CoinsMoved, Currency, Wallet
from mmo.wire.messages.hunt import GrantClaim
from mmo.wire.messages.session import Disconnected, Entered
from mmo.wire.opcode import CloseReason, Code, Op


class Board:
    """The volatile state: what happened here."""

    def __init__(self) -> None:
        self.echoes = 0
        self.blows: dict[int, int] = {}
        self.left: list[tuple[int, int, bool]] = []
        self.ticked = 0
        self.barred: tuple[str, ...] = ()  # addresses that get no edge


class Happened(Effect, frozen=True):
    of: ClassVar[str] = "board"

    what: str
    user: int = 0
    detail: Any = None

    def apply(self, state: Board) -> None:
        if self.what == "echo":
            state.echoes += 1
        elif self.what == "blow":
            state.blows[self.user] = state.blows.get(self.user, 0) + 1
        elif self.what == "tick":
            state.ticked += 1
        else:
            state.left.append(self.detail)


@handles(m.ECHO, needs=("board",))
def echo(message: m.Echo, *, board: Board, env: Env) -> Outcome:
    return Outcome(replies=(m.Echoed(message.text, board.echoes + 1),), effects=(Happened("echo"),))


@handles(m.LOOK, needs=("wallet",))
def look(message: m.Look, *, wallet: Wallet, env: Env) -> Outcome:
    return Outcome(replies=(m.Looked(wallet.gold),))


@handles(m.BUY, needs=("wallet",), mutates=True)
def buy(message: m.Buy, *, wallet: Wallet, env: Env) -> Outcome | Refuse:
    if message.gold == 0:
        return Refuse(Code.COOLDOWN)
    return Outcome(
        replies=(m.Bought(wallet.gold + message.gold),),
        changes=(CoinsMoved(Currency.GOLD, message.gold, Account.MINT_GRANT),),
        row_refused=Refuse(Code.PASS_NOT_RUNNING, "over"),
    )


@handles(m.STRIKE, needs=("head", "board"), rate="hit")
def strike(message: m.Strike, *, head: Head, board: Board, env: Env) -> Outcome:
    blows = board.blows.get(head.user, 0) + 1
    earned = Earned(head.user, m.Paid(head.user, message.gold), Bundle(gold=message.gold))
    return Outcome(
        replies=(m.Struck(blows),), effects=(Happened("blow", head.user),), earned=(earned,)
    )


@handles(m.PAID, by="node", needs=("wallet",))
def paid(message: m.Paid, *, wallet: Wallet, env: Env) -> Outcome:
    return Outcome(
        replies=(m.Prize(wallet.gold + message.gold),),
        changes=(CoinsMoved(Currency.GOLD, message.gold, Account.MINT_HUNT),),
        row_refused=Outcome(
            replies=(m.Prize(wallet.gold + 1),),
            changes=(CoinsMoved(Currency.GOLD, 1, Account.MINT_HUNT),),
        ),
    )


@handles(Op.GRANT_CLAIM, by="node", needs=("wallet",))
def claim_grant(message: GrantClaim, *, wallet: Wallet, env: Env) -> Outcome:
    bundle = msgspec.msgpack.decode(message.bundle, type=Bundle)
    return Outcome(
        replies=(m.Prize(wallet.gold + bundle.gold),),
        changes=(
            CoinsMoved(Currency.GOLD, bundle.gold, Account.MINT_GRANT),
            GrantClaimed(message.source_kind, message.source_id),
        ),
    )


@handles(m.FAIL, needs=("wallet",))
def fail(message: m.Fail, *, wallet: Wallet, env: Env) -> Any:
    if message.how == "raise":
        raise RuntimeError("a bug")
    if message.how == "none":
        return None
    if message.how == "both":
        change = CoinsMoved(Currency.GOLD, 1, Account.MINT_GRANT)
        return Outcome(changes=(change,), row=PlacePrepared(1, 1, 1, "", 1))
    if message.how == "encode":
        return Outcome(replies=(object(),))
    if message.how == "unmarked":
        change = CoinsMoved(Currency.GOLD, 1, Account.MINT_GRANT)
        return Outcome(replies=(m.Looked(0),), changes=(change,))
    if message.how == "send":
        return Outcome(sends=(ToUser(env.sender.user, m.Looked(2**70)),))
    if message.how == "fan":
        return Outcome(sends=(ToUsers([env.sender.user], m.Looked(2**70)),))
    if message.how == "earn":
        return Outcome(earned=(Earned(env.sender.user, m.Looked(1)),))
    if message.how == "tell":
        return Outcome(tells=(Tell(0, object()),))
    if message.how == "said":
        bad = ToUser(env.sender.user, m.Looked(2**70))
        earned = Earned(env.sender.user, m.Paid(env.sender.user, 3), Bundle(gold=3))
        return Outcome(replies=(m.Looked(0),), sends=(bad,), earned=(earned,))
    if message.how == "close":
        return Outcome(replies=(m.Looked(7),), closes=(Close(0, CloseReason.KICKED, forget=True),))
    if message.how in SHAPES:
        return SHAPES[message.how]
    return Refuse(Code.COOLDOWN, message.how)


SHAPES: dict[str, Any] = {
    "one close": Outcome(closes=Close(0, CloseReason.KICKED)),  # type: ignore[arg-type]
    "one ask": Outcome(asks=object()),  # type: ignore[arg-type]
    "an effect among changes": Outcome(replies=(m.Looked(0),), changes=(Happened("left", 0, ""),)),
    "a send of nothing": Outcome(sends=(m.Looked(1),)),  # type: ignore[arg-type]
    "a lazy answer": Outcome(replies=(m.Looked(1) for _ in range(1))),  # type: ignore[arg-type]
}
"""What rules return by mistake: a comma is missing, or a part is in the place of another."""


@handles(m.MOVE_TO, needs=("head",))
def move_to(message: m.MoveTo, *, head: Head, env: Env) -> Outcome:
    row = PlacePrepared(head.user, head.session_epoch, message.number, "j", env.now_ms + 1_000)
    return Outcome(
        replies=(m.MovedTo(message.number),), row=row, row_refused=Refuse(Code.SESSION_OVER)
    )


@handles(m.RESERVE)
def reserve(message: m.Reserve, *, env: Env) -> Outcome:
    return Outcome(claim_here=True)


@handles(m.WHISPER)
def whisper(message: m.Whisper, *, env: Env) -> Outcome:
    if not message.user:
        return Outcome(tells=(Tell(0, m.Paid(env.sender.user, 3)),))
    return Outcome(sends=(ToUser(message.user, message),))


@handles(m.NOISE)
def noise(message: m.Noise, *, env: Env) -> Outcome:
    return Outcome(sends=(ToUsers(message.users, m.Whisper(0, message.text)),))


@handles(m.ASK_KIN)
def ask_kin(message: m.AskKin, *, env: Env) -> Outcome:
    return Outcome(
        asks=(Ask(message.number, m.Kin(0, env.sender.user), Code.SERVER_AWAY),),
    )


@handles(m.KIN_OK, by="node", needs=("head",))
def kin_ok(message: m.KinOk, *, head: Head, env: Env) -> Outcome:
    return Outcome(replies=(m.Echoed(f"{message.word} {head.name}", env.sender.seq),))


@handles(m.KIN, by="peer", peers=("center",), lane="user", needs=("board",))
def kin(message: m.Kin, *, board: Board, env: Env) -> Outcome:
    return Outcome(replies=(m.KinOk(message.request, f"kin of {message.user}"),))


@handles(m.KNOCKED, by="node")
def knocked(message: m.Knocked, *, env: Env) -> Outcome:
    if message.name != "Ann":
        return Outcome(replies=(m.Echoed(message.name, message.epoch),))
    row = SessionOpened(
        user=1, session_epoch=message.epoch, center_number=2, jti="k",
        expires_ms=env.now_ms + 1_000, now_ms=env.now_ms,
    )  # fmt: skip
    return Outcome(replies=(m.Echoed(message.name, message.epoch),), row=row)


@handles(Op.ENTER, by="node", needs=("head", "wallet"))
def enter(message: Entered, *, head: Head | None, wallet: Wallet, env: Env) -> Outcome:
    if head is None:
        return Outcome(replies=(m.Looked(-1),))
    return Outcome(replies=(m.Looked(wallet.gold),))


@handles(Op.CLOSED, by="node", needs=("board",))
def gone(message: Disconnected, *, board: Board, env: Env) -> Outcome:
    told = (message.user, message.reason, message.evicted)
    return Outcome(effects=(Happened("left", message.user, told),))


@ticks(every_ms=100, of="board")
def tick(board: Board, *, env: Env) -> Outcome:
    return Outcome(effects=(Happened("tick"),))
