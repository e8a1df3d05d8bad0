"""Where players go when their server leaves: the rules of both sides, without a node."""

from typing import Any

import pytest
from tests.systems.game import CENTER, CHANNEL, Game, assert_refused, done, player, read_token, sent

from mmo.contract import SendAway, ToAny
from mmo.state.place import PlacePrepared
from mmo.systems import leaving_center, leaving_channel, presence, seats
from mmo.wire.messages.link import SeatFound, SeatHeld, SeatHold, SeatSeek
from mmo.wire.messages.presence import NodeLeaving, ServerLeaving
from mmo.wire.opcode import Code

OTHER = CHANNEL + 1


def asked(game: Game, **fields: Any) -> Any:
    """A leaving channel server seeks a seat for user 1; the center's outcome."""
    message = SeatSeek(**{"user": 1, "session_epoch": 4, "name": "name1", **fields})
    return leaving_center.seek_seat(message, servers=game.servers, env=game.env(peer=CHANNEL))


def test_leave_when_a_player_is_connected_then_any_center_is_asked_for_him() -> None:
    game = Game("channel", CHANNEL)
    game.sit(1)
    outcome = leaving_channel.leave(
        NodeLeaving(1), head=player(1).head, world=game.world, env=game.env(1)
    )
    (send,) = sent(outcome, ToAny)
    assert (send.role, send.message) == ("center", SeatSeek(1, 1, "name1"))


def test_leave_when_his_connection_ended_then_nobody_is_asked() -> None:
    game = Game("channel", CHANNEL)
    outcome = leaving_channel.leave(
        NodeLeaving(1), head=player(1).head, world=game.world, env=game.env(1)
    )
    assert not outcome.sends


def test_seek_when_others_are_open_then_one_with_room_is_asked_and_never_the_leaving_one() -> None:
    game = Game("center", CENTER)
    game.hear(CHANNEL)
    game.hear(OTHER)
    game.hear(OTHER + 1, users=30)
    game.hear(OTHER + 2, open=False)
    game.hear(OTHER + 3, seen_ms=game.now_ms - 60_000)
    for _ in range(20):
        (ask,) = asked(game).asks
        assert ask.number == OTHER
        hold: SeatHold = ask.message
        assert (hold.user, hold.session_epoch, hold.name) == (1, 4, "name1")


def test_seek_when_two_are_open_then_players_are_spread_over_both() -> None:
    game = Game("center", CENTER)
    game.hear(OTHER, users=0)
    game.hear(OTHER + 1, users=15)
    numbers = [asked(game).asks[0].number for _ in range(200)]
    assert numbers.count(OTHER) > numbers.count(OTHER + 1) > 20


def test_seek_when_nobody_has_room_then_nothing_is_promised() -> None:
    game = Game("center", CENTER)
    game.hear(CHANNEL)
    assert not asked(game).asks and not asked(game).replies


def held(game: Game, hold: SeatHold) -> SeatHeld:
    """What the other channel server answers."""
    (answer,) = seats.hold_seat(hold, world=game.world, env=game.env(peer=CENTER)).replies
    return answer  # type: ignore[no-any-return]


def test_seat_held_when_a_leaving_server_asked_then_the_move_is_prepared_for_its_player() -> None:
    center, other = Game("center", CENTER), Game("channel", OTHER)
    center.hear(OTHER)
    answer = held(other, asked(center).asks[0].message)
    outcome = done(
        presence.seat_held(answer, sessions=center.sessions, env=center.env(1, peer=CHANNEL))
    )
    (found,) = outcome.replies
    assert isinstance(found, SeatFound)
    assert (found.user, found.session_epoch, found.number, found.port) == (
        1,
        4,
        OTHER,
        7000 + OTHER,
    )
    token = read_token(found.token)
    assert token.typ == "move+jwt"
    assert (token.claims["aud"], token.claims["epoch"]) == (str(OTHER), 4)
    assert isinstance(outcome.row, PlacePrepared)
    assert (outcome.row.target_number, outcome.row.jti) == (OTHER, token.claims["jti"])
    assert_refused(outcome.row_refused, Code.SESSION_OVER)  # type: ignore[arg-type]


def test_seat_held_when_the_other_leaves_too_then_nothing_is_promised() -> None:
    center, other = Game("center", CENTER), Game("channel", OTHER)
    center.hear(OTHER)
    hold = asked(center).asks[0].message
    draining = other.env(peer=CENTER, draining=True)
    (answer,) = seats.hold_seat(hold, world=other.world, env=draining).replies
    outcome = done(
        presence.seat_held(answer, sessions=center.sessions, env=center.env(1, peer=CHANNEL))
    )
    assert not answer.held and not outcome.replies and outcome.row is None


@pytest.mark.parametrize(("epoch", "told"), [(1, 1), (2, 0)])
def test_seat_found_when_the_session_is_the_same_then_he_is_sent_away(
    epoch: int, told: int
) -> None:
    game = Game("channel", CHANNEL)
    game.sit(1)
    found = SeatFound(1, epoch, OTHER, "127.0.0.1", 7012, "token")
    outcome = leaving_channel.seat_found(found, world=game.world, env=game.env(peer=CENTER))
    sends = sent(outcome, SendAway)
    assert len(sends) == told
    if told:
        assert sends[0].message == ServerLeaving(OTHER, "127.0.0.1", 7012, "token")


def test_leave_when_another_center_is_open_then_the_session_goes_there() -> None:
    game = Game("center", CENTER)
    game.hold_session(1, CHANNEL)
    message = NodeLeaving(1)
    alone = leaving_center.leave(
        message, sessions=game.sessions, servers=game.servers, env=game.env(1)
    )
    assert not alone.sends
    game.hear(CENTER + 1, role="center", users_max=0)
    outcome = leaving_center.leave(
        message, sessions=game.sessions, servers=game.servers, env=game.env(1)
    )
    (send,) = sent(outcome, SendAway)
    assert send.message == ServerLeaving(CENTER + 1, "127.0.0.1", 7001 + CENTER, "")
    assert leaving_center.centers(game.servers, game.env(1)) == [
        ("127.0.0.1", 7000 + CENTER),
        ("127.0.0.1", 7001 + CENTER),
    ]
