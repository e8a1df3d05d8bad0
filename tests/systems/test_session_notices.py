"""What a center hears: arrivals, partings, newer logins, other centers, loads, health."""

import pytest
from tests.systems.game import CENTER, CHANNEL, OTHER_CHANNEL, Game, sent

from mmo.contract import Close, Outcome, Presence, ToNode, ToRole
from mmo.state.sessions import SessionPlaced
from mmo.systems import center_loads, health, session_notices
from mmo.wire.messages.link import (
    NodeHealth,
    NodeHealthOk,
    PlayerArrived,
    PlayerLeft,
    PlayerMoved,
    ServerLoad,
    SessionEnded,
    SessionSeen,
)
from mmo.wire.messages.presence import PlaceSeen
from mmo.wire.opcode import CloseReason


def center(place: int, epoch: int = 4) -> Game:
    """A center that holds the session of user 1."""
    game = Game("center", CENTER)
    game.hold_session(1, place, epoch)
    return game


@pytest.mark.parametrize(("ended", "ends"), [(3, False), (4, True), (9, True)])
def test_session_when_a_newer_login_exists_then_the_old_one_is_told_and_closed(
    ended: int, ends: bool
) -> None:
    game = center(CHANNEL)
    message = SessionEnded(1, ended)
    outcome = game.apply(
        session_notices.session_ended(message, sessions=game.sessions, env=game.env(peer=1))
    )
    if not ends:
        assert outcome == Outcome() and len(game.sessions) == 1
        return
    assert list(outcome.closes) == [Close(1, CloseReason.SESSION_TAKEN, forget=True)]
    assert sent(outcome, ToNode) == [ToNode(CHANNEL, message)]
    assert len(game.sessions) == 0


def test_session_when_logged_out_at_the_channel_then_the_channel_is_not_told_again() -> None:
    game = center(CHANNEL)
    message = SessionEnded(1, 4, CloseReason.LOGGED_OUT)
    outcome = session_notices.session_ended(
        message, sessions=game.sessions, env=game.env(peer=CHANNEL)
    )
    assert list(outcome.closes) == [Close(1, CloseReason.LOGGED_OUT, forget=True)]
    assert sent(outcome, ToNode) == []


@pytest.mark.parametrize(("epoch", "is_ours"), [(3, False), (4, True), (5, False)])
def test_place_when_the_sweep_saw_him_elsewhere_then_the_session_of_that_epoch_follows(
    epoch: int, is_ours: bool
) -> None:
    game = center(CENTER)
    outcome = game.apply(
        session_notices.place_seen(
            PlaceSeen(1, epoch, CHANNEL), sessions=game.sessions, env=game.env()
        )
    )
    held = game.sessions.get(1)
    assert held is not None and held.place == (CHANNEL if is_ours else CENTER)
    assert sent(outcome, Presence) == ([Presence(1, "offline", CENTER)] if is_ours else [])


@pytest.mark.parametrize(
    ("seen", "reason"), [(3, None), (4, CloseReason.MOVED), (5, CloseReason.SESSION_TAKEN)]
)
def test_session_when_another_center_holds_it_then_the_left_over_is_closed(
    seen: int, reason: CloseReason | None
) -> None:
    """Only a newer login is told as one: the notice of the same session may be late, and end the
    connection to which its player came since."""
    game = center(CENTER)
    outcome = game.apply(
        session_notices.session_seen(
            SessionSeen(1, seen, 3), sessions=game.sessions, env=game.env(peer=3)
        )
    )
    assert [close.reason for close in outcome.closes] == ([] if reason is None else [reason])
    assert len(game.sessions) == (1 if reason is None else 0)


def arrived(game: Game, number: int, epoch: int = 4, previous: int = 0) -> Outcome:
    """A channel server claimed user 1, applied."""
    message = PlayerArrived(1, epoch, number, 9, previous)
    return game.apply(
        session_notices.player_arrived(message, sessions=game.sessions, env=game.env(peer=number))
    )


def test_player_when_claimed_from_the_lobby_then_the_center_lets_go_and_keeps_the_session() -> None:
    game = center(CENTER)
    outcome = arrived(game, CHANNEL)
    assert sent(outcome, Presence) == [Presence(1, "offline", CENTER)]  # only its own word
    session = game.sessions.get(1)
    assert outcome.release == 1 and not outcome.closes
    assert session is not None and session.place == CHANNEL


