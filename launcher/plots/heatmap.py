"""A metric over two swept keys, as coloured cells with their numbers; what failed is told in its cell."""

from __future__ import annotations

from typing import Any

from launcher.analysis.groups import group
from launcher.analysis.table import Results
from launcher.errors import UsageError
from launcher.plots import axes, theme
from launcher.plots.axes import Choice
from launcher.plots.lines import subtitle
from launcher.plots.theme import Spec

CELL = 62
NUMBERS = 20
"""Up to so many columns the cells say their numbers."""


def heatmap(results: Results, choice: Choice, title: str) -> Spec:
    """The mean of a metric for each pair of values of `choice.x` and `choice.color`."""
    if not (choice.x and choice.color):
        raise UsageError("a heatmap needs two swept keys; name them with --x and --y, or plot --kind line")
    groups = group(results, [key for key in (choice.x, choice.color, choice.panel) if key])
    columns = [axes.label(value) for value in results.values_of(choice.x)]
    lines = [axes.label(value) for value in results.values_of(choice.color)]
    rows: list[dict[str, Any]] = []
    for each in groups.groups:
        found = each.metrics.get(choice.metric)
        text = f"{found.mean:#.3g}".rstrip(".") if found else ("failed" if each.failed and not each.finished else "")
        rows.append({
            "x": axes.label(each.values[0]), "y": axes.label(each.values[1]), "value": found.mean if found else None,
            "panel": axes.label(each.values[2]) if choice.panel else "", "text": text, "n": each.finished,
            "failed": each.failed, "mark": f"{each.failed} failed" if found and each.failed else "",
        })  # fmt: skip
    middle = _middle([row["value"] for row in rows])
    inner = _cells(choice, columns, lines, middle)
    body: Spec = {"data": {"values": rows}}
    cell = CELL if len(columns) <= NUMBERS and len(lines) <= NUMBERS else max(6, 900 // max(len(columns), len(lines)))
    size: Spec = {"width": {"step": cell * 1.25}, "height": {"step": cell * 0.75}}
    if choice.panel:
        facet = {"field": "panel", "type": "nominal", "title": choice.panel}
        body |= {"facet": facet, "columns": 3, "spec": {**size, **inner}}
    else:
        body |= {**size, **inner}
    return theme.plot(title, subtitle(results, groups.over, intervals=False), body)


def _middle(values: list[float | None]) -> float:
    numbers = sorted(value for value in values if value is not None)
    return numbers[0] / 2 + numbers[-1] / 2 if numbers else 0.0


def _cells(choice: Choice, columns: list[str], lines: list[str], middle: float) -> Spec:
    x = {
        "field": "x", "type": "nominal", "sort": columns, "title": choice.x,
        "axis": {"labelAngle": 0 if len(columns) <= 8 else -40, "domain": False, "ticks": False},
    }  # fmt: skip
    y = {
        "field": "y", "type": "nominal", "sort": lines, "title": choice.color,
        "axis": {"domain": False, "ticks": False, "grid": False},
    }  # fmt: skip
    color = {
        "field": "value", "type": "quantitative", "title": choice.metric,
        "scale": {"scheme": theme.SEQUENCE, "reverse": choice.lowest, "zero": False},
        "legend": {"gradientLength": {"expr": "max(60, min(height, 200))"}, "format": ".3~g"},
    }  # fmt: skip
    tooltip = [
        {"field": "x", "title": choice.x}, {"field": "y", "title": choice.color},
        {"field": "value", "title": choice.metric, "format": ".4g", "type": "quantitative"},
        {"field": "n", "title": "finished", "type": "quantitative"},
        {"field": "failed", "title": "failed", "type": "quantitative"},
    ]  # fmt: skip
    bright = f"datum.value === null ? '{theme.FAINT}' : {'datum.value <' if not choice.lowest else 'datum.value >'} "
    white: Spec = {"expr": f"{bright}{middle!r} ? 'white' : '{theme.INK}'"}
    missing: Spec = {"mark": {"type": "rect", "color": "#eef0f2"}, "encoding": {"x": x, "y": y, "tooltip": tooltip}}
    cells: Spec = {
        "transform": [{"filter": "datum.value !== null"}],
        "mark": {"type": "rect", "stroke": theme.PAPER, "strokeWidth": 2},
        "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip},
    }  # fmt: skip
    layers = [missing, cells]
    if len(columns) <= NUMBERS and len(lines) <= NUMBERS:
        text = {"x": x, "y": y, "text": {"field": "text"}}
        small = {"x": x, "y": y, "text": {"field": "mark"}}
        layers.append({"mark": {"type": "text", "fontSize": 12.5, "color": white}, "encoding": text})
        layers.append({"mark": {"type": "text", "fontSize": 9.5, "dy": 15, "color": white}, "encoding": small})
    return {"layer": layers}
