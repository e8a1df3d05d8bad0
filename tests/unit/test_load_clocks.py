"""What a load test measures: from when a request counts, until when, how late a frame came and how
many never did, and how far the generator kept up with itself.

Limits over these figures are in `test_load_tests`.
"""

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from loadtest.meter import Book, LoadHero, LoadShell, UserMeter

from mmo.client.hero import Policy
from mmo.client.protocol import Answer, Pong
from mmo.client.raider import seek_raid
from mmo.client.session import ask, log_in, move_somewhere
from mmo.client.steps import CENTER, Dial, Drop, Lost, Pause, Receive, Send, Walk
from mmo.wire.messages.account import LoginOk
from mmo.wire.messages.hunt import GrantReward
from mmo.wire.messages.presence import MoveOk, ServerListAsk, ServerListOk, ServerRow
from mmo.wire.messages.raid import RaidEnded, RaidStart, RaidStream, RaidStruck, ScoreRow
from mmo.wire.messages.raid_queue import RaidCancelOk, RaidFreed, RaidQueueOk, RaidUnmatched
from mmo.wire.messages.session import HelloOk, Refused
from mmo.wire.opcode import Code
from mmo.wire.raid_stream import ROOM


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def load_hero(clock: Clock, catch_up_ms: float = 0) -> tuple[LoadHero, Book]:
    book = Book(lambda name, took_ms, fault: None, clock)
    policy = Policy(catch_up_ms=catch_up_ms)
    me = LoadHero("Ann", "a password", [], UserMeter(book), random.Random(1), clock, policy)
    me.play_into(book)
    return me, book


def answer_after(walk: Walk[Any], clock: Clock, seconds: float) -> None:
    """Let one request be answered late."""
    assert isinstance(next(walk), Send)
    assert isinstance(walk.send(1), Receive)
    clock.now += seconds
    with pytest.raises(StopIteration):
        walk.send(Answer(1, ServerListOk([])))


def test_latency_begins_when_the_request_was_meant_not_when_it_was_sent() -> None:
    clock = Clock()
    me, book = load_hero(clock)
    me.due = clock.now - 2.0  # the answer before it was two seconds too late
    answer_after(ask(me, CENTER, ServerListAsk()), clock, 0.5)
    answer_after(ask(me, CENTER, ServerListAsk()), clock, 0.5)
    assert [round(ms) for ms in book.actions.by_kind["ServerListAsk"]] == [2500, 500]


def test_who_catches_up_means_his_next_act_by_his_pace_up_to_a_bound() -> None:
    clock = Clock()
    patient, _ = load_hero(clock)
    assert patient.meant_after(95.0, 60) == pytest.approx(100.06)
    steady, _ = load_hero(clock, catch_up_ms=1_000)
    assert steady.meant_after(99.9, 60) == pytest.approx(99.96)
    assert steady.meant_after(95.0, 60) == pytest.approx(99.0)


def test_only_pauses_on_purpose_move_the_plan() -> None:
    book = Book(lambda name, took_ms, fault: None)
    meter = UserMeter(book)
    shell = LoadShell("", meter)

    def walk() -> Walk[None]:
        yield Pause(1.0)
        meter.retries += 1
        yield Pause(3.0)  # told to come again
        yield Pause(2.0)

    shell.walk(walk())
    assert shell.paused_s == pytest.approx(0.003)


def frame(tick: int) -> RaidStream:
    record = bytearray(ROOM.size)
    struct.pack_into("<III", record, 0, tick, 300, 8000 - tick * 50)
    return RaidStream(bytes(record))


