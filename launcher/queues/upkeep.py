"""Looking after a store over SQL: is what it says about itself true, and what deleted items have left behind. A part of
`SqlStore`; what only one dialect can do stands with that dialect."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from launcher import canonical

SHOWN = 10
"""Problems of one kind that are told."""

BATCH = 1000
"""Rows deleted in one transaction, so that agents never wait long for it."""


class Upkeep:
    """The upkeep verbs of a store.

    `_session` gives this thread a connection that commits each statement; `_transaction` makes those inside it one.
    """

    _session: Callable[[], AbstractContextManager[Any]]
    _transaction: Callable[[Any], AbstractContextManager[Any]]
    _sql: Callable[..., str]

    def check(self) -> list[str]:
        """See `Store.check`."""
        with self._session() as db:
            counts = db.execute(self._sql("select_wrong_counts")).fetchall()
            broken = db.execute(self._sql("select_broken_items"), {"page": SHOWN + 1}).fetchall()
        told = [
            f"counts: {row['kept']} {row['state']} in queue {row['queue']!r}"
            + (f", sweep {row['sweep']!r}" if row["sweep"] else "")
            + f", but {row['found']} items are"
            for row in counts
        ]
        for row in broken[:SHOWN]:
            missing = f"shape {row['shape']}" if row["base"] is None else f"base {row['base']}"
            told.append(f"item {row['id']}: {missing} of its document is missing")
        return [*told, *(["… and more items like these"] if len(broken) > SHOWN else [])]

    def free(self) -> int:
        """See `Store.free`. Orphans are found outside of any transaction, for nothing makes them wanted again."""
        with self._session() as db:
            orphans = [row["id"] for row in db.execute(self._sql("select_orphan_shapes"))]
            freed = 0
            with self._unchecked(db):
                for first in range(0, len(orphans), BATCH):
                    ids = orphans[first : first + BATCH]
                    with self._transaction(db):
                        freed += db.execute(self._sql("delete_shapes"), {"ids": canonical.encode(ids)}).rowcount
                with self._transaction(db):
                    freed += db.execute(self._sql("delete_orphan_bases")).rowcount
            with self._transaction(db):
                self._forget_sweeps(db)
        return int(freed)

    def _forget_sweeps(self, db: Any) -> None:
        """Those without items, but for what is still to be told of one."""
        names = [row["name"] for row in db.execute(self._sql("select_empty_sweeps"))]
        if names:
            values = {"names": canonical.encode(names)}
            db.execute(self._sql("delete_told_notices"), values)
            db.execute(self._sql("delete_empty_sweeps"), values)

    def _unchecked(self, db: Any) -> AbstractContextManager[None]:  # noqa: ARG002 - for those who check
        """Deleting what nothing refers to needs no check for each row that nothing does."""
        return nullcontext()
