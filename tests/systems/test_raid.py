"""A raid from the reservation to its one result."""

import hashlib
from itertools import pairwise

import msgspec
import pytest
from tests.systems.game import CONTENT, assert_refused
from tests.systems.raid_game import RAID, RaidGame

from mmo.contract import Keep, Outcome
from mmo.state.grant import Bundle
from mmo.state.raid import EndReason, RaidOpened, RaidSettled, RaidStarted, RaidState
from mmo.state.raid_battle import BattleRecord
from mmo.systems import raid, raid_battle
from mmo.wire.messages.link import GrantWaiting
from mmo.wire.messages.raid import RaidEnded, RaidStart, RaidStream, RaidStruck, RaidTeam
from mmo.wire.messages.raid_link import RaidOver
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code
from mmo.wire.raid_stream import HERE, RoomNow

ANN, BOB = 1, 2


@pytest.fixture
def game() -> RaidGame:
    return RaidGame()


def fight(game: RaidGame, *users: int, ticks_max: int = 400) -> None:
    """All strike as soon as they can until the raid is over."""
    for _ in range(ticks_max):
        if RAID not in game.raids.rooms:
            return
        for user in users:
            for action in (1, 0):
                game.act(user, action)
        game.tick()
    raise AssertionError("the raid never ended")


