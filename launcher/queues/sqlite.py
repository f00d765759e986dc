"""The embedded store: queues in one SQLite file (WAL, durable commits), for any number of processes of one machine.
The default store; everything it knows about SQL lies in sql/sqlite/, one statement a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher.errors import TakenError
from launcher.queues.sql_store import SqlStore
from launcher.queues.sqlite_file import SqliteFile
from launcher.queues.upkeep import SHOWN

if TYPE_CHECKING:
    from launcher.queues.staging import Row


class SqliteStore(SqliteFile, SqlStore):
    """A store in the file that `sqlite:///PATH` names; see `launcher.queues.Store` for its verbs."""

    dialect = "sqlite"

    def __init__(self, url: str, *, read_only: bool = False, as_is: bool = False) -> None:
        SqlStore.__init__(self)
        SqliteFile.__init__(self, url, read_only=read_only, as_is=as_is)

    def check(self) -> list[str]:
        """See `Store.check`: what SQLite finds in its file comes first, and alone, for a damaged one cannot be read."""
        with self._session() as db:
            found = [row[0] for row in db.execute(f"PRAGMA integrity_check({SHOWN})")]
            orphans = db.execute("PRAGMA foreign_key_check").fetchmany(SHOWN) if found == ["ok"] else []
        if found != ["ok"]:
            return [f"the file: {line}" for line in found]
        told = [f"table {row['table']}, row {row['rowid']}: it refers to nothing in {row['parent']}" for row in orphans]
        return [*told, *super().check()]

    def _insert_items(self, db: sqlite3.Connection, rows: Callable[[], Iterator[Row]], _number: int) -> None:
        db.execute(self._sql("coming_table"))
        db.executemany(self._sql("insert_coming"), rows())
        try:
            db.execute(self._sql("copy_items"))
        except sqlite3.IntegrityError as error:
            if str(error) != "UNIQUE constraint failed: items.id":
                raise
            raise TakenError(f"store {self.url}: an ID was drawn that another item has; add again") from error
        db.execute(self._sql("clear_coming"))

    @contextmanager
    def _unchecked(self, db: sqlite3.Connection) -> Iterator[None]:
        db.execute("PRAGMA foreign_keys = OFF")  # each check would read all items: no index serves it
        try:
            yield
        finally:
            db.execute("PRAGMA foreign_keys = ON")
