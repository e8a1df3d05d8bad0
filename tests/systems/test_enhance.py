"""Enhancement: the odds of the reference, a roll that is a function, a receipt that recomputes."""

import math
from collections import Counter
from typing import Any

import pytest
from tests.systems.game import (
    CONTENT,
    NOW_MS,
    ROLL_SECRET,
    Game,
    applied,
    assert_refused,
    done,
    keyed_roll,
    parts,
    player,
)

from mmo.content.tables import CONSUMABLE, EQUIPMENT, MATERIAL
from mmo.contract import Outcome, Refuse
from mmo.state.bag import Item, ItemEnhanced
from mmo.state.player import Player
from mmo.state.roll import PARTS, commitment, day_key, day_of, roll
from mmo.state.wallet import Account, CoinsMoved, Currency
from mmo.systems.enhance import enhance, odds
from mmo.wire.messages.enhance import Enhance, EnhanceOk, OddsAsk
from mmo.wire.opcode import Code

OP = (1, 1)
DAY_MS = 86_400_000
TABLE = CONTENT.enhance
LEVELS = len(TABLE.step)
NEEDS = ("head", "bag", "wallet", "pass_progress")


def sword(uid: int = 1, *, enhanced: int = 0, attempts: int = 0, **more: Any) -> Item:
    """A piece of equipment in the first slot."""
    return Item(uid, EQUIPMENT, 0, 3, 1, enhanced, attempts=attempts, **more)


def ask(
    resident: Player, uid: int = 1, rolled: int | None = None, table: int = 0, cost: int = 0
) -> Outcome | Refuse:
    """What one attempt says, with a roll of the test's choice if one is given."""
    env = Game("channel", 11).env(1)
    if rolled is not None:
        env.roll = lambda *arguments: rolled
    message = Enhance(OP, uid, table, cost)
    outcome: Outcome | Refuse = enhance(message, **parts(resident, *NEEDS), env=env)
    return outcome


def tried(resident: Player, rolled: int | None = None) -> EnhanceOk:
    """An attempt that must be made, applied; its receipt."""
    outcome = done(ask(resident, rolled=rolled))
    applied(resident, outcome)
    receipt = outcome.replies[0]
    assert isinstance(receipt, EnhanceOk)
    return receipt


@pytest.mark.parametrize("level", range(LEVELS))
def test_attempt_when_the_roll_is_just_below_the_chance_then_succeeds_and_at_it_fails(
    level: int,
) -> None:
    step = TABLE.step[level]
    resident = player(gold=step.cost_gold, items=(sword(enhanced=level),))
    receipt = tried(resident, step.chance_ppm - 1)
    assert (receipt.success, receipt.enhance) == (True, level + 1)
    held = resident.bag.get(1)
    assert held is not None and held.enhance == level + 1
    assert resident.wallet.gold == 0

    if step.chance_ppm == PARTS:
        return  # the first level never fails
    resident = player(gold=step.cost_gold, items=(sword(enhanced=level),))
    receipt = tried(resident, step.chance_ppm)
    assert (receipt.success, receipt.enhance) == (False, level)
    held = resident.bag.get(1)
    assert held is not None and (held.enhance, held.attempts, held.count) == (level, 1, 1)
    assert resident.wallet.gold == 0


def test_attempt_when_at_the_highest_level_then_is_refused_before_the_table_is_read() -> None:
    for level in (LEVELS, LEVELS + 1, 2**31):
        assert_refused(ask(player(gold=10**6, items=(sword(enhanced=level),))), Code.ENHANCE_MAX)


@pytest.mark.parametrize("level", range(LEVELS))
def test_attempt_when_a_coin_is_missing_then_is_refused_and_counts_for_nothing(level: int) -> None:
    resident = player(gold=TABLE.step[level].cost_gold - 1, items=(sword(enhanced=level),))
    assert_refused(ask(resident), Code.NOT_ENOUGH_GOLD)


def test_attempt_when_another_table_was_shown_then_is_refused_and_costs_nothing() -> None:
    resident = player(gold=100, items=(sword(),))
    for table in (TABLE.table + 1, -1, 2**63 - 1):
        assert_refused(ask(resident, table=table), Code.PRICE_CHANGED, str(TABLE.table))
    assert done(ask(resident, table=TABLE.table)).changes == done(ask(resident)).changes


def test_attempt_when_another_cost_was_shown_then_is_refused_and_costs_nothing() -> None:
    resident = player(gold=100, items=(sword(),))
    cost = TABLE.step[0].cost_gold
    for shown in (cost + 1, cost - 1, -1):
        assert_refused(ask(resident, cost=shown), Code.PRICE_CHANGED, str(cost))
    assert done(ask(resident, cost=cost)).changes == done(ask(resident)).changes


@pytest.mark.parametrize("kind", [CONSUMABLE, MATERIAL])
def test_attempt_when_it_is_no_equipment_then_is_refused(kind: int) -> None:
    resident = player(gold=100, items=(Item(1, kind, 0, 1, 5),))
    assert_refused(ask(resident), Code.NOT_ENHANCEABLE)


@pytest.mark.parametrize("uid", [-(2**63), -1, 0, 2, 2**63 - 1])
def test_attempt_when_the_item_is_not_his_then_is_refused(uid: int) -> None:
    assert_refused(ask(player(gold=100, items=(sword(),)), uid), Code.ITEM_UNKNOWN)


