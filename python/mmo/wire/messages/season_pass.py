"""Season passes: pages of rewards, own progress, claims, the paid line."""

from typing import Annotated

import msgspec

from mmo.wire.codec import OperationId, message
from mmo.wire.messages.pass_view import PassView
from mmo.wire.messages.presence import ItemView
from mmo.wire.opcode import Op

Big = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


@message(Op.PASS_PAGE)
class PassPageAsk(msgspec.Struct, array_like=True, frozen=True):
    page: Big


class PassRewardView(msgspec.Struct, array_like=True, frozen=True):
    """Reward of one level and line (0 free, 1 paid) of a pass."""

    pass_id: int
    level: int
    line: int
    kind: int  # item kind, -1: coins only
    code: int
    count: int
    days: int
    gold: int
    mileage: int


@message(Op.PASS_PAGE_OK)
class PassPageOk(msgspec.Struct, array_like=True, frozen=True):
    catalogue: int
    page: int
    pages: int
    rewards: list[PassRewardView]


@message(Op.PASS_STATE)
class PassStateAsk(msgspec.Struct, array_like=True, frozen=True):
    """`pass_id` 0: all running passes that fit into one answer, else this one."""

    pass_id: Big = 0


@message(Op.PASS_STATE_OK)
class PassStateOk(msgspec.Struct, array_like=True, frozen=True):
    passes: list[PassView]
    more: list[int] = []  # running passes that did not fit: ask for each


@message(Op.PASS_CLAIM)
class PassClaim(msgspec.Struct, array_like=True, frozen=True):
    op: OperationId
    pass_id: Big
    level: Big
    line: Big


@message(Op.PASS_CLAIM_OK)
class PassClaimOk(msgspec.Struct, array_like=True, frozen=True):
    pass_id: int
    level: int
    line: int
    items: list[ItemView]
    gold: int  # balances after
    cash: int
    mileage: int


@message(Op.PASS_BUY)
class PassBuy(msgspec.Struct, array_like=True, frozen=True):
    """Open the paid line for cash. `price` is what the client saw (`PassView.price_cash`), 0: not
    stated; the server's table decides."""

    op: OperationId
    pass_id: Big
    price: Big = 0


@message(Op.PASS_BUY_OK)
class PassBuyOk(msgspec.Struct, array_like=True, frozen=True):
    pass_id: int
    cash: int  # left


@message(Op.PASS_EVENT)
class PassEvent(msgspec.Struct, array_like=True, frozen=True):
    """Internal: `event` of the missions happened to the lane's player."""

    user: int
    event: str


@message(Op.PASS_PROGRESS)
class PassProgressed(msgspec.Struct, array_like=True, frozen=True):
    """Pushed after the commit that moved a pass."""

    pass_id: int
    level: int
    exp: int
    mission: int
    progress: int
