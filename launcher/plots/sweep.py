"""The plot of sweeps: which kind it is where nobody says, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.analysis.frames import points
from launcher.analysis.table import Ranking, Results
from launcher.analysis.timeline import timeline
from launcher.analysis.values import number
from launcher.errors import LaunchError, UsageError, suggest
from launcher.item import RunState
from launcher.plots import axes
from launcher.plots.curves import curves, metrics_of
from launcher.plots.gantt import gantt
from launcher.plots.heatmap import heatmap
from launcher.plots.lines import lines
from launcher.plots.parallel import parallel
from launcher.plots.theme import Spec
from launcher.queues import Store
from launcher.series import STEP

KINDS = ("line", "heatmap", "parallel", "curves", "timeline")
MANY_KEYS = 3
"""With more swept keys than these, lines would average over some of them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asked for: one of KINDS, the columns on x and y, as colour and as panels; None for what fits."""

    kind: str | None = None
    x: str | None = None
    y: str | None = None
    color: str | None = None
    panel: str | None = None


def plot(store: Store, sweeps: Sequence[str], results: Results, ranking: Ranking | None, asked: Asked) -> Spec:
    """The specification of a plot of `results`, the table of `sweeps`.

    Where no kind is asked for it is lines; parallel coordinates where many keys are swept, a heatmap where y is a swept
    key, a timeline where no number was reported. UsageError for what does not fit together.
    """
    title = ", ".join(sweeps)
    for key in (asked.x, asked.color, asked.panel):
        if key is not None and key != STEP:
            axes.check_axis(results, key)
    kind = asked.kind or _kind(sweeps, results, ranking, asked)
    if kind == "timeline":
        if len(sweeps) > 1:
            raise UsageError("a timeline is one sweep's; name one")
        return gantt(timeline(store, sweeps[0], results.facts["id"]), f"{title}: timeline")
    if kind == "curves":
        return _curves(store, results, ranking, asked, title)
    if ranking is None:
        raise LaunchError(f"no run of {title} has reported a metric yet; --kind timeline works already")
    _check_numbers(results, ranking.metric, kind, title)
    lines_of = asked.y if kind == "heatmap" and asked.y in results.keys else asked.color
    choice = axes.choose(results, ranking, x=asked.x, color=lines_of, panel=asked.panel)
    draw = {"heatmap": heatmap, "parallel": parallel, "line": lines}[kind]
    return draw(results, choice, f"{title}: {choice.metric}")


def _kind(sweeps: Sequence[str], results: Results, ranking: Ranking | None, asked: Asked) -> str:
    if asked.x == STEP:
        return "curves"
    if ranking is None or (len(sweeps) == 1 and asked.y is None and not _numbers(results, ranking.metric)):
        return "timeline"
    if asked.y in results.keys:
        return "heatmap"
    return "parallel" if asked.x is None and len(axes.swept(results)) > MANY_KEYS else "line"


def _numbers(results: Results, metric: str) -> bool:
    """Whether a finished run reported a number as this metric."""
    told = zip(results.finished(), results.metrics[metric], strict=True)
    return any(done and number(value) is not None for done, value in told)


def _check_numbers(results: Results, metric: str, kind: str, title: str) -> None:
    """LaunchError where there is nothing to draw; a heatmap tells of failures, too."""
    if _numbers(results, metric) or (kind == "heatmap" and results.tally().get(RunState.FAILED.value)):
        return
    others = [name for name in results.metrics if _numbers(results, name)]
    how = f"name another metric with --best: {', '.join(others)}" if others else "--kind timeline shows every run"
    raise LaunchError(f"no finished run of {title} has a number as {metric!r}, so there is nothing to draw; {how}")


def _curves(store: Store, results: Results, ranking: Ranking | None, asked: Asked, title: str) -> Spec:
    rows = list(points(store, results))
    known = metrics_of(rows, results.varying)
    if not known:
        raise LaunchError(f"no run of {title} has a series; report one: launcher.report(step=…, loss=…)")
    if asked.y is not None and asked.y not in known:
        raise UsageError(f"no run reported a series of {asked.y!r}; {suggest(asked.y, known)}")
    metric = asked.y or (ranking.metric if ranking and ranking.metric in known else known[0])
    few = [key for key in axes.swept(results) if len(results.values_of(key)) <= axes.MANY_COLORS]
    shown = ranking if ranking and ranking.metric == metric else Ranking(metric)
    return curves(results, rows, shown, asked.color or next(iter(few), None), f"{title}: {metric}")
