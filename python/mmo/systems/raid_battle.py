"""The battle of a raid: one tick after the other, from a seed and recorded inputs.

Pure and whole-numbered: the same arena, seed, fighters and inputs give the same battle on every
machine, whatever the clock, the hash seed or the order of a mapping. Knows nothing of rooms,
connections or users; members are seats. Called by `systems.raid` each tick and by `ops.replay`.

Chance comes from SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014; constants as in Vigna's public-domain C), mapped to a range by the high
half of a multiplication. The bias of at most n / 2**32 is far below what a battle can show.
"""

from mmo.content.raids import AREA, LEADER, SHIELD, SINGLE, Arena, Pattern, Raids, Reward
from mmo.state.grant import Bundle, BundleItem
from mmo.state.raid import EndReason
from mmo.state.raid_battle import Battle, BattleRecord, Fighter, Input, Order, Presence

RULES = 2
"""Number of these rules; raise it with every change that lets an old record end differently. Under
1 the prizes were drawn otherwise (`prize_chance`), and nothing else."""

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_PRIZE_STREAM = 0xD1B54A32D192ED03  # keeps the prizes' chance apart from the battle's
_MAP_STREAM = 0x8CB92BA72F3D8DD7
_HERE, _AWAY, _LEFT = int(Presence.HERE), int(Presence.AWAY), int(Presence.LEFT)

Struck = tuple[int, int, int, int]
"""(index of the input in the tick's list, damage, score of the seat after it, hp after it)."""


def chance(state: int, below: int) -> tuple[int, int]:
    """The next state and a number in `[0, below)`; `below` from 1 to 2**32."""
    state = (state + _GOLDEN) & _MASK
    mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    mixed ^= mixed >> 31
    return state, ((mixed >> 32) * below) >> 32


def map_of(seed: int, weights: tuple[tuple[int, int], ...]) -> int:
    """The map that a seed draws from `(map number, weight)`."""
    _, drawn = chance(seed ^ _MAP_STREAM, sum(weight for _, weight in weights))
    for number, weight in weights:
        if drawn < weight:
            return number
        drawn -= weight
    raise AssertionError("drawn beyond all weights")


def hp_max(arena: Arena, levels: list[int]) -> int:
    """Hit points of the monster against members of these levels."""
    return arena.hp + arena.hp_per_level * sum(max(0, level - 1) for level in levels)


def begin(arena: Arena, seed: int, fighters: tuple[Fighter, ...]) -> Battle:
    """The battle before its first tick."""
    seats = len(fighters)
    hp = hp_max(arena, [fighter.level for fighter in fighters])
    health = [
        arena.fighter_hp + arena.fighter_hp_per_level * max(0, fighter.level - 1)
        for fighter in fighters
    ]
    return Battle(
        tick=0,
        hp=hp,
        hp_max=hp,
        chance=seed & _MASK,
        phase=0,
        shield_until=0,
        shield_permille=1000,
        due=[pattern.first for pattern in arena.phases[0].patterns],
        ended=0,
        presence=[_HERE if fighter.here else _AWAY for fighter in fighters],
        power=[fighter.power for fighter in fighters],
        fighter_hp=health,
        fighter_hp_max=list(health),
        score=[0] * seats,
        stand_at=[0] * seats,
        guard_until=[0] * seats,
        guard_permille=[1000] * seats,
        active_at=[0] * seats,
        ready=[0] * (seats * len(arena.actions)),
    )


def advance(arena: Arena, before: Battle, inputs: list[Input]) -> tuple[Battle, list[Struck]]:
    """The battle one tick later, and what each action did. `before` stays as it is. Inputs count in
    the order of the list; one that cannot count (cooldown, fallen, away, no such action) does
    nothing, with damage 0."""
    battle = _copy(before)
    tick = battle.tick = before.tick + 1
    struck = [_take(arena, battle, index, each) for index, each in enumerate(inputs)]
    if battle.hp:
        _patterns(arena, battle, tick)
        for seat, stand_at in enumerate(battle.stand_at):
            if 0 < stand_at <= tick:
                battle.stand_at[seat] = 0
                battle.active_at[seat] += arena.stand  # lying is not idling
                battle.fighter_hp[seat] = max(
                    1, battle.fighter_hp_max[seat] * arena.stand_hp_permille // 1000
                )
        _phase(arena, battle, tick)
    battle.ended = _ended(arena, battle, tick)
    return battle, [each for each in struck if each is not None]


