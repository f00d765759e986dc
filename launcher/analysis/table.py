"""The table of what sweeps' runs reported: one row a run, columns by name. Made of a store's records; filtered, ranked
and cut here, and nowhere else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from launcher.analysis.conditions import Condition
from launcher.analysis.values import number, order, split
from launcher.errors import UsageError, suggest
from launcher.item import RunRecord, RunState, Sweep

FACTS = (
    "id", "sweep", "queue", "state", "attempt", "added_at", "started_at", "finished_at", "agent", "run_dir",
    "exit_code", "stage", "reason", "name",
)  # fmt: skip
"""The columns that every table has, by the records' names."""

COLUMNS = (*FACTS, "seconds")
"""The same, and the one that is computed."""

Column = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The metric that rows are ranked by, and whether its lowest values are best."""

    metric: str
    lowest: bool = False

    def __str__(self) -> str:
        return f"{self.metric}, {'lowest' if self.lowest else 'highest'} first"


@dataclass(frozen=True, slots=True)
class Results:
    """A table of runs, column by column, each as long as there are runs.

    `keys`: the overrides' keys, their values as they were written, None where a run has none. `metrics`: what was
    reported, None where it was not. `varying`: the keys whose values differ. A metric with the name of a key or a fact
    is called `result.NAME`, a key with the name of a fact `config.NAME`.
    """

    facts: Mapping[str, Column]
    keys: Mapping[str, Column]
    metrics: Mapping[str, Column]
    varying: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.facts["id"])

    def column(self, name: str) -> Column:
        """A column by its name; UsageError for one that is not there."""
        for part in (self.facts, self.keys, self.metrics):
            if name in part:
                return part[name]
        raise UsageError(f"no column {name!r}; {suggest(name, [*self.keys, *self.metrics, *self.facts])}")

    def told(self, metric: str) -> str:
        """What a metric is called here that runs reported under this name."""
        return f"result.{metric}" if f"result.{metric}" in self.metrics else metric

    def ranks(self, metric: str) -> bool:
        """Whether a metric has a number to rank by."""
        return any(number(value) is not None for value in self.metrics[metric])

    def shown(self) -> list[str]:
        """The names of the swept keys that vary and of the metrics: what makes one run differ from another."""
        return [*self.varying, *self.metrics]

    def naming(self) -> list[str]:
        """The facts that tell runs apart beside their IDs: the sweep where there are several, the name where there are
        names."""
        several = len(set(self.facts["sweep"])) > 1
        return [*(["sweep"] if several else []), *(["name"] if any(self.facts.get("name", ())) else [])]

    def finished(self) -> list[bool]:
        """Whether each run finished."""
        return [state == RunState.FINISHED.value for state in self.facts["state"]]

    def tally(self) -> dict[str, int]:
        """How many runs are in which state, in the order of states; only those that there are."""
        counts = Counter(self.facts["state"])
        return {state.value: counts[state.value] for state in RunState if counts[state.value]}

    def take(self, rows: Sequence[int], names: Collection[str] | None = None) -> Results:
        """These rows, in this order; with `names`, only these columns and the facts that every row has."""

        def cut(part: Mapping[str, Column]) -> dict[str, Column]:
            wanted = (
                part if names is None else [name for name in part if name in names or name in ("id", "state", "sweep")]
            )
            return {name: [part[name][row] for row in rows] for name in wanted}

        return replace(self, facts=cut(self.facts), keys=cut(self.keys), metrics=cut(self.metrics))

    def where(self, conditions: Iterable[Condition]) -> Results:
        """The rows for which all conditions hold; UsageError for a column that is not there, unless no row is."""
        if not len(self):
            return self
        rows: Sequence[int] = range(len(self))
        for condition in conditions:
            column = self.column(condition.column)
            written = condition.column in self.keys
            rows = [row for row in rows if condition.holds(column[row], written=written)]
        return self if len(rows) == len(self) else self.take(rows)

    def ranked(self, ranking: Ranking | None, top: int | None = None, names: Collection[str] | None = None) -> Results:
        """The rows as `places` orders them. With `top`, only so many; with `names`, only these columns."""
        return self.take(self.places(ranking)[:top], names)

    def places(self, ranking: Ranking | None) -> list[int]:
        """The rows' numbers: the finished runs first, best first; those whose metric is no finite number, and those
        that did not finish, below."""
        finished = self.finished()
        numbers = map(number, self.column(ranking.metric)) if ranking else [0.0] * len(self)
        sign = 1.0 if ranking and ranking.lowest else -1.0
        merits = [
            (0, sign * value) if done and value is not None else (1 if done else 2, sign * (value or 0.0))
            for done, value in zip(finished, numbers, strict=True)
        ]
        return sorted(range(len(self)), key=merits.__getitem__)

    def values_of(self, key: str) -> list[str | None]:
        """The different values of a key, in order."""
        return sorted(set(self.column(key)), key=order)


def tabulate(records: Iterable[RunRecord]) -> Results:
    """The table of these runs.

    >>> from launcher.item import RunRecord
    >>> run = RunRecord(1, "a", "s", "q", "finished", '["lr=1"]', '{"loss":2}', 1, 0.0, 1.0, 3.0, *[None] * 6)
    >>> table = tabulate([run, run._replace(id="b", point='["lr=2"]')])
    >>> table.varying, table.column("loss"), table.column("seconds")
    (('lr',), [2, 2], [2.0, 2.0])
    """
    rows = list(records)
    keys: dict[str, list[Any]] = {}
    metrics: dict[str, list[Any]] = {}
    for row, point in enumerate(_decoded(record.point for record in rows)):
        for override in point:
            key, value = split(override)
            if key not in keys:
                keys[key] = [None] * len(rows)
            keys[key][row] = value
    for row, result in enumerate(_decoded(record.result or "{}" for record in rows)):
        for name, value in result.items():
            if name not in metrics:
                metrics[name] = [None] * len(rows)
            metrics[name][row] = value
    columns = dict(zip(RunRecord._fields, zip(*rows, strict=True), strict=False))
    facts: dict[str, Column] = {name: columns.get(name, ()) for name in FACTS}
    facts["seconds"] = [
        None if start is None or end is None else end - start
        for start, end in zip(facts["started_at"], facts["finished_at"], strict=True)
    ]
    if not any(facts["name"]) and ("name" in keys or "name" in metrics):
        del facts["name"]  # of runs without names, the key or metric of this name keeps it
    named = {f"config.{key}" if key in facts else key: column for key, column in keys.items()}
    taken = {*facts, *named}
    told = {f"result.{name}" if name in taken else name: column for name, column in metrics.items()}
    return Results(facts, named, told, tuple(key for key, column in named.items() if len(set(column)) > 1))


def _decoded(texts: Iterable[str]) -> list[Any]:
    """The values of JSON texts, decoded at once, which is three times as fast."""
    found: list[Any] = json.loads(f"[{','.join(texts)}]")
    return found


def ranking(
    results: Results,
    sweeps: Sequence[Sweep],
    *,
    best: str | None = None,
    highest: str | None = None,
    lowest: str | None = None,
) -> Ranking | None:
    """How to rank: as asked for (one of `best`, `highest`, `lowest`, each a metric), else by a sweep's own metric, else
    by the first that was reported; None where nothing was. `best` is the end that the sweep's goal says, for its own
    metric, and the highest for others. UsageError for a metric that no run reported."""
    given = [name for name in (best, highest, lowest) if name is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(map(repr, given))}: rank by one metric, with --best, --highest or --lowest")
    goals = {results.told(sweep.metric): sweep.goal == "minimize" for sweep in reversed(sweeps) if sweep.metric}
    if given:
        metric = results.told(given[0])
        if metric not in results.metrics:
            if not results.metrics:
                return None
            raise UsageError(f"no run reported a metric {metric!r}; {suggest(metric, results.metrics)}")
        return Ranking(metric, lowest is not None or (best is not None and goals.get(metric, False)))
    own = next((metric for metric in goals if metric in results.metrics), None)
    metric_ = own or next(filter(results.ranks, results.metrics), next(iter(results.metrics), None))
    if metric_ is None:
        return None
    unnamed = {sweep.goal == "minimize" for sweep in sweeps if not sweep.metric}
    return Ranking(metric_, goals.get(metric_, unnamed == {True}))
