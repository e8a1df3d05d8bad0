"""Reading a player: head, items, operations; from MySQL, or the items from a snapshot that fits.

Owns the way from rows to a `Player`; writes nothing. Called by `durable` for `load` and after a
claim. Money, growth and score always come from the head row; a snapshot only spares reading the
items, and only when its version equals the head's.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from mmo.errors import StoreCorrupt
from mmo.state.bag import Bag, Item
from mmo.state.growth import Growth
from mmo.state.player import Head, OperationBook, OperationRecord, Player, Snapshot
from mmo.state.score import Score
from mmo.state.wallet import Wallet
from mmo.store import statements as sql
from mmo.store.connection import Connection

_decode_items = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int]])


async def read_player(
    connection: Connection, user: int, snapshot: Snapshot | None = None
) -> Player | None:
    """The player as committed now; None when there is no such user. `snapshot` spares the items
    when its version is the head's."""
    if snapshot is not None:
        row = await connection.row(sql.READ_HEAD, user)
        if row is None:
            return None
        if fits(snapshot, row):
            return await _with_operations(connection, row, snapshot.items)
    row = await connection.row(sql.READ_HEAD_AND_ITEMS, user)
    if row is None:
        return None
    items = [Item(*fields) for fields in _decode_items.decode(row[-1])] if row[-1] else []
    return await _with_operations(connection, row, items)


async def read_head(connection: Connection, user: int) -> Head | None:
    """The head alone."""
    row = await connection.row(sql.READ_HEAD, user)
    return None if row is None else _head(row)


async def find_operation(
    connection: Connection, user: int, epoch: int, counter: int
) -> OperationRecord | None:
    """One recorded operation, whatever its age."""
    row = await connection.row(sql.FIND_OPERATION, user, epoch, counter)
    return (
        None
        if row is None
        else OperationRecord(epoch, counter, bytes(row[0]), row[1], bytes(row[2]))
    )


def fits(snapshot: Snapshot, row: Sequence[Any]) -> bool:
    """Whether a snapshot is of exactly the head row: version, and with it every number."""
    return (
        snapshot.version,
        *(snapshot.level, snapshot.exp, snapshot.gold, snapshot.cash, snapshot.mileage),
        snapshot.score_best,
    ) == (row[2], *row[8:14])


def snapshot_of(player: Player) -> Snapshot:
    """What Redis keeps of a player."""
    growth, wallet = player.growth, player.wallet
    return Snapshot(
        player.head.version,
        *(growth.level, growth.exp, wallet.gold, wallet.cash, wallet.mileage),
        player.score.best,
        player.bag.items(),
    )


async def _with_operations(
    connection: Connection, row: Sequence[Any], items: Sequence[Item]
) -> Player:
    # Read after the head: the book may know more than the state, never less, and a commit decided
    # on a state that is behind is refused by its version.
    user = row[0]
    records = [
        OperationRecord(epoch, counter, bytes(request_hash), opcode, bytes(answer))
        for epoch, counter, request_hash, opcode, answer in await connection.rows(
            sql.LATEST_OPERATIONS, user
        )
    ]
    book = OperationBook(records)
    for epoch, counter in await connection.rows(sql.HIGHEST_OPERATIONS, user):
        if epoch:
            book.highest[epoch] = max(book.highest.get(epoch, 0), counter)
    try:
        bag = Bag(tuple(items))
    except AssertionError as error:
        raise StoreCorrupt(f"the items of user {user} do not fit their slots: {error}") from error
    return Player(
        _head(row), Growth(row[8], row[9]), Wallet(*row[10:13]), bag, Score(row[13]), book
    )


def _head(row: Sequence[Any]) -> Head:
    return Head(*row[:8])
