"""Which keys of a table a plot shows where, and how an axis of their values looks."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass

from launcher.analysis.table import Ranking, Results
from launcher.analysis.values import is_number, meant
from launcher.errors import UsageError

REPEATS = re.compile(r"(^|[._-])(seed|repeat|replicate|trial|fold|run)s?$", re.IGNORECASE)
"""Keys that say which repetition a run is, by their names."""

MANY_COLORS = 8
LOG_RATIO = 50
"""Positive numbers that span more than this are drawn on a logarithmic axis."""

MISSING = "(none)"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a plot shows: the metric on y, swept keys on x and as colour, and as panels; the rest is averaged."""

    metric: str
    lowest: bool
    x: str | None = None
    color: str | None = None
    panel: str | None = None


def is_numeric(results: Results, key: str) -> bool:
    """Whether all of a key's values are numbers."""
    return all(is_number(meant(value)) for value in results.values_of(key))


def swept(results: Results) -> list[str]:
    """The keys that vary and are no repetitions."""
    return [key for key in results.varying if not REPEATS.search(key)]


def repeats(results: Results) -> list[str]:
    """The keys that vary and are repetitions: what means are taken over."""
    return [key for key in results.varying if REPEATS.search(key)]


def choose(
    results: Results, ranking: Ranking, *, x: str | None = None, color: str | None = None, panel: str | None = None
) -> Choice:
    """What to show where nobody said: the number with the most values on x, else the key with the most values; words
    with few values as colour, then as panels."""
    for key in (x, color, panel):
        if key is not None:
            results.column(key)
    free = [key for key in swept(results) if key not in (x, color, panel)] or (
        [] if x else [key for key in repeats(results) if key not in (color, panel)]
    )
    count = {key: len(results.values_of(key)) for key in free}
    numeric = {key: is_numeric(results, key) for key in free}
    if x is None and free:
        x = max(free, key=lambda key: (numeric[key], count[key]))
        free.remove(x)
    few = sorted((key for key in free if count[key] <= MANY_COLORS), key=lambda key: (numeric[key], count[key]))
    if color is None and few:
        color = few.pop(0)
    if panel is None and few:
        panel = min(few, key=count.__getitem__)
    return Choice(ranking.metric, ranking.lowest, x, color, panel)


def check_axis(results: Results, key: str) -> None:
    """UsageError for a column that no axis can show."""
    if key not in results.keys and key not in results.metrics:
        results.column(key)
        raise UsageError(f"{key!r} is no swept key and no metric; an axis shows one of {', '.join(results.shown())}")


def scale_type(values: list[float]) -> str:
    """`log` for positive numbers over more than one and a half decades, or each a multiple of the one before, else
    `linear`.

    >>> scale_type([1, 2, 4, 8, 16]), scale_type([1, 2, 3]), scale_type([0.001, 0.01, 0.5]), scale_type([0, 1, 100])
    ('log', 'linear', 'log', 'linear')
    """
    different = sorted(set(values))
    if len(different) < 3 or different[0] <= 0:
        return "linear"
    ratios = [after / before for before, after in itertools.pairwise(different)]
    even = max(ratios) < 1.05 * min(ratios) and different[-1] >= 8 * different[0]
    return "log" if even or different[-1] > LOG_RATIO * different[0] else "linear"


def label(value: str | None) -> str:
    """A value as a legend shows it."""
    return MISSING if value is None else str(meant(value)) if isinstance(meant(value), str) else value


def ticks(values: list[float]) -> list[float] | None:
    """Ticks at the values themselves where they are few."""
    different = sorted(set(values))
    return different if len(different) <= 9 and all(map(math.isfinite, different)) else None
