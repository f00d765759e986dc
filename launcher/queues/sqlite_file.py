"""A store's SQLite file: is it ours, is it of our version, can it be written, is its disk full; its backup; and the
connections of its threads, with their transactions. The SQLite store is one of these that knows the verbs."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from launcher.errors import StoreError, StoreFullError, StoreGoneError
from launcher.queues.migration import SIGNATURE, Schema, SqliteSchema, migrate, plan

BUSY_SECONDS = 60.0
POLL_SECONDS = 0.02
"""How often an idle agent looks whether another process changed the file: 50 µs of work each time."""

INDEX_BYTES = 1 << 15
"""The least that SQLite's index of its write-ahead log takes."""

NO_ROOM = 1 << 16
"""With fewer free bytes than this, SQLite's own files do not fit: errors that do not say why come from that."""


class SqliteFile:
    """The file that `sqlite:///PATH` names. Each thread has its own connection; errors come out as StoreError."""

    def __init__(self, url: str, *, read_only: bool = False, as_is: bool = False) -> None:
        self.url = url
        self.path = path_of(url)
        self._read_only = read_only
        self._as_is = as_is
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        with self._session():
            pass  # a file that cannot be used is found now, not at the first verb

    @classmethod
    @contextmanager
    def schema(cls, url: str, *, read_only: bool = False) -> Iterator[Schema]:
        """The tables of the store that a URL names, whatever their version; for `launcher store migrate`."""
        path = path_of(url)
        with _told(path), closing(_open(path, read_only)) as db:
            yield SqliteSchema(db, str(path))

    def close(self) -> None:
        """Close the connections of all threads."""
        while self._connections:
            self._connections.pop().close()
        self._local = threading.local()

    def size(self) -> int:
        """See `Store.size`: the file, and what SQLite keeps beside it."""
        return sum(_bytes(Path(f"{self.path}{ending}")) for ending in ("", "-wal", "-shm"))

    def version(self) -> tuple[int, int]:
        """See `Store.version`."""
        with self._session() as db:
            found = plan(SqliteSchema(db, str(self.path)))
        return found.before, found.after

    def backup(self, file: Path) -> None:
        """See `Store.backup`. One read transaction copies all of it, and in WAL mode that makes no writer wait."""
        _must_be_new(file)
        partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
        try:
            with self._session() as db:
                _copy(db, partial, file)
            _sync(partial)
            _must_be_new(file)
            partial.rename(file)
            _sync(file.parent)
        except OSError as error:
            raise StoreError(f"{file} cannot be written: {error.strerror}; choose another file") from error
        finally:
            partial.unlink(missing_ok=True)

    def wait(self, wake: threading.Event, timeout: float) -> bool:
        """See `Store.wait`: SQLite counts the commits of other connections, and asking for the count is cheap. Raises
        StoreGoneError if the file was deleted, or another one took its place: SQLite would go on with the old one."""
        deadline = time.monotonic() + timeout
        while True:
            with self._session() as db:
                version = db.execute("PRAGMA data_version").fetchone()[0]
            if version != getattr(self._local, "seen", None):
                self._local.seen = version
                return True
            left = deadline - time.monotonic()
            if left <= 0 or wake.wait(min(POLL_SECONDS, left)):
                self._still_there()
                return False

    def _still_there(self) -> None:
        if self._local.file and _identity(self.path) != self._local.file:
            raise StoreGoneError(
                f"{self.path} was deleted, or replaced by another file, while this process used it, which ends now: "
                "what it would write could not be found again"
            )

    @contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        try:
            db = getattr(self._local, "db", None)
            if db is None:
                db = self._local.db = connect(self.path, read_only=self._read_only, as_is=self._as_is)
                self._local.file = _identity(self.path)
                self._connections.append(db)
            yield db
        except sqlite3.Error as error:
            if is_full(error, self.path):
                raise _full(self.path, error) from error
            if _is_damaged(error):
                raise _damaged(self.path, error) from error
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


def path_of(url: str) -> Path:
    """The file that a store's URL names; StoreError if it names none."""
    path = url.removeprefix("sqlite:///")
    if not path:
        raise StoreError(f"store {url!r} names no file; expected sqlite:///PATH")
    return Path(path).expanduser().absolute()


