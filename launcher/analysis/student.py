"""Student's t: half-widths of 95 % intervals of means. Small enough that nobody needs SciPy for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

LEVEL = 0.95
HUGE = 1e100
EXACT = 200
"""Up to so many degrees of freedom the distribution is summed up exactly, beyond them a series is as good."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of `count` numbers and its 95 % interval by Student's t, None for a single number."""

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.high is None else self.high - self.mean


def estimate(numbers: Sequence[float]) -> Estimate | None:
    """The mean of finite numbers, of any size; None if there are none. Where its interval is beyond all numbers it has
    none.

    >>> found = estimate([1.0, 2.0, 3.0])
    >>> found.mean, round(found.half, 4), found.count
    (2.0, 2.4841, 3)
    """
    count = len(numbers)
    if not count:
        return None
    if count == 1:
        return Estimate(numbers[0], None, None, 1)
    largest = max(map(abs, numbers))
    if largest > HUGE:  # of runs that diverged: their squares would overflow
        small = estimate([value / largest for value in numbers])
        assert small
        low, high = ((bound or 0.0) * largest for bound in (small.low, small.high))
        known = math.isfinite(low) and math.isfinite(high)
        return Estimate(small.mean * largest, low if known else None, high if known else None, count)
    mean = math.fsum(numbers) / count
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in numbers) / (count - 1))
    half = quantile(count - 1) * deviation / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half, count)


@lru_cache(maxsize=4096)
def quantile(freedom: int) -> float:
    """The t with `LEVEL` of the distribution between -t and t.

    >>> round(quantile(1), 6), round(quantile(9), 6), round(quantile(1000), 6)
    (12.706205, 2.262157, 1.962339)
    """
    if freedom > EXACT:
        return _expanded(freedom)
    low, high = 1.0, 20.0
    while high - low > 1e-14 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _between(middle, freedom) < LEVEL else (low, middle)
    return (low + high) / 2


def _between(t: float, freedom: int) -> float:
    """The share of the distribution between -t and t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine2 = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for number in range(2 if odd else 1, freedom, 2):
        total += term
        term *= cosine2 * number / (number + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _expanded(freedom: int) -> float:
    """The expansion around the normal distribution's quantile (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))
