"""The stream of a raid: a battle as its fixed record. Called by `systems.raid` each tick."""

from mmo.content.raids import Arena
from mmo.state.raid_battle import Battle
from mmo.wire.raid_stream import FALLEN, GUARDED, HERE, LEFT, ROOM, SEATS_MAX, SHIELD

_FLAGS = (0, HERE, LEFT)  # by `Presence`
_NOBODY = (0, 0, 0)
_HP_MAX = 0xFFFF


def record_of(arena: Arena, battle: Battle) -> bytes:
    """The battle at its tick."""
    tick = battle.tick
    fields: list[int] = [
        tick,
        battle.hp,
        (arena.ticks_max - tick) * arena.tick_ms,
        battle.phase,
        SHIELD if tick <= battle.shield_until else 0,
        shown(arena, battle),
        len(battle.score),
    ]
    for score, hp, presence, stand_at, guard_until in zip(
        battle.score,
        battle.fighter_hp,
        battle.presence,
        battle.stand_at,
        battle.guard_until,
        strict=True,
    ):
        flags = _FLAGS[presence]
        if stand_at:
            flags |= FALLEN
        if guard_until >= tick:
            flags |= GUARDED
        fields += (score, hp if hp < _HP_MAX else _HP_MAX, flags)
    fields += _NOBODY * (SEATS_MAX - len(battle.score))
    return ROOM.pack(*fields)


def shown(arena: Arena, battle: Battle) -> int:
    """The number (from 1) of the pattern that lands next and is shown already; 0: none."""
    found, soonest = 0, 0
    for number, pattern in enumerate(arena.phases[battle.phase].patterns, start=1):
        left = battle.due[number - 1] - battle.tick
        if left <= pattern.windup and (not found or left < soonest):
            found, soonest = number, left
    return found
