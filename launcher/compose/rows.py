"""Points whose overrides somebody else chose: a sweeper's rows of override strings, composed as those of a grid are.
Hydra's launchers get their jobs so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from launcher.causes import Causes
from launcher.compose.axes import Axis, plan_axes
from launcher.compose.composer import Composer
from launcher.compose.grid import Point
from launcher.compose.repository import Repository
from launcher.errors import ComposeError

ENOUGH = 3
"""Rows that fail for one cause, each after Hydra has looked for similar keys, before the others are not tried."""


def compose_rows(
    repository: Repository, config_name: str | None, common: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[Point]:
    """One point for each row of override strings, in order; its overrides are the row, `common` goes before them.

    Raises one SpecError at the end for all rows that do not compose, grouped by cause. Once a few rows have shown one,
    those others that have what these have in common are counted among them, without being composed.
    """
    axes = _axes(repository, config_name, common, rows)
    composer = Composer(repository, config_name, tuple(common), axes, Counter())
    meanings = [dict(zip(axis.strings, axis.values, strict=True)) if axis.values else {} for axis in axes]
    causes, failing = Causes("point"), _Failing(common)
    for row in rows:
        error = failing.known(row)
        if error is None:
            values = tuple([known.get(text) for known, text in zip(meanings, row, strict=False)])
            try:
                composed = composer.compose((tuple(row), values))
            except ComposeError as told:
                error = failing.met(told, row)
        if error is not None:
            causes.bad(error, " ".join(row))
            continue
        causes.good()
        failing.good.append(row)
        yield Point(tuple(row), *composed)
    causes.close()


@dataclass(slots=True)
class _Cause:
    """What rows have failed for: the first one's error, their number, and the overrides that all of them have."""

    error: ComposeError
    shared: frozenset[str]
    rows: int = 0
    sure: bool = False


@dataclass(slots=True)
class _Failing:
    """The causes that rows failed for so far, by their messages without the rows' overrides, and the `good` rows."""

    common: Sequence[str]
    good: list[Sequence[str]] = field(default_factory=list)
    _causes: dict[str, _Cause] = field(default_factory=dict)

    def known(self, row: Sequence[str]) -> ComposeError | None:
        """The error of a row that needs no composing to be known as wrong."""
        return next((each.error for each in self._causes.values() if each.sure and each.shared.issubset(row)), None)

    def met(self, error: ComposeError, row: Sequence[str]) -> ComposeError:
        """Note an error of a row; the first one of this cause."""
        message = str(error).replace(", ".join([*self.common, *row]), "")
        cause = self._causes.setdefault(message, _Cause(error, frozenset(row)))
        cause.rows += 1
        cause.shared &= frozenset(row)
        cause.sure = cause.rows >= ENOUGH and not any(cause.shared.issubset(good) for good in self.good)
        return cause.error


def _axes(
    repository: Repository, config_name: str | None, common: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Axis, ...]:
    """One axis for each place of the rows; none where the rows differ in their keys, and Hydra composes each."""
    keys = [_keys(row) for row in rows]
    if any(other != keys[0] for other in keys):
        return ()
    try:
        overrides = repository.parse(rows[0])
        is_group = repository.group_check(config_name, common)
    except ComposeError:
        return ()  # told with each row that it is about
    columns = [tuple(dict.fromkeys(column)) for column in zip(*rows, strict=True)]
    return tuple(plan_axes(list(zip(overrides, columns, strict=True)), is_group, repository))


def _keys(row: Sequence[str]) -> list[str]:
    return [text.partition("=")[0] for text in row]
