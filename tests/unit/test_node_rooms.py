"""Rooms on one node: a fixed pace each, no room waits for another, a row is written however long it
takes."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from tests.unit.node_game.rooms import ROLE, Den, Hall

from mmo.contract import Role
from mmo.errors import OperatorError
from mmo.node.rooms import FAULTS_IN_ROW_MAX, PHASES
from mmo.testing.world import World

EVERY_MS = 50


@pytest.fixture
def game() -> Iterator[World]:
    made = World(ROLE, systems_package="tests.unit.node_game")
    yield made
    made.close()


def hall_of(game: World) -> Hall:
    hall: Hall = game.engine.states["hall"]
    return hall


def test_rooms_when_there_are_many_then_each_ticks_at_its_own_fixed_pace(game: World) -> None:
    hall = hall_of(game)
    hall.rooms = {number: Den(number) for number in range(10)}
    game.move(1_000)
    starts = set()
    for room in hall.rooms.values():
        paces = {later - earlier for earlier, later in pairwise(room.ticked)}
        assert paces == {EVERY_MS} and 19 <= len(room.ticked) <= 20
        starts.add(room.ticked[0] % EVERY_MS)
    assert len(starts) == PHASES  # spread, so that no pass serves all
    assert game.engine.metrics.counts["room_ticks_overrun_total"] == 0


def test_server_when_it_has_no_rooms_then_wakes_once_a_period(game: World) -> None:
    (rooms,) = game.engine.rooms
    game.move(10 * EVERY_MS)
    assert rooms.turning == 1
    hall_of(game).rooms = {number: Den(number) for number in range(PHASES)}
    game.move(3 * EVERY_MS)
    assert rooms.turning == PHASES
    hall_of(game).rooms = {}
    game.move(3 * EVERY_MS)
    assert rooms.turning == 1


def test_rooms_when_the_node_was_late_then_ticks_are_skipped_and_counted(game: World) -> None:
    hall = hall_of(game)
    hall.rooms = {1: Den(1)}
    game.move(200)
    before = len(hall.rooms[1].ticked)
    game.clock.move(10 * EVERY_MS)  # nothing ran meanwhile
    game.move(0)
    assert len(hall.rooms[1].ticked) == before + 1
    assert game.engine.metrics.counts["room_ticks_overrun_total"] >= 9
    game.move(EVERY_MS)
    assert len(hall.rooms[1].ticked) == before + 2


@pytest.mark.parametrize("mood", ["raises", "wrong"])
def test_room_when_its_rule_fails_then_others_go_on_and_it_is_ended(game: World, mood: str) -> None:
    hall = hall_of(game)
    hall.rooms = {1: Den(1), 2: Den(2, mood), 3: Den(3)}
    game.move(FAULTS_IN_ROW_MAX * EVERY_MS + EVERY_MS)
    assert hall.ended == [] or hall.ended == [(2, "broken")]
    game.move(2 * EVERY_MS)
    assert hall.ended == [(2, "broken")] and set(hall.rooms) == {1, 3}
    game.move(10 * EVERY_MS)
    assert all(len(room.ticked) >= 16 for room in hall.rooms.values())
    assert game.engine.metrics.counts["rules_raised_total"] == FAULTS_IN_ROW_MAX


def test_room_when_one_fault_is_followed_by_a_good_tick_then_it_lives(game: World) -> None:
    hall = hall_of(game)
    hall.rooms = {1: Den(1, "raises")}
    for _ in range(4 * FAULTS_IN_ROW_MAX):
        hall.rooms[1].mood = "raises" if hall.rooms[1].mood == "calm" else "calm"
        game.move(EVERY_MS)
    assert hall.ended == []


def test_room_when_its_end_fails_too_then_it_is_not_tried_at_every_tick(game: World) -> None:
    hall = hall_of(game)
    hall.rooms = {13: Den(13, "raises"), 1: Den(1)}
    game.move(3_000)
    failed = game.engine.metrics.counts["rules_raised_total"]
    assert FAULTS_IN_ROW_MAX + 2 <= failed <= FAULTS_IN_ROW_MAX + 4
    assert len(hall.rooms[1].ticked) >= 58


def test_room_when_its_rule_takes_too_long_then_it_is_ended_and_counted() -> None:
    worked_s = 0.0

    def work() -> None:
        nonlocal worked_s
        worked_s += 0.002

    role = ROLE
    game = World(role, systems_package="tests.unit.node_game", content=work, room_tick_ms_max=1)
    game.engine.work_s = lambda: worked_s
    try:
        hall = hall_of(game)
        hall.rooms = {2: Den(2, "slow")}
        game.move((FAULTS_IN_ROW_MAX + 2) * EVERY_MS)
        assert hall.ended == [(2, "broken")]
        assert game.engine.metrics.counts["room_ticks_overlong_total"] == FAULTS_IN_ROW_MAX
    finally:
        game.close()


def test_room_when_its_row_holds_or_not_then_the_outcome_says_which(game: World) -> None:
    hall = hall_of(game)
    user = game.account("ann")
    game.login(user, "ann")
    hall.rooms = {1: Den(1, "writes")}
    hall.rooms[1].user = user
    game.move(EVERY_MS * 2)
    assert hall.ended == [(1, "written")]
    hall.rooms = {2: Den(2, "writes")}  # the session is over: the guard does not hold
    hall.rooms[2].user = user
    game.move(EVERY_MS * 2)
    assert hall.ended == [(1, "written"), (2, "refused")]


def test_room_when_the_store_is_away_then_its_row_is_written_later(game: World) -> None:
    hall = hall_of(game)
    user = game.account("ann")
    game.login(user, "ann")
    game.store.database.is_down = True
    hall.rooms = {1: Den(1, "writes"), 2: Den(2)}
    hall.rooms[1].user = user
    game.move(2_000)
    assert hall.ended == [] and len(hall.rooms[2].ticked) >= 38  # the other one fights on
    game.store.database.is_down = False
    game.move(1_000)
    assert hall.ended == [(1, "written")]
    assert game.store.database.heads[user].session_epoch == 2


def test_role_when_no_rule_ends_its_rooms_then_is_refused() -> None:
    made: dict[str, Any] = {"hall": lambda content, node: Hall()}
    role = Role(name="raid", systems=("rooms_unended",), states=made)
    with pytest.raises(OperatorError, match="E0410"):
        World(role, systems_package="tests.unit.node_game")
