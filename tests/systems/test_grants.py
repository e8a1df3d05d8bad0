"""Grants: claimed once and whole, or left for later."""

from typing import Any

import msgspec
import pytest
from tests.systems.game import CHANNEL, NOW_MS, Game, applied, parts, player

from mmo.client.hero import Record
from mmo.contract import Outcome, Tell
from mmo.state.bag import Item
from mmo.state.grant import Bundle, BundleItem, GrantClaimed, SourceKind
from mmo.state.player import Player
from mmo.state.score import ScoreRaised
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency
from mmo.systems.grants import claim_grant
from mmo.systems.inventory import item_view
from mmo.systems.items import expire
from mmo.wire.messages.cash import CashChanged
from mmo.wire.messages.hunt import GrantClaim
from mmo.wire.messages.inventory import ItemsExpire


def claim(resident: Player, **bundle: Any) -> Outcome:
    """Claim a grant of this bundle, applied."""
    game = Game("channel", CHANNEL)
    message = GrantClaim(1, 410, 99, msgspec.msgpack.encode(Bundle(**bundle)))
    outcome = claim_grant(
        message,
        **parts(resident, "growth", "wallet", "bag", "score", "pass_progress"),
        env=game.env(1),
    )
    applied(resident, outcome)
    return outcome


def test_grant_when_claimed_then_all_its_parts_come_in_one_commit_and_are_told() -> None:
    resident = player(1, gold=5)
    items = (BundleItem(2, 1, 7), BundleItem(0, 2, 1))
    outcome = claim(resident, gold=10, cash=3, mileage=2, exp=3, items=items)
    assert outcome.changes[0] == GrantClaimed(410, 99)
    reply = outcome.replies[0]
    assert (reply.source_kind, reply.source_id) == (410, 99)
    assert (reply.gold, reply.cash, reply.mileage) == (15, 3, 2)
    assert (reply.exp_gained, reply.level, reply.exp) == (3, 3, 0)
    assert [(view.kind, view.code, view.count) for view in reply.items] == [(2, 1, 7), (0, 2, 1)]
    assert resident.wallet.gold == 15 and resident.growth.level == 3
    assert len(resident.bag.items()) == 2
    assert (410, 99) in resident.grants_claimed
    moved = [change for change in outcome.changes if isinstance(change, CoinsMoved)]
    assert {change.account for change in moved} == {Account.MINT_GRANT}


def test_grant_when_it_holds_a_score_then_the_best_only_rises() -> None:
    resident = player(1, score=20)
    assert ScoreRaised(25) in claim(resident, score=25).changes
    assert resident.score.best == 25
    assert not [c for c in claim(resident, score=21).changes if isinstance(c, ScoreRaised)]
    ScoreRaised(3).apply(resident)
    assert resident.score.best == 25


def test_grant_when_empty_then_is_claimed_all_the_same() -> None:
    assert list(claim(player(1)).changes) == [GrantClaimed(410, 99)]


@pytest.mark.parametrize(
    "bundle",
    [
        {"gold": COINS_MAX},  # over the highest balance
        {"gold": -6},
        {"mileage": -1},
        {"exp": -1},
        {"gold": 1, "items": (BundleItem(0, 1, 11),)},  # eleven swords, ten slots
        {"gold": 1, "items": (BundleItem(0, 999, 1),)},
        {"gold": 1, "items": (BundleItem(7, 1, 1),)},
        {"gold": 1, "items": (BundleItem(2, 1, -1),)},  # a correction of what he does not have
    ],
)
def test_grant_when_it_does_not_fit_then_nothing_of_it_is_given_and_it_stays(
    bundle: dict[str, Any],
) -> None:
    resident = player(1, gold=5)
    assert claim(resident, **bundle) == Outcome()
    assert resident.wallet.gold == 5 and not resident.bag.items()


def test_grant_when_it_takes_cash_back_then_the_balance_may_be_owed() -> None:
    resident = player(1, cash=5)
    assert claim(resident, cash=-9).replies[0].cash == -4
    assert resident.wallet.cash == -4


def test_grant_when_at_the_highest_level_then_exp_does_not_count_and_the_rest_comes() -> None:
    resident = player(1, level=15)
    outcome = claim(resident, exp=50, gold=1)
    assert (outcome.replies[0].exp_gained, resident.growth.exp) == (0, 0)
    assert resident.wallet.gold == 1


def test_correction_when_it_takes_items_then_worn_ones_and_full_stacks_go_last() -> None:
    small, large = Item(1, 2, 0, 1, 2), Item(2, 2, 1, 1, 9)
    worn, spare = Item(3, 0, 0, 1, 1, equipped=True), Item(4, 0, 1, 1, 1)
    resident = player(1, items=(small, large, worn, spare))
    claim(resident, items=(BundleItem(2, 1, -3), BundleItem(0, 1, -1)))
    assert [(item.uid, item.count) for item in resident.bag.items()] == [(3, 1), (2, 8)]


def test_correction_when_it_takes_items_then_what_shrank_and_what_is_gone_are_told() -> None:
    small, large = Item(1, 2, 0, 1, 2), Item(2, 2, 1, 1, 9)
    resident = player(1, items=(small, large, Item(3, 0, 0, 1, 1)))
    items = (BundleItem(2, 1, -3), BundleItem(0, 1, -1), BundleItem(1, 1, 4))
    reply = claim(resident, items=items).replies[0]
    assert reply.gone == [1, 3]
    held = resident.bag.items()
    assert sorted((one.uid, one.kind, one.count) for one in reply.items) == sorted(
        (item.uid, item.kind, item.count) for item in held
    )
    me = Record()
    me.items = {item.uid: item_view(item) for item in (small, large)}
    me.grant(reply)
    assert me.items == {item.uid: item_view(item) for item in held}