def connect(path: Path, *, read_only: bool = False, as_is: bool = False) -> sqlite3.Connection:
    """A connection to the store in `path`, created or migrated if need be; autocommit, rows by name.

    With `read_only` nothing is written, not even a file beside it; a store that is not there yet is an empty one in
    memory. With `as_is` it must be there, and stays of the version that it has. Raises StoreError for a file that
    cannot be used, saying why.
    """
    if as_is and not path.exists():
        raise StoreError(f"there is no store at {path}; name another with --store sqlite:///PATH")
    with _told(path):
        db = _open(path, read_only)
        db.row_factory = sqlite3.Row
        schema = SqliteSchema(db, str(path))
        if not (as_is or (read_only and path.exists())):
            migrate(schema)
        if as_is and not schema.version():
            raise StoreError(f"there is no store in {path} yet; name another with --store sqlite:///PATH")
        if plan(schema).scripts and not as_is:
            raise StoreError(f"store {path} is of an older version; bring it up to date: launcher store migrate")
    return db


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What may be wrong with a file that is opened, in words."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if is_full(error, path):
            raise _full(path, error) from error
        raise StoreError(f"store file {path} cannot be used: {error}; check its folder and permissions") from error
    except sqlite3.DatabaseError as error:
        if _is_damaged(error):
            raise _damaged(path, error) from error
        raise StoreError(
            f"{path} is no launcher store: {error}; name another file with --store sqlite:///PATH"
        ) from error


def is_full(error: sqlite3.Error, path: Path) -> bool:
    """Whether an error is about a full disk. SQLite says so for its main files; where it makes its small ones it only
    says that it failed."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return path.parent.is_dir() and _free_bytes(path.parent) < NO_ROOM
    return code == sqlite3.SQLITE_FULL


def _is_damaged(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(f"store {path} is damaged: {error}; put a backup of it in its place (launcher store check)")


def _full(path: Path, error: Exception) -> StoreFullError:
    return StoreFullError(
        f"store {path}: its disk is full ({error}), nothing was written; free space in {path.parent}, or name another "
        "--store"
    )


def _copy(db: sqlite3.Connection, to: Path, file: Path) -> None:
    """All of a database, as it is now, into a new file; `file` is what that will be."""
    try:
        with closing(sqlite3.connect(to)) as target:
            db.backup(target)
    except sqlite3.Error as error:
        if is_full(error, to):
            raise StoreFullError(f"{file} cannot be written: the disk is full; choose another file") from error
        raise StoreError(f"{file} cannot be written: {error}; choose another file") from error


def _must_be_new(file: Path) -> None:
    if file.exists() or file.is_symlink():
        raise StoreError(f"{file} exists already; choose another file, a backup overwrites nothing")


def _sync(path: Path) -> None:
    """Make sure that a file's content, or a folder's entries, outlive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open(path: Path, read_only: bool) -> sqlite3.Connection:
    if read_only:
        if not path.exists():
            return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        # When nobody has the file open, `immutable` keeps SQLite from making files beside it.
        mode = "mode=ro" if _in_use(path) else "immutable=1"
        db = sqlite3.connect(f"file:{path}?{mode}", uri=True, isolation_level=None, check_same_thread=False)
        _check_identity(db, path)
        return db
    try:
        _make_folder(path.parent)
    except OSError as error:
        kind = StoreFullError if error.errno == errno.ENOSPC else StoreError
        raise kind(
            f"the store's folder {path.parent} cannot be made: {error.strerror}; choose another --store"
        ) from error
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    _check_identity(db, path)
    _enter_wal(db)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _make_folder(folder: Path) -> None:
    """A folder of our own, which git shall leave alone wherever it lies; one that was there is somebody's already."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # a full disk: SQLite says so next
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")


def _in_use(path: Path) -> bool:
    """Whether somebody may have the file open: there is a log that was not taken in yet, or the index of one. (Where a
    full disk kept SQLite from making these, they are empty, or the index is too short.)"""
    log, index = (_bytes(Path(f"{path}{ending}")) for ending in ("-wal", "-shm"))
    return log > 0 or index >= INDEX_BYTES


def _free_bytes(folder: Path) -> int:
    import shutil  # it brings all that compresses, which nobody else needs here

    return shutil.disk_usage(folder).free


def _identity(file: Path) -> tuple[int, int] | None:
    """What tells a file from another of the same name; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _bytes(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _enter_wal(db: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite answers "locked" at once while another process switches, so ask again."""
    deadline = time.monotonic() + BUSY_SECONDS
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _check_identity(db: sqlite3.Connection, path: Path) -> None:
    """Before anything is written: an SQLite file that is not ours, or is of a newer version, must stay as it is."""
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    identity = db.execute("PRAGMA application_id").fetchone()[0]  # then: another process may make the store meanwhile
    if identity != SIGNATURE and tables:
        raise StoreError(
            f"{path} is an SQLite database of another program, not a launcher store; name another file with "
            "--store sqlite:///PATH"
        )
    plan(SqliteSchema(db, str(path)))
