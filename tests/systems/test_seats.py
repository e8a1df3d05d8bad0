"""Seats of a channel server: thirty and no more, none leaked, none haunted."""

from typing import Any

import pytest
from tests.systems.game import CENTER, CHANNEL, CONTENT, Game, done, parts, player, sent

from mmo.contract import Close, Outcome, Presence, ToRole
from mmo.state.place import SessionClosed
from mmo.state.player import Player
from mmo.systems import seats
from mmo.wire.messages.link import PlayerArrived, PlayerLeft, PlayerMoved, SeatHold, SessionEnded
from mmo.wire.messages.presence import Logout, Welcome
from mmo.wire.messages.session import Claims, Disconnected, Entered, Refused
from mmo.wire.opcode import CloseReason, Code

USERS_MAX = CONTENT.channels.server_users_max
PARTS = ("head", "growth", "wallet", "bag", "score", "pass_progress")


def channel_server(users: int = 0) -> Game:
    """A channel server with players 1000, 1001, …"""
    game = Game("channel", CHANNEL)
    for user in range(1000, 1000 + users):
        game.sit(user)
    return game


def hold(game: Game, user: int, **view: Any) -> bool:
    """A center asks for a seat; applied."""
    message = SeatHold(5, user, "7-1", 17_000)
    outcome = game.apply(
        seats.hold_seat(message, world=game.world, env=game.env(peer=CENTER, **view))
    )
    answer = outcome.replies[0]
    assert (answer.request, answer.user, answer.number, answer.jti) == (5, user, CHANNEL, "7-1")
    assert (answer.host, answer.port) == ("127.0.0.1", 7011)
    return bool(answer.held)


def entering(game: Game, resident: Player | None, user: int = 1, **fields: Any) -> Outcome:
    """ENTER at a channel server, applied."""
    held: dict[str, Any] = {
        name: None if resident is None else getattr(resident, name) for name in PARTS
    }
    claims = Claims("mmo", "11", str(user), 0, 0, "j", 1)
    message = Entered("move+jwt", claims, resident is not None, **fields)
    outcome = seats.enter(message, **held, world=game.world, env=game.env(user))
    return game.apply(done(outcome))


def test_seat_when_the_server_has_thirty_then_is_refused() -> None:
    game = channel_server(USERS_MAX)
    assert not hold(game, 1)
    assert game.world.seats_taken(game.now_ms) == USERS_MAX


def test_seat_when_held_seats_fill_the_server_then_the_next_is_refused() -> None:
    game = channel_server(USERS_MAX - 2)
    assert hold(game, 1) and hold(game, 2)
    assert not hold(game, 3)
    assert hold(game, 1)  # asking again keeps his own


def test_seat_when_the_mover_never_comes_then_it_is_free_again_by_itself() -> None:
    game = channel_server(USERS_MAX - 1)
    assert hold(game, 1)
    assert not hold(game, 2)
    game.now_ms += 17_000
    assert hold(game, 2)
    game.apply(seats.tell_load(game.world, env=game.env()))
    assert set(game.world.holds) == {2}


def test_seat_when_he_sits_here_already_then_a_move_to_here_keeps_it() -> None:
    game = channel_server(USERS_MAX)
    assert hold(game, 1000)
    assert game.world.seats_taken(game.now_ms) == USERS_MAX


def test_seat_when_the_server_is_draining_then_is_refused() -> None:
    assert not hold(channel_server(), 1, draining=True)


def test_enter_when_the_seat_was_held_then_it_becomes_his_and_centers_are_told() -> None:
    game = channel_server(USERS_MAX - 1)
    assert hold(game, 1)
    outcome = entering(game, player(1, place_epoch=6), previous_number=CENTER)
    assert isinstance(outcome.replies[0], Welcome)
    assert outcome.replies[0].session_token == ""
    assert game.world.seats_taken(game.now_ms) == USERS_MAX and not game.world.holds
    assert sent(outcome, ToRole) == [ToRole("center", PlayerArrived(1, 1, CHANNEL, 6, CENTER))]
    assert sent(outcome, Presence) == [Presence(1, "online", CHANNEL)]


def test_enter_when_owned_elsewhere_then_is_refused_with_the_place_and_closed() -> None:
    outcome = entering(channel_server(), None, place_number=12)
    assert list(outcome.replies) == [Refused(Code.WRONG_PLACE, "12")]
    assert list(outcome.closes) == [Close(0, CloseReason.TOKEN_INVALID, forget=True)]


def test_enter_when_the_seat_was_given_away_after_the_grace_then_is_refused() -> None:
    game = channel_server(USERS_MAX)
    outcome = entering(game, player(1))
    assert list(outcome.replies) == [Refused(Code.SERVER_FULL)]
    assert list(outcome.closes) == [Close(0, CloseReason.SERVER_FULL, forget=True)]
    assert 1 not in game.world.seats


