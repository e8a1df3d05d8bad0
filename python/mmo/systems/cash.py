"""Cash: a payment notice whose signature held becomes an order and a grant.

Installed on the cash role, which owns no player: the grant is claimed by whoever owns him. Nothing
a client sends reaches this rule.
"""

from mmo.contract import Env, Outcome, ToRole, handles
from mmo.state.place import PaymentBooked
from mmo.wire.messages.cash import PaymentNotice
from mmo.wire.messages.link import GrantWaiting
from mmo.wire.opcode import Op


@handles(Op.PAYMENT_NOTICE, by="node")
def payment_notice(message: PaymentNotice, *, env: Env) -> Outcome:
    """Book the order, once for ever; a refund takes away what its charge gave."""
    amount = -message.amount if message.refund_of else message.amount
    return Outcome(
        row=PaymentBooked(message.order, message.user, amount, message.refund_of, env.now_ms),
        sends=(ToRole("center", GrantWaiting(message.user)),),
    )
