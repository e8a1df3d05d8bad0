"""Enhancement: cost, odds and the roll that nobody can repeat.

Installed wherever players are owned. The roll is `env.roll`, a function of the item, the number of
the attempt and the odds table under the key of the day on which the session began: the same attempt
has the same outcome after any crash or retry, and with the revealed key any player checks it.
"""

from msgspec.structs import replace

from mmo.content import Content
from mmo.content.schema import EnhanceStep
from mmo.content.tables import EQUIPMENT
from mmo.contract import Env, Outcome, Refuse, handles
from mmo.state.bag import Bag, Item, ItemEnhanced
from mmo.state.change import Change
from mmo.state.player import Head
from mmo.state.roll import day_of, rolls_until_ms
from mmo.state.wallet import Account, CoinsMoved, Currency, Wallet
from mmo.systems.items import live_item
from mmo.systems.missions import PassParts, with_event
from mmo.wire.messages.enhance import Enhance, EnhanceOk, OddsAsk, OddsOk, OddsRow
from mmo.wire.opcode import Code, Op


@handles(Op.ODDS, rate="list")
def odds(message: OddsAsk, *, env: Env) -> Outcome:
    """The table that decides, as it is."""
    table = env.content.enhance
    rows = [OddsRow(level, row.chance_ppm, row.cost_gold) for level, row in enumerate(table.step)]
    return Outcome(replies=(OddsOk(table.table, rows),))


@handles(Op.ENHANCE, needs=("head", "bag", "wallet", "pass_progress"), mutates=True)
def enhance(
    message: Enhance,
    *,
    head: Head,
    bag: Bag,
    wallet: Wallet,
    pass_progress: PassParts,
    env: Env,
) -> Outcome | Refuse:
    """One attempt: the cost is gone either way, a failure keeps the item as it is. Nobody pays
    another cost, nor tries by another table, than he says he was shown."""
    content: Content = env.content
    item = live_item(bag, message.uid, env.now_ms)
    if item is None:
        return Refuse(Code.ITEM_UNKNOWN)
    if item.kind != EQUIPMENT:
        return Refuse(Code.NOT_ENHANCEABLE)
    table = content.enhance
    if message.table not in (0, table.table):
        return Refuse(Code.PRICE_CHANGED, str(table.table))
    if item.enhance >= len(table.step):
        return Refuse(Code.ENHANCE_MAX)
    step = table.step[item.enhance]
    if message.cost not in (0, step.cost_gold):
        return Refuse(Code.PRICE_CHANGED, str(step.cost_gold))
    if env.now_ms >= rolls_until_ms(day_of(head.login_ms)):
        return Refuse(Code.ROLL_DAY_OVER)
    if wallet.gold < step.cost_gold:
        return Refuse(Code.NOT_ENOUGH_GOLD)
    tried = _tried(item, step, head, wallet, env)
    return with_event(tried, content, pass_progress, "enhance", env)


def _tried(item: Item, step: EnhanceStep, head: Head, wallet: Wallet, env: Env) -> Outcome:
    """The attempt itself, when nothing speaks against it."""
    table = env.content.enhance.table
    assert env.roll is not None, "a role with enhancement gets a roll"
    attempt, day = item.attempts + 1, day_of(head.login_ms)
    rolled = env.roll(item.uid, attempt, table, day)
    success = rolled < step.chance_ppm
    after = replace(item, enhance=item.enhance + success, attempts=attempt)
    changes: list[Change] = [ItemEnhanced(after, item.enhance, rolled, step.chance_ppm, table, day)]
    if step.cost_gold:
        changes.append(CoinsMoved(Currency.GOLD, -step.cost_gold, Account.SINK_ENHANCE))
    reply = EnhanceOk(
        uid=item.uid,
        enhance=after.enhance,
        success=success,
        attempt=attempt,
        chance_ppm=step.chance_ppm,
        roll_ppm=rolled,
        cost=step.cost_gold,
        gold=wallet.gold - step.cost_gold,
        day=day,
        table=table,
    )
    return Outcome(replies=(reply,), changes=changes)
