"""What the stores cost beside other queues on the same server or disk, and beside the bare database. PostgreSQL runs
with the durability that it has by default; without its programs those figures are left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from launcher.item import Sweep
from launcher.queues import open_store
from launcher.spec import LaunchSpec
from tests.bench import peers
from tests.bench.measure import Measured, folder, in_turn, pickup_from, specs
from tests.services import Postgres, postgres_programs

Fill = Callable[[str, int], None]

COUNT = 20_000
"""Items that wait in a queue: fewer are gone before processes and plans are warm."""

LONG = 50_000
"""Items of a long queue: some queues take from it the more slowly, the more has ended."""


@contextmanager
def server() -> Iterator[Postgres | None]:
    programs = postgres_programs()
    started = Postgres(programs) if programs else None
    try:
        yield started
    finally:
        if started:
            started.close()


def queues() -> Iterator[Measured]:
    """Pop and finish of no-op items by two processes, per second, beside PgQueuer, Procrastinate and Huey."""
    with server() as postgres:
        if postgres:
            for count in (COUNT, LONG):
                name = f"PgQueuer, {count:,} waiting"
                yield _beside(name, postgres.database, peers.fill_pgqueuer, peers.pgqueuer, count, count)
            yield _beside("Procrastinate", postgres.database, peers.fill_procrastinate, peers.procrastinate, COUNT, 300)
    with folder() as place:
        numbers = iter(range(1000))

        def ours() -> str:
            return f"sqlite:///{place}/ours-{next(numbers)}.db"

        def theirs() -> str:
            return f"{place}/theirs-{next(numbers)}.db"

        yield _beside("Huey, SQLite", ours, peers.fill_huey, peers.huey, COUNT, 1000, theirs)


def _beside(
    name: str, make: Callable[[], str], fill: Fill, worker: peers.Worker, ours_count: int, count: int,
    make_theirs: Callable[[], str] | None = None,
) -> Measured:  # fmt: skip
    """Our rate over `ours_count` items, and the peer's over `count`, each round in a new database."""

    def rate(make: Callable[[], str], fill: Fill, worker: peers.Worker, count: int) -> float:
        url = make()
        fill(url, count)
        return peers.drain(worker, url) / count

    ours_s, peer_s = in_turn(
        lambda: rate(make, peers.fill_ours, peers.ours, ours_count),
        lambda: rate(make_theirs or make, fill, worker, count),
        rounds=3,
    )
    figure = f"{1 / ours_s:,.0f}/s, {peer_s / ours_s:.1f}× its {1 / peer_s:,.0f}/s"
    return Measured(f"pop + finish beside {name}", ours_s, peer_s, figure, "≥ 1×", ours_s <= peer_s)


def push_postgres() -> Iterator[Measured]:
    """A durable push of 20,000 specs of 1 kB, as a list and as they are made, against a bare COPY of the rows it made:
    into the same tables, and into ones without keys, checks and indexes."""
    count = 20_000
    with server() as postgres:
        if postgres is None:
            return
        ready = list(specs(count))

        def ours(given: Iterable[LaunchSpec]) -> float:
            store = open_store(postgres.database())
            began = time.perf_counter()
            store.push(Sweep("s"), given)
            taken = time.perf_counter() - began
            store.close()
            return taken

        for what, bare in (("a list", False), ("a generator", False), ("a list", True)):
            where = "tables without indexes" if bare else "the same tables"
            ours_s, peer_s = in_turn(
                lambda what=what: ours(ready if what == "a list" else iter(ready)),  # type: ignore[misc]
                lambda bare=bare: _copied(postgres, ready, bare),  # type: ignore[misc]
                rounds=3,
            )
            share = peer_s / ours_s
            name, figure = f"push of {what}, PostgreSQL, beside {where}", f"{share:.0%} of a COPY into {where}"
            yield Measured(name, ours_s, peer_s, figure, "≥ 50 %", share >= 0.5)


def _copied(postgres: Postgres, ready: list[LaunchSpec], bare: bool) -> float:
    """Seconds that the rows of a push take from here into tables like those that they came from."""
    import psycopg

    url = postgres.database()
    store = open_store(url)
    store.push(Sweep("s"), ready)
    store.close()
    tables = ("items", "identities")
    with psycopg.connect(url, options="-c search_path=launcher", autocommit=True) as db:
        rows = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}  # noqa: S608 - ours
        for table in tables:
            if bare:
                db.execute(f"ALTER TABLE {table} RENAME TO full_{table}")
                db.execute(f"CREATE TABLE {table} AS SELECT * FROM full_{table} WHERE false")  # noqa: S608 - ours
            else:
                db.execute(f"TRUNCATE {table} CASCADE")
        began = time.perf_counter()
        with db.transaction():
            for table in tables:
                with db.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                    for row in rows[table]:
                        copy.write_row(row)
        return time.perf_counter() - began


def pickup_postgres() -> Iterator[Measured]:
    """As `pickup`, over PostgreSQL."""
    with server() as postgres, folder() as place:
        if postgres:
            yield pickup_from(postgres.database(), place, "pickup, PostgreSQL, p95")
