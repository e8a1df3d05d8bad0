"""The checker's judgement of items and rolls by the log alone: items lie as they were told last,
rolls are of published days."""

from typing import Any

import pytest

from mmo.proof.checker import books as money
from mmo.proof.checker.findings import Findings
from mmo.proof.checker.truth import Event, PlayerBooks
from mmo.state.bag import Bag, Item, ItemEnhanced, ItemPlaced
from mmo.state.growth import Growth
from mmo.state.player import Head, OperationBook, Player
from mmo.state.score import Score
from mmo.state.wallet import Wallet
from mmo.store import PlayerCommit, economy, ledger, players
from mmo.testing import planted_store
from mmo.wire import codec
from mmo.wire.messages.enhance import EnhanceOk
from mmo.wire.messages.hunt import GrantReward
from mmo.wire.messages.inventory import (
    ItemEquipOk,
    ItemMoveOk,
    ItemsExpired,
    ItemSplitOk,
    ItemUseOk,
)
from mmo.wire.messages.presence import ItemView
from mmo.wire.messages.season_pass import PassProgressed
from mmo.wire.messages.shop import BuyOk
from mmo.wire.opcode import Op

USER, DAY = 7, 20260101
SWORD = ItemView(44, 0, 3, 1, 1, 0)
OTHER = ItemView(45, 0, 4, 2, 1, 0)
HELD = (0, 3, 1, 1, 0, 0, 0, 0)
"""The row of the sword, as it was told."""


def books(*answers: tuple[int, Any], **changed: Any) -> PlayerBooks:
    """A log of these kinds and answers, and the sword alone at the end."""
    held = PlayerBooks(USER, len(answers), 1, 0, 2, 1, 0, (0, 0, 0), 0)
    for version, (kind, answer) in enumerate(answers, 1):
        body = answer if isinstance(answer, bytes) else codec.encode(answer)
        opcode = 0 if isinstance(answer, bytes) else answer.opcode
        held.events.append(Event(0, version, version, int(kind), b"", (opcode, body)))
    held.births = [(1, 44, 1, 1)]
    held.items = {44: HELD}
    for name, value in changed.items():
        setattr(held, name, value)
    return held


def found_of(held: PlayerBooks) -> dict[str, int]:
    found = Findings()
    money.check_books(held, [], found)
    return found.counts


BOUGHT = (Op.BUY, BuyOk(3, 1, 0, 20, 80, 0, 0, [SWORD]))
MOVED = (Op.ITEM_MOVE, ItemMoveOk(1, [SWORD], []))
WORN = (Op.ITEM_EQUIP, ItemEquipOk([ItemView(44, 0, 3, 1, 1, 0, True)], 9))
GIVEN = (Op.GRANT_CLAIM, GrantReward(3, 1, 0, 1, 0, 0, 0, 0, [SWORD]))
ENHANCED = (Op.ENHANCE, EnhanceOk(44, 1, True, 1, 500_000, 3, 10, 0, DAY, 1))
LOST = {"books/item-row": 1}


@pytest.mark.parametrize("told", [BOUGHT, MOVED, GIVEN])
@pytest.mark.parametrize(
    ("row", "finding"),
    [
        (HELD, {}),
        ((0, 2, 1, 1, 0, 0, 0, 0), LOST),  # another slot
        ((0, 3, 1, 1, 0, 1, 0, 0), LOST),  # worn
        ((0, 3, 1, 1, 2, 0, 0, 0), LOST),  # enhanced
        ((0, 3, 8, 1, 0, 0, 0, 0), LOST),  # another item
    ],
)
def test_an_item_is_as_it_was_told_last(told: Any, row: Any, finding: dict[str, int]) -> None:
    assert found_of(books(told, items={44: row})) == finding


def test_what_is_put_on_is_worn_and_a_split_lies_where_it_was_told() -> None:
    assert found_of(books(WORN, items={44: (0, 3, 1, 1, 0, 1, 0, 0)})) == {}
    assert found_of(books(WORN)) == LOST
    left, born = ItemView(44, 1, 3, 1, 2, 0), ItemView(46, 1, 5, 1, 1, 0)
    halves = (Op.ITEM_SPLIT, ItemSplitOk([left, born]))
    births = [(1, 44, 1, 2), (1, 46, 1, 1)]
    rows = {44: (1, 3, 1, 2, 0, 0, 0, 0), 46: (1, 5, 1, 1, 0, 0, 0, 0)}
    assert found_of(books(halves, births=births, items=rows)) == {}
    rows[46] = (1, 0, 1, 1, 0, 0, 0, 0)
    assert found_of(books(halves, births=births, items=rows)) == LOST


def test_the_last_word_counts_and_an_enhancement_is_one_about_itself() -> None:
    elsewhere = (Op.ITEM_MOVE, ItemMoveOk(1, [ItemView(44, 0, 9, 1, 1, 0)], []))
    assert found_of(books(elsewhere, MOVED)) == {}
    assert found_of(books(MOVED, elsewhere)) == LOST
    assert found_of(books(MOVED, ENHANCED, items={44: (0, 3, 1, 1, 1, 0, 0, 1)})) == {}
    assert found_of(books(MOVED, ENHANCED, items={44: (0, 4, 1, 1, 1, 0, 0, 1)})) == LOST
    assert found_of(books(ENHANCED)) == LOST


