"""Shop, odds and passes in content: checked rows, prebuilt pages, catalogue numbers."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmo.content import data_directory, load_content
from mmo.content.items import item_master
from mmo.content.passes import PassFile, build_passes
from mmo.content.schema import Items
from mmo.content.shop import ShopFile, build_shop
from mmo.errors import ContentError
from mmo.wire.codec import decode
from mmo.wire.opcode import Op

CONTENT = load_content()
MASTER = item_master(
    msgspec.convert(
        {
            "equipment": [{"code": 1, "name": "Sword", "attack_power": 3}],
            "material": [
                {"code": code, "name": "Ore" * 20, "stack_max": 9} for code in range(1, 1001)
            ],
        },
        Items,
    )
)
LINE = {"number": 1, "kind": "equipment", "code": 1, "currency": "gold", "price": 5}
SEASON: dict[str, Any] = {
    "number": 1,
    "name": "One",
    "starts": "2026-01-01T00:00:00Z",
    "ends": "2026-02-01T00:00:00Z",
    "exp_need": [1, 2],
    "price_cash": 5,
}


def shop_of(*lines: dict[str, Any], page_bytes_max: int = 512) -> Any:
    """The built shop of some rows."""
    raw = {"page_bytes_max": page_bytes_max, "quantity_max": 9, "line": list(lines)}
    return build_shop(msgspec.convert(raw, ShopFile), MASTER)


def passes_of(*seasons: dict[str, Any]) -> Any:
    """The built passes of some rows."""
    raw = {"page_bytes_max": 512, "season": list(seasons)}
    return build_passes(msgspec.convert(raw, PassFile), MASTER)


def test_odds_when_read_then_are_those_of_the_reference() -> None:
    percent = [step.chance_ppm / 10_000 for step in CONTENT.enhance.step]
    assert percent == [100, 80, 60, 40, 20, 10, 5, 3, 2, 1]


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"kind": "gem"}, "kind"),
        ({"currency": "tears"}, "currency"),
        ({"code": 77}, "items.toml has no equipment 77"),
        ({"sale_from": "2026-02-01T00:00:00Z", "sale_until": "2026-02-01T00:00:00Z"}, "sale_until"),
    ],
)
def test_shop_when_a_line_is_wrong_then_is_refused_by_its_place(
    changed: dict[str, Any], cause: str
) -> None:
    with pytest.raises(ContentError) as caught:
        shop_of(LINE, {**LINE, "number": 2, **changed})
    assert caught.value.code == "E0603"
    assert "line[1]" in caught.value.cause and cause in caught.value.cause


def test_shop_when_a_number_is_twice_then_is_refused() -> None:
    with pytest.raises(ContentError, match="twice"):
        shop_of(LINE, LINE)


@pytest.mark.parametrize(
    "changed",
    [
        {"price": 0},
        {"price": -1},
        {"price": 2**53},
        {"count": 0},
        {"days": -1},
        {"days": 3_651},
        {"mileage": -1},
        {"daily_limit": -1},
        {"number": 0},
        {"colour": "red"},
    ],
)
def test_shop_when_a_value_is_out_of_range_then_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        shop_of({**LINE, **changed})


def test_catalogue_when_of_any_size_then_pages_hold_every_line_below_their_limit() -> None:
    for size in (0, 1, 10, 1_000):
        lines = [
            {**LINE, "number": code, "kind": "material", "code": code}
            for code in range(1, size + 1)
        ]
        shop = shop_of(*lines)
        pages = [decode(Op.SHOP_PAGE_OK, page.body) for page in shop.pages]
        assert all(len(page.body) <= 512 for page in shop.pages)
        assert [page.page for page in pages] == list(range(len(pages)))
        assert {page.pages for page in pages} == {len(pages)}
        listed = [view.line for page in pages for view in page.lines]
        assert listed == list(range(1, size + 1))


def test_catalogue_when_anything_a_player_pays_by_changes_then_has_another_number() -> None:
    number = shop_of(LINE).catalogue
    assert shop_of(LINE).catalogue == number
    for changed in ({"price": 6}, {"count": 2}, {"days": 1}, {"currency": "cash"}, {"mileage": 1}):
        assert shop_of({**LINE, **changed}).catalogue != number


def test_catalogue_when_lines_are_mixed_up_then_are_sorted_by_kind_code_and_days() -> None:
    shop = shop_of(
        {**LINE, "number": 1, "kind": "material", "code": 2},
        {**LINE, "number": 2, "kind": "material", "code": 1},
        {**LINE, "number": 3, "days": 7},
        {**LINE, "number": 4},
    )
    views = decode(Op.SHOP_PAGE_OK, shop.pages[0].body).lines
    assert [view.line for view in views] == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"ends": "2026-01-01T00:00:00Z"}, "ends is not after starts"),
        (
            {"mission": [{"number": 1, "event": "kill", "goal": 1, "exp": 1, "times": 1}] * 2},
            "mission number",
        ),
        ({"mission": [{"number": 1, "event": "sing", "goal": 1, "exp": 1, "times": 1}]}, "sing"),
        ({"reward": [{"level": 3, "gold": 1}]}, "level 3 is over 2"),
        ({"reward": [{"level": 1, "gold": 1}] * 2}, "is twice"),
        ({"reward": [{"level": 1}]}, "gives nothing"),
        ({"reward": [{"level": 1, "line": "silver", "gold": 1}]}, "silver"),
        ({"reward": [{"level": 1, "kind": "equipment", "code": 9}]}, "no equipment 9"),
    ],
)
def test_pass_when_a_row_is_wrong_then_is_refused_by_name(
    changed: dict[str, Any], cause: str
) -> None:
    with pytest.raises(ContentError, match=cause):
        passes_of({**SEASON, **changed})


@pytest.mark.parametrize("reward", [{"level": 0, "gold": 1}, {"level": -1, "gold": 1}])
def test_pass_when_a_reward_is_below_level_1_then_is_refused(reward: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        passes_of({**SEASON, "reward": [reward]})


def test_pass_when_it_has_a_thousand_levels_then_every_reward_is_on_a_page() -> None:
    rewards = [
        {"level": level, "line": name, "gold": level}
        for level in range(1, 1001)
        for name in ("paid", "free")
    ]
    built = passes_of({**SEASON, "exp_need": [1] * 1000, "reward": rewards})
    pages = built.pages_at(built.seasons[1].starts_ms)
    views = [view for page in pages for view in decode(Op.PASS_PAGE_OK, page.body).rewards]
    assert [(view.level, view.line) for view in views] == [
        (level, number) for level in range(1, 1001) for number in (0, 1)
    ]
    assert all(len(page.body) <= 512 for page in pages)


def test_passes_when_none_exist_then_one_empty_page_says_so() -> None:
    built = passes_of()
    assert decode(Op.PASS_PAGE_OK, built.pages_at(0)[0].body).rewards == []
    assert built.running(0) == []


def test_pass_pages_when_looked_at_in_time_then_hold_the_rewards_of_what_runs() -> None:
    at = "2026-01-0{}T00:00:00Z".format
    row = {**SEASON, "reward": [{"level": 1, "gold": 1}]}
    built = passes_of(
        *(
            {**row, "number": number, "starts": at(starts), "ends": at(ends)}
            for number, starts, ends in ((3, 8, 9), (2, 3, 6), (1, 1, 4))
        )
    )
    seen = set()
    for moment in {edge + late for edge in built.edges_ms for late in (-1, 0, 1)}:
        told = [decode(Op.PASS_PAGE_OK, page.body) for page in built.pages_at(moment)]
        listed = {view.pass_id for page in told for view in page.rewards}
        assert listed == {season.number for season in built.running(moment)}
        assert {page.pages for page in told} == {len(told)}
        seen.add((frozenset(listed), told[0].catalogue))
    assert len(seen) == len({catalogue for _, catalogue in seen}) == 5


def test_passes_when_looked_at_in_time_then_only_running_ones_are_there_by_number() -> None:
    built = passes_of({**SEASON, "number": 2}, SEASON)
    starts = built.seasons[1].starts_ms
    ends = built.seasons[1].ends_ms
    assert [season.number for season in built.running(starts)] == [1, 2]
    assert built.running(starts - 1) == [] == built.running(ends)
    assert len(built.running(ends - 1)) == 2


def test_content_when_its_shop_is_wrong_then_the_whole_load_is_refused(tmp_path: Path) -> None:
    data = Path(shutil.copytree(data_directory(), tmp_path / "data"))
    text = (data / "shop.toml").read_text(encoding="utf-8")
    (data / "shop.toml").write_text(text.replace("code = 1\n", "code = 999\n", 1), "utf-8")
    with pytest.raises(ContentError, match=r"shop\.toml"):
        load_content(data)
