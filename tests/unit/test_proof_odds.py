"""The laws behind the proof of the odds agree with published tables, and its judges can say no."""

import hashlib
import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from mmo.proof.odds import (
    EVEN_PPM,
    Series,
    Tally,
    cells_p,
    judge_drift,
    judge_levels,
    recompute,
    success_p,
    tally,
)
from mmo.proof.odds_law import (
    chi_square_tail,
    distance_from_uniform,
    kolmogorov_tail,
    uniformity,
)
from mmo.proof.odds_receipts import promise_faults, receipt_faults
from mmo.proof.verdict import Trial
from mmo.state.roll import roll, roller
from mmo.wire.messages.enhance import EnhanceOk

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("freedom", "critical", "tail"),
    [
        # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4
        (1, 3.841, 0.05),
        (1, 10.828, 0.001),
        (2, 5.991, 0.05),
        (10, 18.307, 0.05),
        (10, 29.588, 0.001),
        (50, 67.505, 0.05),
        (100, 124.342, 0.05),
        (100, 149.449, 0.001),
        (1, 0.016, 0.90),
        (10, 3.940, 0.95),
        (100, 77.929, 0.95),
    ],
)
def test_the_chi_square_tail_is_that_of_the_published_table(
    freedom: int, critical: float, tail: float
) -> None:
    assert chi_square_tail(critical, freedom) == pytest.approx(tail, rel=5e-3)


def test_the_chi_square_tail_has_its_closed_form_at_two_degrees() -> None:
    import math

    for statistic in (0.001, 0.5, 2.0, 3.9, 4.1, 40.0, 400.0):
        assert chi_square_tail(statistic, 2) == pytest.approx(math.exp(-statistic / 2), rel=1e-12)
    assert chi_square_tail(0, 5) == 1


@pytest.mark.parametrize(
    ("samples", "critical", "tail"),
    [
        # Miller 1956, "Table of percentage points of Kolmogorov statistics"
        (10, 0.40925, 0.05),
        (10, 0.48893, 0.01),
        (20, 0.29408, 0.05),
        (20, 0.35241, 0.01),
        (50, 0.18841, 0.05),
        (100, 0.13403, 0.05),
        (100, 0.16081, 0.01),
        # Smirnov 1948, the limit law: 1.2238, 1.3581, 1.6276, 1.9495 over the root of the samples
        (1_000_000, 1.2238e-3, 0.10),
        (1_000_000, 1.3581e-3, 0.05),
        (1_000_000, 1.6276e-3, 0.01),
        (1_000_000, 1.9495e-3, 0.001),
    ],
)
def test_the_kolmogorov_tail_is_that_of_the_published_table(
    samples: int, critical: float, tail: float
) -> None:
    assert kolmogorov_tail(critical, samples) == pytest.approx(tail, rel=0.06)


def test_the_distance_from_uniform_is_taken_on_both_sides_of_a_step() -> None:
    assert distance_from_uniform([0.5]) == 0.5
    assert distance_from_uniform([0.9, 0.95]) == pytest.approx(0.9)
    assert distance_from_uniform([0.125, 0.375, 0.625, 0.875]) == pytest.approx(0.125)


def test_uniform_values_pass_and_bent_ones_do_not() -> None:
    rng = random.Random(7)
    values = [rng.random() for _ in range(200)]
    assert uniformity(values) > 0.001
    assert uniformity([value**2 for value in values]) < 0.001


def test_the_second_computation_of_a_roll_is_the_products() -> None:
    for uid in (0, 1, 2**62, -5):
        for attempt in range(1, 50):
            assert recompute(KEY, uid, attempt, 3) == roll(KEY, uid, attempt, 3)
    long = bytes(range(200))
    assert recompute(long, 1, 2, 3) == roll(long, 1, 2, 3) == roller(long)(1, 2, 3)


def test_a_half_point_of_drift_is_found_and_a_clean_series_is_not() -> None:
    rng = random.Random(9)

    def chance(*_: object) -> int:
        return rng.randrange(1_000_000)

    series = Series(KEY, 1, 60_000, EVEN_PPM)
    assert not tally(series).alarm_after
    assert 0 < tally(replace(series, drift_ppm=25_000), lambda _: chance).alarm_after <= 60_000
    assert not tally(series, lambda _: chance).alarm_after


