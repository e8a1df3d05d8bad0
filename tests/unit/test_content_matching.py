"""The tables of matching: the groups of the reference, curves that only widen, faults by name."""

import shutil
from pathlib import Path

import pytest

from mmo.content import data_directory, load_content
from mmo.errors import ContentError


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A copy of the tables in the box that a test may break."""
    return Path(shutil.copytree(data_directory(), tmp_path / "data"))


def test_matching_when_loaded_then_has_the_six_groups_of_the_reference() -> None:
    matching = load_content().matching
    assert [matching.group_of(level) for level in range(18)] == [
        level // 3 + 1 for level in range(18)
    ]
    assert matching.group_of(-1) == 1 and matching.group_of(1_000) == 6


def test_curve_when_time_passes_then_widens_at_its_points_and_says_when() -> None:
    curve = load_content().matching.curve_of(1)
    at_ms = curve.from_ms[1]
    assert [curve.reach_at(ms) for ms in (-5, 0, at_ms - 1, at_ms)] == [0, 0, 0, curve.reach[1]]
    assert curve.widens_in_ms(0) == at_ms and curve.widens_in_ms(at_ms - 1) == 1
    assert curve.widens_in_ms(curve.from_ms[-1]) == -1


def test_curve_when_a_kind_has_its_own_then_it_alone_goes_by_it(tables: Path) -> None:
    with (tables / "matching.toml").open("a", encoding="utf-8") as file:
        file.write("\n[[kind]]\nkind = 1\nwidening = [[0, 0], [5, 3]]\n")
    matching = load_content(tables).matching
    assert matching.curve_of(1).reach_at(5) == 3
    assert matching.curve_of(2) == matching.curve != matching.curve_of(1)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("[0, 3, 6", "[1, 3, 6", "group_level_min"),
        ("[0, 3, 6", "[0, 6, 3", "group_level_min"),
        ("[[0, 0], [15000, 1]", "[[5, 0], [15000, 1]", "widening"),
        ("[15000, 1], [30000, 2]", "[30000, 1], [15000, 2]", "widening"),
        ("[15000, 1], [30000, 2]", "[15000, 2], [30000, 1]", "widening"),
        ("release_ms = 20000", "release_ms = 2", "release_ms"),
        ("#[[kind]]\n#kind = 2\n#", "[[kind]]\nkind = 200\n", "kind[0]"),
    ],
)
def test_matching_when_a_row_contradicts_then_is_refused_by_name(
    tables: Path, old: str, new: str, named: str
) -> None:
    file = tables / "matching.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ContentError) as caught:
        load_content(tables)
    assert caught.value.code == "E0603"
    assert "matching.toml" in str(caught.value) and named in str(caught.value)


def test_matching_when_a_kind_is_there_twice_then_is_refused(tables: Path) -> None:
    with (tables / "matching.toml").open("a", encoding="utf-8") as file:
        file.write("\n[[kind]]\nkind = 1\nwidening = [[0, 0]]\n" * 2)
    with pytest.raises(ContentError, match="twice"):
        load_content(tables)
