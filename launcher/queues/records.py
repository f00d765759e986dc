"""What stores over SQL do for records: small JSON documents by kind and key, which the server keeps beside queues and
items (users, runs, artifacts). Changed by whoever saw the last change only, so that no change is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from launcher import canonical
from launcher.item import Record


class Records:
    """The verbs of a `SqlStore` that are about records; it gives the connections and the statements."""

    _session: Callable[[], AbstractContextManager[Any]]
    _transaction: Callable[[Any], AbstractContextManager[Any]]
    _sql: Callable[..., str]

    def record(self, kind: str, key: str) -> Record | None:
        """See `Store.record`."""
        with self._session() as db:
            row = db.execute(self._sql("select_record"), {"kind": kind, "key": key}).fetchone()
        return None if row is None else _record(row)

    def records(self, kind: str, prefix: str = "") -> list[Record]:
        """See `Store.records`."""
        values = {"kind": kind, "first": prefix, "end": prefix + "\U0010ffff"}
        with self._session() as db:
            return [_record(row) for row in db.execute(self._sql("select_records"), values)]

    def keep_record(self, kind: str, key: str, value: Mapping[str, Any], revision: int = 0) -> bool:
        """See `Store.keep_record`."""
        verb = "update_record" if revision else "insert_record"
        values = {"kind": kind, "key": key, "value": canonical.encode(value), "now": time.time(), "revision": revision}
        with self._session() as db, self._transaction(db):
            return bool(db.execute(self._sql(verb), values).rowcount)

    def drop_record(self, kind: str, key: str) -> bool:
        """See `Store.drop_record`."""
        with self._session() as db, self._transaction(db):
            return bool(db.execute(self._sql("delete_record"), {"kind": kind, "key": key}).rowcount)


def _record(row: Any) -> Record:
    return Record(row["key"], canonical.decode(row["value"]), row["revision"], row["changed_at"])
