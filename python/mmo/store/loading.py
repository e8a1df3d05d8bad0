"""Reading a player: head, what he owns, operations; from MySQL, or from a snapshot that fits.

Owns the way from rows to a `Player`; writes nothing. Called by `durable` for `load` and after a
claim. Money, growth and score always come from the head row; a snapshot only spares reading items,
counters and passes, and only when its version equals the head's.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from mmo.errors import StoreCorrupt
from mmo.state.bag import Bag, Item
from mmo.state.counters import Counter
from mmo.state.growth import Growth
from mmo.state.pass_progress import MissionCount, PassProgress
from mmo.state.player import Head, OperationBook, OperationRecord, Player, Snapshot
from mmo.state.score import Score
from mmo.state.wallet import Wallet
from mmo.store import statements as sql
from mmo.store.connection import Conflict, Connection

_decode_items = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int, int, int, int]])
_decode_counters = msgspec.json.Decoder(list[tuple[int, int, int, int]])
_decode_passes = msgspec.json.Decoder(list[tuple[int, int, int, int, str]])
_decode_claims = msgspec.json.Decoder(list[tuple[int, int, int]])
_decode_missions = msgspec.json.Decoder(tuple[MissionCount, ...])


class Owned(msgspec.Struct, frozen=True):
    """What a player owns apart from the numbers of his head."""

    items: list[Item]
    counters: list[tuple[int, int, int, int]]
    passes: list[PassProgress]


async def read_player(
    connection: Connection, user: int, snapshot: Snapshot | None = None
) -> Player | None:
    """The player as committed now; None when there is no such user. `snapshot` spares what he owns
    when its version is the head's."""
    if snapshot is not None and snapshot.counters is not None and snapshot.passes is not None:
        row = await connection.row(sql.READ_HEAD, user)
        if row is None:
            return None
        if fits(snapshot, row):
            owned = Owned(snapshot.items, snapshot.counters, snapshot.passes)
            return await _with_operations(connection, row, owned)
    row = await connection.row(sql.READ_HEAD_AND_OWNED, user)
    if row is None:
        return None
    return await _with_operations(connection, row, _owned(*row[-4:]))


def _owned(
    items: str | None, counters: str | None, passes: str | None, claims: str | None
) -> Owned:
    """From the JSON lists of the row; None is an empty one."""
    listed = _decode_items.decode(items) if items else []
    claimed: dict[int, set[tuple[int, int]]] = {}
    for pass_id, level, line in _decode_claims.decode(claims) if claims else ():
        claimed.setdefault(pass_id, set()).add((level, line))
    progress = []
    for pass_id, level, exp, paid, missions in _decode_passes.decode(passes) if passes else ():
        done = frozenset(claimed.get(pass_id, ()))
        counts = _decode_missions.decode(missions)
        progress.append(PassProgress(pass_id, level, exp, bool(paid), counts, done))
    return Owned(
        [Item(*one[:6], bool(one[6]), one[7], one[8]) for one in listed],
        _decode_counters.decode(counters) if counters else [],
        progress,
    )


async def read_head(connection: Connection, user: int) -> Head | None:
    """The head alone."""
    row = await connection.row(sql.READ_HEAD, user)
    return None if row is None else _head(row)


async def find_operation(
    connection: Connection, user: int, epoch: int, counter: int, settled: bool
) -> OperationRecord | None:
    """One recorded operation, whatever its age. `settled`: read under the head's lock, which every
    commit of the player holds until all see it. Raises Conflict while another has it."""
    if settled:
        await connection.begin()
        try:
            await connection.row(sql.HOLD_HEAD, user)
        except Conflict:
            await connection.rollback()
            raise
    row = await connection.row(sql.FIND_OPERATION, user, epoch, counter)
    if settled:
        await connection.rollback()
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
    ) == (row[2], *row[9:15])


def snapshot_of(player: Player) -> Snapshot:
    """What Redis keeps of a player."""
    growth, wallet = player.growth, player.wallet
    return Snapshot(
        player.head.version,
        *(growth.level, growth.exp, wallet.gold, wallet.cash, wallet.mileage),
        player.score.best,
        player.bag.items(),
        [(*key, counter.window, counter.count) for key, counter in sorted(player.counters.items())],
        [progress for _, progress in sorted(player.pass_progress.items())],
    )


async def _with_operations(connection: Connection, row: Sequence[Any], owned: Owned) -> Player:
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
        bag = Bag(owned.items)
    except AssertionError as error:
        raise StoreCorrupt(f"the items of user {user} do not fit their slots: {error}") from error
    player = Player(
        _head(row), Growth(row[9], row[10]), Wallet(*row[11:14]), bag, Score(row[14]), book
    )
    player.counters = {
        (kind, key): Counter(window, count) for kind, key, window, count in owned.counters
    }
    player.pass_progress = {progress.pass_id: progress for progress in owned.passes}
    return player


def _head(row: Sequence[Any]) -> Head:
    return Head(*row[:9])
