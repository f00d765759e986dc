"""What a store over SQL keeps beside its items: its queues, and patches of uncommitted code. A part of `SqlStore`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from launcher.errors import ConflictError, NotFoundError, suggest
from launcher.item import TERMINAL, QueueInfo, RunState
from launcher.queues import rows


class Catalog:
    """The verbs about queues and patches; see `launcher.queues.Store`.

    `_session` gives this thread a connection that commits each statement; `_transaction` makes those inside it one.
    """

    url: str
    _session: Callable[[], AbstractContextManager[Any]]
    _transaction: Callable[[Any], AbstractContextManager[Any]]
    _sql: Callable[..., str]
    _notify: Callable[[Any], None]

    # -- queues ---------------------------------------------------------------------------------------------------

    def queues(self) -> list[QueueInfo]:
        """See `Store.queues`."""
        with self._session() as db:
            return [rows.queue_of(row) for row in db.execute(self._sql("select_queues"))]

    def create_queue(self, queue: QueueInfo) -> None:
        """See `Store.create_queue`."""
        with self._session() as db, self._transaction(db):
            if not db.execute(self._sql("insert_queue"), rows.queue_row(queue) | {"now": time.time()}).rowcount:
                raise ConflictError(f"queue {queue.name!r} exists already in {self.url}; choose another name")

    def update_queue(self, queue: QueueInfo) -> None:
        """See `Store.update_queue`."""
        with self._session() as db, self._transaction(db):
            self._change_queue(db, "update_queue", queue.name, rows.queue_row(queue))

    def pause_queue(self, name: str, *, paused: bool) -> None:
        """See `Store.pause_queue`."""
        with self._session() as db, self._transaction(db):
            self._change_queue(db, "pause_queue", name, {"paused": paused})

    def delete_queue(self, name: str) -> None:
        """See `Store.delete_queue`."""
        with self._session() as db, self._transaction(db):
            self._lock_queue(db, name)
            left: Counter[str] = Counter()
            for row in db.execute(self._sql("count_items")):
                if row["queue"] == name and RunState(row["state"]) not in TERMINAL:
                    left[row["state"]] += int(row["number"])
            if left:
                told = ", ".join(f"{number} {state}" for state, number in left.items())
                raise ConflictError(f"queue {name!r} still has items ({told}); cancel them first, or wait for them")
            self._change_queue(db, "delete_queue", name, {"now": time.time()})

    def _change_queue(self, db: Any, verb: str, name: str, values: Mapping[str, Any]) -> None:
        if not db.execute(self._sql(verb), {**values, "name": name}).rowcount:
            known = suggest(name, [row["name"] for row in db.execute(self._sql("select_queues"))])
            raise NotFoundError(f"no queue named {name!r} in {self.url}; {known}")
        self._notify(db)

    def _lock_queue(self, db: Any, name: str) -> None:
        """Where others push at the same time: wait for those that add to this queue, and keep others from it."""

    # -- patches ---------------------------------------------------------------------------------------------------

    def keep_patch(self, digest: str, content: bytes) -> None:
        """See `Store.keep_patch`."""
        with self._session() as db:
            db.execute(self._sql("insert_patch"), {"digest": digest, "content": content})

    def patch(self, digest: str) -> bytes:
        """See `Store.patch`."""
        with self._session() as db:
            row = db.execute(self._sql("select_patch"), {"digest": digest}).fetchone()
        if row is None:
            raise NotFoundError(f"no patch {digest!r} in {self.url}")
        return bytes(row["content"])
