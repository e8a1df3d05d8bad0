"""A player at a center: arriving, list, move, lobby, logout, parting."""

from typing import Any

import pytest
from tests.systems.game import (
    CENTER,
    CHANNEL,
    CONTENT,
    OTHER_CHANNEL,
    Game,
    assert_refused,
    done,
    player,
    read_token,
    sent,
)

from mmo.contract import Ask, Close, Outcome, Presence, Refuse, ToNode, ToRole
from mmo.state.bag import Item
from mmo.state.place import PlacePrepared, SessionClosed
from mmo.state.player import Player
from mmo.systems import presence
from mmo.systems.session_notices import tell_load
from mmo.wire.messages.link import PlayerMoved, SeatHeld, SessionEnded, SessionSeen
from mmo.wire.messages.presence import (
    Lobby,
    Logout,
    Move,
    MoveOk,
    Renew,
    ServerListAsk,
    SessionOk,
    Welcome,
)
from mmo.wire.messages.session import Claims, Disconnected, Entered
from mmo.wire.opcode import CloseReason, Code

PARTS = ("head", "growth", "wallet", "bag", "score", "pass_progress")


def claims(user: int = 1, epoch: int = 1) -> Claims:
    """What the token said."""
    return Claims("mmo", "center", str(user), 0, 0, "j", epoch, f"name{user}")


def entering(game: Game, resident: Player | None, user: int = 1, **fields: Any) -> Outcome:
    """ENTER at a center, applied."""
    held: dict[str, Any] = {
        name: None if resident is None else getattr(resident, name) for name in PARTS
    }
    message = Entered("login+jwt", claims(user), resident is not None, **fields)
    outcome = presence.enter(
        message, **held, sessions=game.sessions, servers=game.servers, env=game.env(user)
    )
    return game.apply(done(outcome))


def test_enter_when_owned_here_then_everything_is_told() -> None:
    game = Game("center", CENTER)
    items = (Item(9, 0, 0, 2, 1, enhance=3), Item(8, 1, 0, 1, 5), Item(7, 2, 1, 1, 30))
    resident = player(1, level=3, exp=1, gold=12, cash=-4, items=items, score=77)
    outcome = entering(game, resident, operation_counter=41)
    reply = outcome.replies[0]
    assert isinstance(reply, Welcome)
    assert (reply.user, reply.name, reply.session_epoch) == (1, "name1", 1)
    assert (reply.level, reply.exp, reply.gold, reply.cash, reply.mileage) == (3, 1, 12, -4, 0)
    assert (reply.score_best, reply.last_login_ms, reply.operation_counter) == (77, 1234, 41)
    assert [(view.code, view.enhance) for view in reply.equipment] == [(2, 3)]
    assert [(view.code, view.count) for view in reply.consumables] == [(1, 5)]
    assert [(view.slot, view.count) for view in reply.materials] == [(1, 30)]
    token = read_token(reply.session_token)
    assert (token.typ, token.claims["aud"]) == ("session+jwt", "session")
    assert token.claims["exp"] - token.claims["nbf"] == 900


def test_enter_when_owned_here_then_the_session_is_held_and_seen_online() -> None:
    game = Game("center", CENTER)
    outcome = entering(game, player(1))
    session = game.sessions.get(1)
    assert session is not None and (session.place, session.session_epoch) == (CENTER, 1)
    assert sent(outcome, Presence) == [Presence(1, "online", CENTER)]
    assert sent(outcome, ToRole) == [ToRole("center", SessionSeen(1, 1, CENTER))]
    assert sent(outcome, ToNode) == []


@pytest.mark.parametrize("by_session", [True, False])
def test_enter_when_back_in_the_lobby_then_the_old_owner_is_told(by_session: bool) -> None:
    game = Game("center", CENTER)
    if by_session:
        game.hold_session(1, CHANNEL)
    previous = 0 if by_session else CHANNEL
    outcome = entering(game, player(1, place_epoch=6), previous_number=previous)
    assert sent(outcome, ToNode) == [ToNode(CHANNEL, PlayerMoved(1, 1, CENTER, 6))]


