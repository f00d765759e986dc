"""Every run as a line through the values of its swept keys to its metric: for sweeps of many keys."""

from __future__ import annotations

from typing import Any

from launcher.analysis.table import Results
from launcher.analysis.values import meant, number
from launcher.errors import UsageError
from launcher.plots import axes, theme
from launcher.plots.axes import Choice
from launcher.plots.lines import subtitle
from launcher.plots.theme import Spec

RUNS = 1000
"""So many lines are drawn at most, the best ones."""

TICKS = 12
STEP = 190


def parallel(results: Results, choice: Choice, title: str) -> Spec:
    """Parallel coordinates of the finished runs: an axis a swept key, the metric last, coloured by it."""
    keys = axes.swept(results) or list(results.varying)
    if not keys:
        raise UsageError("no swept key varies, so there is nothing to draw axes for")
    column = results.metrics[choice.metric]
    done = [row for row, ended in enumerate(results.finished()) if ended and number(column[row]) is not None]
    best = sorted(done, key=lambda row: column[row], reverse=not choice.lowest)[:RUNS][::-1]
    positions, marks = _axes(results, keys, best)
    positions[choice.metric], metric_marks = _numbers(choice.metric, [float(column[row]) for row in best])
    names = [*keys, choice.metric]
    points = [
        {"run": row, "axis": name, "at": positions[name][place], "value": float(column[row])}
        for place, row in enumerate(best)
        for name in names
    ]
    x: Spec = {
        "field": "axis", "type": "nominal", "sort": names, "title": None,
        "scale": {"paddingOuter": 0.05, "paddingInner": 1},
        "axis": {
            "orient": "top", "domain": False, "ticks": False, "labelAngle": 0, "labelFontWeight": 600, "grid": False,
        },
    }  # fmt: skip
    y: Spec = {"field": "at", "type": "quantitative", "axis": None, "scale": {"domain": [-0.03, 1.03]}}
    color: Spec = {
        "field": "value", "type": "quantitative", "legend": None,  # the last axis tells
        "scale": {"scheme": theme.SEQUENCE, "reverse": choice.lowest, "zero": False},
    }  # fmt: skip
    lines: Spec = {
        "mark": {"type": "line", "strokeWidth": 1.8, "opacity": 0.75 if len(best) < 100 else 0.35},
        "encoding": {"x": x, "y": y, "color": color, "detail": {"field": "run"}},
    }  # fmt: skip
    rules: Spec = {
        "mark": {"type": "rule", "color": theme.FAINT, "strokeWidth": 1.2},
        "data": {"values": [{"axis": name, "low": 0, "high": 1} for name in names]},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
    }  # fmt: skip
    labels: Spec = {
        "mark": {"type": "text", "align": "right", "dx": -7, "fontSize": 11, "color": theme.INK, "limit": STEP - 20},
        "data": {"values": [*marks, *metric_marks]},
        "encoding": {"x": x, "y": y, "text": {"field": "text"}},
    }  # fmt: skip
    halo = {**labels, "mark": {**labels["mark"], "stroke": theme.PAPER, "strokeWidth": 4, "strokeOpacity": 0.85}}
    some = f" · the best {RUNS:,} drawn" if len(done) > RUNS else ""
    layers = [lines, rules, halo, labels]
    body = {"width": STEP * len(keys), "height": theme.HEIGHT, "data": {"values": points}, "layer": layers}
    return theme.plot(title, subtitle(results, (), intervals=False) + some, body)


def _axes(results: Results, keys: list[str], rows: list[int]) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
    """Where each run crosses each axis, from 0 to 1, and what is written beside the axes."""
    positions: dict[str, list[float]] = {}
    marks: list[dict[str, Any]] = []
    for key in keys:
        values = results.values_of(key)
        column = results.column(key)
        if axes.is_numeric(results, key) and len(values) > TICKS:
            positions[key], more = _numbers(key, [float(meant(column[row])) for row in rows])
            marks += more
            continue
        at = {value: (place + 0.5) / len(values) for place, value in enumerate(values)}
        positions[key] = [at[column[row]] for row in rows]
        every = -(-len(values) // (2 * TICKS))
        marks += [{"axis": key, "at": at[value], "text": axes.label(value)} for value in values[::every]]
    return positions, marks


def _numbers(name: str, values: list[float]) -> tuple[list[float], list[dict[str, Any]]]:
    """Numbers on an axis from the least to the greatest, with five marks; a single one in its middle."""
    low, high = min(values), max(values)
    if low == high:
        return [0.5] * len(values), [{"axis": name, "at": 0.5, "text": f"{low:.3g}"}]
    half = high / 2 - low / 2  # halves, for the whole may be more than a number can be
    marks = [{"axis": name, "at": part / 4, "text": f"{low + half * part / 2:.3g}"} for part in range(5)]
    return [(value / 2 - low / 2) / half for value in values], marks
