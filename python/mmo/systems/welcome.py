"""The answer to an arriving player: everything the server knows of him. Used by both roles that own
players."""

from collections.abc import Sequence

from mmo.contract import Env, Tell
from mmo.state.bag import Bag
from mmo.state.growth import Growth
from mmo.state.player import Head
from mmo.state.score import Score
from mmo.state.wallet import Wallet
from mmo.systems.inventory import bag_views, expired
from mmo.systems.missions import PassParts
from mmo.systems.season_pass import fitting, pass_views
from mmo.wire.messages.inventory import ItemsExpire
from mmo.wire.messages.presence import Address, Welcome


def welcome(
    *,
    head: Head,
    growth: Growth,
    wallet: Wallet,
    bag: Bag,
    score: Score,
    pass_progress: PassParts,
    operation_counter: int,
    session_token: str,
    env: Env,
    centers: Sequence[Address] = (),
) -> Welcome:
    """WELCOME with level, experience, currencies, best score, the three inventories and the running
    season passes."""
    passes, more = fitting(pass_views(env.content, pass_progress, env.now_ms))
    equipment, consumables, materials = bag_views(bag, env.now_ms)
    return Welcome(
        user=head.user,
        name=head.name,
        session_epoch=head.session_epoch,
        operation_counter=operation_counter,
        number=env.node.number,
        level=growth.level,
        exp=growth.exp,
        gold=wallet.gold,
        cash=wallet.cash,
        mileage=wallet.mileage,
        score_best=score.best,
        last_login_ms=head.last_login_ms,
        equipment=equipment,
        consumables=consumables,
        materials=materials,
        session_token=session_token,
        now_ms=env.now_ms,
        passes=passes,
        passes_more=more,
        centers=list(centers),
    )


def arrival_tells(user: int, bag: Bag, env: Env) -> list[Tell]:
    """What an arrival starts in the player's own lane: rented items whose days are over leave."""
    if any(expired(item, env.now_ms) for item in bag.items()):
        return [Tell(user, ItemsExpire(user))]
    return []
