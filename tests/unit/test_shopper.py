"""The shopper's own record: what is acknowledged is taken down once, every lie is noticed."""

import random
from typing import Any

import pytest
from msgspec.structs import replace

from mmo.client import shopper
from mmo.client.hero import Hero
from mmo.client.meter import Meter
from mmo.client.protocol import Answer
from mmo.client.purchases import take_down
from mmo.client.shopper import Market, operate, read_market, repeat_last
from mmo.client.steps import CENTER, Receive, Send, Walk
from mmo.wire.messages.enhance import Enhance, EnhanceOk, OddsAsk, OddsOk, OddsRow
from mmo.wire.messages.inventory import ItemsExpired, ItemUse, ItemUseOk
from mmo.wire.messages.pass_view import PassView
from mmo.wire.messages.presence import ItemView, Welcome
from mmo.wire.messages.season_pass import (
    PassBuy,
    PassPageAsk,
    PassPageOk,
    PassStateAsk,
    PassStateOk,
)
from mmo.wire.messages.session import Refused
from mmo.wire.messages.shop import ShopLineView, ShopPageAsk, ShopPageOk
from mmo.wire.opcode import Code

POTION = ItemView(5, 1, 0, 1, 3, 0)
RENTED = ItemView(9, 0, 0, 1, 1, 0, expires_ms=1_000)
USE = ItemUse((1, 1), 5, 1)
USED = ItemUseOk(5, 2, 1, 0, 2, 0, 70)


def welcome(gold: int, exp: int, level: int, potions: int) -> Welcome:
    """What an arrival tells."""
    held = [ItemView(5, 1, 0, 1, potions, 0)]
    return Welcome(1, "Ann", 1, 1, 2, level, exp, gold, 0, 0, 0, 0, [], held, [])


@pytest.fixture
def me() -> Hero:
    hero = Hero("Ann", "a password", [("127.0.0.1", 1)], Meter(), random.Random(1), lambda: 0.0)
    hero.meet(welcome(70, 0, 1, 3))
    return hero


def answered(walk: Walk[Any], me: Hero, answer: Any, told: Welcome | None = None) -> Any:
    """Drive one request to its end; `told` arrives while it is open."""
    step = next(walk)
    assert isinstance(step, Send) and step.lane == CENTER
    step = walk.send(7)
    assert isinstance(step, Receive)
    if told is not None:
        me.meet(told)
    try:
        walk.send(Answer(7, answer))
    except StopIteration as end:
        return end.value
    raise AssertionError("the walk goes on after its answer")


def test_answer_when_it_comes_then_is_taken_down(me: Hero) -> None:
    market = Market()
    assert answered(operate(me, market, USE), me, USED) == USED
    assert (me.record.level, me.record.exp, me.record.gold) == (2, 0, 70)
    assert me.record.items[5].count == 2
    assert me.record.compare(welcome(70, 0, 2, 2)) == []
    assert me.meter.errors == 0


def rented(now_ms: int, *held: ItemView) -> Welcome:
    """What an arrival at a moment tells of equipment."""
    return replace(welcome(70, 0, 1, 3), equipment=list(held), now_ms=now_ms)


def test_rented_item_when_its_end_is_told_then_the_record_has_it_no_more(me: Hero) -> None:
    me.record.adopt(rented(0, RENTED))
    me.hear(ItemsExpired([RENTED.uid]))
    assert me.record.compare(rented(1_000, RENTED)) == ["item 9 was never told"]
    assert me.record.compare(rented(1_000)) == []
    take_down(me.record, EnhanceOk(9, 1, True, 1, 1, 0, 0, 70, 1, 1))  # an old answer, told again
    assert 9 not in me.record.items


@pytest.mark.parametrize(("now_ms", "differences"), [(999, 1), (1_000, 0)])
def test_rented_item_when_its_end_was_not_heard_then_it_may_be_gone_from_then_on(
    me: Hero, now_ms: int, differences: int
) -> None:
    me.record.adopt(rented(0, RENTED))
    assert len(me.record.compare(rented(now_ms))) == differences


def test_refusal_when_it_is_expected_then_changes_nothing(me: Hero) -> None:
    refused = Refused(Code.NOT_USABLE)
    assert answered(operate(me, Market(), USE, (Code.NOT_USABLE,)), me, refused) == refused
    assert me.record.compare(welcome(70, 0, 1, 3)) == [] and me.meter.errors == 0


@pytest.mark.parametrize("told", [welcome(70, 0, 1, 3), welcome(70, 0, 2, 2)])
def test_arrival_when_a_request_is_open_then_may_tell_the_state_before_or_after_it(
    me: Hero, told: Welcome
) -> None:
    answered(operate(me, Market(), USE), me, USED, told)
    assert me.meter.errors == 0 and me.record.items[5].count == 2


@pytest.mark.parametrize(
    "told", [welcome(70, 0, 1, 2), welcome(70, 0, 2, 3), welcome(71, 0, 2, 2), welcome(70, 0, 2, 1)]
)
def test_arrival_when_it_tells_half_of_an_open_request_then_is_an_error(
    me: Hero, told: Welcome
) -> None:
    answered(operate(me, Market(), USE), me, USED, told)
    assert me.meter.errors == 1 and "half done" in me.meter.findings[0]


def test_repeat_when_the_bytes_are_the_same_then_nothing_is_taken_down_again(me: Hero) -> None:
    market = Market()
    answered(operate(me, market, USE), me, USED)
    answered(repeat_last(me, market), me, USED)
    assert me.meter.errors == 0 and me.record.items[5].count == 2


def test_repeat_when_one_number_differs_then_is_an_error(me: Hero) -> None:
    market = Market()
    answered(operate(me, market, USE), me, USED)
    answered(repeat_last(me, market), me, ItemUseOk(5, 1, 1, 0, 2, 0, 70))
    assert me.meter.errors == 1 and "second time" in me.meter.findings[0]


LINE = ShopLineView(1, 0, 1, "Sword", 1, 0, 0, 9, 0, 0, 0, 0)
PASS = PassView(3, "One", 0, 9, 2, 0, 0, False, 50, [], [])
TOLD: dict[type, Any] = {
    ShopPageAsk: ShopPageOk(77, 0, 1, [LINE]),
    PassPageAsk: PassPageOk(8, 0, 1, []),
    PassStateAsk: PassStateOk([PASS]),
    OddsAsk: OddsOk(4, [OddsRow(0, 1_000_000, 5)]),
}


def said(walk: Walk[Any]) -> list[Any]:
    """What a walk says while it is told of the market, up to what is answered otherwise."""
    sent: list[Any] = []
    try:
        step = next(walk)
        while isinstance(step, Send):
            sent.append(step.message)
            answer = TOLD.get(type(step.message))
            if answer is None:
                break
            walk.send(7)
            step = walk.send(Answer(7, answer))
    except StopIteration:
        pass
    return sent


def test_price_when_it_was_shown_then_is_said_with_the_wish(me: Hero) -> None:
    market = Market()
    assert {type(one) for one in said(read_market(me, market))} == set(TOLD)
    me.record.items[9] = RENTED
    tried, _ = shopper._enhance(me, market) or (None, ())
    assert isinstance(tried, Enhance) and (tried.uid, tried.table) == (RENTED.uid, 4)
    wishes = {said(shopper._refused_once(me, market))[0] for _ in range(200)}
    bought = {(one.pass_id, one.price) for one in wishes if isinstance(one, PassBuy)}
    assert bought == {(3, 50), (3, 51)}  # what it costs, and what it does not
