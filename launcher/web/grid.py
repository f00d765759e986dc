"""The grid of a sweep as a heatmap: two swept keys along its sides, in each cell the states of its runs or the mean of
a metric. Drawn as a table, so that every reader can walk it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.analysis.table import Results
from launcher.analysis.values import number
from launcher.item import RunState
from launcher.plots import axes
from launcher.web.reader import Table

MOST_COLUMNS = 40
MOST_ROWS = 60
SHADES = 9

URGENCY = ("failed", "running", "leased", "pending", "cancelled", "finished")
"""Which of its runs' states a cell shows: the first of these."""

MARKS = {"finished": "✓", "failed": "✕", "running": "▸", "leased": "▸", "pending": "·", "cancelled": "–"}


@dataclass(frozen=True, slots=True)
class Cell:
    """Some runs: their numbers by state, the state that shows, the mean of the metric with its shade (0 worst, 8 best),
    and the run where there is just one."""

    tally: Mapping[str, int]
    state: str
    mean: float | None
    shade: int | None
    item: str | None
    where: str


def grid(table: Table, parameters: Mapping[str, str]) -> dict[str, Any] | None:
    """What the grid's template shows; None where nothing is swept. Parameters: `gx`, `gy` (keys), `color` (a metric, or
    `state`)."""
    results = table.results
    keys = [key for key in results.varying if len(results.values_of(key)) <= MOST_ROWS]
    if not keys:
        return None
    across, down = _sides(table, keys, parameters)
    metrics = [name for name, column in results.metrics.items() if any(number(value) is not None for value in column)]
    color = parameters.get("color", "")
    if color not in metrics:
        color = "state" if color == "state" or table.ranking is None else table.ranking.metric
    color = color if color in metrics else "state"
    columns = results.values_of(across)[:MOST_COLUMNS]
    rows = results.values_of(down)[:MOST_ROWS] if down else [None]
    ranked = bool(table.ranking and table.ranking.metric == color)
    lowest = bool(ranked and table.ranking and table.ranking.lowest)
    cells = _cells(results, across, down, color, lowest)
    return {
        "across": across, "down": down, "color": color, "keys": keys, "metrics": metrics, "columns": columns,
        "rows": [(value, [cells.get((column, value)) for column in columns]) for value in rows], "marks": MARKS,
        "cut": len(results.values_of(across)) - len(columns), "ranked": ranked,
        "over": [key for key in results.varying if key not in (across, down)],
    }  # fmt: skip


def _sides(table: Table, keys: list[str], parameters: Mapping[str, str]) -> tuple[str, str | None]:
    """The keys along the sides: as asked for, else as a plot would choose."""
    wanted = [parameters.get(name, "") for name in ("gx", "gy")]
    left = [key for key in keys if key not in wanted]
    ranked = sorted(left, key=lambda key: (bool(axes.REPEATS.search(key)), -len(table.results.values_of(key))))
    sides = [key if key in keys else ranked.pop(0) if ranked else None for key in wanted]
    across, *down = dict.fromkeys(key for key in sides if key is not None)
    return across, next(iter(down), None)


def _cells(
    results: Results, across: str, down: str | None, color: str, lowest: bool
) -> dict[tuple[str | None, str | None], Cell]:
    places: dict[tuple[str | None, str | None], list[int]] = {}
    columns, rows = results.column(across), results.column(down) if down else [None] * len(results)
    for row, place in enumerate(zip(columns, rows, strict=True)):
        places.setdefault(place, []).append(row)
    values = results.metrics.get(color)
    means = {place: _mean(values, results, found) for place, found in places.items()} if values else {}
    known = [mean for mean in means.values() if mean is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    return {
        place: _cell(results, found, means.get(place), _shade(means.get(place), low, high, lowest),
                     _where(across, place[0], down, place[1]))
        for place, found in places.items()
    }  # fmt: skip


def _cell(results: Results, rows: list[int], mean: float | None, shade: int | None, where: str) -> Cell:
    states = Counter(results.facts["state"][row] for row in rows)
    counted = {state.value: states[state.value] for state in RunState if states[state.value]}
    state = next(name for name in URGENCY if name in counted)
    return Cell(counted, state, mean, shade, results.facts["id"][rows[0]] if len(rows) == 1 else None, where)


def _mean(values: Any, results: Results, rows: list[int]) -> float | None:
    done = RunState.FINISHED.value
    found = [
        value for row in rows if results.facts["state"][row] == done and (value := number(values[row])) is not None
    ]
    return sum(found) / len(found) if found else None


def _shade(mean: float | None, low: float, high: float, lowest: bool) -> int | None:
    if mean is None:
        return None
    share = (mean - low) / (high - low) if high > low else 1.0
    if not 0 <= share <= 1:  # infinities
        return 0
    return round((1 - share if lowest else share) * (SHADES - 1))


def _where(across: str, x: str | None, down: str | None, y: str | None) -> str:
    """The conditions of a cell's runs, as the table's filter takes them."""
    pairs = [(across, x), (down, y)]
    return ", ".join(f"{key}={value}" for key, value in pairs if key is not None and value is not None)