@pytest.mark.parametrize("previous", [0, CHANNEL])
def test_player_when_he_moves_between_channels_then_the_old_one_is_told(previous: int) -> None:
    game = center(CHANNEL)
    outcome = arrived(game, OTHER_CHANNEL, previous=previous)
    assert outcome.release == 0
    assert sent(outcome, ToNode) == [ToNode(CHANNEL, PlayerMoved(1, 4, OTHER_CHANNEL, 9))]


def test_player_when_the_notice_comes_after_a_later_claim_then_nothing_is_changed() -> None:
    """The center let go of a player whom it had just taken back, and nobody had him."""
    game = center(CENTER)
    SessionPlaced(1, CENTER, place_epoch=9).apply(game.sessions)
    assert arrived(game, CHANNEL) == Outcome()
    SessionPlaced(1, CENTER, place_epoch=8).apply(game.sessions)
    assert arrived(game, CHANNEL) == Outcome(), "the newest epoch is kept"


def test_player_when_another_session_of_him_arrives_then_nothing_is_changed() -> None:
    game = center(CENTER)
    assert arrived(game, CHANNEL, epoch=3) == Outcome()
    assert arrived(Game("center", CENTER), CHANNEL) == Outcome()


@pytest.mark.parametrize(
    ("place", "number", "after"),
    [(CHANNEL, CHANNEL, 0), (OTHER_CHANNEL, CHANNEL, OTHER_CHANNEL), (CENTER, CHANNEL, CENTER)],
)
def test_player_when_he_left_a_channel_then_only_that_place_is_emptied(
    place: int, number: int, after: int
) -> None:
    game = center(place)
    outcome = game.apply(
        session_notices.player_left(
            PlayerLeft(1, 4, number), sessions=game.sessions, env=game.env(peer=number)
        )
    )
    session = game.sessions.get(1)
    assert session is not None and session.place == after
    told = [Presence(1, "online", CENTER)] if after == 0 else []
    assert sent(outcome, Presence) == told


def test_load_when_told_then_is_the_newest_of_that_server() -> None:
    game = Game("center", CENTER)
    for users in (4, 3):
        message = ServerLoad(CHANNEL, "channel", "channel-1", "h", 1, users, 30, True)
        game.now_ms += 250
        game.apply(
            session_notices.server_load(message, servers=game.servers, env=game.env(peer=CHANNEL))
        )
    known = game.servers.loads[CHANNEL]
    assert (known.users, known.users_max, known.seen_ms) == (3, 30, game.now_ms)


def test_load_when_a_center_tells_its_own_then_login_servers_know_where_it_is() -> None:
    game = center(CENTER)
    outcome = session_notices.tell_load(game.sessions, env=game.env())
    send, to_centers, to_matching = sent(outcome, ToRole)
    assert to_centers == ToRole("center", send.message)
    assert to_matching == ToRole("matching", send.message)
    assert send.role == "login"
    login = Game("login", 1)
    login.apply(
        center_loads.center_load(send.message, servers=login.servers, env=login.env(peer=CENTER))
    )
    known = login.servers.loads[CENTER]
    assert (known.role, known.port, known.users, known.open) == ("center", 7002, 1, True)
    draining = session_notices.tell_load(game.sessions, env=game.env(draining=True))
    assert not sent(draining, ToRole)[0].message.open


def test_health_when_asked_then_every_role_answers_and_the_center_knows() -> None:
    game = Game("center", CENTER)
    asked = session_notices.ask_health(game.servers, env=game.env())
    roles = [send.role for send in sent(asked, ToRole)]
    assert sorted(roles) == sorted(["login", "center", "channel", "matching", "raid", "cash"])
    for number, role in ((21, "matching"), (31, "raid"), (41, "cash")):
        node = Game(role, number)
        answer = health.answer_health(NodeHealth(3), env=node.env(peer=CENTER)).replies[0]
        assert answer == NodeHealthOk(3, number, role, True, 1)
        game.apply(
            session_notices.health_told(answer, servers=game.servers, env=game.env(peer=number))
        )
    assert {number: seen.role for number, seen in game.servers.health.items()} == {
        21: "matching",
        31: "raid",
        41: "cash",
    }
    draining = health.answer_health(NodeHealth(0), env=game.env(draining=True)).replies[0]
    assert not draining.ready
