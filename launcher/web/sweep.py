"""A sweep: how far it is, its grid, its runs as a table to sort and filter, its failures folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.analysis.conditions import Condition
from launcher.analysis.failures import example, shared
from launcher.analysis.table import FACTS, Ranking, Results
from launcher.analysis.values import number as exact
from launcher.analysis.values import order
from launcher.errors import UsageError
from launcher.item import TERMINAL, RunState
from launcher.plots.sweep import KINDS
from launcher.web.grid import grid
from launcher.web.logs import last_lines
from launcher.web.overview import number
from launcher.web.reader import LARGEST_TABLE, Table
from launcher.web.view import STATES, View, tally

PARTS = ("head", "grid", "table", "failures")
ROWS = 50
"""Runs on a page of the table."""

MOST_COLUMNS = 24
CAUSES = 8
LOG_LINES = 6

Parameters = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows of the table that were asked for, and what was wrong with the question."""

    results: Results
    problem: str = ""


def sweep(view: View, name: str, parameters: Parameters) -> dict[str, Any]:
    """What a sweep's templates show. Parameters: `sort` (a column), `order` (asc, desc), `where` (conditions, with
    commas between), `state`, `page`; and the grid's."""
    found, queues = view.sweep(name)
    table = view.reader.table(found, queues)
    counts = tally(count for count in view.counts if count.sweep == name)
    total = sum(counts.values())
    ended = sum(counts[state.value] for state in TERMINAL)
    return {
        "sweep": found, "tally": counts, "total": total, "ended": ended, "queues": sorted(queues),
        "may": view.may("member", queues), "best": _best(table),
        "cut": total > LARGEST_TABLE, "largest": LARGEST_TABLE, "shown_runs": len(table.results),
        "grid": grid(table, parameters), "kinds": KINDS, "states": STATES,
        "over": bool(total) and ended == total and _read_to_the_end(table, total),
        "table": rows(table, parameters), "failures": failures(table), "failed": counts[RunState.FAILED.value],
    }  # fmt: skip


def _read_to_the_end(table: Table, total: int) -> bool:
    """Whether a sweep whose runs have ended is so in its table, which may be older than the counts."""
    found = table.results.tally()
    return sum(found.get(state.value, 0) for state in TERMINAL) == min(total, LARGEST_TABLE)


def rows(table: Table, parameters: Parameters) -> dict[str, Any]:
    """A page of the table's runs, sorted and filtered."""
    chosen = _chosen(table, parameters)
    results = chosen.results
    columns = [*table.results.varying, *table.results.metrics][:MOST_COLUMNS]
    sort, descending = _sorting(table, parameters, columns)
    places = _sorted(table, results, sort, descending)
    pages = max(1, -(-len(places) // ROWS))
    page = min(number(parameters.get("page"), 1), pages)
    shown = results.take(places[(page - 1) * ROWS : page * ROWS])
    return {
        "columns": [(name, name in table.results.metrics) for name in columns], "sort": sort,
        "descending": descending, "where": parameters.get("where", ""), "state": parameters.get("state", ""),
        "problem": chosen.problem, "found": len(results), "page": page, "pages": pages,
        "hidden": max(0, len(table.results.shown()) - MOST_COLUMNS),
        "rows": [
            {
                "id": shown.facts["id"][row], "state": shown.facts["state"][row],
                "seconds": shown.facts["seconds"][row], "reason": shown.facts["reason"][row],
                "started_at": shown.facts["started_at"][row],
                "cells": [shown.column(name)[row] for name in columns],
            }
            for row in range(len(shown))
        ],
    }  # fmt: skip


def failures(table: Table) -> dict[str, Any]:
    """The failed runs by cause, the most frequent ones, each with the last lines of one log."""
    results = table.results
    told = []
    for each in table.failures[:CAUSES]:
        row = example(results, each)
        told.append({
            "key": each.cause.key, "kind": each.cause.kind, "title": each.cause.title, "count": len(each.rows),
            "shared": shared(results, each), "example": results.facts["id"][row],
            "log": last_lines(results.facts["run_dir"][row], LOG_LINES),
        })  # fmt: skip
    return {"causes": told, "more": len(table.failures) - len(told)}


def _best(table: Table) -> dict[str, Any] | None:
    """The best run so far."""
    if table.ranking is None:
        return None
    best = table.results.ranked(table.ranking, 1)
    value = best.column(table.ranking.metric)[0] if len(best) else None
    if value is None or not best.finished()[0]:
        return None
    point = [f"{key}={best.column(key)[0]}" for key in best.varying if best.column(key)[0] is not None]
    whole = [f"{key}={best.column(key)[0]}" for key in table.results.varying if best.column(key)[0] is not None]
    return {"id": best.facts["id"][0], "metric": table.ranking.metric, "value": value, "point": whole or point}


def _chosen(table: Table, parameters: Parameters) -> Chosen:
    results = table.results
    state = parameters.get("state", "")
    if state in STATES:
        found = results.facts["state"]
        results = results.take([row for row in range(len(results)) if found[row] == state])
    try:
        return Chosen(results.where(Condition.parse_all(parameters.get("where", ""))))
    except UsageError as error:
        return Chosen(results, str(error).replace("--where ", ""))


def _sorting(table: Table, parameters: Parameters, columns: Sequence[str]) -> tuple[str, bool]:
    sort = parameters.get("sort", "")
    if sort not in (*columns, *FACTS, "seconds"):
        sort = table.ranking.metric if table.ranking and table.ranking.metric in columns else ""
        lowest = bool(table.ranking and table.ranking.lowest)
        return sort, parameters.get("order", "asc" if lowest else "desc") == "desc"
    return sort, parameters.get("order") == "desc"


def _sorted(table: Table, results: Results, sort: str, descending: bool) -> list[int]:
    """The places of rows in order: by a metric as `launcher results` ranks them, whichever way; by anything else with
    those last that have no value."""
    if not sort:
        return results.places(table.ranking)
    column = results.column(sort)
    if sort in results.metrics and any(exact(value) is not None for value in column):
        return results.places(Ranking(sort, lowest=not descending))
    there = [row for row in range(len(results)) if column[row] is not None]
    missing = [row for row in range(len(results)) if column[row] is None]
    there.sort(key=lambda row: _place(column[row]), reverse=descending)
    return there + missing


def _place(value: Any) -> tuple[int, float, str]:
    """Sorts what was reported, and what overrides say, as people do."""
    found = exact(value)
    return order(value if isinstance(value, str) else repr(value)) if found is None else (0, found, "")
