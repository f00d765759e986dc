"""Groups of runs that agree in some swept keys, with the mean of each metric over the rest: the seeds, most often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from launcher.analysis.student import Estimate, estimate
from launcher.analysis.table import Ranking, Results
from launcher.analysis.values import number, order
from launcher.errors import UsageError, suggest
from launcher.item import RunState


@dataclass(frozen=True, slots=True)
class Group:
    """Runs with the same `values` of the keys: how many finished, failed, and did neither; and what each metric's mean
    over the finished ones is, None where none reported a number."""

    values: tuple[str | None, ...]
    finished: int
    failed: int
    others: int
    metrics: Mapping[str, Estimate | None]


@dataclass(frozen=True, slots=True)
class Groups:
    """A table of groups: `by` names the keys of their values, `over` those that the means are taken over."""

    by: tuple[str, ...]
    over: tuple[str, ...]
    metrics: tuple[str, ...]
    groups: tuple[Group, ...]

    def ranked(self, ranking: Ranking | None) -> Groups:
        """The best mean first; groups without one below, by their keys."""
        sign = 1.0 if ranking and ranking.lowest else -1.0

        def merit(group: Group) -> tuple[bool, float, list[tuple[int, float, str]]]:
            found = group.metrics.get(ranking.metric) if ranking else None
            return found is None, sign * found.mean if found else 0.0, [order(value) for value in group.values]

        return replace(self, groups=tuple(sorted(self.groups, key=merit)))


def group(results: Results, by: Sequence[str] | None = None, over: Sequence[str] | None = None) -> Groups:
    """The groups of runs that agree in the keys `by` (default: all that vary but `over`).

    With both given, every other key must be the same within each group, for a mean over it would say nothing.
    UsageError for a key that is not there, and for one that varies so.
    """
    known = [*results.keys, "sweep"]
    if bad := [name for name in (*(by or ()), *(over or ())) if name not in known]:
        raise UsageError("\n".join(f"no swept key {name!r}; {suggest(name, known)}" for name in bad))
    if both := set(by or ()) & set(over or ()):
        raise UsageError(f"{', '.join(sorted(both))}: in --group-by and in --over; a key is in one of them")
    chosen = tuple(by) if by is not None else tuple(key for key in results.varying if key not in (over or ()))
    rest = tuple(key for key in results.varying if key not in chosen)
    rows_of = _rows_of(results, chosen)
    if by is not None and over is not None:
        _check_rest(results, rows_of, [key for key in rest if key not in over])
    metrics = tuple(
        name for name, column in results.metrics.items() if any(number(value) is not None for value in column)
    )
    groups = tuple(_group(results, values, rows, metrics) for values, rows in rows_of.items())
    return Groups(chosen, tuple(over) if over is not None else rest, metrics, groups)


def _rows_of(results: Results, by: Sequence[str]) -> dict[tuple[str | None, ...], list[int]]:
    rows_of: dict[tuple[str | None, ...], list[int]] = {}
    columns = [results.column(key) for key in by]
    for row, values in enumerate(zip(*columns, strict=True) if columns else [()] * len(results)):
        rows_of.setdefault(values, []).append(row)
    return rows_of


def _check_rest(results: Results, rows_of: Mapping[tuple[str | None, ...], list[int]], keys: Sequence[str]) -> None:
    columns = {key: results.column(key) for key in keys}
    mixed = [
        key
        for key, column in columns.items()
        if any(len({column[row] for row in rows}) > 1 for rows in rows_of.values())
    ]
    if mixed:
        raise UsageError(
            f"{', '.join(mixed)}: differs within the groups; add it to --group-by, to --over, or choose with --where"
        )


def _group(results: Results, values: tuple[str | None, ...], rows: Sequence[int], metrics: Sequence[str]) -> Group:
    states = results.facts["state"]
    finished = [row for row in rows if states[row] == RunState.FINISHED.value]
    failed = sum(states[row] == RunState.FAILED.value for row in rows)
    means = {}
    for name in metrics:
        column = results.metrics[name]
        means[name] = estimate([value for row in finished if (value := number(column[row])) is not None])
    return Group(values, len(finished), failed, len(rows) - len(finished) - failed, means)