def test_correction_when_the_bag_is_full_then_what_it_gives_goes_where_it_took() -> None:
    resident = player(1, items=tuple(Item(uid, 0, uid, 1, 1) for uid in range(10)))
    items = (BundleItem(0, 2, 1, 3), BundleItem(0, 1, -1))
    assert claim(resident, items=(items[0],)) == Outcome()
    reply = claim(resident, items=items).replies[0]
    assert (len(reply.gone), len(resident.bag.items(0))) == (1, 10)
    assert [(one.code, one.slot, one.enhance) for one in reply.items] == [(2, 0, 3)]
    assert resident.bag.at(0, 0) is not None


def test_correction_when_it_gives_and_takes_of_one_stack_then_it_is_told_as_it_stands() -> None:
    resident = player(1, items=(Item(1, 2, 0, 1, 5),))
    reply = claim(resident, items=(BundleItem(2, 1, 4), BundleItem(2, 1, -3))).replies[0]
    assert [(one.uid, one.count) for one in reply.items] == [(1, 6)]
    assert resident.bag.items() == [Item(1, 2, 0, 1, 6)]


def test_grant_when_an_expired_item_holds_the_slot_then_it_leaves_and_the_next_claim_fits() -> None:
    swords = [Item(uid, 0, uid, 1, 1, expires_ms=NOW_MS) for uid in range(10)]
    resident = player(1, items=tuple(swords))
    first = claim(resident, items=(BundleItem(0, 2, 1),))
    assert first == Outcome(tells=(Tell(0, ItemsExpire(1)),))
    env = Game("channel", CHANNEL).env(1)
    applied(resident, expire(ItemsExpire(1), bag=resident.bag, env=env))
    reply = claim(resident, items=(BundleItem(0, 2, 1),)).replies[0]
    assert [view.code for view in reply.items] == [2]


def test_correction_when_a_rented_item_is_alike_then_the_owned_one_is_taken() -> None:
    rented, owned = Item(1, 0, 0, 1, 1, expires_ms=NOW_MS + 1), Item(2, 0, 1, 1, 1)
    resident = player(1, items=(rented, owned))
    assert claim(resident, items=(BundleItem(0, 1, -1),)).replies[0].gone == [2]
    assert resident.bag.items() == [rented]
    assert claim(resident, items=(BundleItem(0, 1, -1),)) == Outcome()


def grant(resident: Player, source_kind: int, **bundle: Any) -> Outcome:
    """Claim a grant of one source, applied."""
    message = GrantClaim(1, source_kind, 99, msgspec.msgpack.encode(Bundle(**bundle)))
    needs = parts(resident, "growth", "wallet", "bag", "score", "pass_progress")
    outcome = claim_grant(message, **needs, env=Game("channel", CHANNEL).env(1))
    applied(resident, outcome)
    return outcome


@pytest.mark.parametrize(
    ("source_kind", "cash", "account"),
    [
        (SourceKind.PAYMENT, 500, Account.MINT_PAYMENT),
        (SourceKind.REFUND, -500, Account.SINK_REFUND),
        (SourceKind.CORRECTION, 500, Account.MINT_CORRECTION),
        (SourceKind.CORRECTION, -500, Account.SINK_CORRECTION),
        (SourceKind.RAID, 500, Account.MINT_GRANT),
    ],
)
def test_cash_when_granted_then_its_source_has_an_account_of_its_own_and_it_is_told(
    source_kind: SourceKind, cash: int, account: Account
) -> None:
    resident = player(1, cash=700)
    outcome = grant(resident, int(source_kind), cash=cash)
    assert CoinsMoved(Currency.CASH, cash, account) in outcome.changes
    assert list(outcome.replies)[1:] == [CashChanged(700 + cash, cash)]
    assert resident.wallet.cash == 700 + cash


def test_refund_when_the_cash_is_spent_then_is_owed_and_later_cash_pays_it_first() -> None:
    resident = player(1)
    grant(resident, int(SourceKind.PAYMENT), cash=500)
    CoinsMoved(Currency.CASH, -450, Account.SINK_SHOP).apply(resident)
    grant(resident, int(SourceKind.REFUND), cash=-500)
    assert resident.wallet.cash == -450
    told = grant(resident, int(SourceKind.PAYMENT), cash=300).replies[1]
    assert told == CashChanged(-150, 300)
    told = grant(resident, int(SourceKind.PAYMENT), cash=200).replies[1]
    assert told == CashChanged(50, 200) and resident.wallet.cash == 50


@pytest.mark.parametrize(
    ("cash", "refund", "fits"),
    [(-COINS_MAX + 5, 5, True), (-COINS_MAX + 5, 6, False)],
)
def test_refund_when_the_debt_would_leave_its_limit_then_it_stays(
    cash: int, refund: int, fits: bool
) -> None:
    resident = player(1, cash=cash)
    outcome = grant(resident, int(SourceKind.REFUND), cash=-refund)
    assert bool(outcome.changes) == fits
    assert resident.wallet.cash == (cash - refund if fits else cash)


def test_cash_when_the_purse_is_full_then_the_payment_waits() -> None:
    resident = player(1, cash=COINS_MAX)
    assert grant(resident, int(SourceKind.PAYMENT), cash=1) == Outcome()