def test_what_changes_counts_only_leaves_what_was_told() -> None:
    used = (Op.ITEM_USE, ItemUseOk(44, 3, 0, 5, 1, 0, 5))
    expired = (Op.ITEMS_EXPIRE, ItemsExpired([45]))
    logged_in = (Op.PASS_EVENT, PassProgressed(1, 1, 5, 1, 1))
    births = [(1, 44, 1, 4), (2, 44, 1, -1)]
    row = {44: (0, 3, 1, 3, 0, 0, 0, 0)}
    for silent in (used, expired, logged_in, (Op.PASS_EVENT, b"")):
        assert found_of(books(MOVED, silent, births=births, items=row)) == {}
        assert found_of(books(MOVED, silent)) == {}
        assert found_of(books(MOVED, silent, items={44: (0, 2, 1, 1, 0, 0, 0, 0)})) == LOST


def test_what_is_gone_by_now_is_not_judged_here() -> None:
    births = [(1, 44, 1, 1), (1, 45, 2, 1), (2, 45, 2, -1)]
    both = (Op.ITEM_MOVE, ItemMoveOk(2, [SWORD, OTHER], []))
    assert found_of(books(both, (Op.ITEMS_EXPIRE, ItemsExpired([45])), births=births)) == {}


@pytest.mark.parametrize("stranger", [(9900, b""), (Op.ITEM_MOVE, b"\x90"), (9900, b"\x91\x01")])
def test_nothing_is_known_of_items_after_a_line_that_nobody_can_read(stranger: Any) -> None:
    """A game of one's own may have a rule that sorts the bag."""
    elsewhere = {44: (0, 2, 1, 1, 0, 0, 0, 0)}
    assert found_of(books(MOVED, stranger, items=elsewhere)) == {}
    assert found_of(books(MOVED, stranger, MOVED, items=elsewhere)) == LOST


def test_where_a_part_of_the_log_was_purged_items_are_not_judged() -> None:
    assert found_of(books(MOVED, floor=2, items={44: (0, 2, 1, 1, 0, 0, 0, 0)})) == {}


def rolled(keys: dict[int, bytes], day: int) -> tuple[dict[str, int], int]:
    """What is found of one attempt of a day, and how many rolls were computed again."""
    found, key = Findings(), b"k" * 32
    due = money.roll_of(key, 44, 1, 1)
    held = books(MOVED, items={44: (0, 3, 1, 1, 1, 0, 0, 1)})
    held.attempts = [(44, 1, 1, day, 1, 0, 1, 10**6, due)]
    return found.counts, money.check_rolls(held, keys, found)


def test_a_roll_is_of_a_day_whose_key_was_published_and_may_be_hidden() -> None:
    hidden = money.keys_of({DAY: (b"c" * 32, b"")}, b"", Findings())
    assert hidden == {DAY: b""}
    assert rolled({DAY: b"k" * 32}, DAY) == ({}, 1)
    assert rolled(hidden, DAY) == ({}, 0)
    assert rolled(hidden, DAY + 1) == ({"once/roll": 1}, 0)
    assert rolled({}, DAY) == ({"once/roll": 1}, 0)


def test_around_midnight_rolls_are_of_the_day_that_the_session_began_on() -> None:
    """Of the evening before, or of any day ahead: all are published."""
    days = {DAY + ahead: b"" for ahead in range(8)}
    assert all(rolled(days, day) == ({}, 0) for day in days)


def rows_of(*changes: Any) -> ledger.GroupRows:
    """What a commit of these changes writes."""
    head = Head(USER, "ann", 1, 1, 2, 1)
    player = Player(head, Growth(), Wallet(), Bag(), Score(), OperationBook())
    commit = PlayerCommit(player, (1, 1), int(Op.ITEM_MOVE), b"", 0, b"", tuple(changes), 1, 0)
    return ledger.GroupRows([commit])


AFTER = Item(44, 0, 3, 1, 1, enhance=1, attempts=1)


def test_a_change_that_is_lost_is_a_move_and_no_enhancement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(players, "WRITES", players.WRITES)
    planted_store.item_change_lost()
    chosen = dict(players.WRITES)[economy.CHANGE_ITEMS]
    moved, tried = rows_of(ItemPlaced(AFTER)), rows_of(ItemEnhanced(AFTER, 0, 3, 500_000, 1, DAY))
    assert {len(chosen(moved)) for _ in range(99)} == {0, 1}
    assert {len(chosen(tried)) for _ in range(99)} == {1}


def test_a_roll_of_no_published_day_is_logged_with_all_else_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger, "BUILDERS", ledger.BUILDERS.copy())
    tried = ItemEnhanced(AFTER, 0, 3, 500_000, 1, DAY)
    (before,) = rows_of(tried).rolls
    planted_store.roll_day_unpublished()
    (after,) = rows_of(tried).rolls
    assert [DAY, *after[:4], *after[5:]] == [before[4], *before[:4], *before[5:]]
    assert rolled({DAY: b""}, int(after[4]))[0] == {"once/roll": 1}
