"""A store's SQLite file: is it ours, is it of our version, can it be written; forward migration; and the connections of
its threads, with their transactions. The SQLite store is one of these that knows the verbs."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.errors import StoreError
from launcher.queues.sql import migrations

APPLICATION_ID = 0x6C61756E  # "laun", in the header of every store's file
BUSY_SECONDS = 60.0
POLL_SECONDS = 0.02
"""How often an idle agent looks whether another process changed the file: 50 µs of work each time."""


class SqliteFile:
    """The file that `sqlite:///PATH` names. Each thread has its own connection; errors come out as StoreError."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        path = url.removeprefix("sqlite:///")
        if not path:
            raise StoreError(f"store {url!r} names no file; expected sqlite:///PATH")
        self.url = url
        self.path = Path(path).expanduser().absolute()
        self._read_only = read_only
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        with self._session():
            pass  # a file that cannot be used is found now, not at the first verb

    def close(self) -> None:
        """Close the connections of all threads."""
        while self._connections:
            self._connections.pop().close()
        self._local = threading.local()

    def wait(self, wake: threading.Event, timeout: float) -> None:
        """See `Store.wait`: SQLite counts the commits of other connections, and asking for the count is cheap."""
        deadline = time.monotonic() + timeout
        while True:
            with self._session() as db:
                version = db.execute("PRAGMA data_version").fetchone()[0]
            if version != getattr(self._local, "seen", None):
                self._local.seen = version
                return
            left = deadline - time.monotonic()
            if left <= 0 or wake.wait(min(POLL_SECONDS, left)):
                return

    @contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        try:
            db = getattr(self._local, "db", None)
            if db is None:
                db = self._local.db = connect(self.path, read_only=self._read_only)
                self._connections.append(db)
            yield db
        except sqlite3.Error as error:
            raise StoreError(f"store {self.url}: {error}") from error

    @contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[None]:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to the store in `path`, created or migrated if need be; autocommit, rows by name.

    With `read_only` nothing is written, not even a file beside it; a store that is not there yet is an empty one in
    memory. Raises StoreError for a file that cannot be used, saying why.
    """
    try:
        db = _open(path, read_only)
        db.row_factory = sqlite3.Row
        if not (read_only and path.exists()):
            _migrate(db)
        _check(db, path)
    except sqlite3.OperationalError as error:
        raise StoreError(f"store file {path} cannot be used: {error}; check its folder and permissions") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"{path} is no launcher store: {error}; name another file with --store sqlite:///PATH"
        ) from error
    return db


def _open(path: Path, read_only: bool) -> sqlite3.Connection:
    if read_only:
        if not path.exists():
            return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        # Without a write-ahead log nobody has the file open, and `immutable` keeps SQLite from making one.
        mode = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
        return sqlite3.connect(f"file:{path}?{mode}", uri=True, isolation_level=None, check_same_thread=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the store's folder {path.parent} cannot be made: {error.strerror}; choose another --store"
        ) from error
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    _check_identity(db, path)
    _enter_wal(db)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _enter_wal(db: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite answers "locked" at once while another process switches, so ask again."""
    deadline = time.monotonic() + BUSY_SECONDS
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _check_identity(db: sqlite3.Connection, path: Path) -> None:
    """Before anything is written: an SQLite file that is not ours must stay as it is."""
    identity = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if identity != APPLICATION_ID and tables:
        raise StoreError(
            f"{path} is an SQLite database of another program, not a launcher store; name another file with "
            "--store sqlite:///PATH"
        )
    newest = len(migrations("sqlite"))
    if _version(db) > newest:
        raise StoreError(
            f"store {path} has version {_version(db)}, this launcher knows versions up to {newest}; upgrade launcher, "
            "or name another store with --store"
        )


def _check(db: sqlite3.Connection, path: Path) -> None:
    _check_identity(db, path)
    if _version(db) < len(migrations("sqlite")):
        raise StoreError(f"store {path} is of an older version; any command that writes brings it up to date")


def _migrate(db: sqlite3.Connection) -> None:
    scripts = migrations("sqlite")
    if _version(db) >= len(scripts):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for script in scripts[_version(db) :]:
            for text in _statements(script):
                db.execute(text)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(scripts)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit between them."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""
