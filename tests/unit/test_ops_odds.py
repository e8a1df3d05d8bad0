"""The band of the odds report: chance alone stays inside, drift does not."""

import math
import random

import msgspec
import pytest

from mmo.ops.odds import band, receipt_of, tally
from mmo.state.roll import PARTS

CHANCES = [0.0, 0.01, 0.05, 0.1, 0.5, 0.8, 0.99, 1.0]


@pytest.mark.parametrize("chance", CHANCES)
@pytest.mark.parametrize("attempts", [1, 2, 10, 1_000, 1_000_000])
def test_the_band_holds_the_chance_and_narrows(chance: float, attempts: int) -> None:
    low, high = band(chance, attempts)
    assert 0.0 <= low <= chance <= high <= 1.0
    wide_low, wide_high = band(chance, max(1, attempts // 10))
    assert wide_low <= low and high <= wide_high


@pytest.mark.parametrize(("chance", "attempts"), [(0.5, 40), (0.1, 60), (0.01, 200)])
def test_the_band_is_left_as_rarely_as_it_says(chance: float, attempts: int) -> None:
    low, high = band(chance, attempts)
    weights = [
        math.comb(attempts, hits) * chance**hits * (1 - chance) ** (attempts - hits)
        for hits in range(attempts + 1)
    ]
    below = sum(weight for hits, weight in enumerate(weights) if hits / attempts < low)
    above = sum(weight for hits, weight in enumerate(weights) if hits / attempts > high)
    assert below <= 1e-6 and above <= 1e-6


def test_half_a_point_of_drift_is_an_alarm_within_a_million() -> None:
    drifted = tally([(1, 4, 500_000, 1_000_000, 505_000)])
    fair = tally([(1, 4, 500_000, 1_000_000, 500_900)])
    assert drifted[0].alarm and not fair[0].alarm
    assert drifted[0].high_ppm < 505_000 and drifted[0].observed_ppm == 505_000


def test_fair_series_raise_no_alarm() -> None:
    chance = random.Random(4)
    for _ in range(100):
        for published in (10_000, 50_000, 500_000, 1_000_000):
            hits = sum(chance.randrange(PARTS) < published for _ in range(200))
            assert not tally([(1, 0, published, 200, hits)])[0].alarm


def test_certain_chances_alarm_at_the_first_exception() -> None:
    assert tally([(1, 0, 1_000_000, 1_000, 999)])[0].alarm
    assert tally([(1, 9, 0, 1_000, 1)])[0].alarm


def test_a_receipt_is_the_reply_of_the_server() -> None:
    text = (
        '{"message": "EnhanceOk", "uid": 5, "enhance": 1, "success": true, "attempt": 2,'
        ' "chance_ppm": 800000, "roll_ppm": 3, "cost": 10, "gold": 90, "day": 20260101,'
        ' "table": 1}'
    )
    receipt = receipt_of(text)
    assert (receipt.uid, receipt.attempt, receipt.success) == (5, 2, True)
    with pytest.raises(msgspec.MsgspecError):
        receipt_of('{"uid": 5}')
