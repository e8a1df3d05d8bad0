"""What a client knows of its raids: results told, rewards announced, and what may come untold."""

import random
from typing import Any

import pytest

from mmo.client.hero import Hero
from mmo.client.meter import Meter
from mmo.client.raid_log import RAID_GRANT
from mmo.wire.messages.hunt import GrantReward
from mmo.wire.messages.raid import RaidEnded, RaidEntered, RaidStart, ScoreRow
from mmo.wire.messages.raid_queue import RaidFreed, RaidMatched, RaidUnmatched

USER, OTHER, RAID = 7, 8, 91


@pytest.fixture
def me() -> Hero:
    hero = Hero("ann", "a password", [], Meter(), random.Random(1), lambda: 0.0)
    hero.user = USER
    return hero


def entered(me: Hero, raid: int = RAID) -> None:
    me.raids.enter(RaidEntered(raid, 1, 0, 0, 1, 300, 300, 8_000, 0, [], 0))


def ended(*scores: tuple[int, int, bool], raid: int = RAID) -> RaidEnded:
    rows = [
        ScoreRow(seat, user, "name", score, False, granted)
        for seat, (user, score, granted) in enumerate(scores)
    ]
    return RaidEnded(raid, 1, 0, rows)


def rewarded(raid: int = RAID) -> GrantReward:
    return GrantReward(RAID_GRANT, raid, 1, 2, 0, 10, 0, 0, [])


def test_result_when_told_then_score_best_and_reward_are_known(me: Hero) -> None:
    entered(me)
    me.hear(RaidStart(300, 0, 8_000, 50))
    assert me.raids.runs
    me.hear(ended((OTHER, 200, True), (USER, 100, True)))
    assert not me.raids.runs and me.raids.scores == {RAID: 100} and me.raids.best == 100
    assert me.raids.granted == {RAID} and me.raids.wrong == []


def test_end_when_a_raid_was_aborted_then_is_no_result(me: Hero) -> None:
    entered(me)
    me.hear(RaidStart(300, 0, 8_000, 50))
    rows = [ScoreRow(0, USER, "name", 0, False, False)]
    me.hear(RaidEnded(RAID, 5, 300, rows))
    assert (me.raids.runs, me.raids.scores, me.raids.aborted) == (False, {}, {RAID})


@pytest.mark.parametrize(
    "told",
    [
        [ended((OTHER, 100, True), (USER, 200, True))],
        [ended((OTHER, 100, True))],
        [ended((USER, 100, True)), ended((USER, 101, True))],
    ],
)
def test_result_when_it_cannot_be_right_then_is_named(me: Hero, told: list[Any]) -> None:
    entered(me)
    for message in told:
        me.hear(message)
    assert len(me.raids.wrong) == 1


def test_match_and_refusal_when_pushed_then_are_kept(me: Hero) -> None:
    found = RaidMatched(RAID, 1, 0, 31, "127.0.0.1", 1, "token")
    me.hear(found)
    me.hear(RaidUnmatched(1003))
    me.hear(RaidFreed(RAID, False))
    assert (me.raids.matched, me.raids.unmatched, me.raids.aborted) == (found, 1003, {RAID})


def test_record_when_a_raid_may_still_give_something_then_is_a_lower_bound_once(me: Hero) -> None:
    entered(me)
    me.loosen()
    me.loosen()
    assert me.record.loose == 1


@pytest.mark.parametrize(
    "told",
    [
        [ended((USER, 100, True)), rewarded()],
        [ended((USER, 0, False))],
        [RaidFreed(RAID, False)],
    ],
)
def test_record_when_nothing_can_come_any_more_then_stays_exact(me: Hero, told: list[Any]) -> None:
    entered(me)
    for message in told:
        me.hear(message)
    me.loosen()
    assert me.record.loose == 0
