"""The shop: a catalogue in shared pages, and buying from it."""

from typing import Annotated

import msgspec

from mmo.wire.codec import OperationId, message
from mmo.wire.messages.presence import ItemView
from mmo.wire.opcode import Op

Big = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


@message(Op.SHOP_PAGE)
class ShopPageAsk(msgspec.Struct, array_like=True, frozen=True):
    """Page from 0."""

    page: Big


class ShopLineView(msgspec.Struct, array_like=True, frozen=True):
    """One line of the catalogue; `line` is its number for BUY. Times in unix ms, 0: no bound."""

    line: int
    kind: int
    code: int
    name: str
    count: int  # bundle size
    days: int  # rental days, 0: for ever
    currency: int
    price: int
    mileage: int  # earned with each
    daily_limit: int  # 0: none
    from_ms: int
    until_ms: int
    attack_power: int = 0


@message(Op.SHOP_PAGE_OK)
class ShopPageOk(msgspec.Struct, array_like=True, frozen=True):
    catalogue: int  # number of this catalogue's content
    page: int
    pages: int
    lines: list[ShopLineView]


@message(Op.BUY)
class Buy(msgspec.Struct, array_like=True, frozen=True):
    """`catalogue` and `price` are what the client saw; the server's catalogue decides."""

    op: OperationId
    catalogue: Big
    line: Big
    quantity: Big
    price: Big  # of one


@message(Op.BUY_OK)
class BuyOk(msgspec.Struct, array_like=True, frozen=True):
    line: int
    quantity: int
    currency: int
    spent: int
    balance: int
    mileage_earned: int
    mileage: int
    items: list[ItemView]  # new or grown, as they are now
