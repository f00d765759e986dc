"""`launcher plot`: a picture of sweeps."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from launcher.analysis.conditions import Condition
from launcher.analysis.frames import read
from launcher.analysis.table import ranking
from launcher.cli.targets import many_rows, opened, queue_and_states, store_option, sweeps_or_last
from launcher.errors import LaunchError
from launcher.item import ItemFilter
from launcher.settings import store_url
from launcher.written import remember_written

KINDS = ("line", "heatmap", "parallel", "curves", "timeline")


@click.command()
@click.argument("sweeps", metavar="[SWEEP...]", nargs=-1)
@click.option("--kind", type=click.Choice(KINDS), help="Default: what fits the sweep.")
@click.option("--x", metavar="KEY", help="The swept key along x; step for learning curves.")
@click.option("--y", metavar="METRIC", help="The metric; a swept key makes a heatmap of both keys.")
@click.option("--color", metavar="KEY", help="The swept key that colours tell apart.")
@click.option("--panel", metavar="KEY", help="The swept key with a panel for each value.")
@click.option("--best", metavar="METRIC", help="The metric of a heatmap, its best end as in launcher results.")
@click.option("--lowest", metavar="METRIC", help="The metric, where low is good.")
@click.option("--where", multiple=True, metavar="CONDITION", help="Only these runs: model=svm, 'lr>=1'. Repeatable.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="A .png, .svg or .html, or .json for its Vega-Lite specification (default: SWEEP.png).",
)  # fmt: skip
@queue_and_states
@store_option
@many_rows
def plot(
    sweeps: tuple[str, ...], which: ItemFilter, kind: str | None, x: str | None, y: str | None, color: str | None,
    panel: str | None, best: str | None, lowest: str | None, where: tuple[str, ...], output: Path | None,
    store: str | None,
) -> None:  # fmt: skip
    """Draw sweeps: means with intervals along a swept key, heatmaps, parallel coordinates, learning curves, a timeline.
    Without a SWEEP, it is the one that was added last.

    \b
    launcher plot digits
    launcher plot digits --x lr --y accuracy --color model -o digits.html
    launcher plot digits --kind timeline
    """
    from launcher.plots import render, sweep

    conditions = [Condition.parse(text) for text in where]
    with opened(store, make=False) as target:
        known = sweeps_or_last(target, sweeps)
        names = [each.name for each in known]
        path = output or Path(f"{names[0].replace('/', '-')}.png")
        table = read(target, names, which).where(conditions)
        if not len(table) and (conditions or which != ItemFilter()):
            told = f"launcher results {shlex.join(names)} lists them"
            raise LaunchError(f"no run of {', '.join(names)} is selected by these conditions and states; {told}")
        shown = y if y is not None and y not in table.keys and kind != "curves" and x != "step" else None
        ranked = ranking(table, known, lowest=lowest, best=None if lowest else best or shown)
        spec = sweep.plot(target, names, table, ranked, sweep.Asked(kind, x, y, color, panel))
    render.write(spec, path)
    remember_written(store_url(store), path)
    click.echo(path)
