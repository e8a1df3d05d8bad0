"""The shopper: hunts for gold, then buys, enhances, uses, moves, wears and claims.

Every mutating request carries its operation number. Some are repeated on purpose and must get the
same bytes, from whichever server owns the player then; some connections are cut between request and
answer, and the request is sent again until its fate is known. So the record of what was
acknowledged stays exact, and whatever a server tells on arrival must be the record before or after
the open request. Generators of `steps`; own no socket and no clock.
"""

from collections.abc import Callable
from typing import Any

from mmo.client.coming_back import come_back
from mmo.client.hero import Address, Hero, Record
from mmo.client.hunting import hold_on, hunt_while, settle
from mmo.client.purchases import copy_of, take_down
from mmo.client.session import (
    arrive,
    ask,
    code_name,
    compare_and_leave,
    keep_known,
    lobby,
    register,
)
from mmo.client.steps import CENTER, GAME, Drop, Lost, Pause, Send, Walk
from mmo.wire import codec
from mmo.wire.messages.enhance import Enhance, OddsAsk, OddsRow
from mmo.wire.messages.inventory import (
    ItemDrop,
    ItemEquip,
    ItemMove,
    ItemSplit,
    ItemUnequip,
    ItemUse,
)
from mmo.wire.messages.presence import ItemView
from mmo.wire.messages.season_pass import (
    PassBuy,
    PassClaim,
    PassPageAsk,
    PassPageOk,
    PassRewardView,
    PassStateAsk,
)
from mmo.wire.messages.session import Refused
from mmo.wire.messages.shop import Buy, ShopLineView, ShopPageAsk
from mmo.wire.opcode import Code

REPEAT_SHARE = 0.05
CUT_SHARE = 0.01
REFUSED_SHARE = 0.08
THINK_MS = (60.0, 300.0)
KILLS_A_HUNT = 6
SLOTS = 10
EQUIPMENT, CONSUMABLE = 0, 1
GOLD = 0
CURRENCY_REFUSALS = (Code.NOT_ENOUGH_GOLD, Code.NOT_ENOUGH_CASH, Code.NOT_ENOUGH_MILEAGE)

Wish = tuple[Any, tuple[Code, ...]]
"""A request without its operation number, and the refusals that are right."""


class Market:
    """What a shopper learnt of the catalogue, the passes and the odds, and what he did last."""

    def __init__(self) -> None:
        self.catalogue = 0
        self.lines: list[ShopLineView] = []
        self.rewards: list[PassRewardView] = []
        self.prices: dict[int, int] = {}  # of the paid line, by pass
        self.odds: list[OddsRow] = []
        self.table = 0  # that of the odds
        self.last: tuple[Any, bytes] | None = None  # the last answered request and its answer
        self.last_at: Address | None = None  # the channel server that gave it, None: a center


def shopper(me: Hero, seconds: float) -> Walk[None]:
    """Shop for `seconds`, then come back once more to compare, and log out."""
    yield from register(me)
    yield from arrive(me)
    until = me.clock() + seconds
    yield from shop_until_over(me, lambda: me.clock() < until)


