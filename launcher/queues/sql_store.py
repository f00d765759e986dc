"""The verbs of a store over SQL, one transaction each. A dialect's store adds its connections, how many rows get into
its tables at once, and how its waiting ends; everything else it knows lies in sql/<dialect>/, one statement a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from launcher.errors import NotFoundError, TakenError
from launcher.item import (
    Attempt,
    Count,
    Event,
    Item,
    ItemFilter,
    Receipt,
    RunState,
    Sweep,
)
from launcher.queues import rows
from launcher.queues.catalog import Catalog
from launcher.queues.documents import Documents
from launcher.queues.history import History
from launcher.queues.jobs import Jobs
from launcher.queues.leasing import Leasing
from launcher.queues.records import Records
from launcher.queues.sql import statement
from launcher.queues.sweeps import Sweeps, row_of
from launcher.queues.upkeep import Upkeep

if TYPE_CHECKING:
    from launcher.queues.staging import Gathered, Row
    from launcher.spec import LaunchSpec

PAGE = 1000


class SqlStore(Leasing, Catalog, History, Jobs, Records, Sweeps, Upkeep):
    """A store over a connection of its dialect; see `launcher.queues.Store` for its verbs.

    `_session` gives this thread a connection that commits each statement; `_writing` one inside a transaction.
    """

    dialect: ClassVar[str]
    renders = True
    detaches = True
    adds_meanwhile = False
    """Whether specs that are there already are packed while the server adds those before them."""
    environment: ClassVar[Mapping[str, str]] = {}
    url: str
    _insert_items: Callable[[Any, Callable[[], Iterator[Row]], int], None]

    def __init__(self) -> None:
        self._documents = Documents(self._sql)

    # -- adding ---------------------------------------------------------------------------------------------------

    def push(self, sweep: Sweep | None, specs: Iterable[LaunchSpec], *, again: bool = False) -> Receipt:
        """See `Store.push`. Rows are gathered apart from the store first, so agents go on while a grid composes."""
        from launcher.queues.staging import BATCH, gather  # what only reads, as `status`, starts sooner without it

        with gather(specs) as gathered:
            if self.adds_meanwhile and isinstance(specs, Sequence) and len(specs) > BATCH:
                gathered.begin(specs)
            if not gathered.number or gathered.given:
                gathered.complete()
            return self._add(sweep, gathered, again=again)

    def _add(self, sweep: Sweep | None, gathered: Gathered, *, again: bool) -> Receipt:
        from launcher.queues.adding import UnforeseenError

        looking = False
        while True:
            try:
                return self._added(sweep, gathered, again=again, looking=looking)
            except UnforeseenError:
                pass
            except TakenError:  # once in millions: to look for each ID first would cost a twentieth of a push
                if looking:
                    raise
                looking = True
            gathered.complete()

    def _added(self, sweep: Sweep | None, gathered: Gathered, *, again: bool, looking: bool) -> Receipt:
        from launcher.queues.adding import Addition, Tables

        with self._session() as db, self._transaction(db):
            if sweep:
                db.execute(self._sql("insert_sweep"), row_of(sweep))
            tables = Tables(self.url, db, self._sql, self._insert_items)
            receipt = Addition(tables, gathered, sweep, looking=looking).run(keep_present=again)
            self._notify(db)
        return receipt

    # -- people's verbs -------------------------------------------------------------------------------------------

    def cancel(self, which: ItemFilter, actor: str) -> tuple[int, int]:
        """See `Store.cancel`."""
        with self._session() as db, self._transaction(db):
            self._lock_items(db, which)
            waiting = self._change(db, "cancel_waiting", which, actor=actor)
            return waiting, self._change(db, "request_stop", which)

    def _lock_items(self, db: Any, which: ItemFilter) -> None:
        """Where others write at the same time: keep them from these items until the transaction is over."""

    def retry(self, which: ItemFilter, actor: str) -> int:
        """See `Store.retry`."""
        return self._change_items("retry_items", which, actor=actor)

    def hold(self, which: ItemFilter) -> int:
        """See `Store.hold`."""
        return self._change_items("hold_items", which)

    def resume(self, which: ItemFilter) -> int:
        """See `Store.resume`."""
        return self._change_items("resume_items", which, then="end_stops")

    def set_priority(self, which: ItemFilter, priority: int) -> int:
        """See `Store.set_priority`."""
        return self._change_items("set_priority", which, priority=priority)

    def delete(self, which: ItemFilter) -> int:
        """See `Store.delete`."""
        return self._change_items("delete_items", which)

    def _change_items(self, verb: str, which: ItemFilter, *, then: str | None = None, **values: Any) -> int:
        """How many items a verb changes; `then` is what follows for their sweeps."""
        with self._session() as db, self._transaction(db):
            number = self._change(db, verb, which, **values)
            if then:
                db.execute(self._sql(then), {"sweep": which.sweep})
            return number

    def _change(self, db: Any, verb: str, which: ItemFilter, **values: Any) -> int:
        conditions, more = rows.where(which)
        number = int(db.execute(self._sql(verb, *conditions), {**values, **more, "now": time.time()}).rowcount)
        if number:
            self._notify(db)
        return number

    def items(self, which: ItemFilter) -> Iterator[Item]:
        """See `Store.items`."""
        conditions, values = rows.where(which)
        text = self._sql("select_items", *conditions)
        values |= {"after": 0, "page": PAGE}
        while True:  # page by page, so that no read transaction stays open while the caller works
            with self._session() as db:
                page = db.execute(text, values).fetchall()
            yield from map(rows.item_of, page)
            if len(page) < PAGE:
                return
            values["after"] = page[-1]["seq"]

    def item(self, prefix: str) -> Item:
        """See `Store.item`."""
        with self._session() as db:
            found = [row["id"] for row in db.execute(self._sql("select_ids"), {"prefix": prefix})]
        if prefix not in found and len(found) != 1:
            several = f"is the beginning of several IDs ({', '.join(found)}, …); give more of it"
            raise NotFoundError(
                f"{prefix!r} " + (several if found else f"is no item's ID, nor the beginning of one, in {self.url}")
            )
        return next(self.items(ItemFilter(ids=(prefix if prefix in found else found[0],))))

    def document(self, item_id: str) -> dict[str, Any]:
        """See `Store.document`."""
        with self._session() as db:
            row = db.execute(self._sql("select_document"), {"id": item_id}).fetchone()
            if row is None:
                raise NotFoundError(f"no item {item_id!r} in {self.url}")
            return self._documents.of(db, row)

    def events(self, item_id: str) -> list[Event]:
        """See `Store.events`."""
        with self._session() as db:
            found = [dict(row) for row in db.execute(self._sql("select_events"), {"id": item_id})]
        return [Event(**row | {"before": RunState(row["before"]), "after": RunState(row["after"])}) for row in found]

    def attempts(self, item_id: str) -> list[Attempt]:
        """See `Store.attempts`."""
        with self._session() as db:
            found = [dict(row) for row in db.execute(self._sql("select_attempts"), {"id": item_id})]
        return [Attempt(**row | {"state": RunState(row["state"])}) for row in found]

    def counts(self) -> list[Count]:
        """See `Store.counts`."""
        return self._counts("count_items")

    def holds(self) -> list[Count]:
        """See `Store.holds`."""
        return self._counts("count_holds")

    def _counts(self, verb: str) -> list[Count]:
        with self._session() as db:
            found = [dict(row) for row in db.execute(self._sql(verb))]
        return [Count(**row | {"state": RunState(row["state"]), "number": int(row["number"])}) for row in found]

    # -- what the verbs share -------------------------------------------------------------------------------------

    def _sql(self, verb: str, *conditions: str) -> str:
        return statement(self.dialect, verb, *conditions)

    def _notify(self, db: Any) -> None:
        """Tell those who wait, at this transaction's commit, where the dialect does not tell them by itself."""
