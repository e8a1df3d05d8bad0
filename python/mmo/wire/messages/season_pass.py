"""Season passes: pages of rewards, own progress, claims, the paid line."""

from typing import Annotated

import msgspec

from mmo.wire.codec import OperationId, message
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
    pass


class MissionView(msgspec.Struct, array_like=True, frozen=True):
    """One mission of a pass and how far the player is in it."""

    mission: int  # 1..
    event: str  # kill, raid, purchase, enhance, login
    progress: int
    goal: int
    exp: int
    done: int  # times finished


class PassView(msgspec.Struct, array_like=True, frozen=True):
    """A running pass of the player. `claimed` are (level, line) pairs."""

    pass_id: int
    name: str
    starts_ms: int
    ends_ms: int
    level_max: int
    level: int
    exp: int
    paid: bool
    price_cash: int
    claimed: list[tuple[int, int]]
    missions: list[MissionView]


@message(Op.PASS_STATE_OK)
class PassStateOk(msgspec.Struct, array_like=True, frozen=True):
    passes: list[PassView]


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
    """Open the paid line for cash."""

    op: OperationId
    pass_id: Big


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
