"""The timeline of a sweep: a bar for each run in its agent's place, and below it how many items waited for what."""

from __future__ import annotations

from launcher.analysis.timeline import BINS, Timeline
from launcher.plots import theme
from launcher.plots.theme import Spec

BARS = 5000
"""So many are drawn at most, evenly chosen."""

WIDTH = 720
LANE, LEAST, MOST = 18, 60, 480


def gantt(timeline: Timeline, title: str) -> Spec:
    """The plot of a timeline."""
    every = -(-len(timeline.bars) // BARS) or 1
    drawn = timeline.bars[::every]
    lanes = sorted({(bar.agent, bar.place) for bar in drawn})
    names = {lane: f"{lane[0]} · {lane[1] + 1}" for lane in lanes}
    bars = [
        {
            "lane": names[bar.agent, bar.place], "since": bar.since * 1000, "until": bar.until * 1000,
            "state": bar.ended, "item": bar.item, "seconds": round(bar.until - bar.since, 3),
        }
        for bar in drawn
    ]  # fmt: skip
    end = timeline.since + timeline.width * BINS
    domain = [timeline.since * 1000, end * 1000]
    x: Spec = {"type": "temporal", "scale": {"domain": domain}}
    parts = [_runs(bars, [names[lane] for lane in lanes], x)]
    waiting = [
        {"at": (timeline.since + timeline.width * (place + 0.5)) * 1000, "cause": cause, "number": round(number, 4)}
        for cause, numbers in timeline.waiting.items()
        for place, number in enumerate(numbers)
    ]
    if any(row["number"] for row in waiting):
        order = sorted(timeline.waiting, key=lambda cause: -sum(timeline.waiting[cause]))
        parts.append(_queue(waiting, order, x))
    estimated = f" · waiting estimated from {timeline.sampled:,} of them" if timeline.sampled < timeline.items else ""
    some = f" · every {every}th drawn" if every > 1 else ""
    agents = len({bar.agent for bar in timeline.bars})
    told = f"{timeline.items:,} items, {len(timeline.bars):,} runs on {agents:,} agent{'' if agents == 1 else 's'}"
    body: Spec = {"vconcat": parts, "spacing": 26, "resolve": {"scale": {"color": "independent"}}}
    return theme.plot(title, told + some + estimated, body)


def _runs(bars: list[dict[str, object]], lanes: list[str], x: Spec) -> Spec:
    states = [state for state in theme.STATES if any(bar["state"] == state for bar in bars)]
    color: Spec = {
        "field": "state", "type": "nominal", "title": "run",
        "scale": {"domain": states, "range": [theme.STATES[state] for state in states]},
    }  # fmt: skip
    labelled = len(lanes) <= MOST // LANE
    y: Spec = {
        "field": "lane", "type": "nominal", "sort": lanes, "title": "agent · place", "scale": {"padding": 0.12},
        "axis": {"labels": labelled, "ticks": False, "domain": False, "grid": False, "labelLimit": 160},
    }  # fmt: skip
    tooltip = [{"field": name, "title": name} for name in ("item", "state", "seconds", "lane")]
    return {
        "width": WIDTH, "height": min(max(len(lanes) * LANE, LEAST), MOST), "data": {"values": bars},
        "mark": {"type": "bar", "stroke": theme.PAPER, "strokeWidth": 0.6, "cornerRadius": 1.5},
        "encoding": {
            "x": {**x, "field": "since", "title": None}, "x2": {"field": "until"}, "y": y, "color": color,
            "tooltip": tooltip,
        },
    }  # fmt: skip


def _queue(waiting: list[dict[str, object]], order: list[str], x: Spec) -> Spec:
    grey = {"its turn had not come": "#c3c9d0", "no agent": "#6e7781"}
    others = iter(theme.COLORS * 4)
    color = {
        "field": "cause", "type": "nominal", "title": "waits for", "sort": order,
        "scale": {"domain": order, "range": [grey.get(cause) or next(others) for cause in order]},
    }  # fmt: skip
    return {
        "width": WIDTH, "height": 120, "data": {"values": waiting}, "mark": {"type": "area", "interpolate": "step"},
        "encoding": {
            "x": {**x, "field": "at", "title": None}, "color": color,
            "y": {"field": "number", "type": "quantitative", "stack": True, "title": "items waiting"},
            "tooltip": [
                {"field": "cause", "title": "waits for"}, {"field": "number", "title": "items", "type": "quantitative"},
            ],
        },
    }  # fmt: skip
