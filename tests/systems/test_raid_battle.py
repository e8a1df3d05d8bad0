"""The battle of a raid: whole numbers, one seed, one order of inputs, one result."""

import json
import subprocess
import sys
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems.game import CONTENT

from mmo.content.raids import Arena
from mmo.state.raid import EndReason
from mmo.state.raid_battle import Battle, BattleRecord, Fighter, Input, Order, Presence
from mmo.systems.raid_battle import (
    RULES,
    advance,
    begin,
    bundle_of,
    chance,
    is_idle,
    map_of,
    prize_chance,
    run,
)

RAIDS = CONTENT.raids
KINDS = sorted(RAIDS.kinds)
MAPS = sorted(RAIDS.maps)
TWO = (Fighter(1, 6, True), Fighter(1, 6, True))
codes = st.one_of(
    st.integers(0, 5), st.sampled_from([int(Order.LEAVE), int(Order.AWAY), int(Order.BACK)])
)


@st.composite
def battles(draw: Any) -> tuple[Arena, int, tuple[Fighter, ...], list[list[Input]]]:
    """An arena, a seed, fighters of any level, and the inputs of some ticks in order."""
    arena = RAIDS.arenas[draw(st.sampled_from(KINDS)), draw(st.sampled_from(MAPS))]
    arena = msgspec.structs.replace(arena, ticks_max=draw(st.integers(1, 80)))
    seed = draw(st.integers(0, 2**62 - 1))
    fighters = tuple(
        Fighter(draw(st.integers(1, 15)), draw(st.integers(0, 500)), draw(st.booleans()))
        for _ in range(arena.team_size)
    )
    each = st.tuples(st.integers(0, arena.team_size - 1), codes, st.integers(0, 500))
    return arena, seed, fighters, draw(st.lists(st.lists(each, max_size=6), max_size=60))


def played(
    arena: Arena, seed: int, fighters: tuple[Fighter, ...], inputs: list[list[Input]]
) -> tuple[list[Battle], BattleRecord]:
    """All states of the battle until its end, and its record."""
    states = [begin(arena, seed, fighters)]
    recorded = []
    while not states[-1].ended:
        tick = states[-1].tick + 1
        given_now = inputs[tick - 1] if tick <= len(inputs) else []
        recorded += [(tick, *each) for each in given_now]
        states.append(advance(arena, states[-1], given_now)[0])
    blob = msgspec.msgpack.encode(arena)
    return states, BattleRecord(RULES, blob, seed, fighters, recorded)


@settings(max_examples=80, deadline=None)
@given(battles())
def test_battle_when_anything_is_sent_then_all_numbers_stay_in_their_bounds(
    case: tuple[Arena, int, tuple[Fighter, ...], list[list[Input]]],
) -> None:
    arena = case[0]
    states, _ = played(*case)
    for before, after in pairwise(states):
        assert after.tick == before.tick + 1
        assert 0 <= after.hp <= before.hp <= after.hp_max
        assert sum(after.score) == after.hp_max - after.hp
        assert all(new >= old for old, new in zip(before.score, after.score, strict=True))
        for hp, whole in zip(after.fighter_hp, after.fighter_hp_max, strict=True):
            assert 0 <= hp <= whole
        for hp, stand_at in zip(after.fighter_hp, after.stand_at, strict=True):
            assert (hp == 0) == (stand_at != 0)
    last = states[-1]
    assert last.tick <= arena.ticks_max
    assert (last.ended == EndReason.DEFEATED) == (last.hp == 0)


@settings(max_examples=60, deadline=None)
@given(battles())
def test_record_when_run_again_then_every_number_is_the_same(
    case: tuple[Arena, int, tuple[Fighter, ...], list[list[Input]]],
) -> None:
    states, record = played(*case)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=BattleRecord)
    arena, battle = run(again)
    assert arena == case[0] and battle == states[-1]