def test_enter_when_owned_elsewhere_then_only_the_session_is_held() -> None:
    game = Game("center", CENTER)
    outcome = entering(game, None, place_number=CHANNEL)
    reply = outcome.replies[0]
    assert isinstance(reply, SessionOk)
    assert (reply.user, reply.session_epoch, reply.place_number) == (1, 1, CHANNEL)
    assert read_token(reply.session_token).claims["sub"] == "1"
    session = game.sessions.get(1)
    assert session is not None and session.place == CHANNEL
    assert sent(outcome, Presence) == []


def test_lobby_when_another_claim_came_in_between_then_he_asks_again() -> None:
    game = Game("center", CENTER)
    nobody: dict[str, Any] = dict.fromkeys(PARTS)
    message = Entered("", None, False, place_number=CHANNEL)
    told = presence.enter(
        message, **nobody, sessions=game.sessions, servers=game.servers, env=game.env(1)
    )
    assert told == Refuse(Code.RETRY_LATER)


def test_servers_when_listed_then_channel_servers_come_with_counts_and_silence_shows() -> None:
    game = Game("center", CENTER)
    game.hear(OTHER_CHANNEL, users=30)
    game.hear(CHANNEL, users=4)
    game.hear(13, seen_ms=game.now_ms - 60_000)
    game.hear(31, "raid")
    outcome = presence.list_servers(ServerListAsk(), servers=game.servers, env=game.env(1))
    rows = outcome.replies[0].servers
    assert [(row.number, row.users, row.users_max, row.open) for row in rows] == [
        (CHANNEL, 4, 30, True),
        (OTHER_CHANNEL, 30, 30, True),
        (13, 0, 30, False),
    ]
    assert (rows[0].name, rows[0].host, rows[0].port) == ("channel-11", "127.0.0.1", 7011)


def moving(game: Game, number: int) -> Outcome | Refuse:
    """MOVE at a center."""
    return presence.move(
        Move(number), sessions=game.sessions, servers=game.servers, env=game.env(1)
    )


@pytest.mark.parametrize("number", [0, -1, 1, CENTER, 31, 99, 65_536, 2**63 - 1, -(2**63)])
def test_move_when_no_such_channel_server_then_is_refused(number: int) -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CENTER)
    game.hear(CHANNEL)
    game.hear(31, "raid")
    assert_refused(moving(game, number), Code.SERVER_UNKNOWN)


def test_move_when_the_server_is_silent_or_draining_then_is_refused() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CENTER)
    game.hear(CHANNEL, open=False)
    game.hear(OTHER_CHANNEL, seen_ms=0)
    assert_refused(moving(game, CHANNEL), Code.SERVER_AWAY)
    assert_refused(moving(game, OTHER_CHANNEL), Code.SERVER_AWAY)


def test_move_when_no_session_is_held_then_is_refused() -> None:
    game = Game("center", CENTER)
    game.hear(CHANNEL)
    assert_refused(moving(game, CHANNEL), Code.NOT_ENTERED)


def test_move_when_the_server_lives_then_it_is_asked_for_a_seat() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CENTER)
    game.hear(CHANNEL)
    asks = done(moving(game, CHANNEL)).asks
    assert len(asks) == 1 and isinstance(asks[0], Ask)
    assert (asks[0].number, asks[0].refusal) == (CHANNEL, Code.SERVER_AWAY)
    assert (asks[0].message.user, asks[0].message.hold_ms) == (1, 17_000)


def held(game: Game, **fields: Any) -> Outcome | Refuse:
    """The channel server's answer."""
    known: dict[str, Any] = {
        "request": 1,
        "user": 1,
        "number": CHANNEL,
        "held": True,
        "host": "127.0.0.1",
        "port": 7011,
        "jti": "7-9",
    }
    return presence.seat_held(
        SeatHeld(**{**known, **fields}), sessions=game.sessions, env=game.env(1)
    )


def test_seat_when_held_then_is_prepared_before_a_token_for_exactly_that_server_leaves() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CENTER, epoch=8)
    outcome = done(held(game))
    assert outcome.row == PlacePrepared(1, 8, CHANNEL, "7-9", game.now_ms + 15_000)
    reply = outcome.replies[0]
    assert isinstance(reply, MoveOk)
    assert (reply.number, reply.host, reply.port) == (CHANNEL, "127.0.0.1", 7011)
    token = read_token(reply.token)
    assert token.typ == "move+jwt"
    assert (token.claims["aud"], token.claims["sub"], token.claims["epoch"]) == ("11", "1", 8)
    assert token.claims["jti"] == "7-9"
    assert token.claims["exp"] - token.claims["nbf"] == 15
    assert sent(outcome, Presence) == [Presence(1, "moving", CHANNEL)]


