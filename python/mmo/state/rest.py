"""A player at rest: everything of him in one bytes object, a tenth of what his parts take.

Owns the packed form, which never leaves the process: no format to keep. Loses nothing: what is
unpacked equals what was packed, the operation book included. Called by `node.lanes` for residents
who have nothing to do.
"""

from typing import Any

import msgspec

from mmo.state.bag import Bag, Item
from mmo.state.counters import Counter
from mmo.state.growth import Growth
from mmo.state.pass_progress import PassProgress
from mmo.state.player import Head, OperationBook, OperationRecord, Player
from mmo.state.score import Score
from mmo.state.wallet import Wallet

_fields_of = msgspec.structs.astuple


class Fence(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The two epochs, which the sweep compares without unpacking anyone."""

    session_epoch: int
    place_epoch: int


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    """Begins with the fields of `Fence`, in their order."""

    session_epoch: int
    place_epoch: int
    user: int
    name: str
    version: int
    place_number: int
    operation_floor_epoch: int
    last_login_ms: int
    login_ms: int
    level: int
    exp: int
    wallet: tuple[int, int, int]
    score_best: int
    items: list[tuple[int, int, int, int, int, int, bool, int, int]]
    highest: list[tuple[int, int]]
    records: list[tuple[int, int, bytes, int, bytes]]  # oldest first, as the book keeps them
    passes: list[PassProgress]
    counters: list[tuple[int, int, int, int]]  # kind, key, window, count
    grants_claimed: list[tuple[int, int]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode
fence_of = msgspec.msgpack.Decoder(Fence).decode
"""The epochs of a packed player."""


def pack(player: Player) -> bytes:
    """Everything of a player; about 60 bytes for one who owns nothing."""
    head, operations = player.head, player.operations
    items: list[Any] = [_fields_of(item) for item in player.bag.items()]
    records: list[Any] = [_fields_of(record) for record in operations.records.values()]
    return _encode(
        _Packed(
            head.session_epoch,
            head.place_epoch,
            head.user,
            head.name,
            head.version,
            head.place_number,
            head.operation_floor_epoch,
            head.last_login_ms,
            head.login_ms,
            player.growth.level,
            player.growth.exp,
            (player.wallet.gold, player.wallet.cash, player.wallet.mileage),
            player.score.best,
            items,
            list(operations.highest.items()),
            records,
            list(player.pass_progress.values()),
            [(*key, count.window, count.count) for key, count in player.counters.items()],
            list(player.grants_claimed),
        )
    )


def unpack(packed: bytes) -> Player:
    """The player as he was packed."""
    kept = _decode(packed)
    head = Head(
        user=kept.user,
        name=kept.name,
        version=kept.version,
        session_epoch=kept.session_epoch,
        place_number=kept.place_number,
        place_epoch=kept.place_epoch,
        operation_floor_epoch=kept.operation_floor_epoch,
        last_login_ms=kept.last_login_ms,
        login_ms=kept.login_ms,
    )
    operations = OperationBook()
    operations.highest = dict(kept.highest)
    operations.records = {
        (record[0], record[1]): OperationRecord(*record) for record in kept.records
    }
    player = Player(
        head,
        Growth(kept.level, kept.exp),
        Wallet(*kept.wallet),
        Bag([Item(*item) for item in kept.items]),
        Score(kept.score_best),
        operations,
    )
    player.pass_progress = {progress.pass_id: progress for progress in kept.passes}
    player.counters = {
        (kind, key): Counter(window, count) for kind, key, window, count in kept.counters
    }
    player.grants_claimed = frozenset(kept.grants_claimed)
    return player
