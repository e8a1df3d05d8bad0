"""The stream of a raid: a battle as its fixed record. Called by `systems.raid` each tick."""

from mmo.content.raids import Arena
from mmo.state.raid_battle import Battle, Presence
from mmo.wire.raid_stream import FALLEN, GUARDED, HERE, LEFT, ROOM, SEATS_MAX, SHIELD


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
    for seat, score in enumerate(battle.score):
        presence = battle.presence[seat]
        flags = HERE if presence == Presence.HERE else LEFT if presence == Presence.LEFT else 0
        if battle.stand_at[seat]:
            flags |= FALLEN
        if battle.guard_until[seat] >= tick:
            flags |= GUARDED
        fields += (score, min(battle.fighter_hp[seat], 0xFFFF), flags)
    fields += (0, 0, 0) * (SEATS_MAX - len(battle.score))
    return ROOM.pack(*fields)


def shown(arena: Arena, battle: Battle) -> int:
    """The number (from 1) of the pattern that lands next and is shown already; 0: none."""
    found, soonest = 0, 0
    for number, pattern in enumerate(arena.phases[battle.phase].patterns, start=1):
        left = battle.due[number - 1] - battle.tick
        if left <= pattern.windup and (not found or left < soonest):
            found, soonest = number, left
    return found