def test_raid_when_two_fight_then_it_is_opened_started_and_settled_once(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    start = game.told(ANN, RaidStart)[0]
    assert start == game.told(BOB, RaidStart)[0]
    assert start.hp in {270, 255, 300} and start.remaining_ms == 8_000
    fight(game, ANN, BOB)
    kinds = [type(row) for row in game.rows]
    assert kinds == [RaidOpened, RaidStarted, RaidSettled]
    settled = game.rows[-1]
    assert settled.state == RaidState.FINISHED
    ended = game.told(ANN, RaidEnded)[0]
    assert ended == game.told(BOB, RaidEnded)[0]
    assert sum(row.score for row in ended.scores) == start.hp - settled.hp
    assert {row.user: row.score for row in ended.scores} == {
        row.user: row.score for row in settled.scores
    }
    over = RaidOver(RAID, [ANN, BOB], True)
    assert game.links[:2] == [("center", over), ("matching", over)]
    waiting = [("center", GrantWaiting(row.user)) for row in settled.scores if row.bundle]
    assert waiting and game.links[2:] == waiting  # whoever owns them looks now
    assert not game.raids.rooms and not game.raids.where
    assert game.closed == [ANN, BOB]


def test_raid_when_it_is_settled_then_its_record_repeats_it(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    fight(game, ANN, BOB)
    settled = game.rows_of(RaidSettled)[0]
    assert settled.inputs_hash == hashlib.sha256(settled.replay).digest()
    record = msgspec.msgpack.decode(settled.replay, type=BattleRecord)
    arena, battle = raid_battle.run(record)
    assert battle.ended == settled.reason and battle.hp == settled.hp
    assert battle.score == [row.score for row in settled.scores]
    for row in settled.scores:
        bundle = raid_battle.bundle_of(arena, battle, record.seed, row.seat)
        assert msgspec.msgpack.decode(row.bundle, type=Bundle) == bundle


def test_raid_when_time_is_over_then_scores_so_far_count(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    game.act(ANN)
    game.tick(159)
    assert RAID in game.raids.rooms
    game.tick()
    settled = game.rows_of(RaidSettled)[0]
    assert settled.reason == EndReason.TIME_OVER and settled.state == RaidState.FINISHED
    assert settled.scores[0].score > 0 and settled.scores[1].score == 0
    assert settled.scores[1].bundle == b""
    assert game.told(BOB, RaidEnded)[0].reason == EndReason.TIME_OVER


def test_blow_when_it_lands_then_striker_hears_and_the_stream_shows_it(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    game.tick()
    game.act(ANN, number=77)
    game.tick()
    (struck,) = game.told(ANN, RaidStruck)
    assert struck.number == 77 and struck.damage > 0 and struck.score == struck.damage
    now = RoomNow.read(game.told(BOB, RaidStream)[-1].record)
    assert now.hp == struck.hp and now.seats[0].score == struck.score and now.tick == struck.tick
    assert len(now.seats) == 2


def test_act_when_not_in_a_running_raid_then_is_refused(game: RaidGame) -> None:
    assert_refused(game.act(ANN), Code.NOT_IN_RAID)
    game.reserve(ANN, BOB)
    game.enter(ANN)
    assert_refused(game.act(ANN), Code.RAID_NOT_RUNNING)


def test_act_when_on_cooldown_or_unknown_then_is_refused(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    game.act(ANN)
    game.tick()
    assert_refused(game.act(ANN), Code.COOLDOWN, "250")
    assert_refused(game.act(ANN, 200), Code.RAID_ACTION_UNKNOWN)


def test_act_when_the_last_blow_was_given_then_nothing_breaks_and_nothing_counts(
    game: RaidGame,
) -> None:
    game.begin(ANN, BOB)
    fight(game, ANN, BOB)
    rows = len(game.rows)
    assert_refused(game.act(ANN), Code.NOT_IN_RAID)
    game.part(BOB)
    game.tick(5)
    assert len(game.rows) == rows


def test_act_when_the_same_is_sent_twice_for_a_tick_then_counts_once(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    game.act(ANN, 0)
    assert_refused(game.act(ANN, 0), Code.COOLDOWN, "300")
    for action in (1, 2, 3):
        game.act(ANN, action)
    game.tick()
    assert [struck.damage > 0 for struck in game.told(ANN, RaidStruck)] == [
        True,
        True,
        False,
        False,
    ]


def test_inputs_when_too_many_wait_then_are_refused(game: RaidGame) -> None:
    raids = msgspec.structs.replace(CONTENT.raids, inputs_max=2)
    game.content = msgspec.structs.replace(CONTENT, raids=raids)
    game.begin(ANN, BOB)
    game.act(ANN, 0)
    game.act(ANN, 1)
    assert_refused(game.act(ANN, 2), Code.RAID_INPUTS_FULL)
    assert isinstance(game.act(BOB, 0), Outcome)


def test_fallen_when_he_strikes_then_is_told_how_long_he_lies(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    battle = game.room.battle
    assert battle is not None
    battle.stand_at[0], battle.fighter_hp[0] = battle.tick + 10, 0
    assert_refused(game.act(ANN), Code.RAID_FALLEN, "500")
    battle.stand_at[0] = -1
    assert_refused(game.act(ANN), Code.RAID_FALLEN, "0")


def test_stream_when_the_battle_runs_then_every_tick_is_shown_to_all(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    game.tick(40)
    ticks = [RoomNow.read(message.record).tick for message in game.told(BOB, RaidStream)]
    assert ticks == list(range(1, 41))


def test_end_when_scores_are_told_then_all_hear_all_of_them_best_first(game: RaidGame) -> None:
    assert game.reserve(ANN, BOB).held
    game.enter(ANN, best=1_000)
    game.enter(BOB, best=3)
    game.ready(ANN)
    game.ready(BOB)
    game.tick()
    fight(game, ANN, BOB)
    (ended,) = game.told(ANN, RaidEnded)
    assert game.told(BOB, RaidEnded) == [ended]
    scores = [row.score for row in ended.scores]
    assert scores == sorted(scores, reverse=True) and len(scores) == 2
    # his best of all seasons is what counts, whatever he reached in this one
    assert {row.user: row.best for row in ended.scores} == {ANN: False, BOB: True}
    settled = game.rows_of(RaidSettled)[0]
    granted = {row.user: row.bundle != b"" for row in settled.scores}
    assert {row.user: row.granted for row in ended.scores} == granted


def test_leaving_when_in_battle_then_the_score_counts_and_the_raid_ends_with_the_other(
    game: RaidGame,
) -> None:
    game.begin(ANN, BOB)
    game.act(ANN)
    game.tick(2)
    score = game.leave(ANN).score
    assert score > 0
    assert_refused(game.act(ANN), Code.NOT_IN_RAID)
    game.tick(2)
    assert RAID in game.raids.rooms
    game.leave(BOB)
    game.tick()
    (settled,) = game.rows_of(RaidSettled)
    assert settled.reason == EndReason.ALL_GONE and settled.state == RaidState.FINISHED
    assert [row.score for row in settled.scores] == [score, 0]


def test_rejoin_when_within_the_grace_then_goes_on_with_his_score(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    game.act(ANN)
    game.tick(2)
    game.part(ANN)
    game.tick(20)
    assert game.told(BOB, RaidTeam)[-1].team[0].here is False
    assert not RoomNow.read(game.told(BOB, RaidStream)[-1].record).seats[0].flags & HERE
    entered = game.enter(ANN, conn=500)
    assert entered.state == RaidState.RUNNING and entered.score > 0 and entered.hp < entered.hp_max
    game.tick()
    assert isinstance(game.act(ANN), Outcome)
    game.tick()
    assert len(game.told(ANN, RaidStruck)) == 2


def test_away_when_longer_than_the_grace_then_has_left_and_the_raid_ends_without_him(
    game: RaidGame,
) -> None:
    game.begin(*range(1, 9), kind=3)
    for user in range(1, 9):
        game.part(user)
    grace_ms = CONTENT.raids.kinds[3].rejoin_grace_ms
    game.tick(grace_ms // 50 - 1)
    assert RAID in game.raids.rooms
    game.tick(3)
    (settled,) = game.rows_of(RaidSettled)
    assert settled.reason == EndReason.ALL_GONE
    record = msgspec.msgpack.decode(settled.replay, type=BattleRecord)
    assert raid_battle.run(record)[1].ended == EndReason.ALL_GONE


def test_away_when_the_grace_is_over_for_one_then_he_cannot_come_back(game: RaidGame) -> None:
    game.begin(*range(1, 9), kind=3)
    game.part(3)
    game.tick(CONTENT.raids.kinds[3].rejoin_grace_ms // 50 + 2)
    assert game.enter(3) == Refused(Code.NOT_IN_RAID)
    assert game.room.battle is not None
    assert game.room.battle.presence == [1, 1, 2, 1, 1, 1, 1, 1]
    assert game.told(4, RaidStream)


def test_idle_when_he_only_watches_then_takes_no_reward(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    phase = msgspec.structs.replace(game.room.arena.phases[0], patterns=())
    game.room.arena = msgspec.structs.replace(game.room.arena, phases=(phase,))  # it never strikes
    game.act(BOB)
    game.act(BOB, 1)
    fight(game, ANN)
    scores = {row.user: row for row in game.rows_of(RaidSettled)[0].scores}
    assert msgspec.msgpack.decode(scores[ANN].bundle, type=Bundle).exp > 0
    idle = msgspec.msgpack.decode(scores[BOB].bundle, type=Bundle)
    assert idle == Bundle(score=scores[BOB].score)


def test_tick_when_the_node_was_late_then_catches_up_two_by_two_and_never_in_a_burst(
    game: RaidGame,
) -> None:
    game.begin(ANN, BOB)
    game.tick(10)
    game.now_ms += 20 * 50
    ticks = []
    for _ in range(25):
        game.tick()
        assert game.room.battle is not None
        ticks.append(game.room.battle.tick)
    steps = [after - before for before, after in pairwise([10, *ticks])]
    assert set(steps) == {1, 2} and steps.count(2) == 20
    assert ticks[-1] == 10 + 20 + 25


def test_tick_when_the_timer_is_ahead_of_the_clock_then_waits(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    game.tick(5)
    for _ in range(5):
        game.does(raid.tick_room(game.room, env=game.env()))
    assert game.battle.tick <= 6


@pytest.mark.parametrize("jump_ms", [-60_000, 60_000])
def test_tick_when_the_clock_jumps_then_the_battle_keeps_its_pace(
    game: RaidGame, jump_ms: int
) -> None:
    game.begin(ANN, BOB)
    game.tick(10)
    game.now_ms += jump_ms
    game.tick(10)
    assert game.battle.tick == 20


def test_rooms_when_many_run_then_each_ends_by_its_own_clock(game: RaidGame) -> None:
    for index in range(5):
        first, second = 10 + 2 * index, 11 + 2 * index
        assert game.reserve(first, second, number=index + 1).held
        for user in (first, second):
            game.enter(user, number=index + 1)
            game.ready(user)
    for index in range(5):  # one after the other, three ticks apart, the oldest first
        game.tick(1, number=index + 1)
        game.now_ms += 100
    ends = []
    for _ in range(200):
        game.now_ms += 50
        for number, room in list(game.raids.rooms.items()):
            game.does(raid.tick_room(room, env=game.env()))
            if number not in game.raids.rooms:
                ends.append(number)
    assert ends == [1, 2, 3, 4, 5] and not game.raids.rooms


def test_room_when_its_rule_is_broken_then_the_raid_is_aborted_with_its_entry_given_back(
    game: RaidGame,
) -> None:
    game.begin(ANN, BOB)
    game.does(raid.give_up_room(game.room, env=game.env()))
    (settled,) = game.rows_of(RaidSettled)
    assert (settled.state, settled.reason) == (RaidState.ABORTED, EndReason.BROKEN)
    assert game.told(ANN, RaidEnded)[0].reason == EndReason.BROKEN
    assert [row.score for row in game.told(ANN, RaidEnded)[0].scores] == [0, 0]
    assert game.links[-1] == ("matching", RaidOver(RAID, [ANN, BOB], False))


def test_checkpoint_when_the_battle_runs_then_is_kept_about_each_second(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    game.tick(100)
    kept = [send.checkpoint for send in game.kept if isinstance(send, Keep)]
    assert 5 <= len(kept) <= 6
    assert all(one.incarnation == game.view.incarnation for one in kept)
    assert [one.tick for one in kept] == sorted(one.tick for one in kept)


def test_record_when_the_longest_raid_is_over_then_fits_its_column(game: RaidGame) -> None:
    users = tuple(range(1, 9))
    game.begin(*users, kind=3)
    assert game.room.battle is not None
    game.room.battle.hp = game.room.battle.hp_max = 10**9
    for _ in range(1_300):
        if RAID not in game.raids.rooms:
            break
        for user in users:
            for action in range(4):
                game.act(user, action)
        game.tick()
    (settled,) = game.rows_of(RaidSettled)
    assert len(settled.replay) < 64 * 1024
    assert (
        max(len(send.checkpoint.blob) for send in game.kept if isinstance(send, Keep)) < 64 * 1024
    )


def test_content_when_read_then_holds_the_numbers_of_the_reference() -> None:
    raids = CONTENT.raids
    assert raids.weights == ((0, 30), (1, 30), (2, 40))
    kind = raids.kinds[1]
    assert (kind.team_size, kind.time_limit_ms, kind.waiting_ms) == (2, 8_000, 30_000)
    assert {kind.team_size for kind in raids.kinds.values()} >= {2, 4, 8}
    patterns = {
        number: [pattern.kind for phase in row.phase for pattern in phase.pattern]
        for number, row in raids.maps.items()
    }
    assert len(patterns) >= 3 and len({tuple(kinds) for kinds in patterns.values()}) == len(
        patterns
    )
