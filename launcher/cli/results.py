"""`launcher results`: what the runs of sweeps reported, best first, one by one or as means of groups."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from launcher import canonical
from launcher.analysis.conditions import Condition
from launcher.analysis.frames import columns_of, exported, points, read, write_parquet
from launcher.analysis.groups import Group, Groups, group
from launcher.analysis.student import Estimate
from launcher.analysis.table import Ranking, Results, ranking
from launcher.analysis.values import meant
from launcher.cli.printing import duration, echo_table, shown
from launcher.cli.targets import json_option, many_rows, opened, queue_and_states, store_option, sweeps_or_last
from launcher.errors import LaunchError, UsageError
from launcher.item import ItemFilter
from launcher.settings import store_url
from launcher.terminal import clean
from launcher.written import remember_written

FORMATS = ("table", "csv", "json", "parquet")
ENDINGS = {".csv": "csv", ".json": "json", ".parquet": "parquet"}


def _names(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> list[str] | None:
    names = [name.strip().lstrip("+") for text in value for name in text.split(",")]
    return [name for name in names if name] or None


@click.command()
@click.argument("sweeps", metavar="[SWEEP...]", nargs=-1)
@click.option("--best", metavar="METRIC", help="Rank by it (default: the sweep's own, or the first reported).")
@click.option("--highest", metavar="METRIC", help="Rank by it, the highest first.")
@click.option("--lowest", metavar="METRIC", help="Rank by it, the lowest first.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="Only the N best rows.")
@click.option(
    "--group-by", "by", multiple=True, callback=_names, metavar="KEY,…", help="Means of runs that agree here."
)
@click.option("--over", multiple=True, callback=_names, metavar="KEY,…", help="Means over these keys: --over seed.")
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="model=svm, seed!=3, 'accuracy>=0.9'. Repeatable: all must hold.",
)
@click.option("--columns", multiple=True, callback=_names, metavar="NAME,…", help="These columns, in this order.")
@click.option("--series", is_flag=True, help="What was reported with a step, a row a point.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: table, or as the ending of --output says.")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@queue_and_states
@store_option
@json_option
@many_rows
def results(
    sweeps: tuple[str, ...], which: ItemFilter, best: str | None, highest: str | None, lowest: str | None,
    top: int | None, by: list[str] | None, over: list[str] | None, where: tuple[str, ...], columns: list[str] | None,
    series: bool, form: str | None, output: Path | None, store: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Print what the runs of sweeps reported, best first; those that did not finish stand below, never hidden.

    \b
    launcher results digits --best accuracy --top 5
    launcher results digits --group-by model,model.regularization --over seed
    launcher results digits other --where model=svm --format csv

    Without a SWEEP, it is the one that was added last. With --group-by or --over, each row is the mean over a group's
    finished runs ± half of its 95 % interval (Student's t), and how many failed.
    """
    form = _format("json" if as_json else form, output)
    conditions = [Condition.parse(text) for text in where]
    with opened(store, make=False) as target:
        known = sweeps_or_last(target, sweeps)
        table = read(target, [sweep.name for sweep in known], which).where(conditions)
        if series and (by or over or top or best or highest or lowest):
            raise UsageError("--series prints points as they came; leave out the options that rank and group")
        told = columns_of(list(points(target, table))) if series else {}
    ranked = None if series else ranking(table, known, best=best, highest=highest, lowest=lowest)
    if series:
        _write_points(told, columns, form, output)
    elif by is not None or over is not None:
        if columns:
            raise UsageError("--columns chooses columns of runs; a table of groups has those of --group-by")
        _write_groups(group(table, by, over).ranked(ranked), ranked, form, output, top)
    else:
        _write_runs(table, ranked, top, columns, form, output)
    if output:
        remember_written(store_url(store), output)


