"""How a store gets from one version to the next: scripts of sql/<dialect>/migrations/, in order, all in one transaction
that two processes never run at once. Stores call it when they are opened, and `launcher store migrate`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from launcher.errors import StoreError
from launcher.queues.sql import Script, migrations

SIGNATURE = 0x6C61756E
"""`laun`: in the header of every store's file, and the advisory lock of who migrates a database."""


class Schema(Protocol):
    """The tables of one store, over an open connection. `begin` opens a transaction that only one process at a time
    gets, as SQL; `record` is the SQL that notes a version."""

    dialect: str
    name: str
    begin: str

    def version(self) -> int:
        """How many of the scripts the store has had; 0 for one that is not there yet."""

    def run(self, script: str) -> None:
        """Execute the statements of a script, within the transaction that is open."""

    def record(self, version: int) -> str:
        """The SQL that notes a version, before the commit."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The way from version `before` to version `after`: `scripts`, none if the store is there."""

    before: int
    after: int
    scripts: tuple[Script, ...]


def plan(schema: Schema) -> Plan:
    """What `migrate` would do. Raises StoreError for a store of a newer launcher."""
    scripts = migrations(schema.dialect)
    version = schema.version()
    if version > len(scripts):
        raise StoreError(
            f"store {schema.name} has version {version}, this launcher knows versions up to {len(scripts)}; upgrade "
            "launcher, or name another store with --store"
        )
    return Plan(version, len(scripts), scripts[version:])


def migrate(schema: Schema) -> Plan:
    """Bring a store to the newest version, all or nothing; returns what was done, nothing if another process was
    faster."""
    todo = plan(schema)
    if not todo.scripts:
        return todo
    schema.run(schema.begin)
    try:
        todo = plan(schema)
        for script in todo.scripts:
            schema.run(script.text)
        schema.run(schema.record(todo.after))
        schema.run("COMMIT;")
    except BaseException:
        with suppress(Exception):  # the first error says more, and a lost connection rolls back by itself
            schema.run("ROLLBACK;")
        raise
    return todo


def as_sql(schema: Schema, todo: Plan) -> str:
    """What `migrate` would execute, for somebody who runs it with the database's own program."""
    scripts = [f"-- {script.name}\n{script.text.strip()}" for script in todo.scripts]
    return "\n\n".join([schema.begin, *scripts, schema.record(todo.after), "COMMIT;"])


class SqliteSchema:
    """The tables in a file; `name` is its path."""

    dialect = "sqlite"
    begin = "BEGIN IMMEDIATE;"

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self._db = db
        self.name = name

    def version(self) -> int:
        """See `Schema.version`."""
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def run(self, script: str) -> None:
        """See `Schema.run`: one by one, for `executescript` would commit first."""
        for text in _statements(script):
            self._db.execute(text)

    def record(self, version: int) -> str:
        """See `Schema.record`."""
        return f"PRAGMA application_id = {SIGNATURE};\nPRAGMA user_version = {version};"


def _statements(script: str) -> Iterator[str]:
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""


class PostgresSchema:
    """The tables in the schema `launcher` of a database, over a connection that commits each statement and gives rows
    by name; `name` is its URL."""

    dialect = "postgres"
    begin = (
        f"BEGIN;\nSELECT pg_advisory_xact_lock({SIGNATURE});\nCREATE SCHEMA IF NOT EXISTS launcher;\n"
        "CREATE TABLE IF NOT EXISTS launcher.version (number INTEGER NOT NULL);\nSET LOCAL search_path TO launcher;"
    )

    def __init__(self, db: Any, name: str) -> None:
        self._db = db
        self.name = name

    def version(self) -> int:
        """See `Schema.version`."""
        if self._db.execute("SELECT to_regclass('launcher.version') AS there").fetchone()["there"] is None:
            return 0
        row = self._db.execute("SELECT number FROM launcher.version").fetchone()
        return int(row["number"]) if row else 0

    def run(self, script: str) -> None:
        """See `Schema.run`."""
        self._db.execute(script)

    def record(self, version: int) -> str:
        """See `Schema.record`."""
        return f"DELETE FROM launcher.version;\nINSERT INTO launcher.version VALUES ({version});"  # noqa: S608 - a number of ours
