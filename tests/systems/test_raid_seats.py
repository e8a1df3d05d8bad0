"""Seats of a raid: reserved, taken by token, given up, lost and found again on another server."""

from typing import Any

import msgspec
import pytest
from tests.systems.game import CONTENT, assert_refused
from tests.systems.raid_game import RAID, RAID_SERVER, TICK_MS, RaidGame

from mmo.contract import ProveDatagrams, ToRole
from mmo.state.raid import (
    EndReason,
    OrphanRaid,
    RaidOpened,
    RaidSettled,
    RaidStarted,
    RaidState,
    RaidTaken,
)
from mmo.state.raid_room import Kept
from mmo.systems import raid_seats
from mmo.wire.messages.link import ServerLoad
from mmo.wire.messages.raid import RaidEnded, RaidLeave, RaidOrphan, RaidReady, RaidStart, RaidTeam
from mmo.wire.messages.raid_link import RaidOver, RaidRelease, RaidReserve, RaidTeamFound, Seated
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

ANN, BOB, EVE = 1, 2, 3
KIND = CONTENT.raids.kinds[1]


@pytest.fixture
def game() -> RaidGame:
    return RaidGame()


def test_seat_when_reserved_then_the_books_and_the_room_know_it(game: RaidGame) -> None:
    answer = game.reserve(ANN, BOB)
    assert answer.held and (answer.raid, answer.number) == (RAID, RAID_SERVER)
    assert (answer.host, answer.port) == (game.view.host, game.view.port)
    (row,) = game.rows_of(RaidOpened)
    assert [member.user for member in row.members] == [ANN, BOB]
    assert [member.seat for member in row.members] == [0, 1]
    assert row.number == RAID_SERVER and row.entries_max == KIND.entries_per_day
    assert row.map in CONTENT.raids.maps and row.day == 20231114
    assert game.room.seat_of(BOB) is not None


def test_reservation_when_asked_twice_then_is_the_same_and_one_row(game: RaidGame) -> None:
    assert game.reserve(ANN, BOB) == game.reserve(ANN, BOB)
    assert len(game.rows) == 1
    assert not game.reserve(ANN, EVE).held


def test_reservation_when_the_books_refuse_then_no_room_is_left_behind(game: RaidGame) -> None:
    game.guard = lambda row: False
    answer = game.reserve(ANN, BOB)
    assert not answer.held and answer.busy == [ANN, BOB]
    assert not game.raids.rooms and not game.raids.where


@pytest.mark.parametrize(
    ("users", "kind"), [((ANN,), 1), ((ANN, ANN), 1), ((ANN, BOB, EVE), 1), ((ANN, BOB), 77)]
)
def test_reservation_when_the_team_is_wrong_then_is_refused_whole(
    game: RaidGame, users: tuple[int, ...], kind: int
) -> None:
    assert not game.reserve(*users, kind=kind).held
    assert not game.rows and not game.raids.rooms


def test_reservation_when_a_member_sits_in_another_room_then_he_is_named(game: RaidGame) -> None:
    game.reserve(ANN, BOB)
    answer = game.reserve(BOB, EVE, number=RAID + 1)
    assert not answer.held and answer.busy == [BOB]


def test_rooms_when_all_are_taken_then_the_next_team_waits_until_one_is_free(
    game: RaidGame,
) -> None:
    raids = msgspec.structs.replace(CONTENT.raids, rooms_max=1)
    game.content = msgspec.structs.replace(CONTENT, raids=raids)
    game.reserve(ANN, BOB)
    assert not game.reserve(EVE, 4, number=RAID + 1).held
    game.does(raid_seats.release(RaidRelease(RAID), raids=game.raids, env=game.env(peer=21)))
    game.tick()
    assert game.reserve(EVE, 4, number=RAID + 1).held


