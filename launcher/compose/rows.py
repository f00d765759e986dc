"""Points whose overrides somebody else chose: a sweeper's rows of override strings, composed as those of a grid are.
Hydra's launchers get their jobs so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from launcher.causes import Causes
from launcher.compose.axes import Axis, plan_axes
from launcher.compose.composer import Composer
from launcher.compose.grid import Point
from launcher.compose.repository import Repository
from launcher.errors import ComposeError


def compose_rows(
    repository: Repository, config_name: str | None, common: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[Point]:
    """One point for each row of override strings, in order; its overrides are the row, `common` goes before them.

    Raises one SpecError at the end for all rows that do not compose, grouped by cause.
    """
    axes = _axes(repository, config_name, common, rows)
    composer = Composer(repository, config_name, tuple(common), axes, Counter())
    meanings = [dict(zip(axis.strings, axis.values, strict=True)) if axis.values else {} for axis in axes]
    causes = Causes("point")
    for row in rows:
        values = tuple([known.get(text) for known, text in zip(meanings, row, strict=False)])
        try:
            composed = composer.compose((tuple(row), values))
        except ComposeError as error:
            causes.bad(error, " ".join(row))
            continue
        causes.good()
        yield Point(tuple(row), *composed)
    causes.close()


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
