"""Grants: what others left for a player, claimed once by his owner.

Installed wherever players are owned. A grant that does not fit now (bag full, balance at its limit)
stays unclaimed and is tried again at the next sweep; nothing of it is lost or given in part.
"""

import msgspec

from mmo.content import Content
from mmo.contract import Env, Outcome, handles
from mmo.state.bag import Bag
from mmo.state.change import Change
from mmo.state.grant import Bundle, GrantClaimed
from mmo.state.growth import Growth
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency, Wallet
from mmo.systems.growth import gain_exp
from mmo.systems.inventory import item_of, item_view, place_items
from mmo.wire.messages.hunt import GrantClaim, GrantReward
from mmo.wire.opcode import Op

_decode_bundle = msgspec.msgpack.Decoder(Bundle).decode


@handles(Op.GRANT_CLAIM, by="node", needs=("growth", "wallet", "bag"))
def claim_grant(
    message: GrantClaim, *, growth: Growth, wallet: Wallet, bag: Bag, env: Env
) -> Outcome:
    """All parts of the bundle in one commit with the claim, then the player is told."""
    content: Content = env.content
    bundle = _decode_bundle(message.bundle)
    balances: list[int] = []
    changes: list[Change] = [GrantClaimed(message.source_kind, message.source_id)]
    for currency, amount in (
        (Currency.GOLD, bundle.gold),
        (Currency.CASH, bundle.cash),
        (Currency.MILEAGE, bundle.mileage),
    ):
        balance = wallet.of(currency) + amount
        # Cash may be owed after a refunded payment; the other two never go below nothing.
        if balance > COINS_MAX or (balance < 0 and currency != Currency.CASH):
            return Outcome()
        balances.append(balance)
        if amount:
            changes.append(CoinsMoved(currency, amount, Account.MINT_GRANT))
    if bundle.exp < 0:
        return Outcome()
    placed = place_items(
        content,
        bag,
        [(item.kind, item.code, item.count) for item in bundle.items],
        env.new_uid,
        Account.MINT_GRANT,
    )
    if placed is None:
        return Outcome()
    changes.extend(placed)
    grown = gain_exp(content.levels, growth, bundle.exp)
    if grown is not None:
        changes.append(grown)
    items = {item_of(placement).uid: item_view(item_of(placement)) for placement in placed}
    return Outcome(
        replies=(
            GrantReward(
                source_kind=message.source_kind,
                source_id=message.source_id,
                exp_gained=0 if grown is None else grown.gained,
                level=growth.level if grown is None else grown.level,
                exp=growth.exp if grown is None else grown.exp,
                gold=balances[0],
                cash=balances[1],
                mileage=balances[2],
                items=list(items.values()),
            ),
        ),
        changes=changes,
    )