def test_age_of_a_frame_is_how_much_later_than_the_earliest_it_came_by_its_tick() -> None:
    clock = Clock()
    me, book = load_hero(clock)
    me.user = 7
    me.hear(RaidStart(300, 1, 8000, 50))
    for tick, arrives in ((1, 100.060), (2, 100.100), (3, 100.190), (5, 100.250)):
        clock.now = arrives
        me.hear(frame(tick))
    clock.now = 101.0
    me.hear(RaidEnded(9, 1, 0, [ScoreRow(0, 7, "Ann", 10, True)]))
    assert [round(ms) for ms in book.ages().by_kind["RaidStream"]] == [10, 0, 40, 0]
    clock.now = 101.75
    me.hear(GrantReward(4, 9, 1, 1, 1, 5, 0, 0, []))
    assert [round(ms) for ms in book.pushes.by_kind["GrantReward"]] == [750]


def test_a_closed_book_counts_faults_and_no_speed() -> None:
    told: list[tuple[str, str]] = []
    clock = Clock()
    book = Book(lambda name, took_ms, fault: told.append((name, fault)), clock)
    book.action("Hit", 5.0)
    book.close()
    clock.now += 4.0
    book.action("Hit", 3_900.0)
    book.push("GrantReward", 3_900.0)
    book.error("gone")
    figures = book.figures()
    assert figures["by_kind"]["Hit"] == {
        "count": 1, "p50_ms": 5.0, "p95_ms": 5.0, "p99_ms": 5.0, "max_ms": 5.0,
        "samples_ms": [5.0],
    }  # fmt: skip
    assert (figures["actions"], figures["errors"], figures["findings"]) == (1, 1, ["gone"])
    assert not figures["pushes"] and told == [("Hit", ""), ("error", "gone")]


def test_what_was_due_before_the_end_counts_whenever_it_is_answered() -> None:
    clock = Clock()
    book = Book(lambda name, took_ms, fault: None, clock)
    book.close()
    clock.now += 4.0
    book.action("Hit", 4_100.0)
    book.action("KillReward", 4_100.0)
    book.push("GrantReward", 4_100.0)
    assert list(book.actions.by_kind["Hit"]) == [4_100.0]
    assert {kind: list(ages) for kind, ages in book.pushes.by_kind.items()} == {
        "KillReward": [4_100.0], "GrantReward": [4_100.0]
    }  # fmt: skip


def test_a_stall_of_the_generator_is_in_its_lag_by_its_length() -> None:
    book = Book(lambda name, took_ms, fault: None)
    book.lag(3.0)
    book.lag(120.0)
    assert [round(ms) for ms in book.lags_ms] == [3, 120, 70, 20]


def test_a_visit_that_is_late_is_a_late_password_not_a_late_hello() -> None:
    clock = Clock()
    me, book = load_hero(clock)
    me.logins = [("127.0.0.1", 2)]
    me.due = clock.now - 2.0
    walk = log_in(me)
    assert isinstance(next(walk), Dial)
    assert isinstance(walk.send(None), Send)
    assert isinstance(walk.send(1), Receive)
    clock.now += 0.1
    assert isinstance(walk.send(Answer(1, HelloOk(1, 2, "login", 1, 0))), Send)
    assert isinstance(walk.send(2), Receive)
    clock.now += 0.3
    assert isinstance(walk.send(Answer(2, LoginOk(7, "a token", "127.0.0.1", 1, 1))), Drop)
    taken = {kind: [round(ms) for ms in told] for kind, told in book.actions.by_kind.items()}
    assert taken == {"Hello": [100], "Login": [2400]} and me.due is None


# -- servers that are away, and nobody to raid with ----------------------------------------------

ANSWERS = {
    "Login": LoginOk(7, "a token", "127.0.0.1", 1, 1),
    "ServerListAsk": ServerListOk([ServerRow(11, "channel-1", 0, 30, "127.0.0.1", 11, True)]),
    "Move": MoveOk(11, "127.0.0.1", 11, "a token"),
    "RaidQueue": RaidQueueOk(1, 1, -1),
    "RaidCancel": RaidCancelOk(),
}


