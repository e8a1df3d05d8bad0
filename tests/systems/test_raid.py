"""A raid from the reservation to its one result."""

import hashlib

import msgspec
import pytest
from tests.systems.game import CONTENT, assert_refused
from tests.systems.raid_game import RAID, RaidGame

from mmo.state.grant import Bundle
from mmo.state.raid import EndReason, RaidOpened, RaidSettled, RaidStarted, RaidState
from mmo.state.raid_battle import BattleRecord
from mmo.systems import raid_battle
from mmo.wire.messages.raid import RaidEnded, RaidStart, RaidStream, RaidStruck
from mmo.wire.messages.raid_link import RaidOver
from mmo.wire.opcode import Code
from mmo.wire.raid_stream import RoomNow

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
    assert game.links == [("center", over), ("matching", over)]
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


def test_content_when_read_then_maps_have_the_weights_of_the_reference() -> None:
    assert CONTENT.raids.weights == ((0, 30), (1, 30), (2, 40))
