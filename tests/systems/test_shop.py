"""Buying: the catalogue decides price, currency, content and limits; a client only names a line."""

from typing import Any

import msgspec
import pytest
from tests.systems.game import (
    CHANNEL,
    CONTENT,
    NOW_MS,
    Game,
    applied,
    assert_refused,
    done,
    parts,
    player,
)

from mmo.content import Content
from mmo.content.shop import CURRENCIES, ShopLine
from mmo.content.tables import CONSUMABLE, EQUIPMENT, MATERIAL
from mmo.contract import Outcome, Refuse
from mmo.state.bag import Item, ItemBorn
from mmo.state.counters import Counter, CounterKind, CounterRaised
from mmo.state.player import Player
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency
from mmo.systems.items import expire
from mmo.systems.shop import DAY_MS, buy, shop_page
from mmo.wire.codec import decode
from mmo.wire.messages.shop import Buy, ShopPageAsk, ShopPageOk
from mmo.wire.opcode import Code, Op

OP = (1, 1)
EDGES = (-(2**63), -1, 0, 2**63 - 1)
NEEDS = ("wallet", "bag", "counters", "pass_progress")
TODAY = NOW_MS // DAY_MS


def line(**changed: Any) -> ShopLine:
    """A line of the tests: one potion for 10 gold."""
    fields: dict[str, Any] = {
        "number": 1, "kind": CONSUMABLE, "code": 1, "count": 1, "days": 0,
        "currency": Currency.GOLD, "price": 10, "mileage": 0, "daily_limit": 0,
        "from_ms": 0, "until_ms": 0,
    }  # fmt: skip
    return ShopLine(**{**fields, **changed})


def selling(*lines: ShopLine) -> Content:
    """Content that sells these lines and nothing else."""
    shop = msgspec.structs.replace(CONTENT.shop, lines={each.number: each for each in lines})
    return msgspec.structs.replace(CONTENT, shop=shop)


def ask(
    resident: Player,
    sold: ShopLine,
    quantity: int = 1,
    now_ms: int = NOW_MS,
    **stated: int,
) -> Outcome | Refuse:
    """Buy from a shop that sells one line; `stated` is what a client says otherwise."""
    game = Game("center", 2)
    game.content, game.now_ms = selling(sold), now_ms
    said = {"catalogue": CONTENT.shop.catalogue, "line": sold.number, "price": sold.price}
    message = Buy(OP, quantity=quantity, **{**said, **stated})
    outcome: Outcome | Refuse = buy(message, **parts(resident, *NEEDS), env=game.env(1))
    return outcome


def bought(resident: Player, sold: ShopLine, quantity: int = 1, now_ms: int = NOW_MS) -> Outcome:
    """A purchase that must be granted, applied."""
    outcome = done(ask(resident, sold, quantity, now_ms))
    applied(resident, outcome)
    return outcome


# -- what is sold ----------------------------------------------------------------------------------


def test_pages_when_read_one_by_one_then_are_the_whole_catalogue_sorted() -> None:
    env = Game("channel", CHANNEL).env(1)
    first = done(shop_page(ShopPageAsk(0), env=env)).replies[0]
    pages = decode(Op.SHOP_PAGE_OK, first.body).pages
    views: list[Any] = []
    for number in range(pages):
        page = done(shop_page(ShopPageAsk(number), env=env)).replies[0]
        answer = decode(page.opcode, page.body)
        assert isinstance(answer, ShopPageOk)
        assert (answer.page, answer.pages) == (number, pages)
        assert answer.catalogue == CONTENT.shop.catalogue
        views += answer.lines
    assert {view.line for view in views} == set(CONTENT.shop.lines)
    order = [(view.kind, view.code, view.days) for view in views]
    assert order == sorted(order)
    powers = {view.code: view.attack_power for view in views if view.kind == EQUIPMENT}
    assert powers[3] == 6


@pytest.mark.parametrize("page", [-(2**63), -1, 10_000, 2**63 - 1])
def test_page_when_there_is_none_then_is_refused(page: int) -> None:
    env = Game("channel", CHANNEL).env(1)
    assert_refused(shop_page(ShopPageAsk(page), env=env), Code.SHOP_LINE_UNKNOWN)


