"""All tables of one content generation, read from a directory and checked as a whole.

Owns `Content`, its lookups and the relations between tables. Read by rules as `env.content`, never
changed: a reload builds a new one beside it. Called by the node at start and at a reload.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from mmo.content.faults import contradiction
from mmo.content.files import TableFile, TableTexts
from mmo.content.items import CONSUMABLE, EQUIPMENT, KINDS, MATERIAL, ItemRow, item_master
from mmo.content.matching import Matching, MatchingFile, build_matching
from mmo.content.passes import Passes, PassFile, build_passes
from mmo.content.raids import RaidFile, Raids, build_raids
from mmo.content.ranking import Ranking, RankingFile, build_ranking
from mmo.content.schema import (
    Account,
    Channels,
    Combat,
    EnhanceTable,
    Inventory,
    Items,
    Levels,
    Monster,
    MonsterFile,
    Table,
    Tokens,
)
from mmo.content.shop import Shop, ShopFile, build_shop
from mmo.errors import ContentError

__all__ = ["CONSUMABLE", "EQUIPMENT", "KINDS", "MATERIAL", "Content", "ItemRow", "load_content"]

T = TypeVar("T", bound=Table)


class Content(msgspec.Struct, frozen=True):
    """Every table; `items` by (kind, code), `slots` by kind, monsters by kind."""

    levels: Levels
    monsters: tuple[Monster, ...]
    channels: Channels
    combat: Combat
    inventory: Inventory
    account: Account
    tokens: Tokens
    items: dict[tuple[int, int], ItemRow]
    slots: tuple[int, int, int]
    shop: Shop
    passes: Passes
    enhance: EnhanceTable
    raids: Raids
    matching: Matching
    ranking: Ranking
    channel_monsters: tuple[int, ...]  # kind by place; place n of the client is index n - 1
    own: Mapping[str, Any] = MappingProxyType({})
    """Tables of a game for which the box has no form: the parsed file by its name without
    `.toml`."""

    def item(self, kind: int, code: int) -> ItemRow | None:
        """The master row, None for an unknown item."""
        return self.items.get((kind, code))


def data_directory() -> Path:
    """The tables in the box."""
    return Path(__file__).parent / "data"


def load_content(directory: Path | TableTexts | str | None = None) -> Content:
    """Read and check all tables of `directory` (empty: those in the box). Raises `ContentError`
    (E0601 unreadable, E0602 against the schema, E0603 tables that contradict each other) that
    names file and row; on an error nothing of the new content is used."""
    place: Path | TableTexts
    if isinstance(directory, TableTexts):
        place = directory
    else:
        place = Path(directory) if directory else data_directory()
    levels = _read(place / "levels.toml", Levels)
    monsters = _read(place / "monsters.toml", MonsterFile).monster
    channels = _read(place / "channels.toml", Channels)
    combat = _read(place / "combat.toml", Combat)
    items = _read(place / "items.toml", Items)
    inventory = _read(place / "inventory.toml", Inventory)
    account = _read(place / "account.toml", Account)
    tokens = _read(place / "tokens.toml", Tokens)
    shop = _read(place / "shop.toml", ShopFile)
    enhance = _read(place / "enhance.toml", EnhanceTable)
    passes = _read(place / "passes.toml", PassFile)
    matching = _read(place / "matching.toml", MatchingFile)
    ranking = _read(place / "ranking.toml", RankingFile)
    master = item_master(items)
    raids = build_raids(_read(place / "raids.toml", RaidFile), master, levels.level_max)
    _check_levels(levels)
    _check_monsters(monsters, master)
    _check_channels(channels, monsters)
    _check_account(account)
    _check_tokens(tokens)
    return Content(
        levels=levels,
        monsters=monsters,
        channels=channels,
        combat=combat,
        inventory=inventory,
        account=account,
        tokens=tokens,
        items=master,
        slots=(
            inventory.equipment_slots,
            inventory.consumable_slots,
            inventory.material_slots,
        ),
        shop=build_shop(shop, master),
        passes=build_passes(passes, master),
        enhance=enhance,
        raids=raids,
        matching=build_matching(matching, raids.kinds),
        ranking=build_ranking(ranking),
        channel_monsters=tuple(
            placed.kind for placed in channels.monster for _ in range(placed.count)
        ),
        own=_own_tables(place),
    )


def _own_tables(place: Path | TableTexts) -> Mapping[str, Any]:
    """What a bundle holds beside the tables of the box."""
    if isinstance(place, Path):
        return MappingProxyType({})
    return MappingProxyType(
        {name.removesuffix(".toml"): _parsed(place / name) for name in place.unasked()}
    )


def _read(file: Path | TableFile, form: type[T]) -> T:
    """One file in its form."""
    raw = _parsed(file)
    try:
        return msgspec.convert(raw, form)
    except msgspec.ValidationError as fault:
        raise ContentError("E0602", f"{file.name}: {fault}", f"mend that row of {file}") from None


def _parsed(file: Path | TableFile) -> Any:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise ContentError(
            "E0601", f"{file.name}: {fault}", f"make {file} a readable TOML file"
        ) from None


def _check_levels(levels: Levels) -> None:
    for level, need in enumerate(levels.exp_need[1:-1], start=1):
        if need < 1:
            raise contradiction(
                "levels.toml", f"exp_need[{level}]", "a level that needs nothing is never shown"
            )


def _check_monsters(monsters: tuple[Monster, ...], master: dict[tuple[int, int], ItemRow]) -> None:
    for index, monster in enumerate(monsters):
        row = f"monster[{index}]"
        if monster.kind != index:
            raise contradiction(
                "monsters.toml", row, f"kind {monster.kind} must be {index}, its place in the file"
            )
        if sum(drop.permille for drop in monster.drops) > 1000:
            raise contradiction("monsters.toml", row, "drops are more than 1000 permille")
        for number, drop in enumerate(monster.drops):
            place = f"{row}.drops[{number}]"
            if drop.kind not in KINDS:
                raise contradiction(
                    "monsters.toml", place, f"kind {drop.kind!r} is none of {', '.join(KINDS)}"
                )
            item = master.get((KINDS.index(drop.kind), drop.code))
            if item is None:
                raise contradiction(
                    "monsters.toml", place, f"items.toml has no {drop.kind} {drop.code}"
                )
            if drop.count > item.stack_max:
                raise contradiction(
                    "monsters.toml", place, f"count {drop.count} is over stack_max {item.stack_max}"
                )


def _check_channels(channels: Channels, monsters: tuple[Monster, ...]) -> None:
    for index, placed in enumerate(channels.monster):
        if placed.kind >= len(monsters):
            raise contradiction(
                "channels.toml", f"monster[{index}]", f"monsters.toml has no kind {placed.kind}"
            )
    if channels.channels * channels.channel_users_max < channels.server_users_max:
        raise contradiction(
            "channels.toml",
            "server_users_max",
            f"{channels.channels} channels of {channels.channel_users_max} users do not hold"
            f" {channels.server_users_max}",
        )


def _check_account(account: Account) -> None:
    for low, high in (
        ("name_characters_min", "name_characters_max"),
        ("password_characters_min", "password_characters_max"),
        ("lock_ms_min", "lock_ms_max"),
        ("failures_max", "account_failures_max"),
    ):
        if getattr(account, low) > getattr(account, high):
            raise contradiction("account.toml", low, f"is over {high}")


def _check_tokens(tokens: Tokens) -> None:
    if tokens.seat_hold_ms < tokens.move_s * 1000:
        raise contradiction(
            "tokens.toml", "seat_hold_ms", "the seat would be lost before the move token ends"
        )
