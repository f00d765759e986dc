"""Learning curves: a metric over its steps, run by run, or as the mean over seeds with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from launcher.analysis.student import estimate
from launcher.analysis.table import Ranking, Results
from launcher.analysis.values import meant, number
from launcher.plots import axes, theme
from launcher.plots.lines import subtitle
from launcher.plots.theme import Spec
from launcher.series import STEP

Row = dict[str, Any]

POINTS = 400
"""Of a line, at most."""

APART = 12
"""So many lines are told apart; where there are more, the best one of each colour is drawn."""


def metrics_of(points: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """The metrics that points have numbers of."""
    names: dict[str, None] = {}
    for point in points:
        for name, value in point.items():
            if name not in names and name not in (STEP, "id", *keys) and number(value) is not None:
                names[name] = None
    return list(names)


def curves(
    results: Results, points: Sequence[Mapping[str, Any]], ranking: Ranking, color: str | None, title: str
) -> Spec:
    """The metric of `ranking` over the steps of `points` (rows as `launcher results --series` has them).

    The runs of a colour are averaged where only repetitions tell them apart and they have steps in common.
    """
    apart = [key for key in results.varying if key != color and key not in axes.repeats(results)]
    lines: dict[tuple[Any, ...], dict[float, list[float]]] = {}
    runs: set[str] = set()
    for point in points:
        value = number(point.get(ranking.metric))
        if value is not None:
            line = (label(point[color]) if color else "", *(point.get(key) for key in apart))
            lines.setdefault(line, {}).setdefault(float(point[STEP]), []).append(value)
            runs.add(point["id"])
    drawn = {line: _rows(place, line[0], at) for place, (line, at) in enumerate(lines.items())}
    told = f" · {len(runs):,} with a series"
    if len(drawn) > APART and color:
        drawn = _best(drawn, ranking)
        told += f" · the best {', '.join(apart)} of each {color}"
    rows = [row for found in drawn.values() for row in found]
    if (floor := _floor(rows)) is not None:  # an interval may reach below zero, which has no place on such an axis
        rows = [row if row["low"] is None else {**row, "low": max(row["low"], floor)} for row in rows]
    averaged = any(row["n"] > 1 for row in rows)
    over = tuple(axes.repeats(results)) if averaged else ()
    words = list(dict.fromkeys(label(meant(value)) for value in results.values_of(color))) if color else []
    body = {"data": {"values": rows}, "width": theme.WIDTH, "height": theme.HEIGHT}
    heading = subtitle(results, over, intervals=averaged)
    return theme.plot(title, heading + told, body | _layers(rows, ranking.metric, color, words))


def _best(drawn: Mapping[tuple[Any, ...], list[Row]], ranking: Ranking) -> dict[tuple[Any, ...], list[Row]]:
    """Of the lines of each colour the one that ends best."""
    best: dict[Any, tuple[Any, ...]] = {}
    sign = 1 if ranking.lowest else -1
    for line, rows in drawn.items():
        if line[0] not in best or sign * rows[-1]["y"] < sign * drawn[best[line[0]]][-1]["y"]:
            best[line[0]] = line
    return {line: drawn[line] for line in best.values()}


def _floor(rows: Sequence[Row]) -> float | None:
    """Where a logarithmic axis of these rows begins; None where it is linear."""
    heights = [row["y"] for row in rows]
    log = min(heights, default=0) > 0 and max(heights) / min(heights) > 1e2
    return min(heights) / 2 if log else None


def _layers(rows: Sequence[Row], metric: str, color: str | None, words: list[str]) -> Spec:
    log = _floor(rows) is not None
    x: Spec = {"field": "x", "type": "quantitative", "title": STEP, "scale": {"nice": False}, "axis": {"format": ",~r"}}
    y: Spec = {
        "field": "y", "type": "quantitative", "title": metric,
        "scale": {"zero": False, "type": "log" if log else "linear"},
        **axes.one_tick([row[name] for row in rows for name in ("y", "low", "high")]),
    }  # fmt: skip
    encoding: Spec = {"x": x, "y": y, "detail": {"field": "line"}}
    fill: Spec = {"fill": {"value": theme.COLORS[0]}}
    line: Spec = {"stroke": {"value": theme.COLORS[0]}}
    if words:
        told = theme.colored("color", color or "", words)["color"]
        told["legend"] = {
            "symbolType": "stroke",
            "symbolSize": 500,
            "symbolStrokeWidth": 2,
        }  # of all three: they are one
        fill = {"fill": told}
        dashes = {"domain": words, "range": [theme.DASHES[place % len(theme.DASHES)] for place in range(len(words))]}
        line = {"stroke": told, "strokeDash": {**told, "scale": dashes}}
    band = {**encoding, **fill, "y": {**y, "field": "low"}, "y2": {"field": "high"}}
    return {
        "layer": [
            {"mark": {"type": "area", "opacity": 0.15}, "encoding": band},
            {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {**encoding, **line}},
            {
                "transform": [{"filter": "datum.alone"}], "mark": {"type": "point", "filled": True, "size": 60},
                "encoding": {**encoding, **fill},
            },
        ]
    }  # fmt: skip


def _rows(line: int, color: Any, at: Mapping[float, Sequence[float]]) -> list[Row]:
    """The points of a line, as many as can be seen. Where runs have different steps, those count that most have."""
    most = max(map(len, at.values()))
    steps = sorted(step for step, values in at.items() if 2 * len(values) > most)
    every = -(-len(steps) // POINTS)
    chosen = sorted({*steps[::every], steps[-1]})
    rows = []
    for step in chosen:
        found = estimate(at[step])
        assert found
        rows.append({
            "x": step, "y": found.mean, "low": found.low, "high": found.high, "n": found.count, "line": line,
            "color": color, "alone": len(chosen) == 1,
        })  # fmt: skip
    return rows


def label(value: Any) -> str:
    """A key's value, as points have it, as a legend shows it."""
    if value is None:
        return axes.MISSING
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) and not isinstance(meant(value), str) else str(value)
