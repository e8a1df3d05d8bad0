"""The life of a player across servers: everything he owns follows him, nothing of him haunts."""

import pytest
from tests.sim.realm import Realm

from mmo.contract import Role
from mmo.testing.world import Client
from mmo.wire.messages.account import Login, Register
from mmo.wire.messages.hunt import (
    ChannelEnter,
    ChannelLeave,
    ChannelListAsk,
    Hit,
    MonstersAsk,
)
from mmo.wire.messages.presence import (
    Lobby,
    Logout,
    LogoutOk,
    Move,
    MoveOk,
    Renew,
    RenewOk,
    ServerListAsk,
    SessionOk,
    Welcome,
)
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code

GRACE_MS = 10_000


def code(answer: object) -> int:
    """The refusal code of an answer."""
    assert isinstance(answer, Refused), answer
    return answer.code


def users(realm: Realm, center: Client) -> dict[int, int]:
    """User counts by server as a player is told them."""
    rows = realm.asks(center, ServerListAsk()).servers
    return {row.number: row.users for row in rows}


def owned(welcome: Welcome) -> tuple[object, ...]:
    """Everything of a WELCOME that must survive."""
    return (
        welcome.user,
        welcome.name,
        welcome.level,
        welcome.exp,
        welcome.gold,
        welcome.cash,
        welcome.mileage,
        welcome.score_best,
        welcome.equipment,
        welcome.consumables,
        welcome.materials,
    )


def test_player_when_he_hunts_moves_vanishes_and_returns_then_everything_is_as_it_was(
    realm: Realm,
) -> None:
    realm.register("쿼카")
    center, first = realm.arrive("쿼카")
    assert (first.level, first.exp, first.gold, first.last_login_ms) == (1, 0, 0, 0)
    channel, there = realm.travel(center, 11)
    assert owned(there) == owned(first)
    rewards = realm.hunt(channel, 2, 6)
    assert rewards[-1].level >= 3
    assert sum(reward.exp_gained for reward in rewards) >= 6
    second, moved = realm.travel(center, 12)
    assert (moved.level, moved.exp, moved.gold) == (
        rewards[-1].level,
        rewards[-1].exp,
        rewards[-1].gold,
    )
    assert channel.closed_reason == CloseReason.MOVED
    more = realm.hunt(second, 1, 3)
    second.leaves()
    center.leaves()
    realm.move(GRACE_MS + 2_000)
    _, again = realm.arrive("쿼카")
    assert (again.level, again.exp, again.gold) == (more[-1].level, more[-1].exp, more[-1].gold)
    assert again.last_login_ms > 0
    got = [item for reward in [*rewards, *more] for item in reward.items]
    held = [*again.equipment, *again.consumables, *again.materials]
    assert {item.uid for item in held} == {item.uid for item in got}


def test_places_when_he_goes_from_server_to_server_then_redis_names_the_last_one(
    realm: Realm,
) -> None:
    realm.register("quokka")
    center, welcome = realm.arrive("quokka")
    user = welcome.user
    assert realm.seen(user) == ("online", center_number(realm, center))
    answer = realm.asks(center, Move(11))
    assert isinstance(answer, MoveOk)
    assert realm.seen(user) == ("moving", 11)
    channel, _ = realm.enter(11, answer.token)
    assert realm.seen(user) == ("online", 11)
    realm.travel(center, 12)
    assert realm.seen(user) == ("online", 12)
    assert isinstance(realm.asks(center, Lobby()), Welcome)
    assert realm.seen(user) == ("online", center_number(realm, center))
    assert channel.closed_reason == CloseReason.MOVED
    assert isinstance(realm.asks(center, Logout()), LogoutOk)
    assert realm.seen(user) is None
    assert center.closed_reason == CloseReason.LOGGED_OUT


def center_number(realm: Realm, center: Client) -> int:
    """Which center a connection belongs to."""
    for number in (2, 3):
        if center.connection in realm.worlds[number].core.connections.values():
            return number
    raise AssertionError("no center has this connection")


def test_counts_when_players_come_move_and_vanish_then_the_list_follows(realm: Realm) -> None:
    clients = {}
    for name in ("aa", "bb", "cc"):
        realm.register(name)
        center, _ = realm.arrive(name)
        clients[name] = (center, realm.travel(center, 11)[0])
    realm.move(500)
    watcher = clients["aa"][0]
    assert users(realm, watcher) == {11: 3, 12: 0}
    realm.travel(clients["bb"][0], 12)
    realm.move(500)
    assert users(realm, watcher) == {11: 2, 12: 1}
    clients["cc"][1].leaves()
    realm.move(GRACE_MS + 1_000)
    assert users(realm, watcher) == {11: 1, 12: 1}


