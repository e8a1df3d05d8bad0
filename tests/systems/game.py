"""A table to play on: content in the box, an environment with a still clock, players and states.

Rules are pure, so nothing here imitates a node: a test calls the rule, looks at what it returns and
applies it with the changes' and effects' own `apply`.
"""

import itertools
import random
from typing import Any

import msgspec

from mmo.content import Content, load_content
from mmo.contract import Env, NodeView, Outcome, Refuse, Sender
from mmo.state.attempts import Attempts
from mmo.state.bag import Bag, Item
from mmo.state.center_tickets import CenterTickets
from mmo.state.channel_world import ChannelEntered, ChannelWorld, SeatTaken
from mmo.state.growth import Growth
from mmo.state.match_tickets import MatchTickets
from mmo.state.player import Head, OperationBook, Player
from mmo.state.raid_room import RaidRooms
from mmo.state.roll import day_key, roll
from mmo.state.score import Score
from mmo.state.servers import LoadTold, Servers, ServerSeen
from mmo.state.sessions import Session, SessionHeld, Sessions
from mmo.state.wallet import Wallet
from mmo.systems import volatile
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

CONTENT: Content = load_content()
NOW_MS = 1_700_000_000_000
ROLL_SECRET = bytes(range(32))
UIDS = itertools.count(1_000_000)
CENTER, CHANNEL, OTHER_CHANNEL = 2, 11, 12
MATCHING, RAID = 21, 31


class Signed(msgspec.Struct, frozen=True):
    """What `Env.sign` was asked to sign; a token of the tests is this as JSON."""

    typ: str
    claims: dict[str, Any]


def sign(claims: Any, typ: str) -> str:
    """A token that anybody can read."""
    return msgspec.json.encode(Signed(typ, dict(claims))).decode()


def read_token(token: str) -> Signed:
    """What a token of the tests says."""
    return msgspec.json.decode(token, type=Signed)


def keyed_roll(uid: int, attempt: int, table: int, day: int) -> int:
    """The roll of a cluster whose secret everybody knows."""
    return roll(day_key(ROLL_SECRET, day), uid, attempt, table)


class Game:
    """One node of a role with its volatile states and a clock that stands still."""

    def __init__(self, role: str, number: int, seed: int = 1) -> None:
        self.content = CONTENT
        self.view = NodeView(number, f"{role}-{number}", role, 7, 1, "127.0.0.1", 7000 + number)
        self.world: ChannelWorld = volatile.world(CONTENT, self.view)
        self.sessions: Sessions = volatile.sessions(CONTENT, self.view)
        self.servers: Servers = volatile.servers(CONTENT, self.view)
        self.tickets: CenterTickets = volatile.tickets(CONTENT, self.view)
        self.matching: MatchTickets = volatile.matching(CONTENT, self.view)
        self.attempts: Attempts = volatile.attempts(CONTENT, self.view)
        self.raids: RaidRooms = volatile.raids(CONTENT, self.view)
        self.now_ms = NOW_MS
        self.rng = random.Random(seed)

    def new_uid(self) -> int:
        """The next uid, unique in the whole test run; as in a node's it is not time that orders
        those of two servers."""
        return self.view.number << 40 | next(UIDS)

    def env(
        self, user: int = 0, *, conn: int = 5, peer: int = 0, address: str = "", **view: Any
    ) -> Env:
        """The environment of one call."""
        return Env(
            now_ms=self.now_ms,
            rng=self.rng,
            content=self.content,
            node=msgspec.structs.replace(self.view, **view),
            sender=Sender(conn, user, 1, peer, address),
            new_uid=self.new_uid,
            roll=keyed_roll,
            sign=sign,
        )

    def apply(self, outcome: Outcome) -> Outcome:
        """Make the effects of an outcome true."""
        for effect in outcome.effects:
            effect.apply(getattr(self, effect.of))
        return outcome

    def sit(self, user: int, channel: int = 0) -> None:
        """Seat a player, in a channel if one is named."""
        SeatTaken(user, 1, 1, 100 + user).apply(self.world)
        if channel:
            ChannelEntered(user, channel).apply(self.world)

    def hold_session(self, user: int, place: int, epoch: int = 1, conn: int = 5) -> None:
        """Make this center hold a session."""
        SessionHeld(Session(user, f"name{user}", epoch, conn, place)).apply(self.sessions)

    def hear(self, number: int, role: str = "channel", **fields: Any) -> None:
        """A server told its load now."""
        known: dict[str, Any] = {
            "number": number,
            "role": role,
            "name": f"{role}-{number}",
            "host": "127.0.0.1",
            "port": 7000 + number,
            "users": 0,
            "users_max": 30,
            "open": True,
            "seen_ms": self.now_ms,
        }
        LoadTold(ServerSeen(**{**known, **fields})).apply(self.servers)


def player(
    user: int = 1,
    *,
    level: int = 1,
    exp: int = 0,
    gold: int = 0,
    cash: int = 0,
    mileage: int = 0,
    items: tuple[Item, ...] = (),
    epoch: int = 1,
    place_epoch: int = 1,
    score: int = 0,
    login_ms: int = NOW_MS,
) -> Player:
    """A resident player."""
    return Player(
        Head(user, f"name{user}", 3, epoch, CHANNEL, place_epoch, 0, 1234, login_ms),
        Growth(level, exp),
        Wallet(gold, cash, mileage),
        Bag(items),
        Score(score),
        OperationBook(),
    )


def parts(player: Player, *names: str) -> dict[str, Any]:
    """The named parts as keywords for a rule."""
    return {name: getattr(player, name) for name in names}


def applied(player: Player, outcome: Outcome) -> Player:
    """The player after the commit of an outcome."""
    for change in outcome.changes:
        change.apply(player)
    return player


def done(outcome: Outcome | Refuse) -> Outcome:
    """The outcome of a rule that must not refuse."""
    assert isinstance(outcome, Outcome), outcome
    return outcome


def assert_refused(outcome: Outcome | Refuse, code: Code, detail: str | None = None) -> None:
    """The rule said no, with this code and nothing else done."""
    said: Refuse | Refused
    if isinstance(outcome, Outcome):
        (said,) = outcome.replies
        assert isinstance(said, Refused), outcome
        assert not (outcome.changes or outcome.row or outcome.effects or outcome.earned), outcome
    else:
        said = outcome
    assert said.code == code, Code(said.code).name
    assert detail is None or said.detail == detail


def sent(outcome: Outcome, kind: type) -> list[Any]:
    """The sends of one kind."""
    return [send for send in outcome.sends if isinstance(send, kind)]
