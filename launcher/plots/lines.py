"""The mean of a metric along a swept key, a line for each value of another, with its interval over the seeds."""

from __future__ import annotations

from typing import Any

from launcher.analysis.groups import group
from launcher.analysis.table import Results
from launcher.analysis.values import meant
from launcher.plots import axes, theme
from launcher.plots.axes import Choice
from launcher.plots.theme import Spec


def lines(results: Results, choice: Choice, title: str) -> Spec:
    """Means and 95 % intervals of a metric along x. A number is drawn to scale, a word as points side by side."""
    keys = [key for key in (choice.x, choice.color, choice.panel) if key]
    groups = group(results, keys)
    numeric = choice.x is not None and axes.is_numeric(results, choice.x)
    rows: list[dict[str, Any]] = []
    for each in groups.groups:
        found = each.metrics.get(choice.metric)
        if found is None:
            continue
        values = dict(zip(groups.by, each.values, strict=True))
        written = values.get(choice.x) if choice.x else ""
        rows.append({
            "x": meant(written) if numeric else axes.label(written), "y": found.mean, "low": found.low,
            "high": found.high, "n": found.count,
            "color": axes.label(values.get(choice.color)) if choice.color else "",
            "panel": axes.label(values.get(choice.panel)) if choice.panel else "",
        })  # fmt: skip
    body: Spec = {"data": {"values": rows}}
    inner = _layers(results, choice, rows, numeric)
    if choice.panel:
        order = [axes.label(value) for value in results.values_of(choice.panel)]
        facet = {"field": "panel", "type": "nominal", "title": choice.panel, "sort": order}
        size = {"width": theme.WIDTH * 0.55, "height": theme.HEIGHT * 0.7}
        body |= {"facet": facet, "columns": 3, "spec": {**size, **inner}}
    else:
        body |= {"width": theme.WIDTH, "height": theme.HEIGHT, **inner}
    return theme.plot(title, subtitle(results, groups.over, intervals=any(row["n"] > 1 for row in rows)), body)


def subtitle(results: Results, over: tuple[str, ...], *, intervals: bool) -> str:
    """What a mean is taken over, and how many runs there are in which state."""
    tally = ", ".join(f"{number:,} {state}" for state, number in results.tally().items())
    if not over:
        return f"{tally} runs"
    interval = " ± 95 % interval (Student's t)" if intervals else ""
    return f"mean{interval} over {', '.join(over)} · {tally}"


def _layers(results: Results, choice: Choice, rows: list[dict[str, Any]], numeric: bool) -> Spec:
    x: Spec = {"field": "x", "title": choice.x or ""}
    if numeric:
        values = [float(row["x"]) for row in rows]
        scale: Spec = {**axes.scale(values), "zero": False, "padding": 14, "nice": False}
        ticks = axes.ticks(values)
        x |= {
            "type": "quantitative",
            "scale": scale,
            "axis": {"format": ".12~g", **({"values": ticks} if ticks else {})},
        }
    else:
        order = [axes.label(value) for value in results.values_of(choice.x)] if choice.x else [""]
        x |= {"type": "nominal", "sort": order, "axis": {"labelAngle": 0 if len(order) <= 8 else -40}}
    heights = [value for row in rows for value in (row["y"], row["low"], row["high"]) if value is not None]
    kind = axes.scale_type(heights) if min(heights, default=0) > 0 and max(heights) / min(heights) > 1e3 else "linear"
    y: Spec = {
        "field": "y",
        "type": "quantitative",
        "title": choice.metric,
        "scale": {"zero": False, "type": kind, "nice": False, "padding": 10},
        **axes.one_tick(heights),
    }
    encoding: Spec = {"x": x, "y": y, "tooltip": _tooltip(choice)}
    words = [axes.label(value) for value in results.values_of(choice.color)] if choice.color else []
    told = theme.colored("color", choice.color or "", words)
    color = {"color": told["color"]} if words else {"color": {"value": theme.COLORS[0]}}
    shape = {"shape": told["shape"]} if words else {}
    side = {} if numeric or not words else {"xOffset": {"field": "color", "sort": words}}
    bounds = {**encoding, **color, **side, "y": {**y, "field": "low"}, "y2": {"field": "high"}}
    layers: list[Spec] = [{"mark": {"type": "rule", "strokeWidth": 1.6, "opacity": 0.65}, "encoding": bounds}]
    if numeric and not axes.REPEATS.search(choice.x or "") and len({row["x"] for row in rows}) > 1:
        layers = [
            {"mark": {"type": "area", "opacity": 0.16}, "encoding": {**bounds, "tooltip": None}},
            {"mark": {"type": "line", "strokeWidth": 2.2}, "encoding": {**encoding, **color}},
        ]
    point = {"type": "point", "filled": True, "size": 70, "opacity": 1}
    return {"layer": [*layers, {"mark": point, "encoding": {**encoding, **color, **shape, **side}}]}


def _tooltip(choice: Choice) -> list[Spec]:
    shown = [("color", choice.color), ("panel", choice.panel), ("x", choice.x)]
    named = [{"field": field, "title": title} for field, title in shown if title]
    numbers = [("y", choice.metric), ("low", "95 % from"), ("high", "to")]
    told = [{"field": field, "title": title, "format": ".4g", "type": "quantitative"} for field, title in numbers]
    return [*named, *told, {"field": "n", "title": "runs", "type": "quantitative"}]