def test_pages_when_asked_by_many_then_are_the_same_bytes_in_one_place() -> None:
    one, other = Game("channel", 11).env(1), Game("center", 2).env(2)
    first = done(shop_page(ShopPageAsk(0), env=one)).replies[0]
    assert done(shop_page(ShopPageAsk(0), env=other)).replies[0] is first


# -- buying ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("currency", list(Currency))
def test_purchase_when_affordable_then_money_and_items_move_in_one_commit(
    currency: Currency,
) -> None:
    resident = player(gold=100, cash=100, mileage=100)
    outcome = bought(resident, line(currency=int(currency), price=30), 2)
    reply = outcome.replies[0]
    assert (reply.currency, reply.spent, reply.balance) == (currency, 60, 40)
    assert resident.wallet.of(currency) == 40
    assert sum(resident.wallet.of(other) for other in Currency) == 240
    assert [(view.kind, view.code, view.count) for view in reply.items] == [(CONSUMABLE, 1, 2)]
    paid, born = outcome.changes
    assert paid == CoinsMoved(currency, -60, Account.SINK_SHOP)
    assert isinstance(born, ItemBorn) and born.source == Account.SINK_SHOP


@pytest.mark.parametrize(
    ("currency", "code"),
    [(0, Code.NOT_ENOUGH_GOLD), (1, Code.NOT_ENOUGH_CASH), (2, Code.NOT_ENOUGH_MILEAGE)],
)
@pytest.mark.parametrize("balance", [0, 29])
def test_purchase_when_a_coin_is_missing_then_is_refused_by_its_currency(
    currency: int, code: Code, balance: int
) -> None:
    purse: dict[str, Any] = {CURRENCIES[currency]: balance}
    assert_refused(ask(player(**purse), line(currency=currency, price=30)), code)


def test_purchase_when_exactly_affordable_then_nothing_is_left() -> None:
    resident = player(gold=30)
    assert bought(resident, line(price=30)).replies[0].balance == 0
    assert resident.wallet.gold == 0


def test_purchase_when_cash_is_owed_then_nothing_is_sold_for_cash() -> None:
    resident = player(cash=-1)
    assert_refused(ask(resident, line(currency=1, price=1)), Code.NOT_ENOUGH_CASH)


@pytest.mark.parametrize("quantity", [*EDGES, 100])
def test_purchase_when_the_quantity_is_out_of_bounds_then_is_refused(quantity: int) -> None:
    assert_refused(ask(player(gold=COINS_MAX), line(), quantity), Code.QUANTITY_INVALID)


@pytest.mark.parametrize("number", [*EDGES, 77])
def test_purchase_when_the_line_is_unknown_then_is_refused(number: int) -> None:
    assert_refused(ask(player(gold=99), line(), line=number), Code.SHOP_LINE_UNKNOWN)


@pytest.mark.parametrize(
    "stated", [{"price": 9}, {"price": 11}, {"price": -10}, {"price": 2**63 - 1}, {"catalogue": 0}]
)
def test_purchase_when_the_client_saw_another_price_or_catalogue_then_is_told_the_current(
    stated: dict[str, int],
) -> None:
    outcome = ask(player(gold=99), line(), **stated)
    assert_refused(outcome, Code.PRICE_CHANGED, str(CONTENT.shop.catalogue))


def test_purchase_when_price_times_quantity_is_huge_then_is_counted_exactly() -> None:
    dear = line(price=2**53 - 1)
    assert_refused(ask(player(gold=COINS_MAX), dear, 99), Code.NOT_ENOUGH_GOLD)
    assert bought(player(gold=COINS_MAX), dear).replies[0].balance == 0


# -- bundles, stacks, room -------------------------------------------------------------------------


def test_purchase_when_a_bundle_then_count_times_quantity_stacks_up() -> None:
    resident = player(gold=1000, items=(Item(1, CONSUMABLE, 3, 1, 95),))
    outcome = bought(resident, line(count=10), 3)
    assert [(view.slot, view.count) for view in outcome.replies[0].items] == [(3, 99), (0, 26)]
    assert sum(item.count for item in resident.bag.items()) == 95 + 30