def walked(walk: Walk[Any], clock: Clock, answer: Callable[[str], Any]) -> Any:
    """Walk to the end: each request is answered at once, pauses and waits take their time."""
    event: Any = None
    asked, number = "", 0
    while True:
        try:
            step = walk.send(event)
        except StopIteration as end:
            return end.value
        event = None
        if isinstance(step, Send):
            number += 1
            event, asked = number, type(step.message).__name__
        elif isinstance(step, Receive) and asked:
            event, asked = Answer(number, answer(asked)), ""
        elif isinstance(step, Receive | Pause):
            clock.now += step.wait_ms / 1000


@pytest.mark.parametrize(
    ("kind", "code", "tried"),
    [
        ("Login", Code.SERVER_AWAY, "logging in"),
        ("Move", Code.SERVER_AWAY, "finding a server with a seat"),
        ("RaidQueue", Code.MATCHING_AWAY, "finding a raid"),
    ],
)
def test_what_a_server_that_is_away_answers_is_counted_and_no_end_of_what_was_meant(
    kind: str, code: Code, tried: str
) -> None:
    clock = Clock()
    me, book = load_hero(clock)
    me.logins, began_s = [("127.0.0.1", 2)], clock.now

    def answer(asked: str) -> Any:
        away = asked == kind and clock.now < began_s + 3.0
        return Refused(code) if away else ANSWERS.get(asked, Pong(b""))

    walks: dict[str, Callable[[], Walk[Any]]] = {
        "Login": lambda: log_in(me),
        "Move": lambda: move_somewhere(me),
        "RaidQueue": lambda: seek_raid(me, lambda: clock.now < began_s + 9.0),
    }
    walked(walks[kind](), clock, answer)
    taken_ms = list(book.actions.by_kind[kind])
    *refused_ms, last_ms = taken_ms
    assert refused_ms and last_ms >= 3_000 and taken_ms == sorted(taken_ms)
    figures = book.figures()
    assert figures["refusals"] == {kind: {code.name: len(refused_ms)}}
    assert list(figures["retries"]) == [tried] and me.due is None


def test_who_leaves_the_queue_without_a_match_has_waited_for_one() -> None:
    clock = Clock()
    me, book = load_hero(clock)
    walk = seek_raid(me, lambda: clock.now < 150.0)
    found = walked(walk, clock, lambda asked: ANSWERS.get(asked, Pong(b"")))
    assert found is None
    assert list(book.actions.by_kind["RaidMatched"]) == [pytest.approx(50_000, abs=300)]


def test_a_wait_for_a_match_goes_on_over_a_refused_ticket_and_a_lost_center() -> None:
    clock = Clock()
    me, book = load_hero(clock)
    me.session_token, me.center = "a token", ("127.0.0.1", 1)
    happened: list[str] = []

    def goes_on() -> bool:
        if clock.now > 120.0 and not happened:
            happened.append("unmatched")
            me.hear(RaidUnmatched(Code.ALREADY_IN_RAID))
        if clock.now > 130.0 and len(happened) == 1:
            happened.append("lost")
            raise Lost(CENTER, 0, "nobody is there")
        return clock.now < 150.0

    walked(seek_raid(me, goes_on), clock, lambda asked: ANSWERS.get(asked, Pong(b"")))
    assert happened == ["unmatched", "lost"]
    assert len(book.actions.by_kind["RaidQueue"]) == 3
    assert list(book.actions.by_kind["RaidMatched"]) == [pytest.approx(50_000, abs=300)]


def test_who_hears_that_a_raid_was_aborted_before_he_was_matched_queues_again() -> None:
    clock = Clock()
    me, book = load_hero(clock)

    def goes_on() -> bool:
        if clock.now > 120.0 and not me.raids.aborted:
            me.hear(RaidFreed(7, finished=False))
        return clock.now < 150.0

    walked(seek_raid(me, goes_on), clock, lambda asked: ANSWERS.get(asked, Pong(b"")))
    assert len(book.actions.by_kind["RaidQueue"]) == 2 and not book.figures()["retries"]


