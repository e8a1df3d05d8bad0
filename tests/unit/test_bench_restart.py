"""What a player waits for while his server is replaced: all of it, and only his who was struck."""

import random
from collections.abc import Iterator
from typing import Any

from mmo.client.hunting import hold_on
from mmo.client.meter import Cut
from mmo.client.protocol import Answer, Pong
from mmo.client.session import stay_known
from mmo.client.steps import CENTER, GAME, Lost, Receive, Send, Walk
from mmo.proof.bench_restart import Player, Waits, interrupted_of, result
from mmo.wire.messages.presence import SessionOk
from mmo.wire.messages.session import HelloOk

ANSWERS = {
    "Hello": HelloOk(1, 2, "center", 1, 1),
    "Token": SessionOk(7, 1, 0, "token"),
    "Ping": Pong(b""),
}


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def player(clock: Clock) -> Player:
    """One who knows his center."""
    me = Player("me", "word", [], Waits(clock), random.Random(1), clock)
    me.center, me.session_token, me.renewed_at = ("h", 1), "token", clock()
    me.game = ("h", 2)  # which was not seen to end
    return me


def walked(walk: Walk[None], clock: Clock, waits: Iterator[tuple[float, bool]]) -> None:
    """Walk to the end; each event comes after its seconds, or the connection ends then."""
    sent: list[str] = []
    given: Any = None
    lost: Lost | None = None
    try:
        while True:
            step = walk.throw(lost) if lost else walk.send(given)
            given = lost = None
            if isinstance(step, Send):
                sent.append(type(step.message).__name__)
                given = len(sent)
            elif isinstance(step, Receive):
                seconds, comes = next(waits)
                clock.now_s += seconds
                given = Answer(len(sent), ANSWERS[sent[-1]]) if comes else None
                lost = None if comes else Lost(step.lane)
    except StopIteration:
        return


def test_a_wait_is_in_flight_and_coming_back_and_asking_again_in_one() -> None:
    clock = Clock()
    me = player(clock)
    events = iter([(3.0, False), (0.4, True), (0.6, True), (0.5, True)])
    walked(hold_on(me, lambda: stay_known(me), to_lobby=True), clock, events)
    assert [round(ms) for ms in me.meter.interrupted_ms["center"]] == [4_500]
    assert me.meter.pauses_ms[0] == 1_000 and not me.meter.interrupted
    assert me.meter.take_ms() == 0, "no wait of his was without an interruption"
    walked(hold_on(me, lambda: stay_known(me)), clock, iter([(0.02, True)]))
    assert round(me.meter.take_ms()) == 20 and me.meter.take_ms() == 0


def test_a_second_loss_and_the_way_to_the_next_blow_are_in_it_but_no_pause_of_his_own() -> None:
    clock = Clock()
    waits = Waits(clock)
    waits.asked(clock())
    for _ in range(2):
        clock.now_s += 1.0
        waits.loss("", Cut(clock(), GAME, 1))
        clock.now_s += 0.5
        waits.came_back(500.0)
    for kind in ("ChannelListAsk", "ChannelEnter", "Hit"):
        clock.now_s += 0.3 + 0.1
        waits.asked(clock() - 0.1)
        waits.action(kind, 100.0)
    assert [round(ms) for ms in waits.interrupted_ms["channel"]] == [3_300]


def test_a_reward_that_did_not_come_is_waited_for_since_the_blow_was_answered() -> None:
    clock = Clock()
    me = player(clock)
    me.meter.asked(clock())
    clock.now_s += 0.1
    me.meter.action("Hit", 100.0)
    me.hit_open = True
    clock.now_s += 2.0
    me.loosen()
    me.meter.loss("", Cut(clock(), GAME, 1))
    clock.now_s += 1.0
    me.meter.came_back(1_000.0)
    me.meter.action("Hit", 50.0)
    assert [round(ms) for ms in me.meter.interrupted_ms["channel"]] == [3_050]


def test_the_figure_is_of_the_role_whose_players_wait_longest_and_no_percentile_of_few() -> None:
    struck, spared = Waits(), Waits()
    struck.interrupted_ms = {"center": [900.0, 300.0], "channel": [60.0]}
    spared.interrupted_ms = {"channel": [40.0]}
    found = interrupted_of([struck, spared])
    assert found == {"center": [900.0, 300.0], "channel": [60.0, 40.0]}
    told = result(found, [20.0] * 210, {"login": [15.0]}, [2.0], ())
    assert (told.ours, told.p50_ms, told.p99_ms) == (900.0, 300.0, None)
    assert told.unit == "ms, wait of a player whose center was replaced, longest of 2"
    assert told.limit.endswith("p99") and told.limit_unit == "ms" and told.ratio == 45.0
    assert told.more["interrupted_ms"]["channel"] == {"count": 2, "p50": 40.0, "longest": 60.0}
    none = result({}, [20.0], {}, [], ())
    assert none.ours == 0 and not none.aims[0].met


def test_who_lost_his_center_before_he_asked_waits_from_the_notice_on() -> None:
    clock = Clock()
    waits = Waits(clock)
    waits.loss("", Cut(clock(), CENTER, 1))
    clock.now_s += 0.25
    waits.action("Hello", 1.0)
    assert waits.interrupted
    waits.came_back(250.0)
    waits.action("Ping", 5.0)
    assert waits.interrupted_ms == {"center": [255.0]}
