"""How all plots look: colours that colour-blind readers tell apart, each with a shape of its own; fonts; sizes."""

from __future__ import annotations

from typing import Any

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5D3A9B", "#4D4D4D")
"""Okabe and Ito's palette, without its yellow and black, which vanish on white and in text."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
DASHES = ([1, 0], [7, 3], [2, 2], [8, 3, 2, 3], [4, 1], [1, 3])
SEQUENCE = "viridis"
STATES = {
    "finished": "#009E73", "failed": "#D55E00", "running": "#56B4E9", "cancelled": "#E69F00", "put back": "#999999",
}  # fmt: skip
INK, FAINT, GRID = "#24292f", "#57606a", "#e4e8ec"
PAPER = "white"
DARK = {
    PAPER: "#181c20", INK: "#e7eaed", FAINT: "#9aa4af", GRID: "#2a3036",
    "#0072B2": "#4ba3df", "#5D3A9B": "#a98be3", "#4D4D4D": "#b4bac1",
}  # fmt: skip
"""What takes the place of colours that a dark page would swallow, or that would blind on it."""

FONT = "Inter, Helvetica Neue, Arial, Liberation Sans, DejaVu Sans, sans-serif"
WIDTH, HEIGHT = 560, 340

Spec = dict[str, Any]


def plot(title: str, subtitle: str, body: Spec) -> Spec:
    """A whole specification: its body under a title that says what is shown, and a line that says of how much."""
    axis = {
        "labelFont": FONT, "titleFont": FONT, "labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": 600,
        "labelColor": FAINT, "titleColor": INK, "gridColor": GRID, "domainColor": FAINT, "tickColor": FAINT,
        "titlePadding": 10, "labelLimit": 220, "labelOverlap": True,
    }  # fmt: skip
    legend = {
        "labelFont": FONT, "titleFont": FONT, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 600,
        "labelColor": INK, "titleColor": INK, "symbolSize": 90, "labelLimit": 220, "symbolOpacity": 1,
        "gradientOpacity": 1, "offset": 22,
    }  # fmt: skip
    heading = {
        "text": title, "subtitle": subtitle, "anchor": "start", "frame": "group", "font": FONT, "subtitleFont": FONT,
        "fontSize": 17, "fontWeight": 600, "subtitleFontSize": 12, "color": INK, "subtitleColor": FAINT, "offset": 14,
        "subtitlePadding": 6,
    }  # fmt: skip
    header = {"labelFont": FONT, "titleFont": FONT, "labelFontSize": 12, "titleFontSize": 12, "labelColor": INK}
    config = {
        "axis": axis, "legend": legend, "header": header, "view": {"stroke": None}, "font": FONT,
        "axisX": {"grid": False}, "text": {"font": FONT, "color": INK},
    }  # fmt: skip
    return {
        "$schema": SCHEMA, "background": PAPER, "padding": 16, "title": heading, **body, "config": config,
    }  # fmt: skip


def colored(field: str, title: str, values: list[str]) -> Spec:
    """The encodings that tell series apart: by colour and, for those who do not see it, by shape."""
    domain = values
    return {
        "color": {
            "field": field, "type": "nominal", "title": title, "sort": domain,
            "scale": {"domain": domain, "range": [COLORS[place % len(COLORS)] for place in range(len(domain))]},
        },
        "shape": {
            "field": field, "type": "nominal", "title": title, "sort": domain,
            "scale": {"domain": domain, "range": [SHAPES[place % len(SHAPES)] for place in range(len(domain))]},
        },
    }  # fmt: skip
