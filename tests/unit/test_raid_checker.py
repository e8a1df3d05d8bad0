"""The checker's judgement of raids, boards and generations: clean stays clean, each fault has its
name."""

import dataclasses
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from mmo.proof.checker import operations, raids, waiting
from mmo.proof.checker.books import PAYMENT
from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import Claim, Fault, Heard, History, Payment
from mmo.proof.checker.truth import PlayerBooks, RaidTruth, Seat
from mmo.proof.history import History as Written
from mmo.wire.messages.hunt import GrantReward
from mmo.wire.messages.raid import RaidEnded, ScoreRow
from mmo.wire.messages.raid_queue import RaidFreed, RaidMatched, RaidUnmatched

NAME, USER, OTHER, PORT, RAID, SEASON = "ann", 7, 8, 7110, 5, 1
BUNDLE = msgspec.msgpack.encode([5, 0, 0, 1, []])
USERS = (USER, OTHER)


def ended(score: int = 90, *, granted: bool = True) -> RaidEnded:
    rows = [ScoreRow(0, USER, NAME, score, True, granted), ScoreRow(1, OTHER, "bob", 10, True)]
    return RaidEnded(RAID, 1, 0, rows)


TOLD = (
    RaidMatched(RAID, 1, 0, 31, "127.0.0.1", 7125, "token"),
    ended(),
    RaidFreed(RAID, True),
    GrantReward(raids.RAID_GRANT, RAID, 1, 1, 0, 5, 0, 0, []),
    RaidUnmatched(3),
)


def heard(directory: Path, *messages: object) -> History:
    with closing(Written(directory)) as history:
        for message in messages:
            history.heard(NAME, PORT, message)
    return History(directory)


def truth() -> RaidTruth:
    return RaidTruth(
        seats={
            (RAID, USER): Seat(0, 90, 20260101, raids.FINISHED, SEASON),
            (RAID, OTHER): Seat(1, 10, 20260101, raids.FINISHED, SEASON),
        },
        ranking={(SEASON, USER): 90, (SEASON, OTHER): 10},
        boards={SEASON: 3},
    )


def books() -> PlayerBooks:
    mine = PlayerBooks(USER, 2, 1, 0, 2, 1, 0, (5, 0, 0), 90)
    mine.grants = [(raids.RAID_GRANT, RAID, BUNDLE, 2)]
    return mine


def judged(history: History, held: RaidTruth, mine: PlayerBooks) -> dict[str, int]:
    found = Findings()
    raids.check_raids(history.heard, {NAME: USER}, {USER: mine}, held, found)
    return found.counts


def test_what_the_books_have_as_it_was_told_has_no_finding(tmp_path: Path) -> None:
    found = Findings()
    history = heard(tmp_path, *TOLD)
    counts = raids.check_raids(history.heard, {NAME: USER}, {USER: books()}, truth(), found)
    assert found.counts == {}
    assert counts == {
        "raid_results_told": 2, "raid_seats": 2, "raid_seats_finished": 2, "raid_rewards": 1,
    }  # fmt: skip


def seat_of(changed: Seat | None) -> Callable[[RaidTruth, PlayerBooks], None]:
    def change(held: RaidTruth, _: PlayerBooks) -> None:
        if changed is None:
            del held.seats[RAID, USER]
        else:
            held.seats[RAID, USER] = changed

    return change


def change_books(claimed: int | None, *raid: int) -> Callable[[RaidTruth, PlayerBooks], None]:
    def change(_: RaidTruth, mine: PlayerBooks) -> None:
        mine.grants = [(raids.RAID_GRANT, one, BUNDLE, claimed) for one in raid]

    return change


RIGHT = truth().seats[RAID, USER]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (seat_of(None), "raids/lost"),
        (seat_of(RIGHT._replace(seat=3)), "raids/seat"),
        (seat_of(RIGHT._replace(score=89)), "raids/result"),
        (seat_of(RIGHT._replace(state=raids.ABORTED)), "raids/entry"),
        (seat_of(RIGHT._replace(state=2)), "raids/no-end"),
        (change_books(2), "raids/lost"),
        (change_books(None, RAID), "raids/lost"),
        (change_books(2, RAID, RAID + 1), "raids/never-earned"),
        (lambda held, _: held.busy.update({USER: RAID}), "raids/kept"),
        (lambda held, _: held.ranking.update({(SEASON, USER): 91}), "raids/ranking"),
    ],
)
def test_each_fault_of_a_raid_is_found_by_name(
    tmp_path: Path, change: Callable[[RaidTruth, PlayerBooks], None], finding: str
) -> None:
    held, mine = truth(), books()
    change(held, mine)
    assert finding in judged(heard(tmp_path, *TOLD), held, mine)


def test_two_results_of_one_raid_are_found(tmp_path: Path) -> None:
    counts = judged(heard(tmp_path, *TOLD, ended(91)), truth(), books())
    assert {"raids/answered-twice", "raids/result"} <= counts.keys()


