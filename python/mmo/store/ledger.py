"""From changes to rows: which tables each kind of change moves.

Owns the table from `Change` classes to row builders; runs no statement. A later system adds its
builder to `BUILDERS` and, if it needs a table of its own, a list to `GroupRows` and a step to
`players.WRITES`. Called by `players` for each member of a group.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from mmo.state.bag import (
    Item,
    ItemBorn,
    ItemDied,
    ItemEnhanced,
    ItemPlaced,
    ItemsSwapped,
    ItemStacked,
)
from mmo.state.change import Change
from mmo.state.counters import CounterRaised
from mmo.state.grant import GrantClaimed
from mmo.state.growth import ExpGained
from mmo.state.pass_progress import PassLineOpened, PassMoved, PassRewardClaimed
from mmo.state.score import ScoreRaised
from mmo.state.wallet import Account, CoinsMoved
from mmo.store import PlayerCommit

_encode_change = msgspec.msgpack.Encoder()
_encode_missions = msgspec.json.Encoder()
JsonRow = list[int | str]


class MemberRows:
    """What one member writes, collected change by change. Row lists hold JSON arrays in the order
    of the statement's columns; items, counters and passes are folded so that each is written
    once."""

    __slots__ = (
        *("born", "claims", "coins", "coins_moved", "counters", "died", "exp", "expired"),
        *("grants", "item_lines", "kept", "level", "moved", "opened", "passes", "rolls"),
        *("score_best", "user", "version"),
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
        self.kept: dict[int, tuple[Item, Item]] = {}  # before, after
        self.moved: set[int] = set()  # those of `kept` that change more than their count
        self.died: dict[int, Item] = {}  # as it was before the commit
        self.expired: dict[int, Item] = {}  # the same, of those whose days are over
        self.item_lines: list[JsonRow] = []
        self.rolls: list[JsonRow] = []
        self.counters: dict[tuple[int, int], CounterRaised] = {}
        self.passes: dict[int, PassMoved] = {}
        self.opened: list[JsonRow] = []
        self.claims: list[JsonRow] = []
        self.grants: list[JsonRow] = []
        for change in commit.changes:
            BUILDERS[type(change)](self, change)

    def item_is(self, before: Item, after: Item) -> None:
        """An existing item, which was `before` this change, is `after` it."""
        uid = after.uid
        if uid in self.born:
            self.born[uid] = after
        else:
            first, _ = self.kept.get(uid, (before, after))
            self.kept[uid] = (first, after)

    def item_line(self, item: Item, source: int, delta: int) -> None:
        """A line in the book of births and deaths."""
        line = len(self.item_lines)
        self.item_lines.append(
            [self.user, self.version, line, item.uid, item.code, int(item.kind), int(source), delta]
        )


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
    rows.item_line(item, change.source, item.count)


def _item_stacked(rows: MemberRows, change: Any) -> None:
    item: Item = change.item
    rows.item_is(replace(item, count=item.count - change.delta), item)
    rows.item_line(item, change.source, change.delta)


def _item_placed(rows: MemberRows, change: Any) -> None:
    rows.moved.add(change.item.uid)
    rows.item_is(change.item, change.item)


def _items_swapped(rows: MemberRows, change: Any) -> None:
    for item in (change.first, change.second):
        rows.moved.add(item.uid)
        rows.item_is(item, item)


def _item_died(rows: MemberRows, change: Any) -> None:
    item: Item = change.item
    if rows.born.pop(item.uid, None) is None:
        before, _ = rows.kept.pop(item.uid, (item, item))
        gone = rows.expired if change.source == Account.SINK_EXPIRED else rows.died
        gone[item.uid] = before
    rows.item_line(item, change.source, -item.count)


def _item_enhanced(rows: MemberRows, change: Any) -> None:
    item: Item = change.item
    before = replace(item, enhance=change.enhance_before, attempts=item.attempts - 1)
    rows.moved.add(item.uid)
    rows.item_is(before, item)
    rows.rolls.append(
        [
            *(item.uid, item.attempts, rows.user, rows.version, change.day, change.table),
            *(change.enhance_before, item.enhance, change.chance_ppm, change.roll_ppm),
        ]
    )


def _counter_raised(rows: MemberRows, change: Any) -> None:
    key = (int(change.kind), change.key)
    first = rows.counters.get(key)
    rows.counters[key] = change if first is None else replace(change, is_new=first.is_new)


def _pass_moved(rows: MemberRows, change: Any) -> None:
    first = rows.passes.get(change.pass_id)
    moved = change if first is None else replace(change, is_new=first.is_new)
    rows.passes[change.pass_id] = moved


def _line_opened(rows: MemberRows, change: Any) -> None:
    rows.opened.append([rows.user, change.pass_id, change.starts_ms, change.ends_ms])


def _reward_claimed(rows: MemberRows, change: Any) -> None:
    rows.claims.append(
        [
            *(rows.user, change.pass_id, change.level, change.line, rows.version),
            *(change.starts_ms, change.ends_ms),
        ]
    )


def _grant_claimed(rows: MemberRows, change: Any) -> None:
    rows.grants.append([rows.user, int(change.source_kind), change.source_id, rows.version])


def _score_raised(rows: MemberRows, change: Any) -> None:
    rows.score_best = max(rows.score_best, change.best)


BUILDERS: dict[type[Change], Callable[[MemberRows, Any], None]] = {
    ExpGained: _exp_gained,
    CoinsMoved: _coins_moved,
    ItemBorn: _item_born,
    ItemStacked: _item_stacked,
    ItemPlaced: _item_placed,
    ItemsSwapped: _items_swapped,
    ItemDied: _item_died,
    ItemEnhanced: _item_enhanced,
    CounterRaised: _counter_raised,
    PassMoved: _pass_moved,
    PassLineOpened: _line_opened,
    PassRewardClaimed: _reward_claimed,
    GrantClaimed: _grant_claimed,
    ScoreRaised: _score_raised,
}


class GroupRows:
    """The rows of a whole group, one list a statement, sorted by user id as the members are."""

    __slots__ = (
        *("claims", "coins", "counters_new", "counters_raised", "dirty", "events", "grants"),
        *("heads", "item_lines", "items_born", "items_changed", "items_died", "items_expired"),
        *("items_stacked", "lines_opened", "passes_moved", "passes_new", "rolls"),
    )

    def __init__(self, members: Iterable[PlayerCommit]) -> None:
        self.heads: list[JsonRow] = []
        self.events: list[JsonRow] = []
        self.coins: list[JsonRow] = []
        self.items_born: list[JsonRow] = []
        self.items_stacked: list[JsonRow] = []
        self.items_changed: list[JsonRow] = []
        self.items_died: list[JsonRow] = []
        self.items_expired: list[JsonRow] = []
        self.item_lines: list[JsonRow] = []
        self.rolls: list[JsonRow] = []
        self.counters_new: list[JsonRow] = []
        self.counters_raised: list[JsonRow] = []
        self.passes_new: list[JsonRow] = []
        self.passes_moved: list[JsonRow] = []
        self.lines_opened: list[JsonRow] = []
        self.claims: list[JsonRow] = []
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
        self.rolls += rows.rolls
        self.lines_opened += rows.opened
        self.claims += rows.claims
        self.grants += rows.grants
        self._add_items(user, rows)
        self._add_progress(user, rows)

    def _add_items(self, user: int, rows: MemberRows) -> None:
        for item in rows.born.values():
            self.items_born.append(
                [
                    *(user, item.uid, int(item.kind), item.slot, item.code, item.count),
                    *(item.enhance, item.expires_ms, int(item.equipped), item.attempts),
                ]
            )
        for uid, (before, after) in rows.kept.items():
            known: JsonRow = [user, uid, after.code, before.count]
            if uid in rows.moved:
                self.items_changed.append(
                    [
                        *(*known, before.enhance, before.attempts, after.slot, after.count),
                        *(after.enhance, after.attempts, int(after.equipped)),
                    ]
                )
            else:
                self.items_stacked.append([*known, after.count])
        for listed, gone in ((self.items_died, rows.died), (self.items_expired, rows.expired)):
            listed += [[user, uid, before.code, before.count] for uid, before in gone.items()]

    def _add_progress(self, user: int, rows: MemberRows) -> None:
        for (kind, key), raised in rows.counters.items():
            listed = self.counters_new if raised.is_new else self.counters_raised
            listed.append([user, kind, key, raised.window, raised.count])
        for moved in rows.passes.values():
            missions = _encode_missions.encode(moved.missions).decode()
            listed = self.passes_new if moved.is_new else self.passes_moved
            listed.append([user, moved.pass_id, moved.level, moved.exp, int(moved.paid), missions])
