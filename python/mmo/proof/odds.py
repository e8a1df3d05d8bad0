"""The proof of the odds: rolls are uniform under any key, drift is found, receipts recompute.

Owns the series of rolls, run in processes of their own, and the judges over their tallies; the laws
are `odds_law`. The rolls and the alarm are those of the product, as `odds --report` raises it; the
recomputation of receipts is written here a second time on purpose.
"""

import asyncio
import hashlib
import hmac
import math
import multiprocessing
import os
import random
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor

import msgspec

from mmo.ops.odds import tally as reported
from mmo.proof.arena import Arena
from mmo.proof.odds_law import chi_square_tail, uniformity
from mmo.proof.odds_receipts import real_receipts
from mmo.proof.verdict import Trial
from mmo.state.roll import PARTS, roller

CELLS = 100
KEYS = 20
LOOKS = 20
"""The report is read so many times over a series, evenly spread over its rolls."""

UNIFORM_MIN = 0.001
SHORT_SEED = 51
ATTEMPTS_PER_ITEM = 25
RECOMPUTE_EVERY = 997
EVEN_PPM = 500_000
DRIFT_PPM = 5_000
DRIFT_ROLLS = 1_000_000
CLEAN_RUNS = 100
LEVELS_PPM = (
    *(1_000_000, 800_000, 600_000, 400_000, 200_000, 100_000, 50_000, 30_000, 20_000, 10_000),
)
"""The odds of the reference game, level by level; the box has the same."""


class Series(msgspec.Struct, frozen=True):
    """Rolls to make: `rolls` under `key` from item `uid` on, counted against `chance_ppm`.
    `drift_ppm`: planted, what the roll's side is off from the published chance."""

    key: bytes
    uid: int
    rolls: int
    chance_ppm: int
    table: int = 1
    drift_ppm: int = 0


class Tally(msgspec.Struct, frozen=True):
    """What a series gave: how many rolls fell into each of 100 equal cells, how many succeeded,
    after how many rolls drift was seen (0: never), how many receipts did not recompute."""

    chance_ppm: int
    rolls: int
    successes: int
    cells: tuple[int, ...]
    alarm_after: int
    receipts: int
    receipts_wrong: int


def recompute(key: bytes, uid: int, attempt: int, table: int) -> int:
    """A roll from its published definition alone: words of HMAC-SHA-256(key, uid ‖ attempt ‖ table
    ‖ round), big-endian, the first that is below the largest multiple of 1,000,000."""
    limit = (1 << 64) // 1_000_000 * 1_000_000
    fixed = b"".join(number.to_bytes(8, "big", signed=True) for number in (uid, attempt, table))
    for turn in range(1 << 32):
        digest = hmac.new(key, fixed + turn.to_bytes(4, "big"), hashlib.sha256).digest()
        for at in range(0, 32, 8):
            word = int.from_bytes(digest[at : at + 8], "big")
            if word < limit:
                return word % 1_000_000
    raise AssertionError("no word of 2^34 was below the limit")