@settings(max_examples=30, deadline=None)
@given(battles(), st.integers(0, 59))
def test_checkpoint_when_restored_at_any_tick_then_the_battle_goes_on_alike(
    case: tuple[Arena, int, tuple[Fighter, ...], list[list[Input]]], at: int
) -> None:
    arena, _, _, inputs = case
    states, _ = played(*case)
    kept = states[min(at, len(states) - 1)]
    battle = msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=Battle)
    while not battle.ended:
        tick = battle.tick + 1
        battle, _ = advance(arena, battle, inputs[tick - 1] if tick <= len(inputs) else [])
    assert battle == states[-1]


def test_advance_when_called_then_the_battle_before_is_untouched() -> None:
    arena = RAIDS.arenas[1, 2]
    before = begin(arena, 5, TWO)
    kept = msgspec.msgpack.encode(before)
    for _ in range(60):
        advance(arena, before, [(0, 0, 0), (1, 1, 0), (1, int(Order.LEAVE), 0)])
    assert msgspec.msgpack.encode(before) == kept


def test_battle_when_run_under_another_hash_seed_then_is_the_same() -> None:
    script = (
        "import json,sys\n"
        "from tests.systems.test_raid_battle import played, RAIDS, TWO\n"
        "out=[]\n"
        "for seed in range(20):\n"
        "    moves=[[(tick%2,seed%4 if tick%7==0 else 0,0)] for tick in range(160)]\n"
        "    states,_=played(RAIDS.arenas[1,seed%3],seed,TWO,moves)\n"
        "    out.append([states[-1].hp,states[-1].score,states[-1].ended,states[-1].chance])\n"
        "print(json.dumps(out))\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] and len(json.loads(said[0])) == 20


def test_chance_when_drawn_then_is_splitmix64() -> None:
    # The first outputs of Vigna's splitmix64.c for the seed 1234567.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    state = 1234567
    for number in known:
        state, drawn = chance(state, 2**32)
        assert drawn == number >> 32


def test_map_when_drawn_by_many_seeds_then_follows_its_weight() -> None:
    drawn = [map_of(seed, RAIDS.weights) for seed in range(20_000)]
    for number, weight in RAIDS.weights:
        assert abs(drawn.count(number) / 20_000 - weight / 100) < 0.02


def calm(**changed: Any) -> Arena:
    """An arena without chance and without a monster that strikes; changed as said."""
    arena = RAIDS.arenas[1, 0]
    phase = msgspec.structs.replace(arena.phases[0], patterns=())
    fields: dict[str, Any] = {"spread_permille": 0, "critical_permille": 0, "phases": (phase,)}
    return msgspec.structs.replace(arena, **(fields | changed))


def pattern(**fields: Any) -> Any:
    """The phases of a monster that does one thing from tick 3 on, every 10 ticks."""
    phase = RAIDS.arenas[1, 0].phases[0]
    one = msgspec.structs.replace(phase.patterns[0], first=3, every=10, windup=2, **fields)
    return (msgspec.structs.replace(phase, patterns=(one,)),)


def test_killing_blow_when_it_lands_then_scores_only_what_is_left() -> None:
    arena = calm(hp=20, hp_per_level=0)
    battle = begin(arena, 1, (Fighter(1, 13, True), Fighter(1, 13, True)))
    battle, struck = advance(arena, battle, [(0, 0, 0), (1, 0, 0)])
    assert [(index, damage) for index, damage, _, _ in struck] == [(0, 13), (1, 7)]
    assert battle.hp == 0 and battle.score == [13, 7] and battle.ended == EndReason.DEFEATED


def test_blow_when_the_monster_is_dead_already_then_does_nothing() -> None:
    arena = calm(hp=5, hp_per_level=0)
    battle, struck = advance(arena, begin(arena, 1, TWO), [(0, 0, 0), (1, 0, 0), (1, 1, 0)])
    assert [damage for _, damage, _, _ in struck] == [5, 0, 0]
    assert battle.score == [5, 0] and battle.hp == 0


def test_damage_when_computed_then_only_power_action_and_phase_decide() -> None:
    arena = calm()
    battle = begin(arena, 1, (Fighter(1, 40, True), Fighter(1, 6, True)))
    battle, struck = advance(arena, battle, [(0, 0, 999_999), (1, 1, 999_999)])
    assert [damage for _, damage, _, _ in struck] == [40, 15]


def test_order_of_inputs_when_two_strike_the_last_points_then_the_first_one_has_them() -> None:
    arena = calm(hp=6, hp_per_level=0)
    first, _ = advance(arena, begin(arena, 1, TWO), [(0, 0, 0), (1, 0, 0)])
    other, _ = advance(arena, begin(arena, 1, TWO), [(1, 0, 0), (0, 0, 0)])
    assert first.score == [6, 0] and other.score == [0, 6]


def test_cooldown_when_it_runs_then_the_input_does_nothing() -> None:
    arena = calm()
    battle, _ = advance(arena, begin(arena, 1, TWO), [(0, 0, 0)])
    for _ in range(arena.actions[0].cooldown - 1):
        battle, struck = advance(arena, battle, [(0, 0, 0)])
        assert [damage for _, damage, _, _ in struck] == [0]
    battle, struck = advance(arena, battle, [(0, 0, 0)])
    assert [damage for _, damage, _, _ in struck] == [6]


def test_area_when_it_lands_then_all_who_are_here_and_stand_are_hit() -> None:
    arena = calm(phases=pattern(kind=0, damage=30), team_size=4)
    fighters = (*TWO, Fighter(1, 6, False), Fighter(1, 6, True))
    battle = begin(arena, 1, fighters)
    for tick in range(3):
        orders = [(3, int(Order.LEAVE), 0)] if tick == 0 else []
        battle, _ = advance(arena, battle, orders)
    assert battle.fighter_hp == [70, 70, 100, 100]


def test_leader_when_chosen_then_is_the_best_scorer() -> None:
    arena = calm(phases=pattern(kind=2, damage=30))
    battle, _ = advance(arena, begin(arena, 1, TWO), [(1, 0, 0)])
    for _ in range(2):
        battle, _ = advance(arena, battle, [])
    assert battle.fighter_hp == [100, 70]


def test_single_when_chosen_by_many_seeds_then_both_are_hit() -> None:
    arena = calm(phases=pattern(kind=1, damage=30))
    hit = set()
    for seed in range(20):
        battle = begin(arena, seed, TWO)
        for _ in range(3):
            battle, _ = advance(arena, battle, [])
        assert sorted(battle.fighter_hp) == [70, 100]
        hit.add(battle.fighter_hp.index(70))
    assert hit == {0, 1}


def test_shield_when_it_is_up_then_blows_are_stopped_until_it_ends() -> None:
    arena = calm(phases=pattern(kind=3, hold=4, permille=0))
    battle = begin(arena, 1, TWO)
    damages = []
    for tick in range(1, 12):
        battle, struck = advance(
            arena, battle, [(tick // 5 % 2, 0, 0)] if tick in (2, 5, 10) else []
        )
        damages += [damage for _, damage, _, _ in struck]
    assert damages == [6, 0, 6]


def test_guard_when_it_holds_then_only_its_share_arrives() -> None:
    arena = calm(phases=pattern(kind=0, damage=50))
    battle, _ = advance(arena, begin(arena, 1, TWO), [(0, 2, 0)])
    for _ in range(2):
        battle, _ = advance(arena, battle, [])
    assert battle.fighter_hp == [85, 50]


def test_fallen_when_his_time_is_over_then_stands_again_and_until_then_does_nothing() -> None:
    arena = calm(phases=pattern(kind=0, damage=100), stand=5)
    battle = begin(arena, 1, TWO)
    for _ in range(3):
        battle, _ = advance(arena, battle, [])
    assert battle.fighter_hp == [0, 0] and battle.stand_at == [8, 8]
    battle, struck = advance(arena, battle, [(0, 0, 0)])
    assert struck[0][1] == 0
    for _ in range(4):
        battle, _ = advance(arena, battle, [])
    assert battle.fighter_hp == [50, 50] and battle.stand_at == [0, 0]
    battle, struck = advance(arena, battle, [(0, 0, 0)])
    assert struck[0][1] == 6


def test_all_fallen_when_nobody_stands_again_then_the_battle_is_over() -> None:
    arena = calm(phases=pattern(kind=0, damage=100), stand=0)
    battle = begin(arena, 1, TWO)
    for _ in range(3):
        battle, _ = advance(arena, battle, [])
    assert battle.ended == EndReason.ALL_GONE and battle.stand_at == [-1, -1]


def test_all_left_when_nobody_is_coming_back_then_the_battle_is_over() -> None:
    arena = calm()
    leave, away = int(Order.LEAVE), int(Order.AWAY)
    battle, _ = advance(arena, begin(arena, 1, TWO), [(0, leave, 0), (1, away, 0)])
    assert not battle.ended  # who is away may come back
    battle, _ = advance(arena, battle, [(1, leave, 0)])
    assert battle.ended == EndReason.ALL_GONE
    assert battle.presence == [Presence.LEFT, Presence.LEFT]


def test_left_when_he_says_that_he_is_back_then_he_is_not() -> None:
    arena = calm()
    orders = [(0, int(Order.LEAVE), 0), (0, int(Order.BACK), 500), (0, 0, 0)]
    battle, struck = advance(arena, begin(arena, 1, TWO), orders)
    assert struck[0][1] == 0 and battle.presence[0] == Presence.LEFT


def test_rally_when_used_then_those_who_stand_are_healed_to_their_whole_at_most() -> None:
    arena = calm(phases=pattern(kind=0, damage=40))
    battle = begin(arena, 1, TWO)
    for _ in range(3):
        battle, _ = advance(arena, battle, [])
    battle, _ = advance(arena, battle, [(0, 3, 0)])
    assert battle.fighter_hp == [85, 85]


@pytest.mark.parametrize("number", MAPS)
def test_monster_when_it_is_hurt_then_its_next_phase_has_patterns_of_its_own(number: int) -> None:
    arena = RAIDS.arenas[1, number]
    battle = begin(arena, 3, (Fighter(1, 20, True), Fighter(1, 20, True)))
    seen: list[int] = []
    while not battle.ended:
        battle, _ = advance(arena, battle, [(0, 0, 0), (1, 0, 0)])
        if not seen or seen[-1] != battle.phase:
            seen.append(battle.phase)
        assert len(battle.due) == len(arena.phases[battle.phase].patterns)
    assert seen == sorted(seen) and seen[0] == 0 and len(seen) >= 2


def test_phase_when_its_time_comes_then_begins_without_a_wound() -> None:
    arena = RAIDS.arenas[3, 2]
    timed = next(index for index, phase in enumerate(arena.phases) if phase.from_tick)
    fighters = tuple(Fighter(1, 6, True) for _ in range(8))
    battle = begin(arena, 1, fighters)
    while battle.tick < arena.phases[timed].from_tick - 1:
        battle, _ = advance(arena, battle, [])
    assert battle.hp == battle.hp_max and battle.phase == 0
    battle, _ = advance(arena, battle, [])
    assert battle.phase == timed


def test_level_one_when_both_strike_all_the_time_then_wins_and_losses_are_both_real() -> None:
    ends = set()
    for seed in range(30):
        for number in MAPS:
            arena = RAIDS.arenas[1, number]
            battle = begin(arena, seed, TWO)
            while not battle.ended:
                battle, _ = advance(arena, battle, [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)])
            ends.add((battle.ended, number))
    assert {(EndReason.DEFEATED, number) for number in MAPS} <= ends
    arena = RAIDS.arenas[1, 2]
    battle = begin(arena, 1, TWO)
    while not battle.ended:
        battle, _ = advance(arena, battle, [(0, 0, 0)])
    assert battle.ended == EndReason.TIME_OVER


def ended(arena: Arena, scores: tuple[int, int], active: tuple[int, int] = (160, 160)) -> Battle:
    """A battle that is over with these scores."""
    battle = begin(arena, 1, TWO)
    battle.tick = arena.ticks_max
    battle.score = list(scores)
    battle.hp = battle.hp_max - sum(scores)
    battle.active_at = list(active)
    battle.ended = EndReason.TIME_OVER if battle.hp else EndReason.DEFEATED
    return battle


def test_reward_when_won_or_lost_then_is_the_line_of_the_content() -> None:
    arena = calm()
    lost = bundle_of(arena, ended(arena, (100, 0)), 1, 0)
    won = bundle_of(arena, ended(arena, (150, 120)), 1, 1)
    assert lost is not None and (lost.exp, lost.gold, lost.score, lost.items) == (1, 10, 100, ())
    assert won is not None and (won.exp, won.gold, won.score) == (4, 36, 120)
    assert (won.items[0].kind, won.items[0].code) == (2, 2)
    assert bundle_of(arena, ended(arena, (100, 0)), 1, 1) is None


def test_reward_when_idle_or_below_his_share_then_only_the_score_counts() -> None:
    arena = calm()
    battle = ended(arena, (160, 110), active=(160, 160 - arena.idle - 1))
    assert is_idle(arena, battle, 1) and not is_idle(arena, battle, 0)
    bundle = bundle_of(arena, battle, 1, 1)
    assert bundle is not None and (bundle.exp, bundle.gold, bundle.score) == (0, 0, 110)
    small = bundle_of(arena, ended(arena, (262, 8)), 1, 1)
    assert small is not None and (small.exp, small.gold, small.score) == (0, 0, 8)


def test_prize_when_it_is_a_chance_then_some_seeds_have_it() -> None:
    arena = calm()
    battle = ended(arena, (150, 120))
    found = [bundle_of(arena, battle, seed, 0) for seed in range(200)]
    rare = sum(1 for bundle in found if bundle is not None and len(bundle.items) == 2)
    assert 30 <= rare <= 90  # 300 permille


def draws(seed: int, seat: int, rules: int = RULES) -> list[int]:
    """The first chances of a seat's prizes, whole."""
    state, found = prize_chance(seed, seat, rules), []
    for _ in range(16):
        state, drawn = chance(state, 2**32)
        found.append(drawn)
    return found


def test_prizes_when_drawn_for_several_seats_then_no_draw_is_that_of_another() -> None:
    for seed in range(100):
        mine = [draws(seed, seat) for seat in range(8)]
        assert len({drawn for each in mine for drawn in each}) == 8 * 16


def test_prizes_when_two_neighbours_win_them_then_as_often_as_by_chance() -> None:
    prize = RAIDS.arenas[1, 0].rewards[-1].prizes[0]
    even = msgspec.structs.replace(prize, permille=500)
    reward = msgspec.structs.replace(
        RAIDS.arenas[1, 0].rewards[-1],
        prizes=(even, msgspec.structs.replace(even, code=prize.code + 1)),
    )
    arena = calm(rewards=(reward,))
    battle = ended(arena, (150, 120))
    alike = 0
    for seed in range(400):
        taken = [bundle_of(arena, battle, seed, seat) for seat in (0, 1)]
        codes = [{item.code for item in one.items} for one in taken if one is not None]
        alike += (prize.code + 1 in codes[0]) == (prize.code in codes[1])
    assert 150 <= alike <= 250  # all of them when the one's second draw is the other's first


def test_record_when_of_rules_1_then_has_the_prizes_of_those() -> None:
    for seed in (0, 1, 2**62 - 1):
        first, second = draws(seed, 0, 1), draws(seed, 1, 1)
        assert first[1:] == second[:-1] and first != draws(seed, 0)
    assert draws(1, 0, 1)[:2] == [1_212_246_328, 2_241_234_014]
    blob = RAIDS.blobs[1, 0]
    old, new = (BattleRecord(rules, blob, 1, TWO, [(1, 0, 0, 0)]) for rules in (1, RULES))
    assert run(old) == run(new)


@pytest.mark.parametrize("rules", [RULES + 1, 0, -1])
def test_record_when_of_rules_that_nobody_knows_then_is_refused(rules: int) -> None:
    record = BattleRecord(rules, RAIDS.blobs[1, 0], 1, TWO, [])
    with pytest.raises(ValueError, match="rules"):
        run(record)
