"""A battle as it stands between two ticks, and what repeats it from its beginning.

Owns shapes only: whole numbers, in lists by seat, so that a step copies little and a checkpoint is
one MessagePack. Decided by `systems.raid_battle` alone; kept in rooms, checkpoints and records.
"""

from enum import IntEnum

import msgspec


class Presence(IntEnum):
    """Where a member is."""

    AWAY = 0  # no connection now, or not come yet
    HERE = 1
    LEFT = 2  # for good


class Order(IntEnum):
    """Inputs that are no action of the content; actions are 0 to 255."""

    LEAVE = 256  # gave the seat up, or was away longer than the grace
    AWAY = 257  # his connection ended
    BACK = 258  # he is here, with the power in `value`


class Fighter(msgspec.Struct, array_like=True, frozen=True):
    """How one member begins."""

    level: int
    power: int
    here: bool


class Battle(msgspec.Struct, array_like=True):
    """All that decides the next tick. Lists are by seat; `ready` is by seat times the number of
    actions plus the action. Ticks count from 1; hit points are never below 0 or over their
    highest."""

    tick: int
    hp: int
    hp_max: int
    chance: int  # state of the generator, 64 bits
    phase: int
    shield_until: int  # last tick of the shield
    shield_permille: int
    due: list[int]  # next tick of each pattern of the phase
    ended: int  # `state.raid.EndReason`, 0: it goes on
    presence: list[int]
    power: list[int]
    fighter_hp: list[int]
    fighter_hp_max: list[int]
    score: list[int]
    stand_at: list[int]  # 0: stands; else the tick at which he stands up, -1 never
    guard_until: list[int]
    guard_permille: list[int]
    active_at: list[int]  # tick of the last input, later by the time that he lay since then
    ready: list[int]  # first tick at which the action may be used again


Input = tuple[int, int, int]
"""(seat, action or order, value): one input of a tick, in the order in which it counts."""

Recorded = tuple[int, int, int, int]
"""(tick, seat, action or order, value)."""


class BattleRecord(msgspec.Struct, array_like=True, frozen=True):
    """What repeats a battle bit for bit, on any machine: its arena, seed, beginning and inputs.
    `rules` is the number of the rules that decided it."""

    rules: int
    arena: bytes  # MessagePack of `content.raids.Arena`
    seed: int
    fighters: tuple[Fighter, ...]
    inputs: list[Recorded]
