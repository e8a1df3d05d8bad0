"""Grants: what others left for a player, claimed once by his owner.

Installed wherever players are owned. A grant that does not fit now (bag full, balance at its limit)
stays unclaimed and is tried again at the next sweep; nothing of it is lost or given in part. Rented
items whose days are over leave meanwhile, so they are in its way once at most.
"""

from collections.abc import Iterable, Sequence
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from mmo.content import Content
from mmo.contract import Env, Outcome, handles
from mmo.state.bag import Bag, ItemBorn, ItemDied, ItemStacked
from mmo.state.change import Change
from mmo.state.grant import Bundle, BundleItem, GrantClaimed, SourceKind
from mmo.state.growth import Growth
from mmo.state.score import Score, ScoreRaised
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency, Wallet
from mmo.systems.growth import gain_exp
from mmo.systems.inventory import Placement, expiry, item_view, place_items
from mmo.systems.items import less
from mmo.systems.missions import PassParts, with_event
from mmo.wire.messages.cash import CashChanged
from mmo.wire.messages.hunt import GrantClaim, GrantReward
from mmo.wire.opcode import Op

_decode_bundle = msgspec.msgpack.Decoder(Bundle).decode
_MINTS = MappingProxyType(
    {
        int(SourceKind.PAYMENT): Account.MINT_PAYMENT,
        int(SourceKind.CORRECTION): Account.MINT_CORRECTION,
    }
)
_SINKS = MappingProxyType(
    {
        int(SourceKind.REFUND): Account.SINK_REFUND,
        int(SourceKind.CORRECTION): Account.SINK_CORRECTION,
    }
)
_EVENTS = MappingProxyType({int(SourceKind.RAID): "raid", int(Op.KILL_EARNED): "kill"})
"""Grants that are events of the missions: who owned the player then could not count them. A kill
that gives neither experience nor gold, such as a straw man's, is none (`growth.reward_kill`); nor
is a raid that leaves him its score alone, for he idled or did less than his share."""


@handles(Op.GRANT_CLAIM, by="node", needs=("growth", "wallet", "bag", "score", "pass_progress"))
def claim_grant(
    message: GrantClaim,
    *,
    growth: Growth,
    wallet: Wallet,
    bag: Bag,
    score: Score,
    pass_progress: PassParts,
    env: Env,
) -> Outcome:
    """All parts of the bundle in one commit with the claim, then the player is told. A refund takes
    cash back even when it was spent: what is missing stays owed, and later cash pays it first."""
    content: Content = env.content
    bundle = _decode_bundle(message.bundle)
    coins = coins_of(bundle, wallet, message.source_kind)
    mint = _MINTS.get(message.source_kind, Account.MINT_GRANT)
    wanted = [(item.kind, item.code, item.count) for item in bundle.items if item.count > 0]
    taken = taken_from(bag, [item for item in bundle.items if item.count <= 0])
    left = _without(bag, taken or ())
    placed = place_items(content, left, wanted, env.new_uid, mint)
    if coins is None or placed is None or taken is None or bundle.exp < 0:
        return Outcome(tells=expiry(bag, env))
    enhance_born(placed, bundle.items)
    grown = gain_exp(content.levels, growth, bundle.exp)
    claimed = GrantClaimed(message.source_kind, message.source_id)
    changes: list[Change] = [claimed, *coins, *taken, *placed]
    if grown is not None:
        changes.append(grown)
    if bundle.score > score.best:
        changes.append(ScoreRaised(bundle.score))
    balances = [wallet.gold, wallet.cash, wallet.mileage]
    for moved in coins:
        balances[moved.currency] += moved.amount
    shrunk = [change for change in taken if isinstance(change, ItemStacked)]
    items = {one.item.uid: item_view(one.item) for one in (*shrunk, *placed)}
    told = GrantReward(
        source_kind=message.source_kind,
        source_id=message.source_id,
        exp_gained=0 if grown is None else grown.gained,
        level=growth.level if grown is None else grown.level,
        exp=growth.exp if grown is None else grown.exp,
        gold=balances[0],
        cash=balances[1],
        mileage=balances[2],
        items=list(items.values()),
        gone=[change.item.uid for change in taken if isinstance(change, ItemDied)],
    )
    outcome = Outcome(replies=[told], changes=changes)
    if bundle.cash:
        outcome.replies = [told, CashChanged(balances[1], bundle.cash)]
    event = _EVENTS.get(message.source_kind)
    is_earned = bundle.exp or bundle.gold or (event == "raid" and bundle.items)
    if event is not None and is_earned:
        with_event(outcome, content, pass_progress, event, env)
    return outcome


def taken_from(bag: Bag, items: list[BundleItem]) -> list[ItemStacked | ItemDied] | None:
    """What corrections take away (counts below 0): all of it from what is not worn first, the
    smallest stacks before others; None when there is not so much. Rented items are not counted by a
    restore and stay."""
    taken: list[ItemStacked | ItemDied] = []
    for wanted in items:
        left = -wanted.count
        held = [
            item
            for item in bag.items(wanted.kind)
            if (item.code, item.enhance, item.expires_ms) == (wanted.code, wanted.enhance, 0)
        ]
        for item in sorted(held, key=lambda item: (item.equipped, item.count, item.slot)):
            if left:
                part = min(left, item.count)
                taken.append(less(item, part, Account.SINK_CORRECTION))
                left -= part
        if left:
            return None
    return taken


def _without(bag: Bag, taken: Sequence[ItemStacked | ItemDied]) -> Bag:
    """The bag once that is taken: what is given goes into the slots that become free."""
    if not taken:
        return bag
    left = Bag(bag.items())
    for change in taken:
        if isinstance(change, ItemDied):
            left.take(change.item.uid)
        else:
            left.put(change.item)
    return left


def enhance_born(placed: list[Placement], items: Iterable[BundleItem]) -> None:
    """Give newborn items the level of enhancement that the bundle says."""
    for wanted in items:
        left = wanted.count if wanted.enhance else 0
        for index, placement in enumerate(placed):
            item = placement.item
            same = (item.kind, item.code, item.enhance) == (wanted.kind, wanted.code, 0)
            if left > 0 and same and isinstance(placement, ItemBorn):
                placed[index] = replace(placement, item=replace(item, enhance=wanted.enhance))
                left -= 1


def coins_of(bundle: Bundle, wallet: Wallet, source_kind: int) -> list[CoinsMoved] | None:
    """The coins of a bundle, from the account of its source; None when a balance would leave its
    limits. Cash alone may be owed."""
    moved: list[CoinsMoved] = []
    for currency, amount, least in (
        (Currency.GOLD, bundle.gold, 0),
        (Currency.CASH, bundle.cash, -COINS_MAX),
        (Currency.MILEAGE, bundle.mileage, 0),
    ):
        if not amount:
            continue
        if not least <= wallet.of(currency) + amount <= COINS_MAX:
            return None
        accounts = _MINTS if amount > 0 else _SINKS
        moved.append(CoinsMoved(currency, amount, accounts.get(source_kind, Account.MINT_GRANT)))
    return moved
