"""Blows: limits of every number, cooldown, damage, death, respawn, what a kill earns."""

from collections import Counter

import pytest
from tests.systems.game import (
    CHANNEL,
    CONTENT,
    NOW_MS,
    Game,
    assert_refused,
    done,
    parts,
    player,
)

from mmo.content.tables import EQUIPMENT
from mmo.contract import Outcome, Refuse
from mmo.state.bag import Item
from mmo.state.player import Player
from mmo.systems.hunt import damage_of, hit, roll_drop
from mmo.wire.messages.hunt import Hit
from mmo.wire.opcode import Code

COOLDOWN_MS = CONTENT.combat.attack_cooldown_ms


def place_of(kind: int) -> int:
    """A place in every channel where a monster of this kind stands."""
    return CONTENT.channel_monsters.index(kind) + 1


def strike(game: Game, striker: Player, monster: int) -> Outcome | Refuse:
    """One blow, applied."""
    outcome = hit(
        Hit(monster),
        **parts(striker, "growth", "bag"),
        world=game.world,
        env=game.env(striker.user),
    )
    if isinstance(outcome, Outcome):
        game.apply(outcome)
    return outcome


def hunting(*users: int, channel: int = 1) -> Game:
    """A channel server with players in one channel."""
    game = Game("channel", CHANNEL)
    for user in users:
        game.sit(user, channel)
    return game


@pytest.mark.parametrize("monster", [0, -1, 2**63 - 1, -(2**63), len(CONTENT.channel_monsters) + 1])
def test_hit_when_no_such_monster_then_is_refused(monster: int) -> None:
    game = hunting(1)
    assert_refused(strike(game, player(1), monster), Code.MONSTER_UNKNOWN)


def test_hit_when_in_no_channel_then_is_refused() -> None:
    game = Game("channel", CHANNEL)
    game.sit(1)
    assert_refused(strike(game, player(1), 1), Code.NOT_IN_CHANNEL)


def test_hit_when_it_lands_then_the_server_decides_the_damage() -> None:
    game, striker = hunting(1), player(1)
    monster = place_of(10)
    reply = done(strike(game, striker, monster)).replies[0]
    expected = damage_of(CONTENT, striker.growth, striker.bag, NOW_MS)
    assert reply.damage == expected == 6
    assert reply.hp == CONTENT.monsters[10].hp - expected
    assert not reply.killed


@pytest.mark.parametrize(
    ("level", "items", "damage"),
    [
        (1, (), 6),
        (15, (), 34),
        (1, (Item(1, EQUIPMENT, 0, 5, 1, equipped=True),), 20),
        (1, (Item(1, EQUIPMENT, 0, 5, 1, 10, True),), 40),
        (1, (Item(1, EQUIPMENT, 0, 5, 1),), 6),  # not put on
        (1, (Item(1, EQUIPMENT, 0, 5, 1, 0, True, NOW_MS),), 6),  # its days are over
        (1, (Item(1, EQUIPMENT, 0, 999_999, 1, 0, True),), 6),  # gone from the master
    ],
)
def test_damage_when_level_and_weapon_then_is_their_sum(
    level: int, items: tuple[Item, ...], damage: int
) -> None:
    striker = player(1, level=level, items=items)
    assert damage_of(CONTENT, striker.growth, striker.bag, NOW_MS) == damage


def test_hit_when_too_soon_then_is_refused_with_the_milliseconds_left() -> None:
    game, striker = hunting(1), player(1)
    done(strike(game, striker, place_of(10)))
    game.now_ms += COOLDOWN_MS - 1
    assert_refused(strike(game, striker, place_of(9)), Code.COOLDOWN, "1")
    game.now_ms += 1
    done(strike(game, striker, place_of(9)))


def test_hit_when_another_strikes_then_cooldowns_are_ones_own() -> None:
    game = hunting(1, 2)
    done(strike(game, player(1), place_of(10)))
    done(strike(game, player(2), place_of(10)))
    assert game.world.channels[0].monsters[place_of(10) - 1].hp == CONTENT.monsters[10].hp - 12


def test_hit_when_it_kills_then_hp_is_zero_never_less_and_the_kill_is_earned_once() -> None:
    game, striker = hunting(1), player(1, level=15)  # 34 a blow
    monster, row = place_of(3), CONTENT.monsters[3]
    assert row.hp < 34
    outcome = done(strike(game, striker, monster))
    reply = outcome.replies[0]
    assert (reply.damage, reply.hp, reply.killed) == (row.hp, 0, True)
    assert [earned.user for earned in outcome.earned] == [1]
    earned = outcome.earned[0]
    assert (earned.message.exp, earned.message.gold) == (3, row.gold)
    assert (earned.owed.exp, earned.owed.gold) == (3, row.gold)
    assert outcome.changes == ()
    game.now_ms += COOLDOWN_MS
    assert_refused(
        strike(game, striker, monster), Code.MONSTER_DEAD, str(row.respawn_ms - COOLDOWN_MS)
    )


def test_hit_when_two_strike_the_last_blow_then_only_one_earns() -> None:
    game = hunting(1, 2)
    monster = place_of(1)
    first = done(strike(game, player(1, level=15), monster))
    second = strike(game, player(2, level=15), monster)
    assert len(first.earned) == 1
    assert isinstance(second, Refuse) and second.code == Code.MONSTER_DEAD


def test_monster_when_its_time_has_come_then_is_back_whole() -> None:
    game, striker = hunting(1), player(1)
    monster, row = place_of(1), CONTENT.monsters[1]
    blows = 0
    while True:
        blows += 1
        if done(strike(game, striker, monster)).replies[0].killed:
            break
        game.now_ms += COOLDOWN_MS
    assert blows == 2
    game.now_ms += row.respawn_ms
    reply = done(strike(game, striker, monster)).replies[0]
    assert reply.hp == row.hp - 6
    game.now_ms += COOLDOWN_MS
    assert done(strike(game, striker, monster)).replies[0].killed


def test_monster_when_killed_in_one_channel_then_lives_in_the_others() -> None:
    game = hunting(1)
    game.sit(2, channel=2)
    done(strike(game, player(1, level=15), place_of(1)))
    assert done(strike(game, player(2, level=15), place_of(1))).replies[0].killed


@pytest.mark.parametrize("kind", range(11))
def test_drop_when_rolled_often_then_falls_as_the_table_says(kind: int) -> None:
    game, row, rolls = Game("channel", CHANNEL, seed=kind), CONTENT.monsters[kind], 20_000
    fallen = Counter(roll_drop(row, game.rng) for _ in range(rolls))
    names = ("equipment", "consumable", "material")
    for drop in row.drops:
        share = fallen.pop((names.index(drop.kind), drop.code, drop.count)) / rolls
        assert abs(share - drop.permille / 1000) < 0.015
    nothing = fallen.pop(None) / rolls
    assert abs(nothing - 1 + sum(drop.permille for drop in row.drops) / 1000) < 0.015
    assert not fallen


def test_kill_when_it_drops_then_message_and_debt_name_the_same_item() -> None:
    for seed in range(40):
        game = Game("channel", CHANNEL, seed)
        game.sit(1, 1)
        earned = done(strike(game, player(1, level=15), place_of(1))).earned[0]
        items = tuple((item.kind, item.code, item.count) for item in earned.owed.items)
        assert items == (() if earned.message.drop is None else (earned.message.drop,))
