"""Which keys of a table a plot shows where, and how an axis of their values looks."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from launcher.analysis.table import Ranking, Results
from launcher.analysis.values import is_number, meant, real
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
    """Whether all of a key's values are numbers that an axis can show: NaN and infinity are words there."""
    values = map(meant, results.values_of(key))
    return all(is_number(value) and math.isfinite(real(value)) for value in values)


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


def scale(values: list[float]) -> dict[str, Any]:
    """The scale of an axis: as `scale_type` says, its smallest numbers apart from zero.

    >>> scale([0, 0.001, 0.01, 0.1])
    {'type': 'symlog', 'constant': 0.001}
    """
    kind = scale_type(values)
    return {"type": kind, **({"constant": min(abs(value) for value in values if value)} if kind == "symlog" else {})}


def scale_type(values: list[float]) -> str:
    """`log` for positive numbers over more than one and a half decades, or each a multiple of the one before; `symlog`
    where such numbers are among others that are zero or negative; else `linear`.

    >>> scale_type([1, 2, 4, 8, 16]), scale_type([1, 2, 3]), scale_type([0.001, 0.01, 0.5]), scale_type([0, 1, 100])
    ('log', 'linear', 'log', 'linear')
    """
    different = sorted(set(values))
    if len(different) < 3:
        return "linear"
    if different[0] <= 0:
        return "symlog" if scale_type([abs(value) for value in different if value]) == "log" else "linear"
    ratios = [after / before for before, after in itertools.pairwise(different)]
    even = max(ratios) < 1.05 * min(ratios) and different[-1] >= 8 * different[0]
    return "log" if even or different[-1] > LOG_RATIO * different[0] else "linear"


def label(value: str | None) -> str:
    """A value as a legend shows it: a text without its quotes, unless it would be taken for a number then.

    >>> label("'a b'"), label("'1'"), label("1")
    ('a b', "'1'", '1')
    """
    if value is None:
        return MISSING
    found = meant(value)
    return found if isinstance(found, str) and isinstance(meant(found), str) else value


def one_tick(values: Iterable[float | None]) -> dict[str, Any]:
    """The axis of numbers that are all the same, which says that number (Vega would round it); nothing for others.

    >>> one_tick([0.25, None, 0.25]), one_tick([1, 2])
    ({'axis': {'values': [0.25], 'format': '.6~g'}}, {})
    """
    different = {value for value in values if value is not None}
    return {"axis": {"values": list(different), "format": ".6~g"}} if len(different) == 1 else {}


def ticks(values: list[float]) -> list[float] | None:
    """Ticks at the values themselves where they are few."""
    different = sorted(set(values))
    return different if len(different) <= 9 and all(map(math.isfinite, different)) else None