def _copy(battle: Battle) -> Battle:
    """A copy that shares nothing that changes; `fighter_hp_max` never does."""
    return Battle(
        battle.tick,
        battle.hp,
        battle.hp_max,
        battle.chance,
        battle.phase,
        battle.shield_until,
        battle.shield_permille,
        battle.due[:],
        battle.ended,
        battle.presence[:],
        battle.power[:],
        battle.fighter_hp[:],
        battle.fighter_hp_max,
        battle.score[:],
        battle.stand_at[:],
        battle.guard_until[:],
        battle.guard_permille[:],
        battle.active_at[:],
        battle.ready[:],
    )


def can_act(arena: Arena, battle: Battle, seat: int, action: int, tick: int) -> bool:
    """Whether an action counts when it is used at `tick`."""
    return (
        0 <= action < len(arena.actions)
        and battle.presence[seat] == _HERE
        and not battle.stand_at[seat]
        and battle.ready[seat * len(arena.actions) + action] <= tick
    )


def _take(arena: Arena, battle: Battle, index: int, given: Input) -> Struck | None:
    """One input counts."""
    seat, code, value = given
    if code >= Order.LEAVE:
        _order(battle, seat, code, value)
        return None
    tick = battle.tick
    damage = 0
    if battle.hp and can_act(arena, battle, seat, code, tick):
        action = arena.actions[code]
        battle.ready[seat * len(arena.actions) + code] = tick + max(1, action.cooldown)
        battle.active_at[seat] = tick
        if action.damage_permille:
            damage = _blow(arena, battle, battle.power[seat] * action.damage_permille)
            battle.hp -= damage
            battle.score[seat] += damage
        if action.guard:
            battle.guard_until[seat] = tick + action.guard
            battle.guard_permille[seat] = action.guard_permille
        if action.heal_permille:
            _heal(battle, action.heal_permille)
    return index, damage, battle.score[seat], battle.hp


def _order(battle: Battle, seat: int, code: int, value: int) -> None:
    """A member leaves, is away, or is back."""
    if battle.presence[seat] == _LEFT:
        return
    if code == Order.LEAVE:
        battle.presence[seat] = _LEFT
    elif code == Order.AWAY:
        battle.presence[seat] = _AWAY
    elif code == Order.BACK:
        battle.presence[seat] = _HERE
        battle.power[seat] = value
        battle.active_at[seat] = battle.tick


