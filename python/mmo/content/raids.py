"""Raids: kinds, maps with their monsters, patterns, actions and rewards; the arenas made of them.

Owns `raids.toml` in its checked form. An `Arena` is one kind on one map with all times in ticks:
the whole of what a battle is decided by, so that a battle carries its own and ends by it. Read by
rules as `env.content.raids`, never changed.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from mmo.content.faults import contradiction
from mmo.content.items import KINDS, ItemRow
from mmo.content.schema import Milliseconds, Name, Natural, Permille, Positive, Small, Table
from mmo.wire.raid_stream import HP_MAX, PATTERNS_MAX

TEAM_MAX = 8
PATTERNS = ("area", "single", "leader", "shield")
"""What a monster does, by number: strike all, one by chance, the best scorer; hide behind a
shield."""
AREA, SINGLE, LEADER, SHIELD = range(4)
OUTCOMES = ("lost", "won")

Factor = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
"""Permille of something that may be more than whole."""
TeamSize = Annotated[int, msgspec.Meta(ge=2, le=TEAM_MAX)]


FIGHTERS_MS_MAX = 1_600_000
"""Milliseconds of all fighters of a battle together: at 20 inputs a second (the rate of hits), of
8 bytes each, they fill the 256 KiB that the store keeps of a battle under way."""


class ActionRow(Table, frozen=True):
    """What a member can do. `damage_permille` of his power; `guard_ms` long he takes only
    `guard_permille` of each blow; `heal_permille` of their own hit points for all who stand."""

    name: Name
    cooldown_ms: Milliseconds
    damage_permille: Factor = 0
    guard_ms: Milliseconds = 0
    guard_permille: Permille = 1000
    heal_permille: Permille = 0


class PrizeRow(Table, frozen=True):
    """An item that falls with a chance of `permille`, rolled for each member."""

    kind: str
    code: Small
    count: Small
    permille: Permille


class RewardRow(Table, frozen=True):
    """What a member takes from a battle with this outcome who reached `share_permille_min` of an
    equal share of the monster's hit points; of several rows that fit the last one alone counts."""

    outcome: str
    share_permille_min: Factor
    exp: Natural
    gold: Natural
    gold_per_100_score: Natural = 0
    prize: tuple[PrizeRow, ...] = ()


class KindRow(Table, frozen=True):
    """One kind of raid. Times in milliseconds; 0 `entries_per_day`: no limit, 0 `stand_ms`: who
    falls stays down, 0 `idle_ms`: nobody counts as idle."""

    number: Annotated[int, msgspec.Meta(ge=1, le=255)]
    name: Name
    team_size: TeamSize
    level_min: Natural
    entries_per_day: Natural
    waiting_ms: Annotated[int, msgspec.Meta(ge=1_000, le=600_000)]
    time_limit_ms: Annotated[int, msgspec.Meta(ge=1_000, le=3_600_000)]
    rejoin_grace_ms: Milliseconds
    idle_ms: Milliseconds
    hp: Positive
    hp_per_level: Natural
    fighter_hp: Positive
    fighter_hp_per_level: Natural
    stand_ms: Milliseconds
    stand_hp_permille: Permille
    spread_permille: Annotated[int, msgspec.Meta(ge=0, le=900)]
    critical_permille: Permille
    critical_damage_permille: Factor
    action: Annotated[tuple[ActionRow, ...], msgspec.Meta(min_length=1, max_length=32)]
    reward: tuple[RewardRow, ...] = ()


class PatternRow(Table, frozen=True):
    """One thing a monster repeats within a phase: first after `first_ms`, then every `every_ms`,
    shown `windup_ms` before. A shield lets `permille` of the damage through for `hold_ms`."""

    kind: str
    first_ms: Milliseconds
    every_ms: Annotated[int, msgspec.Meta(ge=100, le=3_600_000)]
    windup_ms: Milliseconds = 0
    damage: Natural = 0
    hold_ms: Milliseconds = 0
    permille: Permille = 0


class PhaseRow(Table, frozen=True):
    """Begins when the hit points are at `below_permille` of the whole or less, or `from_ms` (0:
    never) into the battle. `taken_permille` of each blow reaches the monster; its own do
    `dealt_permille`."""

    below_permille: Permille
    from_ms: Milliseconds = 0
    taken_permille: Factor = 1000
    dealt_permille: Factor = 1000
    pattern: Annotated[tuple[PatternRow, ...], msgspec.Meta(max_length=PATTERNS_MAX)] = ()


class MapRow(Table, frozen=True):
    """One map and its monster, drawn with `weight` against the others."""

    number: Annotated[int, msgspec.Meta(ge=0, le=255)]
    name: Name
    monster: Name
    weight: Small
    hp_permille: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    phase: Annotated[tuple[PhaseRow, ...], msgspec.Meta(min_length=1, max_length=16)]