def test_enter_when_resumed_then_seat_and_channel_are_as_before() -> None:
    game = channel_server(USERS_MAX - 1)
    game.sit(1, channel=2)
    parting(game, 1)
    assert game.world.where[1] == 2
    entering(game, player(1))
    assert game.world.where[1] == 2
    assert game.world.seats[1].conn == 5
    assert game.world.seats_taken(game.now_ms) == USERS_MAX


def parting(
    game: Game, user: int, *, evicted: bool = False, reason: int = CloseReason.PEER_CLOSED
) -> Outcome:
    """The connection of a player ended, or his grace; applied."""
    message = Disconnected(user, reason, evicted)
    conn = game.world.seats[user].conn if user in game.world.seats else 0
    return game.apply(seats.disconnected(message, world=game.world, env=game.env(user, conn=conn)))


@pytest.mark.parametrize("channel", [0, 1])
def test_connection_when_it_ends_with_or_without_a_channel_then_nothing_of_him_stays(
    channel: int,
) -> None:
    game = channel_server()
    game.sit(1, channel)
    game.world.ready_ms[1] = game.now_ms + 50
    assert parting(game, 1).sends == ()
    assert game.world.seats_taken(game.now_ms) == 1
    outcome = parting(game, 1, evicted=True)
    assert sent(outcome, Presence) == [Presence(1, "offline", CHANNEL)]
    assert sent(outcome, ToRole) == [ToRole("center", PlayerLeft(1, 1, CHANNEL))]
    assert game.world.seats_taken(game.now_ms) == 0
    assert not game.world.where and not game.world.ready_ms
    assert not any(channel.users for channel in game.world.channels)
    assert parting(game, 1, evicted=True) == Outcome()


@pytest.mark.parametrize(
    "reason", [CloseReason.MOVED, CloseReason.SESSION_TAKEN, CloseReason.LOGGED_OUT]
)
def test_player_when_another_place_speaks_for_him_then_this_one_takes_its_own_word_back(
    reason: int,
) -> None:
    game = channel_server()
    game.sit(1, 1)
    outcome = parting(game, 1, evicted=True, reason=reason)
    assert outcome.sends == [Presence(1, "offline", CHANNEL)] and not game.world.seats


def test_connection_when_an_older_one_ends_then_the_seat_keeps_the_newer() -> None:
    game = channel_server()
    game.sit(1)
    message = Disconnected(1, CloseReason.PEER_CLOSED)
    outcome = seats.disconnected(message, world=game.world, env=game.env(1, conn=3))
    assert outcome == Outcome()


@pytest.mark.parametrize(("place_epoch", "leaves"), [(1, False), (2, True)])
def test_player_when_moved_elsewhere_then_leaves_unless_the_notice_is_old(
    place_epoch: int, leaves: bool
) -> None:
    game = channel_server()
    game.sit(1, 1)
    message = PlayerMoved(1, 1, 12, place_epoch)
    outcome = game.apply(seats.player_moved(message, world=game.world, env=game.env(peer=CENTER)))
    assert (1 not in game.world.seats) == leaves
    closes = [Close(1, CloseReason.MOVED, forget=True)] if leaves else []
    assert list(outcome.closes) == closes


@pytest.mark.parametrize(("epoch", "leaves"), [(0, False), (1, True), (7, True)])
def test_session_when_ended_then_its_player_is_closed_and_a_newer_one_is_not(
    epoch: int, leaves: bool
) -> None:
    game = channel_server()
    game.sit(1, 1)
    message = SessionEnded(1, epoch, CloseReason.LOGGED_OUT)
    outcome = game.apply(seats.session_ended(message, world=game.world, env=game.env(peer=CENTER)))
    assert (1 not in game.world.seats) == leaves
    closes = [Close(1, CloseReason.LOGGED_OUT, forget=True)] if leaves else []
    assert list(outcome.closes) == closes


def test_logout_when_asked_at_the_channel_then_the_session_ends_everywhere() -> None:
    game = channel_server()
    game.sit(1, 1)
    resident = player(1, epoch=8)
    outcome = seats.logout(Logout(), **parts(resident, "head"), world=game.world, env=game.env(1))
    game.apply(outcome)
    assert outcome.row == SessionClosed(1, 8)
    assert sent(outcome, ToRole) == [ToRole("center", SessionEnded(1, 8, CloseReason.LOGGED_OUT))]
    assert not game.world.seats and not game.world.where


def test_load_when_told_then_counts_players_and_held_seats() -> None:
    game = channel_server(3)
    assert hold(game, 1)
    (send,) = sent(seats.tell_load(game.world, env=game.env()), ToRole)
    load = send.message
    assert send.role == "center"
    assert (load.number, load.role, load.users, load.users_max) == (CHANNEL, "channel", 4, 30)
    assert load.open
    closed = seats.tell_load(game.world, env=game.env(draining=True))
    assert not sent(closed, ToRole)[0].message.open
