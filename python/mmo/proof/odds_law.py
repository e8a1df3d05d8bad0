"""The laws of chance that the proof of the odds judges by: two distributions.

Owns the functions and their sources, and no roll. Called by `odds`; tested against published
tables, because everything that the proof says rests on them.
"""

import math
from collections.abc import Sequence

STEPS_MAX = 10_000
"""Terms of a series or fraction; far above what an argument of a proof needs."""

ENOUGH = 1e-15
TINY = 1e-300


def chi_square_tail(statistic: float, freedom: int) -> float:
    """P(chi-square with `freedom` degrees >= `statistic`) = Q(freedom/2, statistic/2), the
    regularised upper incomplete gamma function: below a + 1 its series (NIST Digital Library of
    Mathematical Functions, 8.7.1), above it the continued fraction (8.9.2) by Lentz's method."""
    a, x = freedom / 2, statistic / 2
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    return 1.0 - front * _series(a, x) if x < a + 1 else front * _fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    for step in range(1, STEPS_MAX):
        term *= x / (a + step)
        total += term
        if term < total * ENOUGH:
            break
    return total


def _fraction(a: float, x: float) -> float:
    b = x + 1 - a
    c, d = 1 / TINY, 1 / b
    product = d
    for step in range(1, STEPS_MAX):
        numerator = -step * (step - a)
        b += 2
        d = 1 / (numerator * d + b or TINY)
        c = b + numerator / c or TINY
        product *= d * c
        if abs(d * c - 1) < ENOUGH:
            break
    return product


def kolmogorov_tail(distance: float, samples: int) -> float:
    """P(largest distance of `samples` empirical values from their law >= `distance`), by the limit
    law 2·Σ(-1)^(j-1)·exp(-2j²λ²) (Kolmogorov 1933) with λ corrected for few samples (Stephens 1970,
    "Use of the Kolmogorov-Smirnov, Cramér-von Mises and related statistics without extensive
    tables")."""
    root = math.sqrt(samples)
    reach = (root + 0.12 + 0.11 / root) * distance
    if reach < 0.2:
        return 1.0  # the alternating series would need many terms to say 1 - 10^-12
    total, sign = 0.0, 1.0
    for step in range(1, STEPS_MAX):
        term = math.exp(-2 * (step * reach) ** 2)
        total += sign * term
        if term < ENOUGH:
            break
        sign = -sign
    return min(1.0, max(0.0, 2 * total))


def distance_from_uniform(values: Sequence[float]) -> float:
    """The Kolmogorov-Smirnov distance of `values` in [0, 1] from the uniform law."""
    ordered = sorted(values)
    count = len(ordered)
    return max(
        max((place + 1) / count - value, value - place / count)
        for place, value in enumerate(ordered)
    )


def uniformity(values: Sequence[float]) -> float:
    """How probable a distance from the uniform law like that of `values` or more is."""
    return kolmogorov_tail(distance_from_uniform(values), len(values))