def test_move_when_he_never_arrives_then_is_shown_online_in_the_lobby_again() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CENTER)
    game.apply(done(held(game)))

    def shown() -> list[Presence]:
        return sent(game.apply(tell_load(game.sessions, env=game.env())), Presence)

    assert shown() == []
    game.now_ms += CONTENT.tokens.seat_hold_ms
    assert shown() == [Presence(1, "online", CENTER)]
    assert shown() == []


def test_move_when_owned_by_a_channel_then_that_server_goes_on_speaking_for_him() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, OTHER_CHANNEL)
    outcome = game.apply(done(held(game)))
    assert outcome.row is not None and sent(outcome, Presence) == []
    assert not game.sessions.moving


def test_seat_when_refused_or_the_session_ended_meanwhile_then_no_token_leaves() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CENTER)
    assert_refused(held(game, held=False), Code.SERVER_FULL)
    assert_refused(held(Game("center", CENTER)), Code.SESSION_OVER)


@pytest.mark.parametrize("place", [CENTER, CHANNEL, 0])
def test_lobby_when_asked_then_the_player_is_taken_over_wherever_he_seems_to_be(place: int) -> None:
    game = Game("center", CENTER)
    assert_refused(
        presence.lobby(Lobby(), sessions=game.sessions, env=game.env(1)), Code.NOT_ENTERED
    )
    game.hold_session(1, place)
    outcome = presence.lobby(Lobby(), sessions=game.sessions, env=game.env(1))
    assert done(outcome).claim_here


def test_logout_when_owned_by_a_channel_then_the_session_ends_everywhere() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CHANNEL, epoch=8)
    outcome = done(presence.logout(Logout(), sessions=game.sessions, env=game.env(1)))
    assert outcome.row == SessionClosed(1, 8)
    assert sent(outcome, Presence) == [Presence(1, "offline", CHANNEL)]
    assert sent(outcome, ToNode) == [ToNode(CHANNEL, SessionEnded(1, 8, CloseReason.LOGGED_OUT))]
    assert list(outcome.closes) == [Close(0, CloseReason.LOGGED_OUT, forget=True)]
    game.apply(outcome)
    assert len(game.sessions) == 0


def test_renew_when_a_session_is_held_then_a_fresh_token_comes() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CHANNEL, epoch=8)
    held: dict[str, Any] = {"sessions": game.sessions, "servers": game.servers}
    first = done(presence.renew(Renew(), **held, env=game.env(1)))
    second = done(presence.renew(Renew(), **held, env=game.env(1)))
    tokens = [read_token(outcome.replies[0].session_token).claims for outcome in (first, second)]
    assert [token["epoch"] for token in tokens] == [8, 8]
    assert tokens[0]["jti"] != tokens[1]["jti"]


@pytest.mark.parametrize("asked", ["lobby", "logout", "renew"])
def test_center_when_no_session_is_held_then_every_wish_is_refused(asked: str) -> None:
    game = Game("center", CENTER)
    message = {"lobby": Lobby(), "logout": Logout(), "renew": Renew()}[asked]
    rule = getattr(presence, asked)
    held = {"sessions": game.sessions} | ({"servers": game.servers} if asked == "renew" else {})
    assert_refused(rule(message, **held, env=game.env(1)), Code.NOT_ENTERED)


def parting(game: Game, conn: int = 5) -> Outcome:
    """The connection of user 1 ended, applied."""
    outcome = presence.disconnected(
        Disconnected(1, CloseReason.PEER_CLOSED), sessions=game.sessions, env=game.env(1, conn=conn)
    )
    return game.apply(outcome)


def test_connection_when_it_ends_at_the_center_only_then_the_player_is_offline() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CENTER)
    assert sent(parting(game), Presence) == [Presence(1, "offline", CENTER)]
    assert len(game.sessions) == 0
    assert parting(game) == Outcome()


def test_connection_when_it_ends_while_he_plays_in_a_channel_then_he_goes_on_playing() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CHANNEL)
    assert parting(game).sends == []
    assert len(game.sessions) == 0


def test_connection_when_an_older_one_ends_then_the_newer_session_stays() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CENTER, conn=6)
    assert parting(game, conn=5) == Outcome()
    assert game.sessions.get(1) is not None
