"""What the store makes of texts and changes before any database sees them."""

import msgspec
import pytest

from mmo.state.bag import Bag, Item, ItemBorn, ItemDied, ItemStacked
from mmo.state.change import Change
from mmo.state.grant import GrantClaimed
from mmo.state.growth import ExpGained, Growth
from mmo.state.player import Head, OperationBook, Player
from mmo.state.score import Score, ScoreRaised
from mmo.state.wallet import CoinsMoved, Wallet
from mmo.store import PlayerCommit, players, statements
from mmo.store.connection import Statement
from mmo.store.ledger import BUILDERS, GroupRows
from mmo.store.migrate import split, steps
from mmo.store.settings import SECRET_FIELDS, StoreSettings

CASES: dict[str, tuple[str, list[str]]] = {
    "two": ("CREATE x; DROP y;", ["CREATE x", "DROP y"]),
    "no end": ("SELECT 1", ["SELECT 1"]),
    "empty ones": (";;  ;\n", []),
    "in a string": (
        "SELECT ';', \"a;b\", `c;d`; SELECT 2",
        ["SELECT ';', \"a;b\", `c;d`", "SELECT 2"],
    ),
    "quotes in strings": (r"SELECT 'it''s; \'x;\''; X", [r"SELECT 'it''s; \'x;\''", "X"]),
    "comments": ("-- a; b\nA # c; d\n; /* e; f */ B", ["A", "B"]),
    "a dash that is none": ("SELECT 1--2; X", ["SELECT 1--2", "X"]),
    "a comment in a string": ("SELECT '-- no', '/* no */'", ["SELECT '-- no', '/* no */'"]),
}


@pytest.mark.parametrize("case", CASES)
def test_files_are_split_into_statements(case: str) -> None:
    text, wanted = CASES[case]
    assert [statement for statement, _ in split(text)] == wanted


def test_notes_go_with_their_statement() -> None:
    text = "-- mmo:locks-table items\n-- plain\nA;\nB; -- mmo:irreversible\nC;"
    assert [notes for _, notes in split(text)] == [("locks-table items",), (), ("irreversible",)]


def test_the_shipped_files_are_read_in_order() -> None:
    shipped = steps()
    keys = [(step.version, step.number) for step in shipped]
    assert keys == sorted(keys) and keys[0] == (1, 1)
    assert len({step.sha256 for step in shipped}) == len(shipped)
    assert shipped[0].text.startswith("CREATE TABLE account")


def test_a_statement_is_cut_at_its_placeholders() -> None:
    statement = Statement("SELECT a\n   FROM b WHERE c = %s AND d = %s")
    assert statement.pieces == (b"SELECT a FROM b WHERE c = ", b" AND d = ", b"")
    assert Statement.verbatim("a %s  b").pieces == (b"a %s  b",)


def test_group_statements_take_one_value() -> None:
    groups = [
        *(statements.LOCK_HEADS, statements.MOVE_HEADS, statements.ADD_EVENTS),
        *(statements.ADD_COINS, *(statement for statement, _ in players.WRITES)),
        *(statements.ADD_ITEM_LINES, statements.CLAIM_GRANTS, statements.MARK_DIRTY),
        *(statements.READ_SEATS, statements.ADD_GRANTS),
    ]
    for statement in groups:
        assert len(statement.pieces) == 2, statement.text
        assert "JSON_TABLE" in statement.text


def player_with(items: tuple[Item, ...] = ()) -> Player:
    head = Head(7, "name", 4, 1, 11, 2)
    return Player(head, Growth(2, 5), Wallet(9), Bag(items), Score(3), OperationBook())


def rows_of(player: Player, *changes: Change) -> GroupRows:
    commit = PlayerCommit(player, (1, 5), 410, b"\x01" * 8, 411, b"\xff", changes, 2, 99)
    return GroupRows([commit])


def test_every_change_has_its_rows() -> None:
    assert {
        ExpGained,
        CoinsMoved,
        ItemBorn,
        ItemStacked,
        GrantClaimed,
        ScoreRaised,
    } <= BUILDERS.keys()


def test_an_empty_outcome_still_moves_the_head_and_is_recorded() -> None:
    rows = rows_of(player_with())
    assert rows.heads == [[7, 4, 2, 5, 0, 0, 0, 3]]
    assert rows.dirty == [[7, 5]]
    assert rows.events == [[7, 1, 5, 5, 410, 411, 2, 99, "01" * 8, "ff", "90"]]
    assert not rows.coins and not rows.items_born and not rows.grants


def test_changes_become_rows_in_their_order() -> None:
    kept = Item(3, 2, 0, 301, 4)
    rows = rows_of(
        player_with((kept,)),
        ExpGained(30, 3, 1),
        CoinsMoved(0, 10, 1),
        CoinsMoved(0, -4, 101),
        CoinsMoved(2, 5, 2),
        ItemBorn(Item(8, 2, 1, 302, 1), 1),
        ItemStacked(Item(8, 2, 1, 302, 3), 2, 1),
        ItemStacked(Item(3, 2, 0, 301, 6), 2, 1),
        ItemStacked(Item(3, 2, 0, 301, 5), -1, 101),
        GrantClaimed(1, 6),
        ScoreRaised(8),
        ScoreRaised(6),
    )
    assert rows.heads == [[7, 4, 3, 1, 6, 0, 5, 8]]
    assert rows.coins == [[7, 5, 0, 1, 0, 10], [7, 5, 1, 101, 0, -4], [7, 5, 2, 2, 2, 5]]
    assert rows.items_born == [[7, 8, 2, 1, 302, 3, 0, 0, 0, 0]]
    assert rows.items_stacked == [[7, 3, 301, 4, 5]]  # once, from the count before both
    assert [row[7] for row in rows.item_lines] == [1, 2, 2, -1]
    assert [row[2] for row in rows.item_lines] == [0, 1, 2, 3]
    assert rows.grants == [[7, 1, 6, 5]]


def test_what_expires_is_asked_of_the_clock_and_what_else_dies_is_not() -> None:
    dropped, over = Item(3, 2, 0, 301, 4), Item(4, 2, 1, 302, 5, expires_ms=9)
    rows = rows_of(player_with((dropped, over)), ItemDied(dropped, 104), ItemDied(over, 108))
    assert rows.items_died == [[7, 3, 301, 4]]
    assert rows.items_expired == [[7, 4, 302, 5]]
    assert [row[6:] for row in rows.item_lines] == [[104, -4], [108, -5]]


def test_what_changed_is_kept_readable() -> None:
    rows = rows_of(player_with(), CoinsMoved(0, 10, 1))
    (event,) = rows.events
    changes = msgspec.msgpack.decode(bytes.fromhex(str(event[-1])))
    assert changes == [{"type": "CoinsMoved", "currency": 0, "amount": 10, "account": 1}]


def test_secrets_are_named() -> None:
    fields = {field.name for field in msgspec.structs.fields(StoreSettings)}
    assert set(SECRET_FIELDS) == {name for name in fields if "password" in name}
