"""Channels inside a server: listing leaves, limits hold, counts follow."""

import pytest
from tests.systems.game import CHANNEL, CONTENT, Game, assert_refused, done, parts, player

from mmo.contract import Outcome, Refuse
from mmo.state.channel_world import MonsterStruck
from mmo.systems import channels
from mmo.wire.messages.hunt import ChannelEnter, ChannelLeave, ChannelListAsk, MonstersAsk
from mmo.wire.opcode import Code


def enter(game: Game, user: int, number: int) -> Outcome | Refuse:
    """Enter a channel, applied."""
    outcome = channels.enter_channel(
        ChannelEnter(number), **parts(player(user), "head"), world=game.world, env=game.env(user)
    )
    if isinstance(outcome, Outcome):
        game.apply(outcome)
    return outcome


def counts(game: Game) -> list[int]:
    """Users of each channel."""
    return [len(channel.users) for channel in game.world.channels]


@pytest.mark.parametrize("number", [0, -1, 4, 2**63 - 1, -(2**63)])
def test_channel_when_the_number_is_none_then_is_refused_and_nothing_moves(number: int) -> None:
    game = Game("channel", CHANNEL)
    game.sit(1, 2)
    assert_refused(enter(game, 1, number), Code.CHANNEL_UNKNOWN)
    assert game.world.where == {1: 2}


def test_channel_when_entered_then_tells_users_and_all_monsters() -> None:
    game = Game("channel", CHANNEL)
    game.sit(1)
    game.sit(2, 1)
    reply = done(enter(game, 1, 1)).replies[0]
    assert (reply.number, reply.users) == (1, 2)
    assert [row.number for row in reply.monsters] == list(
        range(1, len(CONTENT.channel_monsters) + 1)
    )
    assert tuple(row.kind for row in reply.monsters) == CONTENT.channel_monsters
    assert all(row.hp == row.hp_max == CONTENT.monsters[row.kind].hp for row in reply.monsters)


def test_channel_when_ten_are_in_it_then_the_eleventh_is_refused() -> None:
    game = Game("channel", CHANNEL)
    for user in range(1, 11):
        game.sit(user)
        done(enter(game, user, 3))
    game.sit(11, 1)
    assert_refused(enter(game, 11, 3), Code.CHANNEL_FULL)
    assert counts(game) == [1, 0, 10]
    assert game.world.where[11] == 1


def test_channel_when_changed_then_the_old_count_falls_and_the_new_rises() -> None:
    game = Game("channel", CHANNEL)
    game.sit(1)
    done(enter(game, 1, 1))
    assert counts(game) == [1, 0, 0]
    done(enter(game, 1, 2))
    assert counts(game) == [0, 1, 0]


def test_channel_when_entered_twice_then_is_refused_and_the_place_kept() -> None:
    game = Game("channel", CHANNEL)
    game.sit(1)
    done(enter(game, 1, 1))
    assert_refused(enter(game, 1, 1), Code.ALREADY_IN_CHANNEL)
    assert counts(game) == [1, 0, 0]


def test_channels_when_listed_then_the_asker_leaves_his_own() -> None:
    game = Game("channel", CHANNEL)
    game.sit(1, 1)
    game.sit(2, 1)
    game.sit(3, 3)
    outcome = game.apply(
        channels.list_channels(
            ChannelListAsk(), **parts(player(1), "head"), world=game.world, env=game.env(1)
        )
    )
    rows = outcome.replies[0].channels
    assert [(row.number, row.users, row.users_max) for row in rows] == [
        (1, 1, 10),
        (2, 0, 10),
        (3, 1, 10),
    ]
    assert counts(game) == [1, 0, 1]
    assert 1 not in game.world.where and 1 in game.world.seats


def test_channel_when_left_then_the_seat_stays_and_leaving_again_is_refused() -> None:
    game = Game("channel", CHANNEL)
    game.sit(1, 2)

    def leave() -> Outcome | Refuse:
        return channels.leave_channel(
            ChannelLeave(), **parts(player(1), "head"), world=game.world, env=game.env(1)
        )

    game.apply(done(leave()))
    assert counts(game) == [0, 0, 0] and 1 in game.world.seats
    assert_refused(leave(), Code.NOT_IN_CHANNEL)


def test_monsters_when_listed_then_show_wounds_death_and_return() -> None:
    game = Game("channel", CHANNEL)
    game.sit(1, 1)
    MonsterStruck(1, 1, 1, 3, 0, 0).apply(game.world)
    MonsterStruck(1, 1, 2, 0, game.now_ms + 700, 0).apply(game.world)

    def listed() -> list[tuple[int, int]]:
        outcome = channels.list_monsters(
            MonstersAsk(), **parts(player(1), "head"), world=game.world, env=game.env(1)
        )
        return [(row.hp, row.respawn_ms) for row in done(outcome).replies[0].monsters[:3]]

    hp = CONTENT.monsters[1].hp
    assert listed() == [(3, 0), (0, 700), (hp, 0)]
    game.now_ms += 700
    assert listed() == [(3, 0), (hp, 0), (hp, 0)]


def test_monsters_when_in_no_channel_then_is_refused() -> None:
    game = Game("channel", CHANNEL)
    game.sit(1)
    outcome = channels.list_monsters(
        MonstersAsk(), **parts(player(1), "head"), world=game.world, env=game.env(1)
    )
    assert_refused(outcome, Code.NOT_IN_CHANNEL)
