"""From changes to rows: which tables each kind of change moves.

Owns the table from `Change` classes to row builders; runs no statement. A later system adds its
builder to `BUILDERS` and, if it needs a table of its own, a list to `GroupRows` and a step to
`players.WRITES`. Called by `players` for each member of a group.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mmo.state.bag import Item, ItemBorn, ItemStacked
from mmo.state.change import Change
from mmo.state.grant import GrantClaimed
from mmo.state.growth import ExpGained
from mmo.state.wallet import CoinsMoved
from mmo.store import PlayerCommit

_encode_change = msgspec.msgpack.Encoder()
JsonRow = list[int | str]


class MemberRows:
    """What one member writes, collected change by change. Row lists hold JSON arrays in the order
    of the statement's columns; items are folded so that each is written once."""

    __slots__ = (
        *("born", "coins", "coins_moved", "exp", "grants", "item_lines", "items", "level"),
        *("score_best", "stacked", "user", "version"),
    )

    def __init__(self, commit: PlayerCommit) -> None:
        player = commit.player
        self.user = player.head.user
        self.version = player.head.version + 1
        self.level = player.growth.level
        self.exp = player.growth.exp
        self.score_best = player.score.best
        self.coins_moved = [0, 0, 0]
        self.coins: list[JsonRow] = []
        self.born: dict[int, Item] = {}
        self.stacked: dict[int, tuple[Item, int]] = {}  # after, count before
        self.item_lines: list[JsonRow] = []
        self.grants: list[JsonRow] = []
        for change in commit.changes:
            BUILDERS[type(change)](self, change)


def _exp_gained(rows: MemberRows, change: Any) -> None:
    rows.level = change.level
    rows.exp = change.exp


def _coins_moved(rows: MemberRows, change: Any) -> None:
    rows.coins_moved[change.currency] += change.amount
    line = len(rows.coins)
    rows.coins.append(
        [rows.user, rows.version, line, int(change.account), int(change.currency), change.amount]
    )


def _item_born(rows: MemberRows, change: Any) -> None:
    item: Item = change.item
    rows.born[item.uid] = item
    _item_line(rows, item, change.source, item.count)


def _item_stacked(rows: MemberRows, change: Any) -> None:
    item: Item = change.item
    if item.uid in rows.born:
        rows.born[item.uid] = item
    else:
        _, before = rows.stacked.get(item.uid, (item, item.count - change.delta))
        rows.stacked[item.uid] = (item, before)
    _item_line(rows, item, change.source, change.delta)


def _item_line(rows: MemberRows, item: Item, source: int, delta: int) -> None:
    line = len(rows.item_lines)
    rows.item_lines.append(
        [rows.user, rows.version, line, item.uid, item.code, int(item.kind), int(source), delta]
    )


def _grant_claimed(rows: MemberRows, change: Any) -> None:
    rows.grants.append([rows.user, int(change.source_kind), change.source_id, rows.version])


BUILDERS: dict[type[Change], Callable[[MemberRows, Any], None]] = {
    ExpGained: _exp_gained,
    CoinsMoved: _coins_moved,
    ItemBorn: _item_born,
    ItemStacked: _item_stacked,
    GrantClaimed: _grant_claimed,
}


class GroupRows:
    """The rows of a whole group, one list a statement, sorted by user id as the members are."""

    __slots__ = (
        *("coins", "dirty", "events", "grants", "heads", "item_lines", "items_born"),
        "items_stacked",
    )

    def __init__(self, members: Iterable[PlayerCommit]) -> None:
        self.heads: list[JsonRow] = []
        self.events: list[JsonRow] = []
        self.coins: list[JsonRow] = []
        self.items_born: list[JsonRow] = []
        self.items_stacked: list[JsonRow] = []
        self.item_lines: list[JsonRow] = []
        self.grants: list[JsonRow] = []
        self.dirty: list[JsonRow] = []
        for commit in members:
            self._add(commit, MemberRows(commit))

    def _add(self, commit: PlayerCommit, rows: MemberRows) -> None:
        user, version = rows.user, rows.version
        epoch, counter = commit.operation
        self.heads.append(
            [user, version - 1, rows.level, rows.exp, *rows.coins_moved, rows.score_best]
        )
        self.events.append(
            [
                *(user, epoch, counter, version, int(commit.kind), int(commit.answer_opcode)),
                *(commit.generation, commit.now_ms, commit.request_hash.hex()),
                *(commit.answer.hex(), _encode_change.encode(commit.changes).hex()),
            ]
        )
        self.dirty.append([user, version])
        self.coins += rows.coins
        self.item_lines += rows.item_lines
        self.grants += rows.grants
        for item in rows.born.values():
            self.items_born.append(
                [user, item.uid, int(item.kind), item.slot, item.code, item.count, item.enhance]
            )
        for item, before in rows.stacked.values():
            self.items_stacked.append([user, item.uid, item.code, before, item.count])
