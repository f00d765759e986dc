"""How a store over SQL pushes: specs become rows in a file without a name while they are composed, then one short
transaction adds them. A slow grid holds no lock and no connection, and a push is all or nothing."""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from launcher import canonical
from launcher.errors import ConflictError, NotFoundError, StoreError, StoreFullError, suggest
from launcher.item import Receipt, RunState
from launcher.queues.patterns import SpecPacker

if TYPE_CHECKING:
    from launcher.item import Sweep
    from launcher.spec import LaunchSpec

Row = Sequence[Any]

BATCH = 2000
"""Rows that are written to the file, and looked for in the store, at a time."""

IN_MEMORY = 10
"""Batches that are kept in memory, about 10 MB."""

SHOWN_IDS = 100
ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH = 8
ALIKE = 2
TOGETHER = 10_000
"""So many IDs begin with the same ALIKE characters: they lie on few pages of a large index then, not on many."""

DRAWN = 500
"""IDs that are drawn at a time."""

_BEGINNINGS = tuple(map("".join, itertools.product(ID_ALPHABET, repeat=ALIKE)))
_CHARACTERS = bytes(ID_ALPHABET[byte % len(ID_ALPHABET)].encode()[0] for byte in range(256))


def new_ids() -> Iterator[str]:
    """Run IDs as W&B makes them, 8 random characters, without end; the first 12 million of them differ.

    >>> len(next(new_ids()))
    8
    """
    own = ID_LENGTH - ALIKE
    for number in itertools.count(int.from_bytes(os.urandom(2))):
        begin = _BEGINNINGS[number % len(_BEGINNINGS)]
        seen: set[str] = set()
        while len(seen) < TOGETHER:
            characters = os.urandom(DRAWN * own).translate(_CHARACTERS).decode()
            for place in range(0, DRAWN * own, own):
                end = characters[place : place + own]
                if end not in seen:
                    seen.add(end)
                    yield begin + end


class Spool:
    """Batches of rows: the last few in memory, those before them in a file without a name, one line of JSON each."""

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


@dataclass
class Gathered:
    """What a push is about to add: its items, and the bases and shapes that they share, numbered from 0.

    A batch of items is a list of columns, which takes less work than one of rows: id, queue, priority, name, point,
    shape, leaves, fingerprint, max_attempts, seconds to wait, needs.
    """

    items: Spool = field(default_factory=Spool)
    bases: Spool = field(default_factory=Spool)
    shapes: Spool = field(default_factory=Spool)
    number: int = 0
    given: set[str] = field(default_factory=set)
    queues: set[str] = field(default_factory=set)
    needs: set[str] = field(default_factory=set)


@contextmanager
def gather(specs: Iterable[LaunchSpec]) -> Iterator[Gathered]:
    """The rows of `specs`, for as long as the context lasts."""
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
    columns = list(zip(*batch, strict=True))
    gathered.items.write(columns)
    if columns:
        gathered.queues.update(columns[1])
        gathered.needs.update(filter(None, columns[-1]))
    gathered.number += len(batch)
    batch.clear()


class Tables(NamedTuple):
    """A store within a transaction: `sql` gives its dialect's statements, and `insert` puts so many rows of items into
    its tables; it may ask for the rows twice."""

    url: str
    db: Any
    sql: Callable[[str], str]
    insert: Callable[[Any, Callable[[], Iterator[Row]], int], None]