def test_seat_when_its_token_is_never_shown_then_it_is_counted_and_comes_free(
    realm: Realm,
) -> None:
    realm.register("quokka")
    center, _ = realm.arrive("quokka")
    assert isinstance(realm.asks(center, Move(11)), MoveOk)
    realm.move(500)
    assert users(realm, center) == {11: 1, 12: 0}
    realm.move(17_500)
    assert users(realm, center) == {11: 0, 12: 0}
    assert realm.asks(center, Lobby()).number == 2  # where he never left


def test_server_when_thirty_are_in_it_then_the_next_is_refused_until_one_leaves(
    realm: Realm,
) -> None:
    centers = []
    for number in range(31):
        realm.register(f"player{number}")
        centers.append(realm.arrive(f"player{number}")[0])
    inside = [realm.travel(center, 11)[0] for center in centers[:30]]
    assert code(realm.asks(centers[30], Move(11))) == Code.SERVER_FULL
    for client in inside[:10]:
        realm.asks(client, ChannelEnter(1))
    assert code(realm.asks(inside[10], ChannelEnter(1))) == Code.CHANNEL_FULL
    assert isinstance(realm.asks(centers[0], Lobby()), Welcome)
    realm.move(500)
    assert isinstance(realm.asks(centers[30], Move(11)), MoveOk)
    rows = realm.asks(inside[10], ChannelListAsk()).channels
    assert [row.users for row in rows] == [9, 0, 0]


@pytest.mark.parametrize("playing", [False, True])
def test_login_when_the_account_is_online_then_the_older_session_is_told_and_closed_everywhere(
    realm: Realm, playing: bool
) -> None:
    realm.register("quokka")
    center, _ = realm.arrive("quokka")
    channel = realm.travel(center, 11)[0] if playing else None
    newer, _ = realm.arrive("quokka")
    assert center.closed_reason == CloseReason.SESSION_TAKEN
    if channel is not None:
        assert channel.closed_reason == CloseReason.SESSION_TAKEN
    assert realm.seen(newer.user) == ("online", center_number(realm, newer))
    realm.move(2_000)
    assert newer.closed_reason == 0
    assert isinstance(realm.asks(newer, Renew()), RenewOk)
    assert users(realm, newer) == {11: 0, 12: 0}


def test_token_when_shown_again_then_is_refused(realm: Realm) -> None:
    realm.register("quokka")
    ticket = realm.log_in("quokka")
    center, welcome = realm.enter(ticket.number, ticket.token)
    assert isinstance(welcome, Welcome)
    other, answer = realm.enter(ticket.number, ticket.token)
    assert code(answer) == Code.TOKEN_REFUSED
    assert other.closed_reason == CloseReason.TOKEN_INVALID
    move = realm.asks(center, Move(11))
    _, first = realm.enter(11, move.token)
    thief, second = realm.enter(11, move.token)
    assert isinstance(first, Welcome) and code(second) == Code.TOKEN_REFUSED
    assert thief.closed_reason == CloseReason.TOKEN_INVALID


def test_token_when_its_time_is_over_then_the_place_cannot_be_claimed(realm: Realm) -> None:
    realm.register("quokka")
    center, _ = realm.arrive("quokka")
    move = realm.asks(center, Move(11))
    realm.move(16_000)
    _, answer = realm.enter(11, move.token)
    assert code(answer) == Code.TOKEN_REFUSED
    assert isinstance(realm.asks(center, Renew()), RenewOk)


def test_connection_when_lost_and_resumed_in_time_then_seat_and_channel_are_kept(
    realm: Realm,
) -> None:
    realm.register("quokka")
    center, welcome = realm.arrive("quokka")
    channel, _ = realm.travel(center, 11)
    realm.asks(channel, ChannelEnter(2))
    channel.leaves()
    realm.move(GRACE_MS - 1_000)
    again, answer = realm.enter(11, welcome.session_token)
    assert isinstance(answer, Welcome)
    assert not isinstance(realm.asks(again, MonstersAsk()), Refused)
    realm.move(GRACE_MS)
    assert not isinstance(realm.asks(again, MonstersAsk()), Refused)


def test_center_when_lost_then_another_one_takes_the_session_while_he_plays(realm: Realm) -> None:
    realm.register("quokka")
    center, welcome = realm.arrive("quokka")
    channel, _ = realm.travel(center, 11)
    first = center_number(realm, center)
    center.leaves()
    second = 5 - first
    other, answer = realm.enter(second, welcome.session_token)
    assert isinstance(answer, SessionOk) and answer.place_number == 11
    realm.hunt(channel, 1, 1)
    assert isinstance(realm.travel(other, 12)[1], Welcome)
    assert channel.closed_reason == CloseReason.MOVED
    assert isinstance(realm.asks(other, Lobby()), Welcome)


def test_session_when_shown_at_two_centers_then_the_newer_connection_stays(realm: Realm) -> None:
    realm.register("quokka")
    center, welcome = realm.arrive("quokka")
    first = center_number(realm, center)
    other, answer = realm.enter(5 - first, welcome.session_token)
    assert isinstance(answer, SessionOk) and answer.place_number == first
    assert center.closed_reason == CloseReason.MOVED, "nobody else logged in"
    assert isinstance(realm.asks(other, Lobby()), Welcome)