def _blow(arena: Arena, battle: Battle, force: int) -> int:
    """The damage of a blow with `force` (power times permille): spread, critical, what the phase
    and a shield let through, at least 1 unless a shield stops it; never more than is left."""
    spread = arena.spread_permille
    state, roll = chance(battle.chance, 2 * spread + 1)
    battle.chance, critical = chance(state, 1000)
    force *= 1000 - spread + roll
    if critical < arena.critical_permille:
        force = force * arena.critical_damage_permille // 1000
    force = force * arena.phases[battle.phase].taken_permille // 1000
    if battle.tick <= battle.shield_until:
        if not battle.shield_permille:
            return 0
        force = force * battle.shield_permille // 1000
    return min(battle.hp, max(1, force // 1_000_000))


def _heal(battle: Battle, permille: int) -> None:
    for seat, hp in enumerate(battle.fighter_hp):
        if hp and battle.presence[seat] == _HERE:
            whole = battle.fighter_hp_max[seat]
            battle.fighter_hp[seat] = min(whole, hp + whole * permille // 1000)


def _patterns(arena: Arena, battle: Battle, tick: int) -> None:
    """What the monster does in this tick."""
    phase = arena.phases[battle.phase]
    due = battle.due
    for number, pattern in enumerate(phase.patterns):
        if due[number] > tick:
            continue
        due[number] += pattern.every
        if pattern.kind == SHIELD:
            battle.shield_until = tick + pattern.hold
            battle.shield_permille = pattern.permille
            continue
        damage = pattern.damage * phase.dealt_permille // 1000
        for seat in _targets(battle, pattern):
            _wound(arena, battle, seat, damage)


def _targets(battle: Battle, pattern: Pattern) -> list[int]:
    """The seats that a blow of the monster reaches: of those who are here and stand."""
    standing = [
        seat
        for seat, presence in enumerate(battle.presence)
        if presence == _HERE and not battle.stand_at[seat]
    ]
    if not standing or pattern.kind == AREA:
        return standing
    if pattern.kind == LEADER:
        return [max(standing, key=lambda seat: (battle.score[seat], -seat))]
    assert pattern.kind == SINGLE
    battle.chance, drawn = chance(battle.chance, len(standing))
    return [standing[drawn]]


def _wound(arena: Arena, battle: Battle, seat: int, damage: int) -> None:
    if battle.guard_until[seat] >= battle.tick:
        damage = damage * battle.guard_permille[seat] // 1000
    left = max(0, battle.fighter_hp[seat] - damage)
    battle.fighter_hp[seat] = left
    if not left:
        battle.stand_at[seat] = battle.tick + arena.stand if arena.stand else -1


def _phase(arena: Arena, battle: Battle, tick: int) -> None:
    """The last phase whose share of hit points or time is reached; never back to an earlier one."""
    phases = arena.phases
    reached = battle.phase
    for number in range(reached + 1, len(phases)):
        coming = phases[number]
        low = battle.hp * 1000 <= battle.hp_max * coming.below_permille
        if low or 0 < coming.from_tick <= tick:
            reached = number
    if battle.phase != reached:
        battle.phase = reached
        battle.due = [tick + pattern.first for pattern in phases[reached].patterns]


def _ended(arena: Arena, battle: Battle, tick: int) -> int:
    if not battle.hp:
        return EndReason.DEFEATED
    if tick >= arena.ticks_max:
        return EndReason.TIME_OVER
    for seat, presence in enumerate(battle.presence):
        if presence != _LEFT and battle.stand_at[seat] >= 0:
            return 0
    return EndReason.ALL_GONE


def is_idle(arena: Arena, battle: Battle, seat: int) -> bool:
    """Whether a member did nothing for longer than the kind allows, until now."""
    return (
        arena.idle > 0
        and not battle.stand_at[seat]
        and battle.tick - battle.active_at[seat] > arena.idle
    )


def prize_chance(seed: int, seat: int, rules: int = RULES) -> int:
    """The state from which the prizes of a seat are drawn: 64 bits out of a stream of their own, so
    that no seat's draws are those of another. Under rules 1 the states of the seats lay one step
    apart: the second draw of a seat was the first one of the next."""
    state = (seed ^ _PRIZE_STREAM) & _MASK
    if rules == 1:
        return state + seat * _GOLDEN & _MASK
    state, high = chance(state + 2 * seat * _GOLDEN, 2**32)
    _, low = chance(state, 2**32)
    return high << 32 | low


def bundle_of(
    arena: Arena, battle: Battle, seed: int, seat: int, rules: int = RULES
) -> Bundle | None:
    """What a seat takes from an ended battle, by the rules of that number; None: nothing. The score
    counts for all, rewards for those who did their share and were not idle at the end. Prizes are
    drawn from the seed, for each seat apart."""
    score = battle.score[seat]
    reward = None if is_idle(arena, battle, seat) else _reward(arena, battle, score)
    if reward is None:
        return Bundle(score=score) if score else None
    state = prize_chance(seed, seat, rules)
    items = []
    for prize in reward.prizes:
        state, drawn = chance(state, 1000)
        if drawn < prize.permille:
            items.append(BundleItem(prize.kind, prize.code, prize.count))
    return Bundle(
        gold=reward.gold + score * reward.gold_per_100_score // 100,
        exp=reward.exp,
        items=tuple(items),
        score=score,
    )


def _reward(arena: Arena, battle: Battle, score: int) -> Reward | None:
    """The last line of the rewards that fits outcome and share."""
    won = battle.ended == EndReason.DEFEATED
    share = score * 1000 * len(battle.score)
    found = None
    for reward in arena.rewards:
        if reward.won == won and share >= reward.share_permille_min * battle.hp_max:
            found = reward
    return found


def run(record: BattleRecord) -> tuple[Arena, Battle]:
    """The whole battle again: its arena and how it stands at its end, or when the record's inputs
    are over and everybody only stands about until the time is over. Rules of a number that is not
    known here are a `ValueError`."""
    if not 1 <= record.rules <= RULES:
        raise ValueError(f"decided by rules {record.rules}, these are rules {RULES}")
    arena = Raids.arena_of(record.arena)
    battle = begin(arena, record.seed, record.fighters)
    inputs: dict[int, list[Input]] = {}
    for tick, seat, code, value in record.inputs:
        inputs.setdefault(tick, []).append((seat, code, value))
    while not battle.ended:
        battle, _ = advance(arena, battle, inputs.get(battle.tick + 1, []))
    return arena, battle
