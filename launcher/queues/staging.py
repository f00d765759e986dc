"""What a push gathers while its specs are composed: rows, in memory and in a file without a name. Then one short
transaction adds them (`launcher.queues.adding`): a slow grid holds no lock and no connection."""

from __future__ import annotations

import errno
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from launcher import canonical
from launcher.errors import StoreError, StoreFullError
from launcher.queues.ids import new_ids
from launcher.queues.patterns import SpecPacker

if TYPE_CHECKING:
    from launcher.spec import LaunchSpec

Row = Sequence[Any]

BATCH = 2000
"""Rows that are written to the file, and looked for in the store, at a time."""

IN_MEMORY = 10
"""Batches that are kept in memory, about 10 MB."""


class Spool:
    """Batches of rows, or of columns: the last few in memory, those before them in a file without a name, one line of
    JSON each."""

    def __init__(self) -> None:
        self._last: deque[Sequence[Row]] = deque()
        self._file: IO[str] | None = None

    def write(self, batch: Sequence[Row]) -> None:
        """Add a batch, unless it is empty. Raises StoreError where there is no room for it."""
        if batch:
            self._last.append(batch)
        if len(self._last) > IN_MEMORY:
            try:
                self._put_away(self._last.popleft())
            except OSError as error:
                kind = StoreFullError if error.errno == errno.ENOSPC else StoreError
                raise kind(
                    f"what is added cannot be gathered in {tempfile.tempdir or 'a temporary folder'}: "
                    f"{error.strerror}, nothing was added; free space there, or let TMPDIR name another folder"
                ) from error

    def _put_away(self, batch: Sequence[Row]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115 - see `close`
        self._file.write(canonical.encode(batch) + "\n")
        self._file.flush()

    def batches(self) -> Iterator[Sequence[Row]]:
        """All batches, from the first on."""
        if self._file:
            self._file.seek(0)
            yield from map(canonical.decode, self._file)
        yield from self._last

    def close(self) -> None:
        """Free what it takes."""
        if self._file:
            with suppress(OSError):  # what found no room would be written once more
                self._file.close()


class Columns(NamedTuple):
    """A batch of items: a column of each field, which takes less work than a row of each item."""

    ids: Sequence[str]
    queues: Sequence[str]
    priorities: Sequence[int]
    names: Sequence[str | None]
    points: Sequence[str]
    shapes: Sequence[int]
    leaves: Sequence[str]
    fingerprints: Sequence[str]
    max_attempts: Sequence[int]
    queue_seconds: Sequence[float | None]
    needs: Sequence[str | None]


@dataclass
class Gathered:
    """What a push is about to add: its items, and the bases and shapes that they share, numbered from 0. `given`: the
    IDs among those of its items that were asked for."""

    items: Spool = field(default_factory=Spool)
    bases: Spool = field(default_factory=Spool)
    shapes: Spool = field(default_factory=Spool)
    number: int = 0
    given: set[str] = field(default_factory=set)
    queues: set[str] = field(default_factory=set)

    def columns(self) -> Iterator[Columns]:
        """The batches of items, from the first on."""
        return map(Columns._make, self.items.batches())


@contextmanager
def gather(specs: Iterable[LaunchSpec]) -> Iterator[Gathered]:
    """The rows of `specs`, for as long as the context lasts.

    >>> from launcher.spec import LaunchSpec
    >>> with gather([LaunchSpec({"lr": lr}) for lr in (0.1, 0.2)]) as gathered:
    ...     [columns.leaves for columns in gathered.columns()]
    [('[]', '[0.2]')]
    """
    gathered, packer, new = Gathered(), SpecPacker(), new_ids()
    try:
        batch: list[Row] = []
        for spec in specs:
            if given := spec.document.get("run_id"):
                gathered.given.add(given)
            point = canonical.encode(spec.point)
            head = (given or next(new), spec.queue_name, spec.priority, spec.document.get("name"), point)
            batch.append(head + packer.pack(spec))
            if len(batch) == BATCH:
                _flush(gathered, packer, batch)
        _flush(gathered, packer, batch)
        yield gathered
    finally:
        for spool in (gathered.items, gathered.bases, gathered.shapes):
            spool.close()


def _flush(gathered: Gathered, specs: SpecPacker, batch: list[Row]) -> None:
    bases, shapes = specs.packer.take_new()
    gathered.bases.write([(number, canonical.encode(document)) for number, document in bases])
    gathered.shapes.write(
        [(number, it.base, canonical.encode(it.changed), canonical.encode(it.gone)) for number, it in shapes]
    )
    gathered.items.write(list(zip(*batch, strict=True)))
    gathered.queues.update([row[1] for row in batch])
    gathered.number += len(batch)
    batch.clear()