def test_a_board_is_compared_both_ways() -> None:
    for shown, finding in ((90, None), (89, "cache/stale"), (91, "cache/ahead")):
        found = Findings()
        assert raids.check_boards(truth(), USERS, {SEASON: {USER: shown, OTHER: 10}}, found) == 2
        assert list(found.counts) == ([finding] if finding else [])
    missing = dataclasses.replace(truth(), boards={})
    assert raids.check_boards(missing, USERS, {}, Findings()) == 0


def test_a_board_that_shows_somebody_without_a_result_is_ahead() -> None:
    held, found = truth(), Findings()
    del held.ranking[SEASON, USER]
    assert raids.check_boards(held, USERS, {SEASON: {USER: 90, OTHER: 10, 99: 5}}, found) == 2
    assert found.counts == {"cache/ahead": 1}


FAULT_AT, LEFT_AT, STAYED = 5 * 10**9, 9 * 10**9, waiting.STAYED_NS
FAULT = Fault("kill-raid", "raid-1", 0, FAULT_AT - 1, FAULT_AT)


@pytest.mark.parametrize(
    ("kind", "answered_at", "claimed", "is_found"),
    [
        (raids.RAID_GRANT, LEFT_AT + STAYED, None, True),
        (PAYMENT, LEFT_AT + STAYED, None, True),
        (raids.RAID_GRANT, LEFT_AT + STAYED - 1, None, False),  # he left before
        (raids.RAID_GRANT, LEFT_AT + STAYED, 2, False),  # it is his
        (3, LEFT_AT + STAYED, None, False),  # an operator's, of which the history has no time
    ],
)
def test_who_stays_is_given_what_waits_for_him(
    kind: int, answered_at: int, claimed: int | None, is_found: bool
) -> None:
    mine, found = books(), Findings()
    mine.grants = [(kind, RAID, BUNDLE, claimed)]
    told = Heard(NAME, "raidended", LEFT_AT, {"raid": RAID, "scores": [(USER, 90, True)]})
    paid = Payment(NAME, 5, FAULT_AT, LEFT_AT)
    due = waiting.Due([told], [paid], [FAULT], {NAME: USER})
    waiting.check_waiting(NAME, mine, [], stay(answered_at), due, found)
    assert found.counts == ({"once/lost": 1} if is_found else {})


def stay(until: int, arrived_at: int = 1) -> list[Claim]:
    refused = Claim(NAME, PORT, "login", "", "", until, until + STAYED, 202)  # no sign of him
    return [
        Claim(NAME, PORT, "token", "t", "login", 0, arrived_at, operations.WELCOME),
        Claim(NAME, PORT, "logout", "", "", 0, until, operations.LOGOUT_OK),
        refused,
    ]


def test_who_came_late_or_has_no_room_may_leave_something_behind() -> None:
    told = Heard(NAME, "raidended", LEFT_AT, {"raid": RAID, "scores": [(USER, 90, True)]})
    due = waiting.Due([told], [], [FAULT], {NAME: USER})
    equipment = msgspec.msgpack.encode([5, 0, 0, 1, [[0, 1, 1, 0]]])
    for held, arrived_at, is_found in ((9, 1, True), (10, 1, False), (9, LEFT_AT + 1, False)):
        mine, found = books(), Findings()
        mine.items = {uid: (0, uid, 1, 1, 0, 0, 0, 0) for uid in range(held)}
        mine.grants = [(raids.RAID_GRANT, RAID, equipment, None)]
        waiting.check_waiting(NAME, mine, [], stay(LEFT_AT + STAYED, arrived_at), due, found)
        assert bool(found.counts) == is_found


def test_what_is_left_later_or_after_a_fault_is_waited_for_anew() -> None:
    late = Fault("kill-raid", "raid-1", 0, LEFT_AT + STAYED, 0)
    told = Heard(NAME, "raidended", LEFT_AT, {"raid": RAID, "scores": [(USER, 90, True)]})
    mine, found = books(), Findings()
    mine.grants = [(raids.RAID_GRANT, RAID, BUNDLE, None)]
    due = waiting.Due([told], [], [FAULT, late], {NAME: USER})
    waiting.check_waiting(NAME, mine, [], stay(LEFT_AT + STAYED + 1), due, found)
    unpromised = dataclasses.replace(told, fields={"raid": RAID, "scores": [(USER, 90, False)]})
    due = waiting.Due([unpromised], [], [FAULT], {NAME: USER})
    waiting.check_waiting(NAME, mine, [], stay(LEFT_AT + STAYED), due, found)
    assert found.counts == {}


def test_code_that_was_replaced_decides_nothing_afterwards() -> None:
    found = Findings()
    assert raids.check_generations([(7, 1, 1), (7, 2, 3), (8, 1, 2)], found) == 3
    assert not found.counts
    raids.check_generations([(7, 1, 1), (7, 2, 3), (7, 3, 2)], found)
    assert found.counts == {"order/generation": 1}
