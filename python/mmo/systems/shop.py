"""The shop: pages of the catalogue, and buying.

Installed wherever players are owned. The server's catalogue decides price, currency, content and
limits; a client says which line and how many, and which catalogue and price it saw, so that nobody
pays a price that he was not shown.
"""

from mmo.content import Content
from mmo.content.shop import ShopLine
from mmo.contract import Env, Outcome, Refuse, handles
from mmo.state.bag import Bag
from mmo.state.change import Change
from mmo.state.counters import Counter, CounterKind, CounterRaised, of_day
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency, Wallet
from mmo.systems.inventory import item_of, item_view, no_room, place_items
from mmo.systems.missions import PassParts, with_event
from mmo.wire.messages.shop import Buy, BuyOk, ShopPageAsk
from mmo.wire.opcode import Code, Op

DAY_MS = 86_400_000
NOT_ENOUGH = (Code.NOT_ENOUGH_GOLD, Code.NOT_ENOUGH_CASH, Code.NOT_ENOUGH_MILEAGE)

_LINE_UNKNOWN = Refuse(Code.SHOP_LINE_UNKNOWN)


@handles(Op.SHOP_PAGE, rate="list")
def shop_page(message: ShopPageAsk, *, env: Env) -> Outcome | Refuse:
    """One prebuilt page, the same bytes for everybody."""
    pages = env.content.shop.pages
    if not 0 <= message.page < len(pages):
        return _LINE_UNKNOWN
    return Outcome(replies=(pages[message.page],))


@handles(Op.BUY, needs=("wallet", "bag", "counters", "pass_progress"), mutates=True)
def buy(
    message: Buy,
    *,
    wallet: Wallet,
    bag: Bag,
    counters: dict[tuple[int, int], Counter],
    pass_progress: PassParts,
    env: Env,
) -> Outcome | Refuse:
    """`quantity` times one line: coins out, items in, mileage earned, passes moved, all in one
    commit."""
    content: Content = env.content
    line = content.shop.lines.get(message.line)
    if line is None:
        return _LINE_UNKNOWN
    if message.catalogue != content.shop.catalogue or message.price != line.price:
        return Refuse(Code.PRICE_CHANGED, str(content.shop.catalogue))
    if not line.on_sale(env.now_ms):
        return Refuse(Code.NOT_ON_SALE)
    if not 1 <= message.quantity <= content.shop.quantity_max:
        return Refuse(Code.QUANTITY_INVALID)
    raised = _raised(line, message.quantity, counters, env.now_ms)
    if isinstance(raised, Refuse):
        return raised
    sold = _sold(line, message.quantity, wallet, bag, raised, env)
    return with_event(sold, content, pass_progress, "purchase", env)


def _raised(
    line: ShopLine, quantity: int, counters: dict[tuple[int, int], Counter], now_ms: int
) -> list[Change] | Refuse:
    """The day's counter of a limited line after this purchase."""
    if not line.daily_limit:
        return []
    kind = CounterKind.SHOP_DAILY
    before = counters.get((kind, line.number))
    bought = of_day(before, now_ms // DAY_MS)
    if bought.count + quantity > line.daily_limit:
        return Refuse(Code.DAILY_LIMIT, str(max(0, line.daily_limit - bought.count)))
    count = bought.count + quantity
    return [CounterRaised(kind, line.number, bought.window, count, before is None)]


def _sold(
    line: ShopLine, quantity: int, wallet: Wallet, bag: Bag, raised: list[Change], env: Env
) -> Outcome | Refuse:
    """Money, mileage and items of a purchase that its line allows."""
    spent, earned = line.price * quantity, line.mileage * quantity
    balance = wallet.of(line.currency) - spent
    if balance < 0:
        return Refuse(NOT_ENOUGH[line.currency])
    mileage = wallet.mileage + earned - (spent if line.currency == Currency.MILEAGE else 0)
    if mileage > COINS_MAX:
        return Refuse(Code.COINS_LIMIT)
    placed = place_items(
        env.content,
        bag,
        [(line.kind, line.code, line.count * quantity)],
        env.new_uid,
        Account.SINK_SHOP,
        env.now_ms + line.days * DAY_MS if line.days else 0,
    )
    if placed is None:
        return no_room(bag, env)
    changes: list[Change] = [CoinsMoved(line.currency, -spent, Account.SINK_SHOP), *placed, *raised]
    if earned:
        changes.append(CoinsMoved(Currency.MILEAGE, earned, Account.MINT_MILEAGE))
    reply = BuyOk(
        line=line.number,
        quantity=quantity,
        currency=line.currency,
        spent=spent,
        balance=mileage if line.currency == Currency.MILEAGE else balance,
        mileage_earned=earned,
        mileage=mileage,
        items=[item_view(item_of(placement)) for placement in placed],
    )
    return Outcome(replies=(reply,), changes=changes)
