"""Payment notices that the cash role's HTTPS door let in: decided by the rule, written, answered.

Owns the way of one notice from the door to the books and the word about it; checks no signature and
serves no socket. Made by `cli`, which hands its methods to the door.
"""

from mmo.contract import Outcome
from mmo.errors import StoreUnavailable
from mmo.node.engine import Engine
from mmo.state.place import PaymentBooked
from mmo.wire.messages.cash import PaymentNotice
from mmo.wire.opcode import Op


class Payments:
    """One per cash node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def user_of(self, name: str) -> int | None:
        """The user id of an account, 0 when there is none, None while the store is away."""
        try:
            known = await self._engine.store.credentials(name)
        except StoreUnavailable:
            return None
        return 0 if known is None else known.user

    async def book(self, notice: PaymentNotice) -> str:
        """`booked`; `known`: it was before, the same; `conflict`: before, with other content;
        `refused`: the books do not allow it; `early`: a refund whose charge is not booked yet,
        `away`: unknown, both to be sent again."""
        engine = self._engine
        engine.now()
        if engine.env.node.draining:
            return "away"
        outcome = engine.table.node[int(Op.PAYMENT_NOTICE)].call(notice, None)
        if not isinstance(outcome, Outcome):
            return "refused"
        row: PaymentBooked = outcome.row
        engine.failpoints.reach("before-row")
        try:
            # Asked before the write: a charge that is booked in between must not make its refund
            # seem more than is left.
            is_early = row.refund_of and await engine.store.payment(row.refund_of) is None
            if not is_early and await engine.store.write(row):
                engine.failpoints.reach("after-row")
                engine.metrics.count("rows_written_total")
                engine.now()
                engine.outcomes.send_all(outcome.sends)
                engine.turn()
                return "booked"
            known = await engine.store.payment(row.order)
        except StoreUnavailable:
            return "away"
        if known is None and is_early:
            return "early"
        engine.metrics.count("rows_refused_total")
        if known is None:
            return "refused"
        same = (known.user, known.amount, known.refund_of) == (row.user, row.amount, row.refund_of)
        return "known" if same else "conflict"