def shop_until_over(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
    """Shop while told to; ends by comparing all that is owned."""
    market = Market()
    yield from hold_on(me, lambda: read_market(me, market), to_lobby=True)
    while goes_on():
        if not affordable(me, market):
            yield from _hunt(me, goes_on)
            yield from repeat_last(me, market)
        if me.game is not None and me.rng.random() < 0.5:
            yield from hold_on(me, lambda: to_lobby(me), to_lobby=True)
            yield from repeat_last(me, market)
        for _ in range(me.rng.randrange(5, 25)):
            if not goes_on():
                break
            yield from hold_on(me, lambda: keep_known(me), to_lobby=True)
            yield from shop_once(me, market)
            low, high = THINK_MS
            yield Pause(low + (high - low) * me.rng.random())
    yield from compare_and_leave(me)


def operate(
    me: Hero,
    market: Market,
    message: Any,
    expects: tuple[Code, ...] = (),
    *,
    cut: bool = False,
    take: Callable[[Record, Any], None] = take_down,
) -> Walk[Any]:
    """One mutating request to its end, whatever happens to connections: its answer, taken down.
    `cut`: the connection is cut on purpose before the first answer. `take`: makes the answer part
    of a record; a game of one's own knows how for its messages."""
    before, me.told_meanwhile = copy_of(me.record), []
    refusals = tuple(map(int, expects))
    try:
        while True:
            try:
                if cut:
                    cut = False
                    yield Send(_owner(me), message)
                    yield Drop(_owner(me))
                    raise Lost(_owner(me), 0, "cut on purpose")
                answer = yield from ask(me, _owner(me), message, expects=refusals)
                break
            except Lost as lost:
                yield from come_back(me, lost, to_lobby=True)
    finally:
        told, me.told_meanwhile = me.told_meanwhile, None
    after = copy_of(me.record)
    if not isinstance(answer, Refused):
        take(after, answer)
        market.last, market.last_at = (message, codec.encode(answer)), me.game
    for welcome in told:
        differences = after.compare(welcome)
        if differences and before.compare(welcome):
            me.meter.error(f"{me.name}: {message} half done: {'; '.join(differences)}")
    if told and me.record.loose:
        me.record.adopt(told[-1])
    if not isinstance(answer, Refused):
        take(me.record, answer)
    return answer


def _owner(me: Hero) -> str:
    """The connection to the server that owns the player."""
    return CENTER if me.game is None else GAME


def to_lobby(me: Hero) -> Walk[None]:
    """To the center, which owns him then; nothing happens where it does."""
    if me.game is not None:
        yield from lobby(me)


def _hunt(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
    """Some kills for gold, in whatever channel server has a seat."""
    yield from settle(me)
    enough = me.record.kills + KILLS_A_HUNT
    yield from hunt_while(me, lambda: goes_on() and me.record.kills < enough)


def read_market(me: Hero, market: Market) -> Walk[None]:
    """The whole catalogue, all rewards, what the paid lines cost and the odds, once a login."""
    market.lines, market.rewards, page, pages = [], [], 0, 1
    while page < pages:
        told = yield from ask(me, _owner(me), ShopPageAsk(page))
        market.lines += told.lines
        market.catalogue, pages, page = told.catalogue, told.pages, page + 1
    page, pages = 0, 1
    while page < pages:
        told = yield from ask(me, _owner(me), PassPageAsk(page), expects=(int(Code.PASS_UNKNOWN),))
        if not isinstance(told, PassPageOk):
            market.rewards, page, pages = [], 0, 1  # a pass ended meanwhile: other pages
            continue
        market.rewards += told.rewards
        pages, page = told.pages, page + 1
    passes = (yield from ask(me, _owner(me), PassStateAsk())).passes
    market.prices = {one.pass_id: one.price_cash for one in passes}
    odds = yield from ask(me, _owner(me), OddsAsk())
    market.odds, market.table = list(odds.rows), odds.table


def shop_once(me: Hero, market: Market) -> Walk[None]:
    """One thing a shopper does: buy, enhance, use, move, wear, drop, claim or ask for what must be
    refused; some requests are repeated, some connections cut."""
    if me.rng.random() < REFUSED_SHARE:
        yield from _refused_once(me, market)
        return
    if me.rng.random() < 0.1:
        yield from hold_on(me, lambda: claim(me, market), to_lobby=True)
        return
    wishes = (make(me, market) for make in me.rng.sample(_WISHES, len(_WISHES)))
    wish = next((one for one in wishes if one is not None), None)
    if wish is None:
        return
    message, expects = wish
    yield from operate(me, market, message, expects, cut=me.rng.random() < CUT_SHARE)
    if me.rng.random() < REPEAT_SHARE:
        yield from repeat_last(me, market)


def repeat_last(me: Hero, market: Market) -> Walk[None]:
    """Send the last answered request again, maybe to another server: its answer is the same."""
    if market.last is None:
        return
    message, first = market.last
    own, market.last = market.last, None
    answer = yield from operate_again(me, message)
    me.meter.repeated(elsewhere=me.game != market.last_at)
    market.last = own
    if codec.encode(answer) != first:
        me.meter.error(f"{me.name}: {message} was answered otherwise the second time: {answer}")


def operate_again(me: Hero, message: Any) -> Walk[Any]:
    """A request that was answered before; nothing of it is taken down again."""
    while True:
        try:
            return (yield from ask(me, _owner(me), message))
        except Lost as lost:
            yield from come_back(me, lost, to_lobby=True)


def claim(me: Hero, market: Market) -> Walk[None]:
    """Claim one reward that is reached and open, if any."""
    passes = (yield from ask(me, _owner(me), PassStateAsk())).passes
    open_ones = [
        (reward, mine)
        for reward in market.rewards
        for mine in passes
        if mine.pass_id == reward.pass_id
        and mine.level >= reward.level
        and (mine.paid or not reward.line)
        and (reward.pass_id, reward.level, reward.line) not in me.record.claimed
    ]
    if not open_ones:
        return
    reward, _ = me.rng.choice(open_ones)
    message = PassClaim(me.next_operation(), reward.pass_id, reward.level, reward.line)
    yield from operate(me, market, message, (Code.BAG_FULL,), cut=me.rng.random() < CUT_SHARE)


def _refused_once(me: Hero, market: Market) -> Walk[None]:
    """One request that must be refused, with the code that it must have."""
    line = me.rng.choice(market.lines)
    number, number_max = market.catalogue, 2**63 - 1
    op = me.next_operation()
    tries: tuple[tuple[Any, Code], ...] = (
        (Buy(op, number, line.line, 1, line.price - 1), Code.PRICE_CHANGED),
        (Buy(op, number + 1, line.line, 1, line.price), Code.PRICE_CHANGED),
        (Buy(op, number, -1, 1, 1), Code.SHOP_LINE_UNKNOWN),
        (Buy(op, number, line.line, 0, line.price), Code.QUANTITY_INVALID),
        (Buy(op, number, line.line, number_max, line.price), Code.QUANTITY_INVALID),
        (Enhance(op, number_max, market.table), Code.ITEM_UNKNOWN),
        (ItemUse(op, -1), Code.ITEM_UNKNOWN),
        (ItemDrop(op, 0, 1), Code.ITEM_UNKNOWN),
        (PassClaim(op, -1, 1, 0), Code.PASS_UNKNOWN),
    )
    for running, price in list(market.prices.items())[:1]:
        tries += (
            (PassClaim(op, running, number_max, 0), Code.PASS_REWARD_UNKNOWN),
            (PassBuy(op, running, price), Code.NOT_ENOUGH_CASH),
            (PassBuy(op, running, price + 1), Code.PRICE_CHANGED),
        )
    message, code = me.rng.choice(tries)
    answer = yield from operate(me, market, message, (code,))
    if not (isinstance(answer, Refused) and answer.code == code):
        me.meter.error(f"{me.name}: {message} was not refused with {code_name(code)}: {answer}")


def affordable(me: Hero, market: Market) -> list[ShopLineView]:
    """Lines for gold that he can pay now."""
    return [
        line
        for line in market.lines
        if line.currency == GOLD and line.price <= me.record.gold and not line.from_ms
    ]


# -- wishes: what he could do next, None when there is nothing to do it with ---------------------


def _buy(me: Hero, market: Market) -> Wish | None:
    lines = affordable(me, market)
    if not lines:
        return None
    line = me.rng.choice(lines)
    quantity = me.rng.randrange(1, 1 + min(3, me.record.gold // line.price))
    message = Buy(me.next_operation(), market.catalogue, line.line, quantity, line.price)
    return message, (Code.BAG_FULL,)


def _enhance(me: Hero, market: Market) -> Wish | None:
    ready = [
        item
        for item in _items(me, lambda item: item.kind == EQUIPMENT)
        if item.enhance < len(market.odds) and market.odds[item.enhance].cost <= me.record.gold
    ]
    if not ready:
        return None
    item = me.rng.choice(ready)
    cost = market.odds[item.enhance].cost
    return Enhance(me.next_operation(), item.uid, market.table, cost), ()


def _use(me: Hero, market: Market) -> Wish | None:
    held = _items(me, lambda item: item.kind == CONSUMABLE)
    if not held:
        return None
    item = me.rng.choice(held)
    message = ItemUse(me.next_operation(), item.uid, me.rng.randrange(1, 1 + min(3, item.count)))
    return message, (Code.NOT_USABLE,)  # at the highest level it would give nothing


def _drop(me: Hero, market: Market) -> Wish | None:
    """Make room in a kind that is nearly full."""
    crowded = [
        item
        for item in _items(me, lambda item: not item.equipped)
        if len(_items(me, lambda other, kind=item.kind: other.kind == kind)) >= SLOTS - 2
    ]
    if not crowded:
        return None
    item = me.rng.choice(crowded)
    return ItemDrop(me.next_operation(), item.uid, me.rng.randrange(1, 1 + item.count)), ()


def _move(me: Hero, market: Market) -> Wish | None:
    held = _items(me, lambda item: True)
    if not held:
        return None
    item = me.rng.choice(held)
    slot = me.rng.choice([slot for slot in range(SLOTS) if slot != item.slot])
    return ItemMove(me.next_operation(), item.uid, slot), ()


def _split(me: Hero, market: Market) -> Wish | None:
    held = _items(me, lambda item: item.kind != EQUIPMENT and item.count > 1)
    if not held:
        return None
    item = me.rng.choice(held)
    message = ItemSplit(me.next_operation(), item.uid, me.rng.randrange(1, item.count))
    return message, (Code.BAG_FULL,)


def _wear(me: Hero, market: Market) -> Wish | None:
    held = _items(me, lambda item: item.kind == EQUIPMENT)
    if not held:
        return None
    item = me.rng.choice(held)
    form = ItemUnequip if item.equipped else ItemEquip
    return form(me.next_operation(), item.uid), ()


def _items(me: Hero, chosen: Callable[..., bool]) -> list[ItemView]:
    """His items by uid, so that the same seed walks the same way."""
    return [item for _, item in sorted(me.record.items.items()) if chosen(item)]


_WISHES = (_buy, _enhance, _use, _drop, _move, _split, _wear)
