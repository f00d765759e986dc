"""How a store over SQL adds what a push gathered (`launcher.queues.staging`), within one transaction."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher import canonical
from launcher.errors import ConflictError, NotFoundError, suggest
from launcher.item import Receipt, RunState
from launcher.queues.ids import new_ids
from launcher.queues.staging import Columns, Gathered, Row

if TYPE_CHECKING:
    from launcher.item import Sweep

SHOWN_IDS = 100


class UnforeseenError(Exception):
    """What is gathered while it is added holds something that had to be looked up before; gather the whole first."""


class Tables(NamedTuple):
    """A store within a transaction: `sql` gives its dialect's statements, and `insert` puts so many rows of items into
    its tables; it may ask for the rows twice."""

    url: str
    db: Any
    sql: Callable[[str], str]
    insert: Callable[[Any, Callable[[], Iterator[Row]], int], None]


class Addition:
    """The work of one transaction: what was gathered is added to a store, to a sweep if one is given. Whether IDs are
    free is looked up first if `looking`, or if some were asked for; else those that are not end in a TakenError.

    What is gathered in part is added so far, and the rest while it is gathered, provided that nothing has to be looked
    up for it: that it is in the sweep already, or needs what the beginning did not, ends in an UnforeseenError."""

    def __init__(self, tables: Tables, gathered: Gathered, sweep: Sweep | None, *, looking: bool) -> None:
        self._tables = tables
        self._gathered = gathered
        self._looking = looking or bool(gathered.given)
        self._sweep = sweep.name if sweep else None
        self._now = time.time()
        self._skipped: set[int] = set()
        self._noted = 0
        self._present: Counter[RunState] = Counter()
        self._given: Counter[str] = Counter()
        self._new = new_ids()
        self._renamed: dict[str, str] = {}
        self._waiting: Counter[str] = Counter()
        self._shapes: set[int] = set()
        self._asked: set[str] = set()
        self._ids: list[str] = []

    def run(self, *, keep_present: bool) -> Receipt:
        """What the sweep has already is left out unless `keep_present`, and what it has as failed waits again.

        Raises NotFoundError for unknown queues, and ConflictError for a given run_id that is taken.
        """
        self._check_queues()
        retried = 0 if keep_present or not self._sweep else self._skip_present()
        for columns in self._left(self._gathered.so_far()):
            self._note(columns)
        self._check_given()
        if self._noted:
            self._add()
        present = {state: self._present[state] for state in RunState if self._present[state]}
        shown = tuple(self._ids) if self._noted <= SHOWN_IDS else ()
        return Receipt(self._sweep, self._noted, sum(present.values()), shown, retried, present)

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
        if not self._gathered.whole:
            raise UnforeseenError
        retried = first = 0
        for columns in self._gathered.so_far():
            which = {"sweep": self._sweep, "fingerprints": canonical.encode(columns.fingerprints)}
            retried += self._execute("retry_present", now=self._now, **which).rowcount
            for row in self._execute("select_present", **which):
                self._skipped.add(first + row["place"])
                self._present[RunState(row["state"])] += 1
            first += len(columns.ids)
        self._present[RunState.PENDING] -= retried
        return retried

    def _note(self, columns: Columns) -> None:
        """What a batch needs. Random IDs that happen to be taken are drawn anew."""
        self._noted += len(columns.ids)
        self._waiting.update(columns.queues)
        self._shapes.update(columns.shapes)
        self._asked.update(filter(None, columns.needs))
        given = self._gathered.given
        self._given.update([id_ for id_ in columns.ids if id_ in given] if given else ())
        for id_ in self._taken(columns.ids) if self._looking else ():
            if id_ in given:
                self._given[id_] += 1
            else:
                self._renamed[id_] = next(drawn for drawn in self._new if not self._taken([drawn]))
        if len(self._ids) < SHOWN_IDS:
            self._ids += [self._renamed.get(id_, id_) for id_ in columns.ids[:SHOWN_IDS]]

    def _check_given(self) -> None:
        """IDs that were asked for must be free."""
        taken = [id_ for id_, number in self._given.items() if number > 1]
        if taken:
            told = ", ".join(map(repr, sorted(taken)))
            raise ConflictError(f"run_id {told} is taken in {self._tables.url}; choose another, or leave it out")

    def _taken(self, ids: Sequence[str]) -> set[str]:
        """Which of these IDs the store has."""
        return {row["id"] for row in self._execute("select_taken_ids", ids=canonical.encode(ids))}

    def _add(self) -> None:
        offsets = self._execute("select_offsets").fetchone()
        first_base, first_shape = offsets["first_base"], offsets["first_shape"]
        whole, needs = self._gathered.whole, self._needs()
        if whole:
            self._add_shared(first_base, first_shape)

        def rows() -> Iterator[Row]:
            same, number = itertools.repeat, 0
            for columns in self._left(self._gathered.columns()):
                if number == self._noted and not whole:
                    if not needs.keys() >= set(filter(None, columns.needs)):
                        raise UnforeseenError
                    self._note(columns)
                number += len(columns.ids)
                yield from zip(
                    [self._renamed.get(id_, id_) for id_ in columns.ids], columns.queues, same(self._sweep),
                    columns.priorities, columns.names, [first_shape + shape for shape in columns.shapes],
                    columns.leaves, columns.points, columns.max_attempts, same(self._now), same(self._now),
                    [None if seconds is None else self._now + seconds for seconds in columns.queue_seconds],
                    map(needs.get, columns.needs), columns.fingerprints, strict=False,
                )  # fmt: skip

        self._tables.insert(self._tables.db, rows, self._noted if whole else self._gathered.number)
        if not whole:
            self._add_shared(first_base, first_shape)
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

    def _needs(self) -> dict[str | None, int]:
        """The numbers of what items ask for."""
        if not self._asked:
            return {}
        asked = canonical.encode(sorted(self._asked))
        self._execute("insert_needs", asked=asked)
        return {row["asked"]: row["id"] for row in self._execute("select_needs", asked=asked)}

    def _left(self, batches: Iterable[Columns]) -> Iterator[Columns]:
        """Batches of items, but for those that are not added."""
        first = 0
        for columns in batches:
            places = range(first, first + len(columns.ids))
            first = places.stop
            if self._skipped.isdisjoint(places):
                yield columns
            else:
                left = [place not in self._skipped for place in places]
                yield Columns._make(list(itertools.compress(column, left)) for column in columns)