class Addition:
    """The work of one transaction: what was gathered is added to a store, to a sweep if one is given."""

    def __init__(self, tables: Tables, gathered: Gathered, sweep: Sweep | None) -> None:
        self._tables = tables
        self._gathered = gathered
        self._sweep = sweep.name if sweep else None
        self._now = time.time()
        self._skipped: set[int] = set()
        self._present: Counter[RunState] = Counter()
        self._renamed: dict[str, str] = {}
        self._waiting: Counter[str] = Counter()
        self._shapes: set[int] = set()
        self._ids: list[str] = []

    def run(self, *, keep_present: bool) -> Receipt:
        """What the sweep has already is left out unless `keep_present`, and what it has as failed waits again.

        Raises NotFoundError for unknown queues, and ConflictError for a given run_id that is taken.
        """
        self._check_queues()
        retried = 0 if keep_present or not self._sweep else self._skip_present()
        added = self._gathered.number - len(self._skipped)
        if added:
            self._survey()
            self._add(added)
        present = {state: self._present[state] for state in RunState if self._present[state]}
        shown = tuple(self._ids) if added <= SHOWN_IDS else ()
        return Receipt(self._sweep, added, sum(present.values()), shown, retried, present)

    def _execute(self, verb: str, **values: Any) -> Any:
        return self._tables.db.execute(self._tables.sql(verb), values)

    def _check_queues(self) -> None:
        found = self._execute("select_unknown_queues", queues=canonical.encode(sorted(self._gathered.queues)))
        if unknown := [row["queue"] for row in found]:
            known = [row["name"] for row in self._execute("select_queues")]
            raise NotFoundError("\n".join(f"no queue named {name!r}; {suggest(name, known)}" for name in unknown))

    def _skip_present(self) -> int:
        """Leave out what the sweep has already; returns how many failed items of it wait again."""
        if not self._execute("has_items", sweep=self._sweep).fetchone()["begun"]:
            return 0
        retried = first = 0
        for columns in self._gathered.items.batches():
            which = {"sweep": self._sweep, "fingerprints": canonical.encode(columns[7])}
            retried += self._execute("retry_present", now=self._now, **which).rowcount
            for row in self._execute("select_present", **which):
                self._skipped.add(first + row["place"])
                self._present[RunState(row["state"])] += 1
            first += len(columns[7])
        self._present[RunState.PENDING] -= retried
        return retried

    def _survey(self) -> None:
        """Look through what is left. Random IDs that happen to be taken are drawn anew; given ones must be free."""
        given, new = self._gathered.given, new_ids()
        asked: Counter[str] = Counter()
        taken: set[str] = set()
        for columns in self._left():
            ids: Sequence[str] = columns[0]
            self._waiting.update(columns[1])
            self._shapes.update(columns[5])
            asked.update([id_ for id_ in ids if id_ in given] if given else ())
            for id_ in self._taken(ids):
                if id_ in given:
                    taken.add(id_)
                else:
                    self._renamed[id_] = next(drawn for drawn in new if not self._taken([drawn]))
            if len(self._ids) < SHOWN_IDS:
                self._ids += [self._renamed.get(id_, id_) for id_ in ids[:SHOWN_IDS]]
        taken.update(id_ for id_, number in asked.items() if number > 1)
        if taken:
            told = ", ".join(map(repr, sorted(taken)))
            raise ConflictError(f"run_id {told} is taken in {self._tables.url}; choose another, or leave it out")

    def _taken(self, ids: Sequence[str]) -> set[str]:
        """Which of these IDs the store has."""
        return {row["id"] for row in self._execute("select_taken_ids", ids=canonical.encode(ids))}

    def _add(self, number: int) -> None:
        offsets = self._execute("select_offsets").fetchone()
        first_shape = offsets["first_shape"]
        self._add_shared(offsets["first_base"], first_shape)
        needs = self._needs()

        def rows() -> Iterator[Row]:
            same = itertools.repeat
            for columns in self._left():
                ids, queues, priorities, names, points, shapes, leaves, fingerprints, attempts, seconds, asked = columns
                yield from zip(
                    [self._renamed.get(id_, id_) for id_ in ids], queues, same(self._sweep), priorities, names,
                    [first_shape + shape for shape in shapes], leaves, points, attempts, same(self._now),
                    same(self._now), [None if each is None else self._now + each for each in seconds],
                    map(needs.get, asked), fingerprints, strict=False,
                )  # fmt: skip

        self._tables.insert(self._tables.db, rows, number)
        for queue, waiting in self._waiting.items():
            self._execute("insert_counts", sweep=self._sweep, queue=queue, number=waiting)

    def _add_shared(self, first_base: int, first_shape: int) -> None:
        """The shapes that items have, and their bases; those of specs that are left out would be of no use."""
        shapes = [row for batch in self._gathered.shapes.batches() for row in batch if row[0] in self._shapes]
        wanted = {row[1] for row in shapes}
        cursor, sql = self._tables.db.cursor(), self._tables.sql
        for batch in self._gathered.bases.batches():
            documents = [(first_base + number, document) for number, document in batch if number in wanted]
            cursor.executemany(sql("insert_bases"), documents)
        numbered = [(first_shape + shape, first_base + base, *paths) for shape, base, *paths in shapes]
        cursor.executemany(sql("insert_shapes"), numbered)

    def _needs(self) -> dict[str, int]:
        """The numbers of what items ask for."""
        if not self._gathered.needs:
            return {}
        asked = canonical.encode(sorted(self._gathered.needs))
        self._execute("insert_needs", asked=asked)
        return {row["asked"]: row["id"] for row in self._execute("select_needs", asked=asked)}

    def _left(self) -> Iterator[Sequence[Row]]:
        """The batches of items that are added."""
        first = 0
        for columns in self._gathered.items.batches():
            places = range(first, first + len(columns[0]))
            first = places.stop
            if self._skipped.isdisjoint(places):
                yield columns
            else:
                left = [place not in self._skipped for place in places]
                yield [list(itertools.compress(column, left)) for column in columns]
