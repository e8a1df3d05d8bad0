"""What `bench match` publishes of what was measured: the worse queue, and checks that can fail."""

from typing import Any

import pytest

from mmo.proof.bench_match import DECISION_P99_AIM_MS, result
from mmo.testing.measured.match_load import paced_steps


def found(full_speed_decisions: int = 50, **wrong: Any) -> dict[str, Any]:
    """Figures of two good phases, with one of them changed."""
    good = {
        "p50_ms": 30.0, "p99_ms": 60.0, "p999_ms": 70.0, "decisions": 10, "busy": 0.2,
        "waiting": 100, "lost": 0, "seated_twice": 0, "split_or_wrong": 0, "refused": 0,
        "rules_raised": 0, "due": 10,
    }  # fmt: skip
    return {
        "codec_per_s": 200_000.0,
        "parties": {
            **good,
            "full_speed_per_s": 20_000.0,
            "full_speed_due": 50,
            "full_speed_decisions": full_speed_decisions,
        },
        "rooms": {**good, "p99_ms": 90.0, **wrong},
        "load_average": [],
    }


def test_match_when_all_is_well_then_the_worse_queue_is_published() -> None:
    said = result(100, 20, found())
    assert said.held and said.p99_ms == 90.0
    assert (said.ours, said.ratio) == (20_000.0, 0.1)
    assert [aim.met for aim in said.aims] == [True, True]
    assert said.times_of == "a decision while 20 a second come"
    late = result(100, 20, found(p99_ms=DECISION_P99_AIM_MS + 1))
    assert late.held and [aim.met for aim in late.aims] == [True, False]


@pytest.mark.parametrize(
    "wrong", ["lost", "seated_twice", "split_or_wrong", "refused", "rules_raised"]
)
def test_match_when_one_ticket_is_wrong_then_the_bench_does_not_hold(wrong: str) -> None:
    assert not result(100, 20, found(**{wrong: 1})).held


def test_match_when_fewer_waited_than_published_then_the_bench_does_not_hold() -> None:
    assert not result(100, 20, found(waiting=99)).held


def test_match_when_a_team_that_was_due_is_undecided_then_the_bench_does_not_hold() -> None:
    assert not result(100, 20, found(decisions=9)).held
    assert not result(100, 20, found(full_speed_decisions=49)).held, "the 30 s were over"


def test_match_when_a_phase_is_paced_then_a_step_brings_two_tickets_in_the_mean() -> None:
    assert (paced_steps(1.0, 200), paced_steps(10.0, 2_000)) == (100, 10_000)
