"""The embedded store: queues in one SQLite file (WAL, durable commits), for any number of processes of one machine.
The default store; everything it knows about SQL lies in sql/sqlite/, one statement a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from launcher.queues.sql_store import SqlStore
from launcher.queues.sqlite_file import SqliteFile


class SqliteStore(SqliteFile, SqlStore):
    """A store in the file that `sqlite:///PATH` names; see `launcher.queues.Store` for its verbs."""

    dialect = "sqlite"

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        SqlStore.__init__(self)
        SqliteFile.__init__(self, url, read_only=read_only)

    def _stage(self, db: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        db.execute("BEGIN")  # of the temporary tables alone: it locks nothing
        try:
            db.executemany(self._sql(f"stage_{table}"), rows)
        finally:
            db.execute("COMMIT")
