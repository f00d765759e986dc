"""`launcher results`: what the runs of a sweep reported, best first."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from launcher.cli.printing import duration, echo_json, echo_table
from launcher.cli.targets import filter_options, json_option, opened, selected, store_option
from launcher.errors import UsageError, suggest
from launcher.item import Item, ItemFilter, RunState, Sweep

GOALS = ("maximize", "minimize")


@dataclass(frozen=True, slots=True)
class Results:
    """A sweep's table: items in order of merit, the swept keys that vary, and the metrics that were reported."""

    items: Sequence[Item]
    keys: Sequence[str]
    metrics: Sequence[str]


@click.command()
@click.argument("sweep", metavar="SWEEP")
@click.option("--metric", metavar="NAME", help="Rank by this metric (default: the sweep's own, or the first reported).")
@click.option("--goal", type=click.Choice(GOALS), help="Which end is best (default: the sweep's own, or maximize).")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@filter_options
@store_option
@json_option
def results(
    sweep: str, which: ItemFilter, metric: str | None, goal: str | None, form: str, store: str | None, as_json: bool
) -> None:
    """Print a table of results, best first; runs that did not finish stand below, never hidden."""
    with opened(store) as target:
        [within] = selected(target, (), replace(which, sweep=sweep))
        items = list(target.items(within))
        ranked = next(known for known in target.sweeps() if known.name == sweep)
    table = tabulate(items, ranked, metric, goal)
    if as_json or form == "json":
        echo_json([_record(item, table) for item in table.items])
    elif form == "csv":
        _print_csv(table)
    else:
        _print_table(table)


def tabulate(items: Iterable[Item], sweep: Sweep, metric: str | None, goal: str | None) -> Results:
    """The results of a sweep's items; UsageError for a metric that none reported."""
    items = list(items)
    metrics = list(dict.fromkeys(name for item in items for name in item.result or {}))
    if metric and metrics and metric not in metrics:
        raise UsageError(f"no run reported a metric {metric!r}; {suggest(metric, metrics)}")
    ranking = metric or sweep.metric or (metrics[0] if metrics else None)
    if ranking in metrics:
        metrics = [ranking, *(name for name in metrics if name != ranking)]
    sign = 1 if (goal or sweep.goal) == "minimize" else -1

    def merit(item: Item) -> tuple[bool, bool, float]:
        value = (item.result or {}).get(ranking or "")
        known = isinstance(value, int | float)
        return item.state is not RunState.FINISHED, not known, sign * float(value or 0) if known else 0.0

    return Results(sorted(items, key=merit), _varying(items), metrics)


def swept(item: Item) -> dict[str, str]:
    """A point's overrides by key, as they were written."""
    return dict(override.partition("=")[::2] for override in item.point)


def _varying(items: Sequence[Item]) -> list[str]:
    values: dict[str, set[str | None]] = {}
    for item in items:
        for key, value in swept(item).items():
            values.setdefault(key, set()).add(value)
    everywhere = [swept(item).keys() for item in items]
    return [key for key, seen in values.items() if len(seen) > 1 or not all(key in keys for keys in everywhere)]


def _record(item: Item, table: Results) -> dict[str, Any]:
    point = swept(item)
    return {
        "id": item.id, "state": item.state.value, **{key: point.get(key) for key in table.keys},
        **(item.result or {}), "seconds": item.seconds, "reason": item.reason,
    }  # fmt: skip


def _cells(item: Item, table: Results) -> list[Any]:
    point, result = swept(item), item.result or {}
    return [*(point.get(key) for key in table.keys), *(result.get(name) for name in table.metrics)]


def _print_csv(table: Results) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["id", "state", *table.keys, *table.metrics, "seconds", "reason"])
    for item in table.items:
        writer.writerow([item.id, item.state.value, *_cells(item, table), item.seconds, item.reason])


def _print_table(table: Results) -> None:
    rows = [
        (item.id, item.state.value, *_cells(item, table), duration(item.seconds), item.reason) for item in table.items
    ]
    reasons = any(item.reason for item in table.items)
    columns = ["ID", "STATE", *table.keys, *table.metrics, "TOOK", *(["REASON"] if reasons else [])]
    echo_table("", columns, [row[: len(columns)] for row in rows], right=[*table.metrics, "TOOK"])
    tally: Mapping[str, int] = {state.value: sum(item.state is state for item in table.items) for state in RunState}
    click.echo(", ".join(f"{number} {state}" for state, number in tally.items() if number) or "no items")