# -- frames that never came -----------------------------------------------------------------------


def battle_of(me: LoadHero, clock: Clock, arrivals: dict[int, float]) -> None:
    """A battle of 100 ticks in 5 s from now, whose frames come as many seconds after its start."""
    began = clock.now
    me.raids.seats_taken += 1
    me.hear(RaidStart(300, 1, 8000, 50))
    for tick, after_s in arrivals.items():
        clock.now = began + after_s
        me.hear(frame(tick))
    clock.now = began + 5.0
    me.hear(RaidEnded(9, 1, 0, [ScoreRow(0, 7, "Ann", 10, True)]))


ON_TIME = {tick: tick * 0.05 for tick in range(1, 100)}


def frames(book: Book) -> tuple[int, int, float | None]:
    told = book.figures()["frames"]
    return told["came"], told["due"], told["share_least"]


def test_a_battle_owes_a_frame_for_each_tick_but_its_last() -> None:
    clock = Clock()
    me, book = load_hero(clock)
    battle_of(me, clock, ON_TIME)
    clock.now += 60.0
    assert frames(book) == (99, 99, 1.0)


def test_a_stream_that_stops_or_never_begins_is_missing_whatever_the_age_of_the_rest() -> None:
    clock = Clock()
    me, book = load_hero(clock)
    battle_of(me, clock, ON_TIME)
    battle_of(me, clock, {tick: at_s for tick, at_s in ON_TIME.items() if tick <= 33})
    assert frames(book) == (132, 198, 0.3333)
    battle_of(me, clock, {})
    told = book.figures()
    assert told["pushes"]["RaidStream"]["max_ms"] < 1.0
    assert told["frames"] == {"came": 132, "due": 297, "share": 0.4444, "share_least": 0.0}


def test_one_frame_for_two_ticks_is_one_too_few() -> None:
    clock = Clock()
    me, book = load_hero(clock)
    battle_of(me, clock, {tick: at_s for tick, at_s in ON_TIME.items() if tick % 10})
    assert frames(book) == (90, 99, 0.9091)


def test_a_short_battle_is_not_judged_alone() -> None:
    clock = Clock()
    me, book = load_hero(clock)
    me.hear(RaidStart(300, 1, 8000, 50))
    clock.now += 1.0
    me.hear(RaidEnded(9, 1, 0, []))
    assert frames(book) == (0, 19, None)


def test_who_takes_a_seat_in_a_running_battle_is_owed_frames_from_the_first_he_hears_of_it() -> (
    None
):
    clock = Clock()
    me, book = load_hero(clock)
    battle_of(me, clock, ON_TIME)
    me.raids.seats_taken += 1
    me.hear(RaidStruck(1, 40, 10, 10, 290))
    clock.now += 2.5
    me.hear(RaidStruck(2, 90, 10, 20, 280))
    clock.now += 9.0
    me.leave_battle()
    assert frames(book) == (99, 99 + 49, 0.0)


def test_frames_that_the_end_of_a_run_cut_off_are_missing_and_late_ones_have_their_age() -> None:
    clock = Clock()
    me, book = load_hero(clock)
    me.hear(RaidStart(300, 1, 8000, 50))
    began = clock.now
    for tick in range(1, 41):
        clock.now = began + tick * 0.05
        me.hear(frame(tick))
    clock.now = began + 2.5
    book.close()
    clock.now = began + 4.0
    for tick in range(41, 61):  # due from half a second before the end until half a second after
        me.hear(frame(tick))
    assert frames(book) == (49, 49, 1.0)
    assert round(book.figures()["pushes"]["RaidStream"]["max_ms"]) == 1950
    other, silent = load_hero(clock)
    other.hear(RaidStart(300, 1, 8000, 50))
    clock.now += 2.5
    silent.close()
    clock.now += 9.0
    other.leave_battle(clock.now)
    assert frames(silent) == (0, 49, 0.0)
