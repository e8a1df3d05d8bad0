"""Payment orders: each number booked once for ever, together with the grant that carries it.

Owns the transaction of one order; moves no balance (the player's owner does, when he claims the
grant) and judges no signature. Called by `presence` for the row `PaymentBooked` and by `durable`.
"""

from typing import Any

import msgspec

from mmo.state.grant import Bundle, SourceKind
from mmo.state.place import PaymentBooked
from mmo.store import economy as sql
from mmo.store.connection import Connection, ConstraintBroken

encode_bundle = msgspec.msgpack.Encoder().encode


async def book(connection: Connection, row: Any) -> bool:
    """The order and its grant in one transaction. False: the number is known, the account is not,
    or a refund gives back more than its charge brought. Raises Conflict."""
    await connection.begin()
    try:
        held = await _book(connection, row)
    except ConstraintBroken:  # the number is known, no such account, or an amount of nothing
        held = False
    if held:
        await connection.commit()
    else:
        await connection.rollback()
    return held


async def _book(connection: Connection, row: PaymentBooked) -> bool:
    kind = SourceKind.PAYMENT
    if row.refund_of:
        kind = SourceKind.REFUND
        charge = await connection.row(sql.LOCK_CHARGE, row.refund_of, row.user)
        if charge is None:
            return False
        refunded = await connection.row(sql.REFUNDED, row.refund_of)
        if refunded is None or charge[0] + refunded[0] + row.amount < 0:
            return False
    await connection.execute(
        sql.ADD_ORDER, row.order, row.user, row.amount, row.refund_of, row.now_ms
    )
    number, bundle = connection.last_insert_id, encode_bundle(Bundle(cash=row.amount))
    await connection.execute(sql.ADD_ORDER_GRANT, row.user, int(kind), number, bundle.hex())
    return True


async def find(connection: Connection, order: str) -> PaymentBooked | None:
    """A booked order by its number."""
    row = await connection.row(sql.FIND_ORDER, order)
    return None if row is None else PaymentBooked(order, *row)