def test_server_when_it_goes_down_then_takes_no_team(game: RaidGame) -> None:
    team = [Seated(user, 1, 2, user, "", 1, 0) for user in (ANN, BOB)]
    env = game.env(peer=21, draining=True)
    said = game.does(raid_seats.reserve(RaidReserve(RAID, 1, team), raids=game.raids, env=env))
    assert not said.replies[0].held and not game.rows


def test_reservation_when_nobody_comes_then_ends_by_itself_and_entries_are_given_back(
    game: RaidGame,
) -> None:
    game.reserve(ANN, BOB)
    game.tick(KIND.waiting_ms // TICK_MS - 1)
    assert RAID in game.raids.rooms
    game.tick()
    (settled,) = game.rows_of(RaidSettled)
    assert (settled.state, settled.reason) == (RaidState.ABORTED, EndReason.NEVER_STARTED)
    assert not settled.scores and not game.raids.rooms
    over = RaidOver(RAID, [ANN, BOB], False)
    assert game.links == [("center", over), ("matching", over)]


def test_reservation_when_given_up_then_is_settled_once_as_aborted(game: RaidGame) -> None:
    game.reserve(ANN, BOB)
    for _ in range(2):
        message = RaidRelease(RAID)
        game.does(raid_seats.release(message, raids=game.raids, env=game.env(peer=21)))
    game.tick(5)
    (settled,) = game.rows_of(RaidSettled)
    assert (settled.state, settled.reason) == (RaidState.ABORTED, EndReason.GIVEN_UP)


def test_battle_when_its_reservation_is_given_up_late_then_goes_on(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    game.does(raid_seats.release(RaidRelease(RAID), raids=game.raids, env=game.env(peer=21)))
    game.tick(5)
    assert not game.rows_of(RaidSettled) and game.room.fighting


def test_member_when_he_enters_then_sees_the_room_and_gets_a_datagram_key(game: RaidGame) -> None:
    game.reserve(ANN, BOB)
    entered = game.enter(BOB)
    assert (entered.raid, entered.kind, entered.seat) == (RAID, 1, 1)
    assert entered.state == RaidState.OPEN and entered.remaining_ms == KIND.waiting_ms
    assert [(row.user, row.here) for row in entered.team] == [(ANN, False), (BOB, True)]
    assert game.kept == [ProveDatagrams(BOB, RAID)]
    game.enter(ANN)
    assert [row.here for row in game.told(BOB, RaidTeam)[-1].team] == [True, True]


def test_map_when_the_battle_did_not_begin_then_nothing_tells_it(game: RaidGame) -> None:
    """Else a team could look, leave, have its entries back and draw again."""
    told = []
    for number in range(RAID, RAID + 30):
        game.reserve(ANN, BOB, number=number)
        told.append(msgspec.structs.replace(game.enter(ANN, number=number), raid=0, now_ms=0))
        for user in (ANN, BOB):
            game.leave(user)
        game.tick(number=number)
    assert len({row.map for row in game.rows_of(RaidOpened)}) > 1
    assert told == [told[0]] * 30
    assert (told[0].map, told[0].hp, told[0].hp_max) == (-1, 0, 0)


def test_map_when_the_battle_runs_then_who_comes_back_is_told_it(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    game.part(BOB)
    entered = game.enter(BOB)
    battle = game.battle
    assert (entered.map, entered.hp, entered.hp_max) == (game.room.map, battle.hp, battle.hp_max)


def test_level_and_power_when_he_enters_then_are_those_of_the_books_now(game: RaidGame) -> None:
    game.reserve(ANN, BOB, level=1)
    sword = CONTENT.item(0, 3)
    assert sword is not None
    day_over = game.now_ms - 1
    entered = game.enter(ANN, level=4, worn=((3, 2, 0), (5, 9, day_over)))
    combat = CONTENT.combat
    expected = combat.damage_bare + 4 * combat.damage_per_level
    expected += sword.attack_power + 2 * combat.damage_per_enhance
    assert game.room.members[0].power == expected
    assert entered.team[0].level == 4


@pytest.mark.parametrize(("user", "number"), [(EVE, RAID), (ANN, RAID + 5), (ANN, 0)])
def test_enter_when_no_seat_is_his_then_is_refused_and_closed(
    game: RaidGame, user: int, number: int
) -> None:
    game.reserve(ANN, BOB)
    assert game.enter(user, number=number) == Refused(Code.NOT_IN_RAID)
    assert game.closed == [0] and not game.room.here()


def test_ready_when_said_twice_by_one_then_does_not_start_without_the_other(
    game: RaidGame,
) -> None:
    game.reserve(ANN, BOB)
    game.enter(ANN)
    for _ in range(3):
        answer = game.ready(ANN)
        assert [row.ready for row in answer.team] == [True, False]
    game.tick(20)
    assert not game.room.fighting and not game.rows_of(RaidStarted)
    game.enter(BOB)
    assert [row.ready for row in game.ready(BOB).team] == [True, True]
    game.tick()
    assert game.room.fighting and len(game.rows_of(RaidStarted)) == 1


def test_ready_when_without_a_seat_then_is_refused(game: RaidGame) -> None:
    assert_refused(
        raid_seats.ready(RaidReady(), raids=game.raids, env=game.env(EVE)),
        Code.NOT_IN_RAID,
    )
    said = raid_seats.leave(RaidLeave(), raids=game.raids, env=game.env(EVE))
    assert_refused(said, Code.NOT_IN_RAID)


def test_waiting_time_when_it_is_over_then_the_ready_begin_without_the_absent(
    game: RaidGame,
) -> None:
    game.reserve(ANN, BOB)
    game.enter(ANN)
    game.ready(ANN)
    game.tick(KIND.waiting_ms // TICK_MS)
    assert game.room.fighting
    assert game.told(ANN, RaidStart) and not game.told(BOB, RaidStart)
    assert [fighter.here for fighter in game.room.fighters] == [True, False]


def test_start_when_told_then_has_time_left_and_no_clock_of_the_server(game: RaidGame) -> None:
    game.begin(ANN, BOB)
    start = game.told(ANN, RaidStart)[0]
    assert start.remaining_ms == KIND.time_limit_ms == 8_000 and start.tick_ms == TICK_MS
    assert start.map == game.room.map and start.hp == game.battle.hp
    game.tick(20)
    game.part(BOB)
    assert game.enter(BOB).remaining_ms == 7_000


def test_start_when_the_books_say_no_then_the_room_is_gone_and_nobody_told(game: RaidGame) -> None:
    game.reserve(ANN, BOB)
    for user in (ANN, BOB):
        game.enter(user)
        game.ready(user)
    game.guard = lambda row: not isinstance(row, RaidStarted)
    game.tick()
    assert not game.raids.rooms and not game.told(ANN, RaidStart)
    assert game.closed == [ANN, BOB]


def test_connection_when_it_ends_before_the_start_then_he_is_not_ready_any_more(
    game: RaidGame,
) -> None:
    game.reserve(ANN, BOB)
    for user in (ANN, BOB):
        game.enter(user)
    game.ready(ANN)
    game.part(ANN)
    game.ready(BOB)
    game.tick(3)
    assert not game.room.fighting
    assert [row.here for row in game.told(BOB, RaidTeam)[-1].team] == [False, True]
    game.enter(ANN, conn=900)
    game.part(ANN, conn=101)  # the end of the first connection comes late
    assert game.room.members[0].conn == 900
    game.ready(ANN)
    game.tick()
    assert game.room.fighting


def test_leaving_before_the_start_when_all_do_then_the_raid_is_aborted(game: RaidGame) -> None:
    game.reserve(ANN, BOB)
    for user in (ANN, BOB):
        game.enter(user)
    assert game.leave(ANN).score == 0
    game.tick(2)
    assert RAID in game.raids.rooms
    assert game.enter(ANN) == Refused(Code.NOT_IN_RAID)  # a seat given up is given up
    game.leave(BOB)
    game.tick()
    (settled,) = game.rows_of(RaidSettled)
    assert (settled.state, settled.reason) == (RaidState.ABORTED, EndReason.NEVER_STARTED)


def test_leaving_before_the_start_when_one_does_then_the_other_may_begin(game: RaidGame) -> None:
    game.reserve(ANN, BOB)
    for user in (ANN, BOB):
        game.enter(user)
    game.leave(ANN)
    game.ready(BOB)
    game.tick()
    assert game.room.fighting


def test_load_when_told_then_counts_rooms_for_centers_and_matching(game: RaidGame) -> None:
    game.reserve(ANN, BOB)
    said = raid_seats.tell_load(game.raids, env=game.env())
    assert [type(send) for send in said.sends] == [ToRole, ToRole]
    loads = {send.role: send.message for send in said.sends if isinstance(send, ToRole)}
    assert set(loads) == {"center", "matching"}
    load = loads["matching"]
    assert isinstance(load, ServerLoad) and load.open
    assert (load.users, load.users_max, load.role) == (1, CONTENT.raids.rooms_max, "raid")


def orphan(game: RaidGame, **fields: Any) -> OrphanRaid:
    """The raid of `game` as another server finds it, its server dead."""
    opened = game.rows_of(RaidOpened)[0]
    checkpoints = [send.checkpoint for send in game.kept if hasattr(send, "checkpoint")]
    found: dict[str, Any] = {
        "raid": RAID, "kind": opened.kind, "map": opened.map, "seed": opened.seed,
        "state": RaidState.RUNNING, "number": RAID_SERVER, "incarnation": 7,
        "season": opened.season, "generation": 1, "members": opened.members,
        "checkpoint": checkpoints[-1].blob if checkpoints else b"", "takeovers": 0,
        "opened_ms": opened.now_ms,
    }  # fmt: skip
    return OrphanRaid(**(found | fields))


def taken_over(
    found: OrphanRaid, now_ms: int, refused: bool = False, row_takes_ms: int = 0
) -> RaidGame:
    """Another server that was offered the orphan."""
    heir = RaidGame(seed=2)
    heir.view = msgspec.structs.replace(heir.view, number=32, incarnation=8)
    heir.now_ms = now_ms
    heir.guard = lambda row: not (refused and isinstance(row, RaidTaken))
    message = RaidOrphan(RAID, found)
    outcome = raid_seats.take_over(message, raids=heir.raids, env=heir.env())
    heir.now_ms += row_takes_ms
    heir.does(outcome)
    return heir


def fought(game: RaidGame, ticks: int = 50) -> RaidGame:
    """A battle that ran long enough for a checkpoint, with scores."""
    game.begin(ANN, BOB)
    for _ in range(ticks):
        game.act(ANN)
        game.tick()
    return game


def test_orphan_when_it_has_a_checkpoint_then_goes_on_where_it_stood(game: RaidGame) -> None:
    fought(game)
    score = game.battle.score[0]
    heir = taken_over(orphan(game), game.now_ms)
    assert heir.rows == [RaidTaken(RAID, RAID_SERVER, 7, 32, 8)]
    found = [message for role, message in heir.links if role == "center"]
    assert [(one.user, one.number, one.seat) for one in found] == [(ANN, 32, 0), (BOB, 32, 1)]
    assert all(isinstance(one, RaidTeamFound) for one in found)
    entered = heir.enter(ANN)
    assert entered.state == RaidState.OPEN and 0 < entered.score <= score
    heir.ready(ANN)
    heir.tick(10)
    assert not heir.room.fighting  # it waits for the other
    heir.enter(BOB)
    heir.ready(BOB)
    heir.tick()
    assert heir.room.fighting and not heir.rows_of(RaidStarted)  # it runs in the books already
    before = heir.battle.tick
    heir.tick(2)
    assert heir.battle.tick == before + 2
    heir.tick(200)
    (settled,) = heir.rows_of(RaidSettled)
    assert settled.state == RaidState.FINISHED and settled.incarnation == 8
    assert settled.scores[0].score >= entered.score


def test_orphan_when_one_comes_back_then_he_goes_on_after_the_wait(game: RaidGame) -> None:
    fought(game)
    heir = taken_over(orphan(game), game.now_ms)
    heir.enter(ANN)
    heir.ready(ANN)
    heir.tick(1 + CONTENT.raids.return_wait_ms // TICK_MS)  # the wait begins with the first
    assert heir.room.fighting
    heir.tick(300)
    assert heir.rows_of(RaidSettled)[0].state == RaidState.FINISHED


def test_orphan_when_its_row_was_long_on_its_way_then_the_members_are_waited_for_all_the_same(
    game: RaidGame,
) -> None:
    fought(game)
    heir = taken_over(orphan(game), game.now_ms, row_takes_ms=60_000)
    heir.tick(CONTENT.raids.return_wait_ms // TICK_MS - 1)
    assert heir.enter(ANN).remaining_ms > 0 and not heir.rows_of(RaidSettled)
    heir.ready(ANN)
    heir.tick(2)
    assert heir.room.fighting and not heir.room.members[1].left
    heir.enter(BOB)  # within the grace, which began when the room was here
    heir.tick(20)
    assert not heir.room.members[1].left


def of_another_arena(game: RaidGame) -> bytes:
    """A checkpoint whose arena has a form that this code does not know."""
    kept = msgspec.msgpack.decode(orphan(game).checkpoint, type=Kept)
    return msgspec.msgpack.encode(msgspec.structs.replace(kept, arena=b"\x93\x01\x02\x03"))


@pytest.mark.parametrize(
    "why", ["no checkpoint", "taken over too often", "unreadable", "arena unreadable"]
)
def test_orphan_when_nobody_can_go_on_then_is_aborted_once(game: RaidGame, why: str) -> None:
    fought(game)
    cases: dict[str, dict[str, Any]] = {
        "no checkpoint": {"checkpoint": b""},
        "taken over too often": {"takeovers": CONTENT.raids.takeovers_max},
        "unreadable": {"checkpoint": b"\x93\x01\x02\x03"},
        "arena unreadable": {"checkpoint": of_another_arena(game)},
    }
    changed = cases[why]
    heir = taken_over(orphan(game, **changed), game.now_ms)
    assert heir.enter(ANN) == Refused(Code.NOT_IN_RAID)
    heir.tick(3)
    assert [type(row) for row in heir.rows] == [RaidTaken, RaidSettled]
    assert heir.rows[-1].reason == EndReason.SERVER_LOST
    assert heir.rows[-1].state == RaidState.ABORTED and not heir.raids.rooms
    assert heir.links[-1] == ("matching", RaidOver(RAID, [ANN, BOB], False))


def test_orphan_when_nobody_comes_back_then_is_aborted(game: RaidGame) -> None:
    fought(game)
    heir = taken_over(orphan(game), game.now_ms)
    heir.tick(1 + CONTENT.raids.return_wait_ms // TICK_MS)
    assert heir.rows_of(RaidSettled)[0].reason == EndReason.SERVER_LOST


def test_orphan_when_another_server_has_it_then_nothing_is_here(game: RaidGame) -> None:
    fought(game)
    heir = taken_over(orphan(game), game.now_ms, refused=True)
    assert not heir.raids.rooms and not heir.links


def test_server_when_it_was_only_thought_dead_then_its_result_is_refused_and_its_room_freed(
    game: RaidGame,
) -> None:
    fought(game)
    game.guard = lambda row: not isinstance(row, RaidSettled)
    game.tick(200)
    assert len(game.rows_of(RaidSettled)) == 1
    assert not game.raids.rooms and not game.told(ANN, RaidEnded)
    assert not [message for _, message in game.links if isinstance(message, RaidOver)]