class RaidFile(Table, frozen=True):
    """The whole of `raids.toml`."""

    tick_ms: Annotated[int, msgspec.Meta(ge=25, le=1_000)]  # rooms are looked at every 50 ms
    rooms_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    checkpoint_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)]
    takeovers_max: Annotated[int, msgspec.Meta(ge=0, le=100)]
    return_wait_ms: Annotated[int, msgspec.Meta(ge=1_000, le=60_000)]
    inputs_max: Annotated[int, msgspec.Meta(ge=1, le=64)]
    kind: Annotated[tuple[KindRow, ...], msgspec.Meta(min_length=1, max_length=255)]
    map: Annotated[tuple[MapRow, ...], msgspec.Meta(min_length=1, max_length=256)]


class Action(msgspec.Struct, array_like=True, frozen=True):
    """An action with its times in ticks."""

    cooldown: int
    damage_permille: int
    guard: int
    guard_permille: int
    heal_permille: int


class Pattern(msgspec.Struct, array_like=True, frozen=True):
    """A pattern with its times in ticks; `kind` is an index of `PATTERNS`."""

    kind: int
    first: int
    every: int
    windup: int
    damage: int
    hold: int
    permille: int


class Phase(msgspec.Struct, array_like=True, frozen=True):
    """A phase; `from_tick` 0: by hit points alone."""

    below_permille: int
    from_tick: int
    taken_permille: int
    dealt_permille: int
    patterns: tuple[Pattern, ...]


class Prize(msgspec.Struct, array_like=True, frozen=True):
    """An item by chance."""

    kind: int
    code: int
    count: int
    permille: int


class Reward(msgspec.Struct, array_like=True, frozen=True):
    """A line of rewards."""

    won: bool
    share_permille_min: int
    exp: int
    gold: int
    gold_per_100_score: int
    prizes: tuple[Prize, ...]


class Arena(msgspec.Struct, array_like=True, frozen=True):
    """One kind on one map: all numbers that decide a battle. All times in ticks."""

    kind: int
    map: int
    team_size: int
    tick_ms: int
    ticks_max: int
    idle: int
    hp: int
    hp_per_level: int
    fighter_hp: int
    fighter_hp_per_level: int
    stand: int
    stand_hp_permille: int
    spread_permille: int
    critical_permille: int
    critical_damage_permille: int
    actions: tuple[Action, ...]
    phases: tuple[Phase, ...]
    rewards: tuple[Reward, ...]


_decode_arena = msgspec.msgpack.Decoder(Arena).decode


class Raids(msgspec.Struct, frozen=True):
    """Checked: kinds by number, maps by number, arenas by (kind, map) and as MessagePack."""

    tick_ms: int
    rooms_max: int
    checkpoint_ms: int
    takeovers_max: int
    return_wait_ms: int
    inputs_max: int
    kinds: Mapping[int, KindRow]
    maps: Mapping[int, MapRow]
    arenas: Mapping[tuple[int, int], Arena]
    blobs: Mapping[tuple[int, int], bytes]
    weights: tuple[tuple[int, int], ...]  # (map number, weight) in the order of the file

    @staticmethod
    def arena_of(blob: bytes) -> Arena:
        """The arena that a battle carries with it."""
        return _decode_arena(blob)


def build_raids(file: RaidFile, master: Mapping[tuple[int, int], ItemRow], level_max: int) -> Raids:
    """The checked raids of a generation; E0603 on a contradiction. `level_max`: of players."""
    kinds: dict[int, KindRow] = {}
    maps: dict[int, MapRow] = {}
    for index, kind in enumerate(file.kind):
        if kind.number in kinds:
            raise _wrong(f"kind[{index}]", f"number {kind.number} is there twice")
        _check_kind(kind, index, master)
        kinds[kind.number] = kind
    for index, row in enumerate(file.map):
        if row.number in maps:
            raise _wrong(f"map[{index}]", f"number {row.number} is there twice")
        _check_map(row, index)
        maps[row.number] = row
    _check_hp(file, level_max)
    arenas = {
        (kind.number, row.number): _arena(file.tick_ms, kind, row)
        for kind in kinds.values()
        for row in maps.values()
    }
    return Raids(
        tick_ms=file.tick_ms,
        rooms_max=file.rooms_max,
        checkpoint_ms=file.checkpoint_ms,
        takeovers_max=file.takeovers_max,
        return_wait_ms=file.return_wait_ms,
        inputs_max=file.inputs_max,
        kinds=kinds,
        maps=maps,
        arenas=arenas,
        blobs={key: msgspec.msgpack.encode(arena) for key, arena in arenas.items()},
        weights=tuple((row.number, row.weight) for row in file.map),
    )


def _wrong(row: str, why: str) -> Exception:
    return contradiction("raids.toml", row, why)


