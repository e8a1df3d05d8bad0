"""Levels: the table of the reference, several at once, nothing lost, nothing above the highest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.systems.game import CHANNEL, CONTENT, NOW_MS, Game, applied, parts, player

from mmo.contract import Outcome
from mmo.state.bag import Item, ItemDied
from mmo.state.change import Change
from mmo.state.growth import Growth
from mmo.state.player import Player
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved
from mmo.systems.growth import gain_exp, reward_kill
from mmo.wire.messages.hunt import KillEarned, KillReward
from mmo.wire.messages.inventory import ItemsExpired

LEVELS = CONTENT.levels
TOTAL_MAX = sum(LEVELS.exp_need[1 : LEVELS.level_max])


def total(growth: Growth) -> int:
    """All experience ever counted."""
    return sum(LEVELS.exp_need[1 : growth.level]) + growth.exp


def test_exp_need_when_read_then_is_the_table_of_the_reference() -> None:
    assert LEVELS.exp_need == (0, 1, 2, 4, 6, 10, 16, 23, 31, 40, 51, 60, 71, 80, 91, 100)
    assert LEVELS.level_max == 15


@pytest.mark.parametrize(
    ("level", "exp", "gain", "level_after", "exp_after"),
    [
        (1, 0, 1, 2, 0),  # exactly the need
        (2, 0, 1, 2, 1),  # less than the need
        (2, 1, 1, 3, 0),  # the rest of the need
        (1, 0, 3, 3, 0),  # two levels at once
        (1, 0, 10, 4, 3),  # three levels and a rest
        (1, 0, 484, 14, 89),  # nearly everything
        (1, 0, TOTAL_MAX, 15, 0),
        (14, 90, 1, 15, 0),
    ],
)
def test_exp_when_gained_then_pays_for_levels(
    level: int, exp: int, gain: int, level_after: int, exp_after: int
) -> None:
    grown = gain_exp(LEVELS, Growth(level, exp), gain)
    assert grown is not None
    assert (grown.gained, grown.level, grown.exp) == (gain, level_after, exp_after)


def test_exp_when_it_is_more_than_the_highest_level_takes_then_the_rest_does_not_count() -> None:
    grown = gain_exp(LEVELS, Growth(14, 90), 10)
    assert grown is not None
    assert (grown.gained, grown.level, grown.exp) == (1, 15, 0)


def test_exp_when_the_need_was_lowered_below_what_he_has_then_he_rises_all_the_same() -> None:
    """He stood still for ever: his level was paid for and nothing counted as gained."""
    grown = gain_exp(LEVELS, Growth(14, 120), 5)
    assert grown is not None
    assert (grown.gained, grown.level, grown.exp) == (0, 15, 0)


@pytest.mark.parametrize("gain", [0, 1, 10, 2**53 - 1])
def test_exp_when_at_the_highest_level_then_stays_zero(gain: int) -> None:
    assert gain_exp(LEVELS, Growth(15, 0), gain) is None


@given(st.lists(st.integers(0, 300), max_size=60))
def test_exp_when_gained_in_any_steps_then_none_is_lost_or_doubled(gains: list[int]) -> None:
    growth, counted = Growth(1, 0), 0
    for gain in gains:
        before = growth
        grown = gain_exp(LEVELS, growth, gain)
        if grown is None:
            continue
        growth = Growth(grown.level, grown.exp)
        counted += grown.gained
        assert growth.level >= before.level
        assert 0 < grown.gained <= gain
    assert total(growth) == counted == min(sum(gains), TOTAL_MAX)
    assert growth.level == LEVELS.level_max or growth.exp < LEVELS.exp_need[growth.level]
    assert growth.level < LEVELS.level_max or growth.exp == 0


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_exp_when_gained_in_one_step_or_two_then_is_the_same(first: int, second: int) -> None:
    def grow(growth: Growth, gain: int) -> Growth:
        grown = gain_exp(LEVELS, growth, gain)
        return growth if grown is None else Growth(grown.level, grown.exp)

    assert grow(grow(Growth(), first), second) == grow(Growth(), first + second)


def _killed(resident: Player, earned: KillEarned) -> Outcome:
    needs = parts(resident, "growth", "wallet", "bag", "pass_progress")
    outcome = reward_kill(earned, **needs, env=Game("channel", CHANNEL).env(1))
    applied(resident, outcome)
    return outcome


def _kill(resident: Player, earned: KillEarned) -> tuple[KillReward, list[Change]]:
    outcome = _killed(resident, earned)
    return outcome.replies[0], list(outcome.changes)


@pytest.mark.parametrize("kind", range(1, 11))
def test_kill_when_of_monster_n_then_gives_n_exp(kind: int) -> None:
    row = CONTENT.monsters[kind]
    resident = player(1)
    reward, _ = _kill(resident, KillEarned(1, kind, row.exp, row.gold))
    assert row.exp == kind
    assert reward.exp_gained == kind
    assert total(resident.growth) == kind


def test_kill_when_it_pays_for_several_levels_then_the_answer_tells_them_and_the_exp() -> None:
    resident = player(1)
    reward, _ = _kill(resident, KillEarned(1, 10, 10, 30))
    assert (reward.levels_gained, reward.level, reward.exp) == (3, 4, 3)
    assert (resident.growth.level, resident.growth.exp) == (4, 3)
    assert (reward.gold_gained, reward.gold, resident.wallet.gold) == (30, 30, 30)


def test_kill_when_at_the_highest_level_then_exp_stays_zero_and_gold_comes() -> None:
    resident = player(1, level=15)
    reward, changes = _kill(resident, KillEarned(1, 10, 10, 30))
    assert (reward.exp_gained, reward.level, reward.exp) == (0, 15, 0)
    assert [type(change) for change in changes] == [CoinsMoved]


@pytest.mark.parametrize(("room", "given_gold"), [(0, 0), (7, 7), (30, 30), (31, 30)])
def test_kill_when_the_purse_is_nearly_full_then_only_what_fits_is_minted(
    room: int, given_gold: int
) -> None:
    resident = player(1, level=15, gold=COINS_MAX - room)
    reward, changes = _kill(resident, KillEarned(1, 10, 10, 30))
    assert reward.gold_gained == given_gold
    assert resident.wallet.gold == COINS_MAX - room + given_gold
    assert len(changes) == (1 if given_gold else 0)


def test_kill_when_it_drops_then_the_item_lies_in_the_bag_and_is_told() -> None:
    resident = player(1)
    reward, _ = _kill(resident, KillEarned(1, 1, 1, 3, (2, 1, 2)))
    item = resident.bag.at(2, 0)
    assert item is not None
    assert (item.code, item.count, [item.uid]) == (1, 2, [one.uid for one in reward.items])
    reward, _ = _kill(resident, KillEarned(1, 1, 1, 3, (2, 1, 3)))
    assert [(one.uid, one.count) for one in reward.items] == [(item.uid, 5)]
    assert len(resident.bag.items()) == 1


def test_kill_when_the_drop_overflows_a_stack_then_both_stacks_are_told() -> None:
    resident = player(1)
    _kill(resident, KillEarned(1, 1, 1, 3, (1, 1, 98)))
    reward, _ = _kill(resident, KillEarned(1, 1, 1, 3, (1, 1, 2)))
    told = sorted((one.uid, one.slot, one.count) for one in reward.items)
    assert told == sorted((item.uid, item.slot, item.count) for item in resident.bag.items(1))
    assert [count for _, _, count in told] == [99, 1]


def test_kill_when_the_bag_is_full_then_exp_and_gold_come_and_the_loss_is_told() -> None:
    resident = player(1)
    for _ in range(10):
        reward, _ = _kill(resident, KillEarned(1, 0, 0, 0, (0, 1, 1)))
        assert not reward.bag_full
    reward, _ = _kill(resident, KillEarned(1, 1, 1, 3, (0, 1, 1)))
    assert reward.bag_full and not reward.items
    assert (reward.exp_gained, reward.gold_gained) == (1, 3)
    assert len(resident.bag.items(0)) == 10


def test_kill_when_an_expired_item_holds_the_last_slot_then_it_dies_for_the_drop() -> None:
    swords = [Item(uid, 0, uid, 1, 1, expires_ms=NOW_MS + uid) for uid in range(10)]
    resident = player(1, items=(*swords[1:], replace(swords[0], expires_ms=NOW_MS)))
    outcome = _killed(resident, KillEarned(1, 1, 1, 3, (0, 2, 1)))
    reward, gone = outcome.replies
    assert ItemDied(replace(swords[0], expires_ms=NOW_MS), Account.SINK_EXPIRED) in outcome.changes
    assert gone == ItemsExpired([0]) and not reward.bag_full
    assert [(one.slot, one.code) for one in reward.items] == [(0, 2)]
    assert resident.bag.at(0, 0) is not None and len(resident.bag.items(0)) == 10


def test_kill_when_the_database_knows_no_expiry_then_all_but_the_drop_comes() -> None:
    swords = [Item(uid, 0, uid, 1, 1, expires_ms=NOW_MS) for uid in range(10)]
    resident = player(1, items=tuple(swords))
    parts_of = parts(resident, "growth", "wallet", "bag", "pass_progress")
    outcome = reward_kill(
        KillEarned(1, 1, 1, 3, (0, 2, 1)), **parts_of, env=Game("channel", CHANNEL).env(1)
    )
    instead = outcome.row_refused
    assert isinstance(instead, Outcome) and instead.row_refused is None
    applied(resident, instead)
    (reward,) = instead.replies
    assert reward.bag_full and (reward.exp_gained, reward.gold_gained) == (1, 3)
    assert (resident.growth.level, resident.wallet.gold) == (2, 3)
    assert resident.bag.items() == swords and instead.sends == outcome.sends


def test_kill_when_an_expired_item_is_in_nobodys_way_then_it_stays_for_the_next_look() -> None:
    resident = player(1, items=(Item(1, 0, 0, 1, 1, expires_ms=NOW_MS),))
    outcome = _killed(resident, KillEarned(1, 1, 1, 3, (0, 2, 1)))
    assert len(outcome.replies) == 1 and len(resident.bag.items()) == 2