def tally(
    series: Series, roller: Callable[[bytes], Callable[[int, int, int], int]] = roller
) -> Tally:
    """Make the rolls of a series. Called in a process of its own."""
    key, table = series.key, series.table
    roll = roller(key)
    chance, drawn_below = series.chance_ppm, series.chance_ppm + series.drift_ppm
    width = PARTS // CELLS
    cells = [0] * CELLS
    successes = receipts = wrong = alarm_after = 0
    look_every = max(1, series.rolls // LOOKS)
    for number in range(series.rolls):
        item, attempt = divmod(number, ATTEMPTS_PER_ITEM)
        uid = series.uid + item
        rolled = roll(uid, attempt + 1, table)
        cells[rolled // width] += 1
        successes += rolled < drawn_below
        if number % RECOMPUTE_EVERY == 0:
            receipts += 1
            wrong += rolled != recompute(key, uid, attempt + 1, table)
        made = number + 1
        if (
            made % look_every == 0
            and not alarm_after
            and reported([(table, 0, chance, made, successes)])[0].alarm
        ):
            alarm_after = made
    return Tally(chance, series.rolls, successes, tuple(cells), alarm_after, receipts, wrong)


def cells_p(told: Tally) -> float:
    """The chi-square p-value of the hundred cells being equally full (99 degrees)."""
    expected = told.rolls / CELLS
    statistic = sum((seen - expected) ** 2 for seen in told.cells) / expected
    return chi_square_tail(statistic, CELLS - 1)


def success_p(told: Tally) -> float:
    """The chi-square p-value of successes against the published chance (1 degree). The chance is
    not 0 or 1."""
    chance = told.chance_ppm / PARTS
    expected = told.rolls * chance
    statistic = (told.successes - expected) ** 2 / (expected * (1 - chance))
    return chi_square_tail(statistic, 1)


def judge_levels(trial: Trial, tallies: Iterable[Tally]) -> None:
    """Both families of p-values are uniform, the certain level never fails, nothing drifts, every
    receipt recomputes."""
    told = list(tallies)
    uncertain = [each for each in told if 0 < each.chance_ppm < PARTS]
    for name, values in (
        ("cells", [cells_p(each) for each in told]),
        ("successes", [success_p(each) for each in uncertain]),
    ):
        uniform = uniformity(values)
        trial.tried(
            f"{len(values)} chi-square p-values of {name}: {min(values):.2g} to {max(values):.4f}, "
            f"Kolmogorov-Smirnov against uniform {uniform:.3f}"
        )
        trial.figure(f"uniformity_{name}", round(uniform, 4))
        tenths = [0] * 10
        for value in values:
            tenths[min(9, int(value * 10))] += 1
        trial.figure(f"p_{name}_by_tenths", tenths)
        trial.expect(
            uniform > UNIFORM_MIN, f"the p-values of {name} are not uniform: {uniform:.2g}"
        )
    failed = sum(each.rolls - each.successes for each in told if each.chance_ppm == PARTS)
    trial.expect(not failed, f"{failed} attempts failed at a chance of 1")
    alarms = [each for each in told if each.alarm_after]
    trial.expect(not alarms, f"{len(alarms)} of {len(told)} clean series raised an alarm")
    judge_receipts(trial, told)
    trial.figure("rolls", sum(each.rolls for each in told))


def judge_receipts(trial: Trial, told: list[Tally]) -> None:
    """Every roll that was computed a second time is the same."""
    wrong = sum(each.receipts_wrong for each in told)
    receipts = sum(each.receipts for each in told)
    trial.expect(receipts > 0, "no receipt was recomputed")
    trial.expect(not wrong, f"{wrong} of {receipts} receipts do not recompute")


def judge_drift(trial: Trial, drifted: Tally, clean: list[Tally]) -> None:
    """The planted drift is found in time, and nothing is found where there is none."""
    if trial.expect(
        0 < drifted.alarm_after <= DRIFT_ROLLS,
        f"a drift of half a point was not found within {drifted.rolls} rolls "
        f"({drifted.successes} successes)",
    ):
        trial.tried(f"half a point of drift at 50 % was found after {drifted.alarm_after} rolls")
        trial.figure("drift_found_after", drifted.alarm_after)
    alarms = sum(bool(each.alarm_after) for each in clean)
    trial.tried(f"{len(clean)} clean runs of {clean[0].rolls} rolls: {alarms} alarms")
    trial.figure("clean_runs", len(clean))
    trial.expect(not alarms, f"{alarms} of {len(clean)} clean runs raised an alarm")


async def odds(arena: Arena, trial: Trial, short: bool) -> None:
    """All levels under random keys, a planted drift, clean runs, and receipts of real attempts."""
    rolls = 4_000 if short else 1_000_000
    # The short form runs with every change: the same keys each time, so that only code changes it.
    source = random.Random(SHORT_SEED) if short else random.SystemRandom()
    series = [
        Series(key, level << 40, rolls, chance)
        for key in [source.randbytes(32) for _ in range(KEYS)]
        for level, chance in enumerate(LEVELS_PPM)
    ]
    clean = [
        Series(source.randbytes(32), 1, 20_000 if short else DRIFT_ROLLS, EVEN_PPM)
        for _ in range(CLEAN_RUNS // 4 if short else CLEAN_RUNS)
    ]
    drift = Series(source.randbytes(32), 1, DRIFT_ROLLS, EVEN_PPM, drift_ppm=DRIFT_PPM)
    context = multiprocessing.get_context("spawn")
    workers = min(2, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=os.nice, initargs=(5,)) as at:
        drifted = (await _all(at, trial, [drift], "a drifted series"))[0]
        told = await _all(at, trial, series, f"{KEYS} keys, {len(LEVELS_PPM)} levels")
        cleaned = await _all(at, trial, clean, "clean runs at 50 %")
    judge_levels(trial, told)
    trial.figure("rolls_per_level_and_key", rolls)
    judge_drift(trial, drifted, cleaned)
    await real_receipts(arena, trial, short, recompute)


async def _all(at: Executor, trial: Trial, series: list[Series], what: str) -> list[Tally]:
    """Run all series on the workers; each tenth of them is told."""
    loop = asyncio.get_running_loop()
    futures = [loop.run_in_executor(at, tally, each) for each in series]
    every = max(1, math.ceil(len(series) / 10))
    for done, future in enumerate(asyncio.as_completed(futures), start=1):
        await future
        if done % every == 0 or done == len(series):
            trial.tried(f"{what}: {done} of {len(series)} series of {series[0].rolls} rolls")
    return [future.result() for future in futures]