def _check_kind(kind: KindRow, index: int, master: Mapping[tuple[int, int], ItemRow]) -> None:
    if kind.team_size * kind.time_limit_ms > FIGHTERS_MS_MAX:
        text = f"team_size x time_limit_ms is over {FIGHTERS_MS_MAX}: its record could not be kept"
        raise _wrong(f"kind[{index}]", text)
    for number, reward in enumerate(kind.reward):
        place = f"kind[{index}].reward[{number}]"
        if reward.outcome not in OUTCOMES:
            raise _wrong(place, f"outcome {reward.outcome!r} is none of {', '.join(OUTCOMES)}")
        for prize in reward.prize:
            item = (KINDS.index(prize.kind), prize.code) if prize.kind in KINDS else None
            if item is None or item not in master:
                raise _wrong(place, f"items.toml has no {prize.kind} {prize.code}")
            if prize.count > master[item].stack_max:
                raise _wrong(place, f"count {prize.count} is over the item's stack_max")


def _check_map(row: MapRow, index: int) -> None:
    if row.phase[0].below_permille != 1000 or row.phase[0].from_ms:
        raise _wrong(f"map[{index}].phase[0]", "the first phase begins at below_permille = 1000")
    for number, phase in enumerate(row.phase):
        place = f"map[{index}].phase[{number}]"
        if number and phase.below_permille > row.phase[number - 1].below_permille:
            raise _wrong(place, "phases go downwards in below_permille")
        for pattern in phase.pattern:
            if pattern.kind not in PATTERNS:
                raise _wrong(place, f"pattern {pattern.kind!r} is none of {', '.join(PATTERNS)}")
            if pattern.windup_ms > min(pattern.first_ms, pattern.every_ms):
                raise _wrong(place, "windup_ms is over first_ms or every_ms")


def _check_hp(file: RaidFile, level_max: int) -> None:
    """What a team of the highest level meets must fit into the stream."""
    for index, kind in enumerate(file.kind):
        whole = kind.hp + kind.hp_per_level * kind.team_size * (level_max - 1)
        for number, row in enumerate(file.map):
            hp = whole * row.hp_permille // 1000
            if hp > HP_MAX:
                raise _wrong(
                    f"kind[{index}]",
                    f"its monster has {hp} hit points on map[{number}] against a whole team of "
                    f"level {level_max}; the stream of a battle tells at most {HP_MAX}",
                )


def _ticks(time_ms: int, tick_ms: int) -> int:
    """A time in ticks, rounded up."""
    return -(-time_ms // tick_ms)


def _arena(tick_ms: int, kind: KindRow, row: MapRow) -> Arena:
    return Arena(
        kind=kind.number,
        map=row.number,
        team_size=kind.team_size,
        tick_ms=tick_ms,
        ticks_max=_ticks(kind.time_limit_ms, tick_ms),
        idle=_ticks(kind.idle_ms, tick_ms),
        hp=max(1, kind.hp * row.hp_permille // 1000),
        hp_per_level=kind.hp_per_level * row.hp_permille // 1000,
        fighter_hp=kind.fighter_hp,
        fighter_hp_per_level=kind.fighter_hp_per_level,
        stand=_ticks(kind.stand_ms, tick_ms),
        stand_hp_permille=kind.stand_hp_permille,
        spread_permille=kind.spread_permille,
        critical_permille=kind.critical_permille,
        critical_damage_permille=kind.critical_damage_permille,
        actions=tuple(_action(action, tick_ms) for action in kind.action),
        phases=tuple(_phase(phase, tick_ms) for phase in row.phase),
        rewards=tuple(_reward(reward) for reward in kind.reward),
    )


def _action(row: ActionRow, tick_ms: int) -> Action:
    return Action(
        _ticks(row.cooldown_ms, tick_ms),
        row.damage_permille,
        _ticks(row.guard_ms, tick_ms),
        row.guard_permille,
        row.heal_permille,
    )


def _phase(row: PhaseRow, tick_ms: int) -> Phase:
    patterns = tuple(
        Pattern(
            PATTERNS.index(each.kind),
            _ticks(each.first_ms, tick_ms),
            _ticks(each.every_ms, tick_ms),
            _ticks(each.windup_ms, tick_ms),
            each.damage,
            _ticks(each.hold_ms, tick_ms),
            each.permille,
        )
        for each in row.pattern
    )
    from_tick = _ticks(row.from_ms, tick_ms)
    return Phase(row.below_permille, from_tick, row.taken_permille, row.dealt_permille, patterns)


def _reward(row: RewardRow) -> Reward:
    prizes = tuple(
        Prize(KINDS.index(each.kind), each.code, each.count, each.permille) for each in row.prize
    )
    return Reward(
        row.outcome == "won",
        row.share_permille_min,
        row.exp,
        row.gold,
        row.gold_per_100_score,
        prizes,
    )
