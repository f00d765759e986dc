"""The store of a team: queues in a PostgreSQL database, for agents on many machines (extra `postgres`). Everything it
knows about SQL lies in sql/postgres/, one statement a file, in a schema of its own named `launcher`."""

from __future__ import annotations

import logging
import random
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from launcher.errors import DeadlockError, StoreError, StoreFullError, TakenError
from launcher.item import RunRecord
from launcher.queues import rows
from launcher.queues.leasing import Rows
from launcher.queues.listening import CONNECT_SECONDS, Listener
from launcher.queues.migration import PostgresSchema, Schema, migrate, plan
from launcher.queues.sql_store import SqlStore
from launcher.slots import ANY_ROOM, Room

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.item import ItemFilter, Lease, Receipt, Sweep
    from launcher.outcome import Outcome
    from launcher.queues.staging import Gathered, Row

CONNECTIONS = 4
RETRY_SECONDS = 0.5
"""Between two tries to connect while the server is away; the pool by itself would wait longer and longer."""

STALLED_SECONDS = 10
"""The server ends a transaction whose process does nothing for so long: one that is stopped, or whose machine is gone,
holds its locks no longer. Ours are a few statements one after another. Within a COPY the server waits for the rows of a
process that is stopped; such a push keeps others from its sweep, and a queue of its from being deleted, no more."""

KEEPALIVE = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
"""The server takes a machine that it cannot reach for gone after 25 s; by itself it would wait for rows for hours."""

TANGLES = 5
"""How often a verb may be begun anew for the sake of others."""

ITEM_TYPES = (
    "int8", *["text"] * 3, "int4", "text", "int8", *["text"] * 2, "int4", *["float8"] * 3, "int8",
)  # fmt: skip
IDENTITY_TYPES = ("int8", "text", "text", "text")
"""The types of the columns of copy_items and copy_identities, which a COPY in binary must have exactly."""

T = TypeVar("T")


class PostgresStore(SqlStore):
    """A store in the database that `postgresql://…` names (libpq's URL); see `launcher.queues.Store` for its verbs."""

    dialect = "postgres"

    def __init__(self, url: str, *, read_only: bool = False, as_is: bool = False) -> None:
        super().__init__()
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

    # -- connections ----------------------------------------------------------------------------------------------

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
    def _pipeline(self, db: Any) -> Iterator[None]:
        with db.pipeline() as pipeline:
            self._flowing.pipeline = pipeline
            try:
                yield
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

    def _insert_items(self, db: Any, made: Callable[[], Iterator[Row]], number: int) -> None:
        """COPY, row by row: the server adds one while we make the next, and has less to read in binary."""
        numbers = db.execute(self._sql("draw_numbers"), {"number": number}).fetchone()["numbers"]
        with db.cursor().copy(self._sql("copy_items")) as copy:
            copy.set_types(ITEM_TYPES)
            for seq, row in zip(numbers, made(), strict=True):
                copy.write_row((seq, *row[:-1]))
        try:
            with db.cursor().copy(self._sql("copy_identities")) as copy:
                copy.set_types(IDENTITY_TYPES)
                for seq, row in zip(numbers, made(), strict=True):
                    copy.write_row((seq, row[0], row[2], row[-1]))
        except self._unique as error:
            raise TakenError(f"store {self.url}: an ID was drawn that another item has; add again") from error

    # -- what this dialect does otherwise ---------------------------------------------------------------------------

    def pop(self, agent: str, queues: Sequence[str], limit: int, room: Room = ANY_ROOM) -> list[Lease]:
        """See `Store.pop`. Agents that take at the same moment pass over each other's items, so an empty hand may
        only mean that: look again, and soon."""
        for _ in range(4):
            leases = _untangled(super().pop, agent, queues, limit, room)
            if leases or not self._waits(queues):
                return leases
            time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - jitter
        return leases

    def exchange(  # noqa: PLR0913 - those of three verbs
        self, agent: str, started: Iterable[tuple[Lease, Mapping[str, Any], str]],
        ended: Iterable[tuple[Lease, Outcome]], queues: Sequence[str], limit: int, room: Room = ANY_ROOM,
    ) -> tuple[list[bool], list[bool], list[Lease]]:  # fmt: skip
        """See `Store.exchange`; an empty hand is looked at again, as in `pop`."""
        acked, done, leases = _untangled(super().exchange, agent, list(started), list(ended), queues, limit, room)
        again = limit > 0 and not leases and (acked or done)
        return acked, done, self.pop(agent, queues, limit, room) if again else leases

    def expire(self) -> int:
        """See `Store.expire`."""
        return _untangled(super().expire)

    def _waits(self, queues: Sequence[str]) -> bool:
        from launcher import canonical

        wanted = {"queues": canonical.encode(list(queues)), "now": time.time()}
        with self._session() as db:
            look = db.execute(self._sql("has_waiting"), wanted).fetchone()
        return look["waiting"] and not look["sized"]  # those are taken in turns

    def _before_pop(self, db: Any, wanted: Mapping[str, Any], look: Any) -> None:
        if look["sized"]:
            db.execute(self._sql("lock_limits"))
        if look["limited"]:
            db.execute(self._sql("lock_limited_queues"), wanted)

    def _before_stop(self, db: Any, sweeps: Mapping[str, Any]) -> None:
        db.execute(self._sql("lock_stops"), sweeps)

    def _add(self, sweep: Sweep | None, gathered: Gathered, *, again: bool) -> Receipt:
        return _untangled(super()._add, sweep, gathered, again=again)

    def _lock_queue(self, db: Any, name: str) -> None:
        db.execute(self._sql("lock_queue"), {"name": name})

    def _lock_items(self, db: Any, which: ItemFilter) -> None:
        conditions, values = rows.where(which)
        db.execute(self._sql("lock_items", *conditions), values)

    def cancel(self, which: ItemFilter, actor: str) -> tuple[int, int]:
        """See `Store.cancel`."""
        return _untangled(super().cancel, which, actor)

    def _change_items(self, verb: str, which: ItemFilter, **values: Any) -> int:
        return _untangled(super()._change_items, verb, which, **values)

    def heartbeat(self, agent: str) -> None:
        """See `Store.heartbeat`."""
        super().heartbeat(agent)
        with self._session() as db:
            db.execute(self._sql("compact_counts"))

    def _notify(self, db: Any) -> None:
        db.execute(self._sql("notify"))

    @staticmethod
    def _run_record(row: Any) -> RunRecord:
        return RunRecord(**row)

    # -- upkeep ---------------------------------------------------------------------------------------------------

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


def _untangled(verb: Callable[..., T], *values: Any, **named: Any) -> T:
    """What a verb gives; begun anew when its transaction and another one waited for each other, and it was ended."""
    for _ in range(TANGLES):
        with suppress(DeadlockError):
            return verb(*values, **named)
    return verb(*values, **named)


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
