"""Results from a store: as this package's tables, and as pandas frames for notebooks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import series
from launcher.analysis.conditions import Condition
from launcher.analysis.table import Column, Results, tabulate
from launcher.analysis.values import meant, special
from launcher.errors import LaunchError, NotFoundError, UsageError, suggest
from launcher.item import ItemFilter, RunRecord, Sweep
from launcher.paths import RunPaths
from launcher.queues import Store, open_store
from launcher.settings import store_url

if TYPE_CHECKING:
    import pandas

EXPORTED = ("state", "attempt", "seconds", "reason")
"""The facts that exported tables have, beside the ID and what tells runs apart, keys and metrics."""

Row = dict[str, Any]


def results(
    *sweeps: str, where: str | Sequence[str] = (), series: bool = False, store: str | None = None
) -> pandas.DataFrame:
    """What the runs of these sweeps reported: a pandas frame with a row a run, its state, the swept keys that vary, and
    the metrics; with `series`, a row for each point that was reported with a step.

    `where`: conditions such as "model=svm" or "accuracy>=0.9". Values of keys are numbers and truth values where they
    say so. Raises NotFoundError for an unknown sweep, UsageError for a bad condition, LaunchError without pandas
    (extra `pandas`).

    >>> results("digits").groupby("model").accuracy.mean()  # doctest: +SKIP
    """
    try:
        import pandas
    except ImportError as error:
        raise LaunchError("launcher.results needs pandas; pip install 'launcher[pandas]'") from error
    if not sweeps:
        raise UsageError("launcher.results needs the name of a sweep")
    conditions = [Condition.parse(text) for text in ([where] if isinstance(where, str) else where)]
    with closing(open_store(store_url(store))) as opened:
        table = read(opened, [sweep.name for sweep in found_sweeps(opened, sweeps)]).where(conditions)
        if not series:
            return pandas.DataFrame(exported(table))
        return pandas.DataFrame(columns_of(list(points(opened, table))))


def found_sweeps(store: Store, names: Sequence[str]) -> list[Sweep]:
    """The sweeps of these names; NotFoundError tells all that are unknown."""
    known = {sweep.name: sweep for sweep in store.sweeps()}
    if bad := [name for name in dict.fromkeys(names) if name not in known]:
        raise NotFoundError("\n".join(f"no sweep named {name!r}; {suggest(name, known, store.url)}" for name in bad))
    return [known[name] for name in dict.fromkeys(names)]


def read(store: Store, sweeps: Sequence[str], which: ItemFilter | None = None) -> Results:
    """The table of sweeps that there are, as far as `which` selects their runs."""
    return tabulate(records(store, sweeps, which))


def records(store: Store, sweeps: Sequence[str], which: ItemFilter | None = None) -> Iterator[RunRecord]:
    """The records of sweeps, one sweep after the other."""
    for name in sweeps:
        yield from store.run_records(replace(which or ItemFilter(), sweep=name))


def exported(table: Results, columns: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """A table's columns for other programs: values as they are meant, NaN and infinity as numbers."""
    return {name: _meant(table, name) for name in columns or [*exported_facts(table), *table.shown()]}


def exported_facts(table: Results) -> list[str]:
    """The facts to export: the sweep and the name only where these tell runs apart."""
    return ["id", *table.naming(), *EXPORTED]


def _meant(table: Results, name: str) -> list[Any]:
    column: Column = table.column(name)
    if name in table.keys:
        return [meant(value) for value in column]
    if name in table.metrics:
        return [special(value) for value in column]
    return list(column)


def points(store: Store, table: Results) -> Iterator[Row]:
    """The points of a table's runs, run after run: the run's ID, its values of the keys that vary, the step, and the
    metrics at it. Of runs that go on, as far as their folder is on this machine."""
    keys = {key: table.column(key) for key in table.varying}
    ids = table.facts["id"]
    for first in range(0, len(table), 500):
        rows = range(first, min(first + 500, len(table)))
        kept = store.series([ids[row] for row in rows])
        for row in rows:
            folder = table.facts["run_dir"][row]
            found = series.unpack(kept[ids[row]]) if ids[row] in kept else _of_folder(folder)
            head = {"id": ids[row], **{key: meant(column[row]) for key, column in keys.items()}}
            for point in found:
                yield {**head, **{f"result.{name}" if name in head else name: value for name, value in point.items()}}


def _of_folder(folder: str | None) -> list[dict[str, Any]]:
    return series.read(RunPaths(Path(folder)).series) if folder else []


def columns_of(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows as columns, in the order in which their names come; special numbers as numbers."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [special(row.get(name)) for row in rows] for name in names}


def write_parquet(columns: dict[str, list[Any]], path: Path) -> None:
    """Columns as a Parquet file; those of mixed kinds as text. LaunchError without pyarrow (extra `parquet`), and where
    the file cannot be written."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise LaunchError("Parquet needs pyarrow; pip install 'launcher[parquet]'") from error
    arrays = {name: pyarrow.array(_one_kind(column), from_pandas=False) for name, column in columns.items()}
    try:
        pyarrow.parquet.write_table(pyarrow.table(arrays), path)
    except OSError as error:
        raise LaunchError(f"{path} cannot be written: {error.strerror or error}") from error


def _one_kind(column: list[Any]) -> list[Any]:
    kinds = {type(value) for value in column} - {type(None)}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in column]
    huge = kinds == {int} and any(value is not None and value.bit_length() > 63 for value in column)
    if len(kinds) > 1 or huge or kinds & {dict, list}:
        return [value if value is None or isinstance(value, str) else json.dumps(value) for value in column]
    return column
