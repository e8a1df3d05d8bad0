"""Levels and experience, and what a kill gives its killer.

Installed wherever players are owned. Decides in the earner's own lane; the node commits before the
player is told.
"""

from mmo.content import Content
from mmo.content.schema import Levels
from mmo.contract import Env, Outcome, Send, ToUser, handles
from mmo.state.bag import Bag, Item, ItemDied
from mmo.state.change import Change
from mmo.state.growth import ExpGained, Growth
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency, Wallet
from mmo.systems.inventory import Placement, expired_items, item_of, item_view, place_items
from mmo.systems.missions import PassParts, moved_by
from mmo.wire.messages.hunt import KillEarned, KillReward
from mmo.wire.messages.inventory import ItemsExpired
from mmo.wire.opcode import Op


def gain_exp(levels: Levels, growth: Growth, exp: int) -> ExpGained | None:
    """What `exp` (0 or more) makes of `growth`: as many levels as it pays for. At the highest level
    experience stays 0 and nothing counts. None when nothing changes."""
    level, left = growth.level, growth.exp + exp
    while level < levels.level_max and left >= levels.exp_need[level]:
        left -= levels.exp_need[level]
        level += 1
    gained = exp
    if level >= levels.level_max:
        gained, left = max(0, exp - left), 0
    if (level, left) == (growth.level, growth.exp):
        return None
    return ExpGained(gained, level, left)


def gain_coins(wallet: Wallet, currency: Currency, amount: int, account: Account) -> int:
    """How much of `amount` (0 or more) still fits below the highest balance."""
    return min(amount, COINS_MAX - wallet.of(currency))


@handles(Op.KILL_EARNED, by="node", needs=("growth", "wallet", "bag", "pass_progress"))
def reward_kill(
    message: KillEarned,
    *,
    growth: Growth,
    wallet: Wallet,
    bag: Bag,
    pass_progress: PassParts,
    env: Env,
) -> Outcome:
    """Experience, gold, the drop and the missions of one kill in one commit. What gives nothing,
    such as a straw man, counts for no mission."""
    over, placed = _dropped(message, bag, env)
    outcome = _rewarded(message, placed, growth, wallet, pass_progress, env)
    if over:
        outcome.replies = (*outcome.replies, ItemsExpired([item.uid for item in over]))
        died = [ItemDied(item, Account.SINK_EXPIRED) for item in over]
        outcome.changes = [*died, *outcome.changes]
        # When their days go on by the database's clock they hold their room, and the drop has none.
        outcome.row_refused = _rewarded(message, None, growth, wallet, pass_progress, env)
    return outcome


def _rewarded(
    message: KillEarned,
    placed: list[Placement] | None,
    growth: Growth,
    wallet: Wallet,
    pass_progress: PassParts,
    env: Env,
) -> Outcome:
    """What a kill gives, with its drop placed so; None: no room for it."""
    content: Content = env.content
    changes: list[Change] = []
    grown = gain_exp(content.levels, growth, message.exp)
    if grown is not None:
        changes.append(grown)
    gold = gain_coins(wallet, Currency.GOLD, message.gold, Account.MINT_HUNT)
    if gold > 0:
        changes.append(CoinsMoved(Currency.GOLD, gold, Account.MINT_HUNT))
    changes += placed or ()
    sends: list[Send] = []
    if message.exp or message.gold:
        moved, told = moved_by(content, pass_progress, "kill", env.now_ms)
        changes += moved
        sends += [ToUser(env.sender.user, each) for each in told]
    level = growth.level if grown is None else grown.level
    reward = KillReward(
        kind=message.kind,
        exp_gained=0 if grown is None else grown.gained,
        level=level,
        exp=growth.exp if grown is None else grown.exp,
        levels_gained=level - growth.level,
        gold_gained=gold,
        gold=wallet.gold + gold,
        items=[item_view(item_of(one)) for one in placed or ()],
        bag_full=placed is None,
    )
    return Outcome(replies=(reward,), changes=changes, sends=sends)


def _dropped(message: KillEarned, bag: Bag, env: Env) -> tuple[list[Item], list[Placement] | None]:
    """What has expired and dies now because it holds the room of the drop, which falls once; and
    where the drop goes. None: no room."""
    if message.drop is None:
        return [], []
    over: list[Item] = []
    placed = place_items(env.content, bag, [message.drop], env.new_uid, Account.MINT_HUNT)
    if placed is None and (over := expired_items(bag, env.now_ms)):
        live = Bag([item for item in bag.items() if item not in over])
        placed = place_items(env.content, live, [message.drop], env.new_uid, Account.MINT_HUNT)
    return ([] if placed is None else over), placed