def test_attempt_when_the_rental_is_over_then_is_refused() -> None:
    resident = player(gold=100, items=(sword(expires_ms=NOW_MS),))
    assert_refused(ask(resident), Code.ITEM_UNKNOWN)


def test_attempt_when_made_then_one_change_says_all_that_decided_it() -> None:
    worn = sword(enhanced=4, attempts=7, equipped=True, expires_ms=NOW_MS + 1)
    resident = player(gold=1000, items=(worn, Item(9, EQUIPMENT, 1, 3, 1)))
    outcome = done(ask(resident, rolled=12_345))
    made, paid = outcome.changes
    assert isinstance(made, ItemEnhanced)
    assert (made.enhance_before, made.roll_ppm, made.chance_ppm) == (4, 12_345, 200_000)
    assert (made.table, made.day) == (TABLE.table, day_of(NOW_MS))
    assert (made.item.enhance, made.item.attempts, made.item.equipped) == (5, 8, True)
    assert made.item.expires_ms == NOW_MS + 1 and made.item.slot == 0
    assert paid == CoinsMoved(Currency.GOLD, -TABLE.step[4].cost_gold, Account.SINK_ENHANCE)
    applied(resident, outcome)
    other = resident.bag.get(9)
    assert other is not None and (other.enhance, other.attempts) == (0, 0)


def test_attempt_when_decided_again_then_has_the_same_outcome() -> None:
    """A crash before the commit, a retry, another server: the same attempt has the same roll."""
    first = done(ask(player(gold=1000, items=(sword(enhanced=3),))))
    for _ in range(5):
        again = done(ask(player(gold=1000, items=(sword(enhanced=3),))))
        assert again.replies == first.replies and again.changes == first.changes


def test_attempt_when_it_is_the_next_then_is_another_roll() -> None:
    resident = player(gold=100_000, items=(sword(enhanced=9),))
    rolls = [tried(resident).roll_ppm for _ in range(20)]
    assert len(set(rolls)) == 20


def test_attempt_when_another_day_item_or_table_then_is_another_roll() -> None:
    day = day_of(NOW_MS)
    rolls = {
        keyed_roll(1, 1, 1, day),
        keyed_roll(2, 1, 1, day),
        keyed_roll(1, 2, 1, day),
        keyed_roll(1, 1, 2, day),
        keyed_roll(1, 1, 1, day + 1),
    }
    assert len(rolls) == 5


@pytest.mark.parametrize("login_ms", [NOW_MS, NOW_MS - DAY_MS])
def test_day_when_a_session_lasts_over_midnight_then_is_that_of_its_login(login_ms: int) -> None:
    resident = player(gold=1000, items=(sword(),), login_ms=login_ms)
    assert tried(resident).day == day_of(login_ms)


def test_attempt_when_the_session_is_older_than_a_day_then_wants_a_new_login() -> None:
    begun = NOW_MS // DAY_MS * DAY_MS - DAY_MS  # the first moment of yesterday
    early = player(gold=1000, items=(sword(),), login_ms=begun)
    assert tried(early).day == day_of(begun)
    late = player(gold=1000, items=(sword(),), login_ms=begun - 1)
    assert_refused(ask(late), Code.ROLL_DAY_OVER)


def test_receipt_when_the_key_is_revealed_then_anybody_recomputes_the_roll() -> None:
    resident = player(gold=10_000, items=(sword(enhanced=2),))
    key = day_key(ROLL_SECRET, day_of(NOW_MS))
    published = commitment(key)
    for _ in range(30):
        before = resident.bag.get(1)
        assert before is not None
        if before.enhance == LEVELS:
            break
        receipt = tried(resident)
        assert commitment(key) == published
        assert roll(key, receipt.uid, receipt.attempt, receipt.table) == receipt.roll_ppm
        assert receipt.success == (receipt.roll_ppm < receipt.chance_ppm)
        assert receipt.chance_ppm == TABLE.step[before.enhance].chance_ppm
        assert receipt.attempt == before.attempts + 1


@pytest.mark.parametrize("level", range(LEVELS))
def test_rolls_when_many_then_are_as_often_below_the_chance_as_published(level: int) -> None:
    """Ten thousand rolls a level: within four and a half standard deviations of the table."""
    chance, count = TABLE.step[level].chance_ppm, 10_000
    key = day_key(ROLL_SECRET, 20_261_123)
    hits = sum(roll(key, uid, 1, level) < chance for uid in range(count))
    expected = count * chance / PARTS
    spread = math.sqrt(expected * (1 - chance / PARTS))
    assert abs(hits - expected) <= 4.5 * spread


def test_rolls_when_many_then_are_even_over_a_hundred_bins() -> None:
    count, bins = 50_000, 100
    key = day_key(ROLL_SECRET, 20_261_124)
    seen = Counter(roll(key, uid, attempt, 1) * bins // PARTS for uid in range(500)
                   for attempt in range(count // 500))  # fmt: skip
    expected = count / bins
    chi_square = sum((seen[place] - expected) ** 2 / expected for place in range(bins))
    # 99 degrees of freedom: 148.2 is passed once in a thousand keys, 40 is never this even.
    assert 40 < chi_square < 148.2


def test_odds_when_asked_then_are_the_table_that_decides() -> None:
    env = Game("channel", 11).env(1)
    reply = done(odds(OddsAsk(), env=env)).replies[0]
    assert reply.table == TABLE.table
    assert [(row.level, row.chance_ppm, row.cost) for row in reply.rows] == [
        (level, step.chance_ppm, step.cost_gold) for level, step in enumerate(TABLE.step)
    ]