def _format(form: str | None, output: Path | None) -> str:
    if form is None and output is not None and output.suffix not in ENDINGS:
        raise UsageError(
            f"--output {str(output)!r} ends in no known format; say --format, or end it in {', '.join(ENDINGS)}"
        )
    chosen = form or (ENDINGS[output.suffix] if output else "table")
    if chosen == "parquet" and output is None:
        raise UsageError("Parquet is no text; name a file: --output results.parquet")
    return chosen


# -- runs ---------------------------------------------------------------------------------------------------------


def _write_runs(
    whole: Results, ranked: Ranking | None, top: int | None, columns: list[str] | None, form: str, output: Path | None
) -> None:
    metrics = [name for name in whole.metrics if ranked is None or name != ranked.metric]
    told = [*whole.varying, *([ranked.metric] if ranked else []), *metrics]
    names = columns or ["id", *whole.naming(), "state", *told, "seconds", "reason"]
    for name in names:
        whole.column(name)  # one that is not there is told before anything is printed
    table = whole.ranked(ranked, top, names)
    if form == "table":
        reasons = columns or any(whole.facts["reason"])
        with _to(output) as write:
            _print_runs(table, ranked, names if reasons else names[:-1], None if output is None else write)
            tally = ", ".join(f"{number:,} {state}" for state, number in whole.tally().items()) or "no runs"
            write(f"{tally}{f'; {len(table):,} shown' if len(table) < len(whole) else ''}{_told(ranked)}\n")
    elif form == "csv":
        _write_csv(names, zip(*(table.column(name) for name in names), strict=True), output)
    else:
        _write_columns(exported(table, names), form, output)


def _print_runs(
    table: Results, ranked: Ranking | None, names: Sequence[str], write: Callable[[str], object] | None
) -> None:
    headings = ["TOOK" if name == "seconds" else name.upper() if name in table.facts else name for name in names]
    cells = [map(duration, table.column(name)) if name == "seconds" else table.column(name) for name in names]
    keep = ["ID", "STATE", *([ranked.metric] if ranked else [])]
    echo_table("", headings, zip(*cells, strict=True), right=[*table.metrics, "TOOK"], write=write, keep=keep)


def _told(ranked: Ranking | None) -> str:
    return clean(f" (by {ranked})") if ranked else ""


# -- groups -------------------------------------------------------------------------------------------------------


def _write_groups(groups: Groups, ranked: Ranking | None, form: str, output: Path | None, top: int | None) -> None:
    chosen = groups.groups[: top or len(groups.groups)]
    metrics = sorted(groups.metrics, key=lambda name: ranked is None or name != ranked.metric)
    if form == "table":
        with _to(output) as write:
            _print_groups(groups, chosen, metrics, None if output is None else write)
            write(_told_groups(groups, chosen, ranked))
        return
    rows = [_flat(groups.by, each, metrics) for each in chosen]
    names = list(rows[0]) if rows else []
    if form == "csv":
        _write_csv(names, (row.values() for row in rows), output)
    else:
        typed = [{**row, **{key: meant(row[key]) for key in groups.by}} for row in rows]
        _write_columns({name: [row[name] for row in typed] for name in names}, form, output)


def _print_groups(
    groups: Groups, chosen: Sequence[Group], metrics: Sequence[str], write: Callable[[str], object] | None
) -> None:
    others = ["OTHERS"] if any(each.others for each in groups.groups) else []
    counts = ["FINISHED", "FAILED", *others]
    rows = [
        (*each.values, *(_mean(each, name) for name in metrics), each.finished, each.failed, each.others)
        for each in chosen
    ]
    titles = [*groups.by, *metrics, *counts]
    right, keep = [*metrics, *counts], [*groups.by, *metrics[:1]]
    echo_table("", titles, [row[: len(titles)] for row in rows], right=right, write=write, keep=keep)


def _told_groups(groups: Groups, chosen: Sequence[Group], ranked: Ranking | None) -> str:
    over = clean(f"means over {', '.join(groups.over)}") if groups.over else "means"
    finished, failed = (sum(getattr(each, what) for each in groups.groups) for what in ("finished", "failed"))
    some = f"; {len(chosen):,} of {len(groups.groups):,} groups" if len(chosen) < len(groups.groups) else ""
    how = "± half of the 95 % interval (Student's t)"
    return f"{over} {how}; {finished:,} finished, {failed:,} failed{some}{_told(ranked)}\n"


