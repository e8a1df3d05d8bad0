"""Cash: what a player is told, and what the cash role hands on. No client message creates money."""

import msgspec

from mmo.wire.codec import message
from mmo.wire.opcode import Op


@message(Op.CASH_CHANGED)
class CashChanged(msgspec.Struct, array_like=True, frozen=True):
    """Pushed when a payment or refund reached the wallet. A negative `cash` is a debt."""

    cash: int
    delta: int


@message(Op.PAYMENT_NOTICE)
class PaymentNotice(msgspec.Struct, array_like=True, frozen=True):
    """Internal, from the cash role's HTTPS edge: signature, time window and account were
    checked."""

    order: str  # the payment service's order id, once for ever
    user: int
    amount: int  # cash, > 0
    refund_of: str = ""  # the order whose cash is given back; empty: a charge
