"""The tables of raids: what the schema cannot say is checked, and arenas are made of them."""

import tomllib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from mmo.content import load_content
from mmo.content.raids import RaidFile, Raids, build_raids
from mmo.content.tables import data_directory
from mmo.errors import ContentError
from mmo.systems.raid_battle import hp_max
from mmo.wire.raid_stream import HP_MAX

MASTER = load_content().items
LEVEL_MAX = load_content().levels.level_max


def raw() -> dict[str, Any]:
    """`raids.toml` of the box."""
    return tomllib.loads((data_directory() / "raids.toml").read_text(encoding="utf-8"))


def built(changed: Callable[[dict[str, Any]], None]) -> Raids:
    """The checked tables after a change of the file."""
    file = raw()
    changed(file)
    return build_raids(msgspec.convert(file, RaidFile), MASTER, LEVEL_MAX)


def set_in(*path: Any) -> Callable[[dict[str, Any]], None]:
    """A change: the value at the end of the path."""

    def change(file: dict[str, Any]) -> None:
        place: Any = file
        for step in path[:-2]:
            place = place[step]
        place[path[-2]] = path[-1]

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_in("kind", 1, "number", 1), "twice"),
        (set_in("map", 1, "number", 0), "twice"),
        (set_in("kind", 0, "reward", 0, "outcome", "draw"), "none of lost, won"),
        (set_in("kind", 0, "reward", 1, "prize", 0, "code", 999), "items.toml has no material 999"),
        (set_in("kind", 0, "reward", 1, "prize", 0, "kind", "gem"), "has no gem"),
        (set_in("kind", 2, "reward", 1, "prize", 1, "count", 2), "over the item's stack_max"),
        (set_in("map", 0, "phase", 0, "below_permille", 900), "first phase"),
        (set_in("map", 2, "phase", 2, "below_permille", 700), "go downwards"),
        (set_in("map", 0, "phase", 0, "pattern", 0, "kind", "roar"), "none of area"),
        (set_in("map", 0, "phase", 0, "pattern", 0, "windup_ms", 5_000), "windup_ms"),
        (set_in("kind", 2, "time_limit_ms", 200_001), "its record could not be kept"),
        (set_in("kind", 1, "hp", 2**32), "kind[1]"),
        (set_in("kind", 0, "hp_per_level", 2**32 // 28), "against a whole team of level 15"),
    ],
)
def test_table_when_it_contradicts_itself_then_is_refused_by_name(
    change: Callable[[dict[str, Any]], None], says: str
) -> None:
    with pytest.raises(ContentError, match="E0603") as refused:
        built(change)
    assert says in str(refused.value) and "raids.toml" in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        set_in("kind", 0, "team_size", 9),
        set_in("kind", 0, "team_size", 1),
        set_in("kind", 0, "hp", 0),
        set_in("map", 0, "weight", 0),
        set_in("kind", 0, "hitpoints", 3),
    ],
)
def test_table_when_out_of_range_or_misspelt_then_is_refused(
    change: Callable[[dict[str, Any]], None],
) -> None:
    with pytest.raises(msgspec.ValidationError):
        built(change)


def test_monster_when_it_has_all_hit_points_that_the_stream_tells_then_is_taken() -> None:
    def change(file: dict[str, Any]) -> None:
        kind = file["kind"][0]
        team = kind["team_size"] * (LEVEL_MAX - 1)
        kind["hp"] = HP_MAX * 1000 // max(row["hp_permille"] for row in file["map"])
        kind["hp"] -= kind["hp_per_level"] * team

    raids = built(change)
    levels = [LEVEL_MAX] * raids.kinds[1].team_size
    most = max(hp_max(arena, levels) for (kind, _), arena in raids.arenas.items() if kind == 1)
    assert HP_MAX - 2 <= most <= HP_MAX


def test_arena_when_made_then_counts_in_ticks_rounded_up() -> None:
    raids = built(set_in("kind", 0, "time_limit_ms", 8_010))
    arena = raids.arenas[1, 2]
    assert arena.ticks_max == 161 and arena.actions[0].cooldown == 6
    assert arena.hp == 300 and raids.arenas[1, 0].hp == 270
    assert set(raids.arenas) == {(kind, number) for kind in raids.kinds for number in raids.maps}
    assert raids.arena_of(raids.blobs[1, 2]) == arena