def _mean(each: Group, name: str) -> str | None:
    """A mean and its half-width, with as many digits as the half-width is worth; the count where it is not that of the
    finished runs."""
    found = each.metrics[name]
    if found is None:
        return None
    count = f" (of {found.count})" if found.count != each.finished else ""
    return f"{measured(found)}{count}"


def measured(found: Estimate) -> str:
    """A mean with its half-width.

    >>> measured(Estimate(0.97246, 0.95813, 0.98679, 3)), measured(Estimate(5.0, None, None, 1))
    ('0.972 ± 0.014', '5')
    """
    if found.half is None:
        return f"{found.mean:.4g}"
    if not found.half:
        return f"{found.mean:.4g} ± 0"
    digits = 1 - math.floor(math.log10(found.half))
    if not -3 <= digits <= 6:
        return f"{found.mean:.4g} ± {found.half:.2g}"
    digits = max(digits, 0)
    return f"{found.mean:.{digits}f} ± {found.half:.{digits}f}"


def _flat(by: Sequence[str], each: Group, metrics: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(by, each.values, strict=True))
    for name in metrics:
        found = each.metrics[name]
        row |= {
            f"{name}.mean": found and found.mean, f"{name}.low": found and found.low,
            f"{name}.high": found and found.high, f"{name}.count": found.count if found else 0,
        }  # fmt: skip
    return row | {"finished": each.finished, "failed": each.failed, "others": each.others}


# -- files --------------------------------------------------------------------------------------------------------


def _write_points(columns: dict[str, list[Any]], chosen: list[str] | None, form: str, output: Path | None) -> None:
    if chosen and (bad := [name for name in chosen if name not in columns]):
        raise UsageError(f"no column {bad[0]!r}; known: {', '.join(columns) or 'none, no run reported a step'}")
    columns = {name: columns[name] for name in chosen} if chosen else columns
    rows = zip(*columns.values(), strict=True)
    if form == "table":
        with _to(output) as write:
            echo_table("", list(columns), rows, right=list(columns)[1:], write=None if output is None else write)
    elif form == "csv":
        _write_csv(list(columns), rows, output)
    else:
        _write_columns(columns, form, output)


def _write_columns(columns: Mapping[str, list[Any]], form: str, output: Path | None) -> None:
    if form == "parquet":
        assert output is not None
        write_parquet(dict(columns), output)
        return
    names = list(columns)
    rows = (canonical.finite(dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True))
    text = ",\n ".join(map(canonical.encode, rows))  # a row a line
    with _to(output) as write:
        write(f"[{text}]\n")


class _LineEnds:
    """Takes lines that end in CRLF, for csv quotes a carriage return only then, and writes them with LF."""

    def __init__(self, text: io.StringIO) -> None:
        self._text = text

    def write(self, line: str) -> None:
        """One line."""
        self._text.write(line.removesuffix("\r\n") + "\n")


def _write_csv(names: Sequence[str], rows: Iterable[Iterable[Any]], output: Path | None) -> None:
    """Lists, mappings and truth values are JSON, as in the table; numbers have all their digits."""
    text = io.StringIO()
    writer = csv.writer(_LineEnds(text))
    writer.writerow(names)
    writer.writerows([shown(cell) if isinstance(cell, dict | list | bool) else cell for cell in row] for row in rows)
    with _to(output) as write:
        write(text.getvalue())


@contextmanager
def _to(output: Path | None) -> Iterator[Callable[[str], object]]:
    """What writes text to standard output; or, all at once at the end, to a file."""
    if output is None:
        yield sys.stdout.write
        return
    text = io.StringIO()
    yield text.write
    try:
        output.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise LaunchError(f"{output} cannot be written: {error.strerror}") from error
