"""Accounts, sessions and places: every guarded row that is not a player's commit.

Owns registration, login rows, PREPARE and CLAIM, the sweep and grants; runs each as one conditional
statement (or the two of a registration) and retries lock conflicts. Called by `durable`.

Which clock: a reservation's expiry was set by a node's clock and its token is checked by nodes'
clocks (with leeway), so a claim compares it with the claimant's `now_ms`. Leases, which machines
hold against each other, use the database's clock (`leases`).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from mmo.contract import Credentials
from mmo.errors import StoreUnavailable
from mmo.state.change import Row
from mmo.state.grant import Grant
from mmo.state.place import (
    AccountRegistered,
    Claim,
    LoginFailed,
    PaymentBooked,
    PlacePrepared,
    SessionClosed,
    SessionOpened,
)
from mmo.store import Seat, Sweep, payments, raids
from mmo.store import statements as sql
from mmo.store.connection import Conflict, Connection, ConstraintBroken, StatementFailed
from mmo.store.mysql_pool import MysqlPool

CONFLICT_TRIES_MAX = 3
SWEEP_USERS_MAX = 1_000
GRANTS_A_USER_MAX = 32
_DUPLICATE_KEY = 1062

_json = msgspec.json.Encoder().encode
_T = TypeVar("_T")


async def retried(
    pool: MysqlPool,
    work: Callable[[Connection], Awaitable[_T]],
    *,
    again_on_duplicate: bool = False,
) -> _T:
    """Run `work` on a connection; again from its beginning when it met another's lock (or, where
    asked, a row that came in between). StoreUnavailable after three times."""
    async with pool.take() as connection:
        for _ in range(CONFLICT_TRIES_MAX):
            try:
                return await work(connection)
            except Conflict:
                await connection.rollback()
            except ConstraintBroken as broken:
                await connection.rollback()
                if not again_on_duplicate or broken.number != _DUPLICATE_KEY:
                    raise
    raise StoreUnavailable("a row stayed locked by other transactions")


async def write(pool: MysqlPool, row: Row) -> bool:
    """One guarded row; False when its guard did not hold."""
    writer = _WRITERS.get(type(row))
    if writer is None:
        raise StatementFailed(0, f"{type(row).__name__} is no row of the store")
    return await retried(pool, lambda connection: writer(connection, row))


async def _register(connection: Connection, row: Any) -> bool:
    await connection.begin()
    try:
        await connection.execute(sql.ADD_ACCOUNT, row.name, row.password_hash, row.now_ms)
    except ConstraintBroken as broken:
        await connection.rollback()
        if broken.number == _DUPLICATE_KEY:
            return False
        raise
    await connection.execute(sql.ADD_HEAD, connection.last_insert_id)
    await connection.commit()
    return True


async def _open_session(connection: Connection, row: Any) -> bool:
    matched = await connection.execute(
        sql.OPEN_SESSION,
        *(row.center_number, row.jti, row.expires_ms, row.now_ms, row.user, row.session_epoch),
    )
    return matched > 0


async def _login_failed(connection: Connection, row: Any) -> bool:
    # Tries at the same moment read the same count: a count never falls by them, only a lock resets
    # it.
    if row.locked_until_ms:
        values = (row.failures, row.locked_until_ms, row.user)
        return await connection.execute(sql.LOCK_ACCOUNT, *values) == 1
    return await connection.execute(sql.COUNT_FAILURE, row.failures, row.user) == 1


async def _prepare(connection: Connection, row: Any) -> bool:
    matched = await connection.execute(
        sql.PREPARE_PLACE,
        *(row.target_number, row.jti, row.expires_ms, row.user, row.session_epoch),
        row.owner_number,
    )
    return matched == 1


async def _close_session(connection: Connection, row: Any) -> bool:
    return await connection.execute(sql.CLOSE_SESSION, row.user, row.session_epoch) == 1


_WRITERS: dict[type[Row], Callable[[Connection, Any], Awaitable[bool]]] = {
    AccountRegistered: _register,
    SessionOpened: _open_session,
    LoginFailed: _login_failed,
    PlacePrepared: _prepare,
    SessionClosed: _close_session,
    PaymentBooked: payments.book,
    **raids.WRITERS,
}


async def claim(connection: Connection, claim: Claim) -> tuple[bool, int, int] | None:
    """One conditional update under the head's lock, which lets commits in flight finish first.
    (owned, previous owner's number, place epoch after it); owned False: the session is valid,
    another server owns the player. None: the guard did not hold."""
    await connection.begin()
    row = await connection.row(sql.LOCK_HEAD, claim.user)
    if row is None or row[0] != claim.session_epoch:
        await connection.rollback()
        return None
    previous, place_epoch = int(row[1]), int(row[2])
    whom = (claim.number, claim.user, claim.session_epoch)
    if claim.jti:
        matched = await connection.execute(
            sql.CLAIM_RESERVED, *whom, claim.number, claim.jti, claim.now_ms
        )
    elif claim.lobby:
        matched = await connection.execute(sql.CLAIM_ANYWHERE, *whom)
    elif previous != claim.number:
        await connection.rollback()
        return (False, previous, place_epoch)
    else:
        matched = await connection.execute(sql.CLAIM_AGAIN, *whom, claim.number)
    if matched != 1:
        await connection.rollback()
        return None
    await connection.commit()
    return (True, previous, place_epoch + 1)


async def credentials(connection: Connection, name: str) -> Credentials | None:
    """The account of a NFC name."""
    row = await connection.row(sql.FIND_ACCOUNT, name, name)
    return None if row is None else Credentials(*row)


async def sweep(connection: Connection, users: Sequence[int]) -> Sweep:
    """Epochs, places and unclaimed grants, a thousand users a statement."""
    seats: list[Seat] = []
    grants: list[Grant] = []
    ordered = sorted(set(users))
    for begin in range(0, len(ordered), SWEEP_USERS_MAX):
        asked = _json(ordered[begin : begin + SWEEP_USERS_MAX])
        found = await connection.row(sql.READ_SEATS, asked)
        if found is not None and found[0]:
            seats += [Seat(*fields) for fields in msgspec.json.decode(found[0])]
        rows = await connection.rows(sql.READ_GRANTS, asked, GRANTS_A_USER_MAX)
        grants += [Grant(user, kind, source, bytes(bundle)) for user, kind, source, bundle in rows]
    return Sweep(tuple(seats), tuple(grants))


async def grant(pool: MysqlPool, grants: Sequence[Grant]) -> int:
    """Insert those that are not there yet; how many were new."""
    if not grants:
        return 0
    return await retried(
        pool, lambda connection: insert_grants(connection, grants), again_on_duplicate=True
    )


async def insert_grants(connection: Connection, grants: Sequence[Grant]) -> int:
    """The same in the transaction of `connection`."""
    unique = {(g.user, g.source_kind, g.source_id): g.bundle.hex() for g in grants}
    rows = [[*key, bundle] for key, bundle in sorted(unique.items())]
    return await connection.execute(sql.ADD_GRANTS, _json(rows))
