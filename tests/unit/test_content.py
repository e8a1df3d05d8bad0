"""Content: the tables in the box load, and every kind of broken table is refused by name."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmo.content import data_directory, load_content
from mmo.errors import ContentError, OperatorError

FILES = sorted(path.name for path in data_directory().glob("*.toml"))


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A copy of the tables in the box that a test may break."""
    return Path(shutil.copytree(data_directory(), tmp_path / "data"))


def fault_of(tables: Path) -> ContentError:
    """The error of loading these tables."""
    with pytest.raises(ContentError) as caught:
        load_content(tables)
    return caught.value


def change(file: Path, old: str, new: str) -> None:
    """Replace text that is there exactly as written."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_content_when_loaded_then_has_the_numbers_of_the_reference() -> None:
    content = load_content()
    assert content.levels.level_max == 15
    assert [monster.exp for monster in content.monsters] == list(range(11))
    channels = content.channels
    assert (channels.channels, channels.channel_users_max, channels.server_users_max) == (3, 10, 30)
    assert content.slots == (10, 10, 10)
    assert (content.tokens.login_s, content.tokens.session_s, content.tokens.move_s) == (
        60,
        900,
        15,
    )
    assert set(content.channel_monsters) == set(range(11))


def test_content_when_loaded_from_a_copy_then_is_the_same(tables: Path) -> None:
    assert load_content(tables) == load_content()


def test_item_when_looked_up_then_has_name_power_and_stack() -> None:
    content = load_content()
    sword, potion = content.item(0, 3), content.item(1, 1)
    assert sword is not None and potion is not None
    assert (sword.name, sword.attack_power, sword.stack_max) == ("Iron Sword", 6, 1)
    assert (potion.attack_power, potion.stack_max) == (0, 99)
    assert content.item(0, 999) is None and content.item(9, 1) is None


@pytest.mark.parametrize("name", FILES)
def test_content_when_a_file_is_missing_then_is_refused_by_name(tables: Path, name: str) -> None:
    (tables / name).unlink()
    fault = fault_of(tables)
    assert fault.code == "E0601" and name in fault.cause


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("garbage", [b"= 1", b"\xff\xfe", b"[["])
def test_content_when_a_file_is_no_toml_then_is_refused_by_name(
    tables: Path, name: str, garbage: bytes
) -> None:
    (tables / name).write_bytes(garbage)
    fault = fault_of(tables)
    assert fault.code == "E0601" and name in fault.cause


@pytest.mark.parametrize("name", FILES)
def test_content_when_a_key_is_unknown_then_is_refused_by_name(tables: Path, name: str) -> None:
    text = (tables / name).read_text(encoding="utf-8")
    (tables / name).write_text(f"not_a_key = 1\n{text}", encoding="utf-8")
    fault = fault_of(tables)
    assert fault.code == "E0602" and name in fault.cause and "not_a_key" in fault.cause


@pytest.mark.parametrize(
    ("name", "old", "new", "place"),
    [
        ("monsters.toml", "hp = 12", "hp = 0", "monster[1].hp"),
        ("monsters.toml", "hp = 12", 'hp = "12"', "monster[1].hp"),
        ("monsters.toml", "permille = 300", "permille = 1001", "permille"),
        ("monsters.toml", "gold = 3\n", "gold = -3\n", "monster[1].gold"),
        ("monsters.toml", "gold = 3\n", "gold = 9007199254740993\n", "monster[1].gold"),
        ("monsters.toml", "gold = 3\n", "", "gold"),
        ("items.toml", 'name = "Iron Sword"', 'name = ""', "equipment[2].name"),
        ("items.toml", "stack_max = 99", "stack_max = 0", "consumable[0].stack_max"),
        ("inventory.toml", "equipment_slots = 10", "equipment_slots = 0", "equipment_slots"),
        ("levels.toml", "[0, 1, 2", "[0, -1, 2", "exp_need[1]"),
        ("tokens.toml", "move_s = 15", "move_s = 0", "move_s"),
        ("combat.toml", "attack_cooldown_ms = 250", "attack_cooldown_ms = 1.5", "attack_cooldown"),
    ],
)
def test_content_when_a_value_is_out_of_range_then_file_and_row_are_named(
    tables: Path, name: str, old: str, new: str, place: str
) -> None:
    change(tables / name, old, new)
    fault = fault_of(tables)
    assert fault.code == "E0602" and name in fault.cause and place in fault.cause, fault.cause


@pytest.mark.parametrize(
    ("name", "old", "new", "place"),
    [
        ("monsters.toml", "kind = 3\n", "kind = 4\n", "monster[3]"),
        ("monsters.toml", 'kind = "material", code = 1,', 'kind = "gem", code = 1,', "drops[0]"),
        ("monsters.toml", "code = 1, permille = 300", "code = 77, permille = 300", "drops[0]"),
        ("monsters.toml", "permille = 300, count = 1", "permille = 950, count = 1", "monster[1]"),
        ("monsters.toml", "permille = 20, count = 1", "permille = 20, count = 2", "drops[2]"),
        ("items.toml", "code = 2\n", "code = 1\n", "equipment[1]"),
        ("channels.toml", "kind = 10\n", "kind = 11\n", "monster[9]"),
        ("channels.toml", "channel_users_max = 10", "channel_users_max = 9", "server_users_max"),
        ("levels.toml", "[0, 1, 2", "[0, 1, 0", "exp_need[2]"),
        ("account.toml", "name_characters_max = 16", "name_characters_max = 1", "name_characters"),
        ("account.toml", "lock_ms_max = 900000", "lock_ms_max = 1", "lock_ms_min"),
        ("tokens.toml", "seat_hold_ms = 17000", "seat_hold_ms = 14999", "seat_hold_ms"),
    ],
)
def test_content_when_tables_contradict_each_other_then_file_and_row_are_named(
    tables: Path, name: str, old: str, new: str, place: str
) -> None:
    change(tables / name, old, new)
    fault = fault_of(tables)
    assert fault.code == "E0603" and name in fault.cause and place in fault.cause, fault.cause


def test_content_error_when_raised_then_an_operator_can_read_how_to_mend_it(tables: Path) -> None:
    (tables / "levels.toml").unlink()
    fault: OperatorError = fault_of(tables)
    assert str(tables / "levels.toml") in fault.fix


def test_schema_when_rows_are_compared_then_nothing_of_a_table_can_be_changed() -> None:
    changes: list[Callable[[], None]] = [
        lambda: setattr(load_content().levels, "exp_need", ()),
        lambda: setattr(load_content().monsters[0], "hp", 1),
    ]
    for change_it in changes:
        with pytest.raises(AttributeError):
            change_it()
