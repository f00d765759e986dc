"""A store's PostgreSQL server: can it be reached, is its schema of our version, is its disk full; and a pool of
connections to it, with their transactions. The PostgreSQL store is one of these that knows the verbs."""

from __future__ import annotations

import logging
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from launcher.errors import DeadlockError, StoreError, StoreFullError
from launcher.queues.listening import CONNECT_SECONDS, Listener
from launcher.queues.migration import PostgresSchema, Schema, migrate, plan

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.queues.leasing import Rows

CONNECTIONS = 4
RETRY_SECONDS = 0.5
"""Between two tries to connect while the server is away; the pool by itself would wait longer and longer."""

STALLED_SECONDS = 10
"""The server ends a transaction whose process does nothing for so long: one that is stopped, or whose machine is gone,
holds its locks no longer. Ours are a few statements one after another. Within a COPY the server waits for the rows of a
process that is stopped; such a push keeps others from its sweep, and a queue of its from being deleted, no more."""

KEEPALIVE = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
"""The server takes a machine that it cannot reach for gone after 25 s; by itself it would wait for rows for hours."""


class PostgresServer:
    """The server and database that `postgresql://…` names (libpq's URL). Errors come out as StoreError."""

    _sql: Callable[..., str]

    def __init__(self, url: str, *, read_only: bool = False, as_is: bool = False) -> None:
        psycopg = _psycopg(url)
        from psycopg_pool import ConnectionPool

        self.url = redacted(url)
        self._silent = f"store {self.url} gave no connection for {CONNECT_SECONDS:g} s"
        self._conninfo = url
        self._error = psycopg.Error
        self._full_error = psycopg.errors.DiskFull
        self._deadlock = psycopg.errors.DeadlockDetected
        self._unique = psycopg.errors.UniqueViolation
        self._listener: Listener | None = None
        self._flowing = threading.local()
        self._first()
        # no JIT: it compiles for a third of a second what the planner overrates and runs for a millisecond
        stalled = f"-c idle_in_transaction_session_timeout={STALLED_SECONDS}s"
        settings = f"-c search_path=launcher -c jit=off {stalled} {KEEPALIVE}"
        options = {"autocommit": True, "row_factory": psycopg.rows.dict_row, "options": settings}
        logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())  # our errors tell what it would warn of
        self._pool = ConnectionPool(
            url, kwargs=options, min_size=1, max_size=CONNECTIONS, reconnect_timeout=RETRY_SECONDS, open=True,
        )  # fmt: skip
        try:
            self._await_first()
            self._settle_version(read_only, as_is)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        if self._listener:
            self._listener.stop()
        self._pool.close(timeout=1.0)
        if self._listener:
            self._listener.join(CONNECT_SECONDS)

    def wait(self, wake: threading.Event, timeout: float) -> bool:
        """See `Store.wait`: the server tells a thread of ours, which listens from the first call on."""
        if self._listener is None:
            self._listener = Listener(self._conninfo)
        return self._listener.wait(wake, timeout)

    def _first(self) -> None:
        """A server that cannot be reached is told at once, in its own words; the pool would only say that it waited."""
        import psycopg

        try:
            psycopg.connect(self._conninfo, connect_timeout=int(CONNECT_SECONDS)).close()
        except psycopg.Error as error:
            raise StoreError(f"store {self.url} cannot be reached: {_first_line(error)}") from error

    @contextmanager
    def _session(self) -> Iterator[Any]:
        try:
            db = self._connection()
            try:
                yield db
            finally:
                lost = db.closed
                self._pool.putconn(db)
                if lost:
                    self._pool.check()  # whatever ended this connection ended others too
        except self._full_error as error:
            raise StoreFullError(
                f"store {self.url}: the server's disk is full ({_first_line(error)}), nothing was written; free space "
                "there, or name another --store"
            ) from error
        except self._deadlock as error:
            raise DeadlockError(f"store {self.url}: {_first_line(error)}") from error
        except self._error as error:
            raise StoreError(f"store {self.url}: {_first_line(error)}") from error

    def _connection(self) -> Any:
        """A connection of the pool; it tries to connect only when asked, so it is asked again and again."""
        from psycopg_pool import PoolTimeout

        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                return self._pool.getconn(2 * RETRY_SECONDS)
            except PoolTimeout as error:
                if time.monotonic() > deadline:
                    raise StoreError(self._silent) from error

    def _await_first(self) -> None:
        """Who asks before the first connection is there makes the pool open a second one, and then statements are
        prepared on both, in turns."""
        from psycopg_pool import PoolTimeout

        try:
            self._pool.wait(CONNECT_SECONDS)
        except PoolTimeout as error:
            raise StoreError(self._silent) from error

    @contextmanager
    def _transaction(self, db: Any) -> Iterator[None]:
        with db.transaction():
            yield

    @contextmanager
    def _pipelined(self, db: Any) -> Iterator[None]:
        """By hand: psycopg's transaction waits for the server at its beginning, and three times at its end. Unlike that
        one, it is not to be nested."""
        try:
            with db.pipeline() as self._flowing.pipeline:
                db.execute("BEGIN")
                yield
                db.execute("COMMIT")
        except BaseException:
            with suppress(self._error):  # the error that ended it says more
                db.rollback()
            raise
        finally:
            self._flowing.pipeline = None

    def _later(self, cursor: Any) -> Rows:
        found: Rows = cursor.fetchall
        return found

    def _settle(self) -> None:
        """Not by fetching, which ends nothing: the server would take a process of ours that stands still for one that
        goes on sending, and never time it out (STALLED_SECONDS)."""
        if pipeline := getattr(self._flowing, "pipeline", None):
            pipeline.sync()

    @classmethod
    @contextmanager
    def schema(cls, url: str, *, read_only: bool = False) -> Iterator[Schema]:
        """The tables of the store that a URL names, whatever their version; for `launcher store migrate`."""
        psycopg = _psycopg(url)
        try:
            options = f"-c default_transaction_read_only={'on' if read_only else 'off'}"
            with psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row, options=options) as db:
                yield PostgresSchema(db, redacted(url))
        except psycopg.Error as error:
            raise StoreError(f"store {redacted(url)}: {_first_line(error)}") from error

    def version(self) -> tuple[int, int]:
        """See `Store.version`."""
        with self._session() as db:
            found = plan(PostgresSchema(db, self.url))
        return found.before, found.after

    def size(self) -> int:
        """See `Store.size`: the tables with their indexes."""
        with self._session() as db:
            return int(db.execute(self._sql("select_size")).fetchone()["size"])

    def backup(self, file: Path) -> None:
        """See `Store.backup`: PostgreSQL brings a program for it."""
        raise StoreError(
            "launcher backs up SQLite stores only; for this one: "
            + shlex.join(["pg_dump", "--schema=launcher", "--format=custom", f"--file={file}", self.url])
        )

    def _settle_version(self, read_only: bool, as_is: bool) -> None:
        """A new database gets its tables now. One with items in it stays as it is: agents of an older version may be
        at work on it, so when it changes is for people to say."""
        with self._session() as db:
            schema = PostgresSchema(db, self.url)
            if not (read_only or as_is or schema.version()):
                migrate(schema)
            todo = plan(schema)
        if not todo.before:
            raise StoreError(f"there is no store at {self.url} yet; launcher store migrate makes one")
        if todo.scripts and not as_is:
            raise StoreError(
                f"store {self.url} has version {todo.before}, this launcher works with version {todo.after}; stop the "
                "agents of older launchers, then: launcher store migrate"
            )


def _psycopg(url: str) -> Any:
    try:
        import psycopg
        import psycopg_pool  # noqa: F401 - they come together
    except ImportError as error:
        raise StoreError(f"store {redacted(url)} needs psycopg; pip install 'launcher[postgres]'") from error
    return psycopg


def redacted(url: str) -> str:
    """The URL without its password.

    >>> redacted("postgresql://ann:secret@host:5432/queues")
    'postgresql://ann@host:5432/queues'
    """
    parts = urlsplit(url)
    with suppress(ValueError):
        if parts.password is not None:
            return urlunsplit(parts._replace(netloc=f"{parts.username}@{parts.netloc.rpartition('@')[2]}"))
    return url


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