def test_session_token_when_shown_at_a_channel_that_does_not_own_him_then_is_refused(
    realm: Realm,
) -> None:
    realm.register("quokka")
    _, welcome = realm.arrive("quokka")
    stranger, answer = realm.enter(12, welcome.session_token)
    assert code(answer) in (Code.WRONG_PLACE, Code.TOKEN_REFUSED)
    assert stranger.closed_reason == CloseReason.TOKEN_INVALID


def test_logout_when_sent_to_the_channel_then_the_center_connection_ends_too(
    realm: Realm,
) -> None:
    realm.register("quokka")
    center, welcome = realm.arrive("quokka")
    channel, _ = realm.travel(center, 11)
    assert isinstance(realm.asks(channel, Logout()), LogoutOk)
    assert channel.closed_reason == CloseReason.LOGGED_OUT
    assert center.closed_reason == CloseReason.LOGGED_OUT
    assert realm.seen(welcome.user) is None
    _, answer = realm.enter(2, welcome.session_token)
    assert code(answer) == Code.TOKEN_REFUSED


@pytest.mark.parametrize(
    "message",
    [Hit(1), ChannelEnter(1), ChannelLeave(), ChannelListAsk(), MonstersAsk()],
)
def test_channel_message_when_another_server_owns_him_now_then_is_refused(
    realm: Realm, message: object
) -> None:
    realm.register("quokka")
    center, _ = realm.arrive("quokka")
    channel, _ = realm.travel(center, 11)
    world = realm.worlds[11]
    move = realm.asks(center, Move(12))
    lost, realm._links = realm._links, []  # the notice of the move is lost
    realm.enter(12, move.token)
    realm._links = lost
    world.engine.residents.release(channel.user)
    answer = realm.asks(channel, message)
    assert code(answer) == Code.WRONG_PLACE


def test_login_when_the_password_is_wrong_five_times_then_the_account_is_locked_a_while(
    realm: Realm,
) -> None:
    realm.register("quokka")
    login = realm.worlds[1]
    codes = [code(realm.asks(login.client(), Login("quokka", "wrong one"))) for _ in range(5)]
    assert codes == [Code.CREDENTIALS_WRONG] * 5
    locked = realm.asks(login.client(), Login("quokka", "correct horse"))
    assert (code(locked), locked.detail) == (Code.LOCKED_OUT, "60")
    elsewhere = realm.asks(login.client("198.51.100.7:1000"), Login("quokka", "wrong one"))
    assert code(elsewhere) == Code.CREDENTIALS_WRONG
    assert code(realm.asks(login.client(), Login("nobody", "wrong one"))) == Code.CREDENTIALS_WRONG
    realm.move(60_000)
    realm.arrive("quokka")


def test_register_when_the_name_is_taken_in_any_form_then_is_refused(realm: Realm) -> None:
    realm.register("쿼카")
    login = realm.worlds[1]
    decomposed = "\u110f\u116f\u110f\u1161"
    for name in ("쿼카", decomposed):
        answer = realm.asks(login.client(), Register(name, "other password"))
        assert code(answer) == Code.NAME_TAKEN
    realm.register("O'Brien\";--")
    realm.arrive("O'Brien\";--")


def test_users_when_above_65535_then_load_as_themselves(realm: Realm) -> None:
    realm.register("first")
    realm.register("second")
    first, second = realm.database.accounts["first"], realm.database.accounts["second"]
    for wide in (65_536 + first.user, 2**32 + first.user, 2**53 + first.user):
        realm.database.heads[wide] = realm.database.heads.pop(second.user)
        second.user = wide
        center, welcome = realm.arrive("second")
        assert (welcome.user, welcome.name) == (wide, "second")
        channel, _ = realm.travel(center, 11)
        realm.hunt(channel, 1, 1)
        center, welcome = realm.arrive("first")
        assert (welcome.user, welcome.exp, welcome.level) == (first.user, 0, 1)
        center.leaves()
        channel.leaves()
        realm.move(GRACE_MS + 2_000)


def test_health_when_all_are_linked_then_each_center_knows_every_server(realm: Realm) -> None:
    realm.move(2_000)
    for number in (2, 3):
        health = realm.worlds[number].engine.states["servers"].health
        assert set(health) == set(realm.worlds) - {number}
        assert all(seen.ready for seen in health.values())


def test_roles_when_counted_here_then_are_the_real_ones(realm: Realm) -> None:
    assert {type(world.engine.role) for world in realm.worlds.values()} == {Role}
    assert {world.engine.role.name for world in realm.worlds.values()} == {
        "login",
        "center",
        "channel",
        "matching",
        "raid",
        "cash",
    }