def verdict_of(*told: Tally) -> list[str]:
    trial = Trial("odds", lambda _: None)
    judge_levels(trial, told)
    return trial.verdict().findings


def clean() -> list[Tally]:
    return [
        tally(Series(bytes([number]) * 32, number, 3_000, chance))
        for number in range(12)
        for chance in (1_000_000, 400_000)
    ]


def test_the_judge_of_levels_lets_clean_tallies_pass() -> None:
    assert not verdict_of(*clean())


def test_the_judge_of_levels_finds_each_kind_of_fault() -> None:
    told = clean()
    failed = replace(told[0], successes=told[0].successes - 1)
    assert any("at a chance of 1" in text for text in verdict_of(failed, *told[1:]))
    wrong = replace(told[1], receipts_wrong=1)
    assert any("do not recompute" in text for text in verdict_of(told[0], wrong, *told[2:]))
    alarmed = replace(told[1], alarm_after=500)
    assert any("raised an alarm" in text for text in verdict_of(told[0], alarmed, *told[2:]))
    # Too good: every cell exactly full, as a generator that deals from a deck would give.
    dealt = [replace(each, cells=(30,) * 100) for each in told]
    assert any("of cells are not uniform" in text for text in verdict_of(*dealt))
    # Too many successes everywhere, each little enough to pass alone.
    bent = [
        replace(each, successes=each.successes + 60) if each.chance_ppm == 400_000 else each
        for each in told
    ]
    assert min(success_p(each) for each in bent if each.chance_ppm == 400_000) > 1e-5
    assert any("of successes are not uniform" in text for text in verdict_of(*bent))


def test_a_modulo_without_rejection_of_a_small_word_is_seen_in_the_cells() -> None:
    def biased_roller(key: bytes) -> Callable[[int, int, int], int]:
        return lambda *at: roll(key, *at) % 983_040

    biased = tally(Series(KEY, 1, 50_000, EVEN_PPM), biased_roller)
    assert cells_p(biased) < 1e-6


def test_the_judge_of_drift_wants_it_found_and_the_clean_left_alone() -> None:
    quiet, loud = clean()[1], replace(clean()[1], alarm_after=400_000)
    for drifted, runs, holds in (
        (loud, [quiet], True),
        (quiet, [quiet], False),
        (loud, [quiet, loud], False),
    ):
        trial = Trial("odds", lambda _: None)
        judge_drift(trial, drifted, runs)
        assert trial.verdict().held is holds


def receipt(attempt: int, enhance: int, rolled: int, chance: int = 500_000) -> EnhanceOk:
    return EnhanceOk(
        uid=1, enhance=enhance, success=rolled < chance, attempt=attempt, chance_ppm=chance,
        roll_ppm=rolled, cost=1, gold=1, day=20260101, table=1,
    )  # fmt: skip


def test_receipts_are_held_against_key_odds_and_order() -> None:
    def faults(*receipts: EnhanceOk) -> list[str]:
        rolls = {1: 100, 2: 900_000, 3: 7}
        return receipt_faults(
            list(receipts), [500_000] * 3, lambda _: KEY, lambda _, __, attempt, ___: rolls[attempt]
        )

    good = [receipt(1, 1, 100), receipt(2, 1, 900_000), receipt(3, 2, 7)]
    assert not faults(*good)
    assert "does not recompute" in faults(receipt(1, 1, 101))[0]
    assert "its roll does not give" in faults(replace(good[0], success=False))[0]
    assert "were not told" in faults(receipt(1, 1, 100, 600_000))[0]
    assert "does not follow" in faults(good[0], good[2])[0]
    assert "is the first of its item" in faults(good[1])[0]


def test_the_key_of_a_receipt_was_promised_by_its_hash_and_is_not_public_yet() -> None:
    promise = hashlib.sha256(KEY).digest()
    assert not promise_faults({7}, [(7, promise, 0), (8, b"", 1)], lambda _: KEY)
    assert "was promised" in promise_faults({7}, [], lambda _: KEY)[0]
    assert "was promised" in promise_faults({7}, [(7, promise[:-1], 0)], lambda _: KEY)[0]
    assert "is public" in promise_faults({7}, [(7, promise, 1)], lambda _: KEY)[0]