def test_purchase_when_equipment_then_each_piece_has_a_slot_of_its_own() -> None:
    resident = player(gold=1000)
    bought(resident, line(kind=EQUIPMENT, code=3), 3)
    assert [item.slot for item in resident.bag.items(EQUIPMENT)] == [0, 1, 2]


@pytest.mark.parametrize(("kind", "stack_max"), [(EQUIPMENT, 1), (CONSUMABLE, 99)])
def test_purchase_when_not_all_fits_then_nothing_is_sold(kind: int, stack_max: int) -> None:
    full = tuple(Item(n + 1, kind, n, 1, stack_max) for n in range(10))
    resident = player(gold=1000, items=full)
    assert_refused(ask(resident, line(kind=kind)), Code.BAG_FULL)
    resident = player(gold=1000, items=full[:-1])
    assert_refused(ask(resident, line(kind=kind, count=stack_max), 2), Code.BAG_FULL)
    bought(resident, line(kind=kind, count=stack_max))


def test_purchase_when_the_same_code_is_of_another_kind_then_they_are_not_mixed_up() -> None:
    resident = player(gold=1000)
    for kind in (EQUIPMENT, CONSUMABLE, MATERIAL):
        bought(resident, line(kind=kind))
    assert [(item.kind, item.code) for item in resident.bag.items()] == [(0, 1), (1, 1), (2, 1)]


# -- rentals ---------------------------------------------------------------------------------------


def test_purchase_when_for_days_then_the_item_expires_after_them() -> None:
    resident = player(gold=1000)
    outcome = bought(resident, line(kind=EQUIPMENT, code=5, days=7))
    assert outcome.replies[0].items[0].expires_ms == NOW_MS + 7 * DAY_MS
    assert resident.bag.items()[0].expires_ms == NOW_MS + 7 * DAY_MS


def test_purchase_when_for_days_then_it_does_not_stack_with_what_lasts() -> None:
    resident = player(gold=1000, items=(Item(1, CONSUMABLE, 0, 1, 5),))
    bought(resident, line(days=1))
    assert [item.count for item in resident.bag.items()] == [5, 1]
    bought(resident, line())
    assert [item.count for item in resident.bag.items()] == [6, 1]


# -- sale windows ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("from_ms", "until_ms", "sold"),
    [
        (0, 0, True),
        (NOW_MS, 0, True),
        (NOW_MS + 1, 0, False),
        (0, NOW_MS, False),
        (0, NOW_MS + 1, True),
        (NOW_MS, NOW_MS + 1, True),
    ],
)
def test_purchase_when_outside_its_sale_window_then_is_refused(
    from_ms: int, until_ms: int, sold: bool
) -> None:
    outcome = ask(player(gold=10), line(from_ms=from_ms, until_ms=until_ms))
    if sold:
        assert isinstance(outcome, Outcome)
    else:
        assert_refused(outcome, Code.NOT_ON_SALE)


# -- daily limits ----------------------------------------------------------------------------------


def test_daily_limit_when_reached_then_is_refused_with_what_is_left() -> None:
    resident, limited = player(gold=1000), line(daily_limit=5)
    bought(resident, limited, 3)
    assert_refused(ask(resident, limited, 3), Code.DAILY_LIMIT, "2")
    bought(resident, limited, 2)
    assert_refused(ask(resident, limited), Code.DAILY_LIMIT, "0")
    key = (int(CounterKind.SHOP_DAILY), limited.number)
    assert resident.counters == {key: Counter(TODAY, 5)}


def test_daily_limit_when_midnight_passes_then_begins_again() -> None:
    resident, limited = player(gold=1000), line(daily_limit=2)
    midnight = (TODAY + 1) * DAY_MS
    bought(resident, limited, 2, midnight - 1)
    assert_refused(ask(resident, limited, 1, midnight - 1), Code.DAILY_LIMIT)
    outcome = bought(resident, limited, 2, midnight)
    raised = [change for change in outcome.changes if isinstance(change, CounterRaised)]
    assert [(change.window, change.count, change.is_new) for change in raised] == [
        (TODAY + 1, 2, False)
    ]


