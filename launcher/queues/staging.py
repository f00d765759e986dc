"""What a push gathers while its specs are composed: rows, in memory and in a file without a name. Then one short
transaction adds them (`launcher.queues.adding`): a slow grid holds no lock and no connection. Specs that are there
already may be gathered while the server adds those before them."""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from launcher import canonical
from launcher.errors import StoreError, StoreFullError
from launcher.queues.ids import new_ids
from launcher.queues.patterns import SpecPacker

if TYPE_CHECKING:
    from launcher.spec import LaunchSpec

Row = Sequence[Any]

BATCH = 500
"""Rows that are written to the file, looked for in the store, and sent to it at a time: so few that a socket takes
them, and nobody who gathers the next ones waits for the server."""

IN_MEMORY = 40
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
        self._file.seek(0, os.SEEK_END)  # who read it may have stopped anywhere
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


class Gathered:
    """What a push is about to add: its items, and the bases and shapes that they share, numbered from 0. It is gathered
    as far as somebody asked, and what is gathered stays, for those who ask again. `given`: the IDs among those of its
    items that were asked for; `whole`: nothing is left to be gathered; `number`: of all items, where that is known."""

    def __init__(self, specs: Iterable[LaunchSpec]) -> None:
        self._specs = iter(specs)
        self.number = 0
        self._packer = SpecPacker()
        self._new = new_ids()
        self.items, self.bases, self.shapes = Spool(), Spool(), Spool()
        self.given: set[str] = set()
        self.queues: set[str] = set()
        self.whole = False

    def begin(self, specs: Sequence[LaunchSpec]) -> None:
        """Gather the first batch of specs that are all there, and know of the others what has to be looked up."""
        self.number = len(specs)
        self.queues = {spec.queue_name for spec in specs}
        self.given = {spec.document["run_id"] for spec in specs if spec.document.get("run_id")}
        self._next()

    def complete(self) -> None:
        """Gather all that is left."""
        while self._next():
            pass

    def so_far(self) -> Iterator[Columns]:
        """The batches of items that are gathered."""
        return map(Columns._make, self.items.batches())

    def columns(self) -> Iterator[Columns]:
        """All batches of items; those that are not gathered yet are gathered meanwhile."""
        yield from self.so_far()
        while columns := self._next():
            yield columns

    def _next(self) -> Columns | None:
        new, pack = self._new, self._packer.pack
        batch: list[Row] = []
        for spec in itertools.islice(self._specs, BATCH):
            if given := spec.document.get("run_id"):
                self.given.add(given)
            point = canonical.encode(spec.point)
            head = (given or next(new), spec.queue_name, spec.priority, spec.document.get("name"), point)
            batch.append(head + pack(spec))
        if not batch:
            self.whole = True
            return None
        bases, shapes = self._packer.packer.take_new()
        self.bases.write([(number, canonical.encode(document)) for number, document in bases])
        self.shapes.write(
            [(number, it.base, canonical.encode(it.changed), canonical.encode(it.gone)) for number, it in shapes]
        )
        columns = Columns._make(zip(*batch, strict=True))
        self.items.write(tuple(columns))
        self.queues.update(columns.queues)
        return columns

    def close(self) -> None:
        """Free what it takes."""
        for spool in (self.items, self.bases, self.shapes):
            spool.close()


@contextmanager
def gather(specs: Iterable[LaunchSpec]) -> Iterator[Gathered]:
    """The rows of `specs`, for as long as the context lasts.

    >>> from launcher.spec import LaunchSpec
    >>> with gather([LaunchSpec({"lr": lr}) for lr in (0.1, 0.2)]) as gathered:
    ...     [columns.leaves for columns in gathered.columns()]
    [('[]', '[0.2]')]
    """
    gathered = Gathered(specs)
    try:
        yield gathered
    finally:
        gathered.close()