def test_daily_limit_when_a_slower_clock_says_yesterday_then_today_goes_on() -> None:
    """Servers' clocks differ around midnight: moving between them must not start the day anew."""
    resident, limited = player(gold=1000), line(daily_limit=2)
    midnight = (TODAY + 1) * DAY_MS
    bought(resident, limited, 2, midnight + 1)
    assert_refused(ask(resident, limited, 1, midnight - 1), Code.DAILY_LIMIT, "0")


def test_daily_limit_when_a_clock_was_days_ahead_then_does_not_hold_him_until_that_day() -> None:
    resident, limited = player(gold=1000), line(daily_limit=2)
    bought(resident, limited, 2, (TODAY + 9) * DAY_MS)
    bought(resident, limited, 2, TODAY * DAY_MS)
    assert_refused(ask(resident, limited, 1, TODAY * DAY_MS), Code.DAILY_LIMIT, "0")
    bought(resident, limited, 2, (TODAY + 1) * DAY_MS)


def test_daily_limit_when_content_lowers_it_then_nothing_negative_is_told() -> None:
    resident = player(gold=1000)
    bought(resident, line(daily_limit=5), 5)
    assert_refused(ask(resident, line(daily_limit=3)), Code.DAILY_LIMIT, "0")


def test_daily_limit_when_of_one_line_then_others_are_free() -> None:
    resident = player(gold=1000)
    bought(resident, line(daily_limit=1))
    bought(resident, line(number=2, daily_limit=1))
    bought(resident, line(number=3))
    assert len(resident.counters) == 2


# -- mileage ---------------------------------------------------------------------------------------


def test_mileage_when_a_line_earns_it_then_comes_with_the_purchase() -> None:
    resident = player(gold=100, mileage=1)
    outcome = bought(resident, line(mileage=4), 2)
    reply = outcome.replies[0]
    assert (reply.mileage_earned, reply.mileage, resident.wallet.mileage) == (8, 9, 9)
    assert CoinsMoved(Currency.MILEAGE, 8, Account.MINT_MILEAGE) in outcome.changes


def test_mileage_when_it_pays_and_is_earned_then_both_are_in_the_balance() -> None:
    resident = player(mileage=100)
    reply = bought(resident, line(currency=2, price=30, mileage=4)).replies[0]
    assert (reply.spent, reply.balance, reply.mileage) == (30, 74, 74)
    assert resident.wallet.mileage == 74


@pytest.mark.parametrize(
    ("currency", "mileage", "sold"),
    [(0, COINS_MAX - 4, True), (0, COINS_MAX - 3, False), (2, COINS_MAX, True)],
)
def test_mileage_when_it_would_overflow_then_nothing_is_sold(
    currency: int, mileage: int, sold: bool
) -> None:
    resident = player(gold=100, mileage=mileage)
    outcome = ask(resident, line(currency=currency, mileage=4))
    if sold:
        applied(resident, done(outcome))
        assert resident.wallet.mileage <= COINS_MAX
    else:
        assert_refused(outcome, Code.COINS_LIMIT)


def test_buy_when_a_client_states_it_then_names_no_item_no_kind_no_slot_and_no_currency() -> None:
    assert set(Buy.__struct_fields__) == {"op", "catalogue", "line", "quantity", "price"}


def test_purchase_when_expired_rentals_fill_the_bag_then_they_leave_for_the_next_try() -> None:
    full = tuple(
        Item(n + 1, EQUIPMENT, n, 1, 1, expires_ms=NOW_MS if n == 4 else 0) for n in range(10)
    )
    resident, sword = player(gold=1000, items=full), line(kind=EQUIPMENT)
    refused = ask(resident, sword)
    assert_refused(refused, Code.BAG_FULL)
    (tell,) = done(refused).tells
    env = Game("center", 2).env(1)
    applied(resident, expire(tell.message, **parts(resident, "bag"), env=env))
    assert bought(resident, sword).replies[0].items[0].slot == 4
    assert done(ask(player(gold=1000, items=full[:4] + full[5:]), sword)).tells == ()
