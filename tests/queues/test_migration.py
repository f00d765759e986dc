"""Stores of every older version come to the newest, with what is in them; over the scripts that there are."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import StoreError
from launcher.item import ItemFilter, RunState
from launcher.outcome import Finished
from launcher.queues import migration, open_schema, open_store
from launcher.queues.sql import Script, migrations
from tests.conftest import Project, Result
from tests.queues.steps import agent, spec

DIALECTS = ("sqlite", "postgres")
VERSIONS = [(dialect, version) for dialect in DIALECTS for version in range(1, len(migrations(dialect)) + 1)]
OTHERS = """
INSERT INTO sweeps (name, metric, goal, created_at) VALUES ('s', 'loss', 'minimize', 1);
INSERT INTO bases (id, document) VALUES (1, '{"resource":"local-process","overrides":{"args":["a"]}}');
INSERT INTO shapes (id, base, changed, gone) VALUES (1, 1, '[["overrides","args"]]', '[]');
INSERT INTO counts (sweep, queue, state, number) VALUES ('s', 'default', 'finished', 1), ('s', 'default', 'pending', 1);
"""
ITEMS = """
INSERT INTO items (id, queue, sweep, state, priority, shape, leaves, point, attempt, max_attempts, added_at, changed_at,
    started_at, finished_at)
VALUES ('done0001', 'default', 's', 'finished', 2, 1, '[["b"]]', '["x=1"]', 1, 3, 1.5, 4, 2, 4),
    ('waits001', 'default', 's', 'pending', 0, 1, '[["c"]]', '["x=2"]', 0, 3, 1.5, 1.5, NULL, NULL);
"""
IDENTITIES = "INSERT INTO identities (id, item, sweep, fingerprint) SELECT id, seq, sweep, 'f' || seq FROM items;"
WITH_IDENTITIES = {"postgres": 9}
"""The first version that looks up fingerprints apart from items."""

Place = Callable[[str], str]
Cli = Callable[..., Result]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The URL of a store of a dialect that is not there yet."""

    def url(dialect: str) -> str:
        if dialect == "postgres":
            return str(request.getfixturevalue("postgres").database())
        return f"sqlite:///{tmp_path}/old/store.db"

    return url


def build(url: str, dialect: str, version: int, more: str = "") -> None:
    """A store as a launcher of that version made it."""
    with open_schema(url) as schema:
        schema.run(schema.begin)
        for script in migrations(dialect)[:version]:
            schema.run(script.text)
        schema.run(more + schema.record(version))
        schema.run("COMMIT;")


def old_items(dialect: str, version: int) -> str:
    if version >= WITH_IDENTITIES.get(dialect, math.inf):
        return OTHERS + ITEMS + IDENTITIES
    inside = ITEMS.replace("(id,", "(fingerprint, id,").replace("('done", "('f1', 'done")
    inside = inside.replace("('waits", "('f2', 'waits")
    return OTHERS + inside


def newer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """As if this launcher had one migration more."""
    monkeypatch.setattr(migration, "migrations", lambda dialect: (*migrations(dialect), Script("9999_more.sql", text)))


def version_of(url: str) -> int:
    with open_schema(url, read_only=True) as schema:
        return schema.version()


@pytest.mark.parametrize(("dialect", "version"), VERSIONS)
def test_a_store_of_each_version_keeps_its_items_and_goes_on(place: Place, dialect: str, version: int) -> None:
    url = place(dialect)
    build(url, dialect, version, old_items(dialect, version))
    with open_schema(url) as schema:
        done = migration.migrate(schema)
    assert (done.before, done.after, done.scripts) == (
        version, len(migrations(dialect)), migrations(dialect)[version:]
    )  # fmt: skip
    store = open_store(url)
    try:
        assert store.check() == []
        assert store.version() == (done.after, done.after)
        assert [(item.id, item.state, item.point) for item in store.items(ItemFilter())] == [
            ("done0001", RunState.FINISHED, ("x=1",)),
            ("waits001", RunState.PENDING, ("x=2",)),
        ]
        assert store.document("done0001") == {"resource": "local-process", "overrides": {"args": ["b"]}}
        store.register(agent("a"))
        [lease] = store.pop("a", ["default"], 9)
        assert lease.document["overrides"] == {"args": ["c"]}
        store.ack([(lease, {"pid": 1}, "/runs/waits001/1")])
        assert store.finish([(lease, Finished())]) == [True]
        assert store.push(None, [spec()]).added == 1
        assert store.delete(ItemFilter(ids=("done0001",))) == 1
        assert store.check() == []
    finally:
        store.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_processes_that_migrate_at_once_do_it_once(place: Place, dialect: str, project: Project) -> None:
    url = place(dialect)
    at_once = [project.start("store", "migrate", "--store", url) for _ in range(4)]
    told = [process.communicate(timeout=60) for process in at_once]
    assert [process.returncode for process in at_once] == [0] * 4, told
    assert sum("version 0 →" in out for out, _ in told) == 1, told
    assert sum("nothing to do" in out for out, _ in told) == 3, told
    assert version_of(url) == len(migrations(dialect))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_migration_that_fails_changes_nothing(place: Place, dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = place(dialect)
    open_store(url).close()
    newer(monkeypatch, "CREATE TABLE more (id INTEGER);\nINSERT INTO no_such_table VALUES (1);\n")
    with pytest.raises(StoreError, match="no_such_table"), open_schema(url) as schema:
        migration.migrate(schema)
    assert version_of(url) == len(migrations(dialect))
    newer(monkeypatch, "CREATE TABLE more (id INTEGER);")
    with open_schema(url) as schema:
        assert [script.name for script in migration.migrate(schema).scripts] == ["9999_more.sql"]
    assert version_of(url) == len(migrations(dialect)) + 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_printed_sql_does_what_migrate_does(place: Place, dialect: str, cli: Cli) -> None:
    url = place(dialect)
    printed = cli("store", "migrate", "--sql", "--store", url)
    assert printed.code == 0
    assert version_of(url) == 0
    if dialect == "sqlite":
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(exist_ok=True)
        db = sqlite3.connect(path)
        db.executescript(printed.out)
        db.close()
    else:
        import psycopg

        with psycopg.connect(url, autocommit=True) as server:
            server.execute(printed.out)
    assert "nothing to do" in cli("store", "migrate", "--store", url).out
    store = open_store(url)
    assert store.push(None, [spec()]).added == 1
    assert store.check() == []
    store.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dry_run_says_what_would_run_and_writes_nothing(place: Place, dialect: str, cli: Cli, tmp_path: Path) -> None:
    url = place(dialect)
    before = sorted(tmp_path.rglob("*"))
    told = cli("store", "migrate", "--dry-run", "--store", url).out
    assert f"version 0 → {len(migrations(dialect))} (--dry-run: nothing is written)" in told
    assert [line.strip() for line in told.splitlines()[1:]] == [script.name for script in migrations(dialect)]
    assert sorted(tmp_path.rglob("*")) == before
    assert version_of(url) == 0


def test_an_older_sqlite_store_is_migrated_by_whoever_opens_it(
    place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = place("sqlite")
    open_store(url).close()
    newer(monkeypatch, "CREATE TABLE more (id INTEGER);")
    assert "nothing to do" not in cli("store", "migrate", "--dry-run", "--store", url).out
    assert cli("status", "--store", url).code == 0
    assert "nothing to do" in cli("store", "migrate", "--store", url).out


def test_an_older_postgres_store_is_left_alone_until_somebody_migrates_it(
    place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = place("postgres")
    open_store(url).close()
    known = len(migrations("postgres"))
    newer(monkeypatch, "CREATE TABLE more (id INTEGER);")
    refused = cli("status", "--store", url)
    assert refused.code == 1
    assert f"has version {known}, this launcher works with version {known + 1}" in refused.err
    assert "launcher store migrate" in refused.err
    assert version_of(url) == known
    assert f"version  {known} of {known + 1}" in cli("store", "info", "--store", url).out
    assert f"version {known} → {known + 1}" in cli("store", "migrate", "--store", url).out
    assert cli("status", "--store", url).code == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_store_of_a_newer_launcher_is_refused(place: Place, dialect: str, cli: Cli) -> None:
    url = place(dialect)
    build(url, dialect, len(migrations(dialect)))
    with open_schema(url) as schema:
        schema.run(schema.record(99))
    for command in (["status"], ["store", "migrate"], ["store", "migrate", "--dry-run"], ["store", "check"]):
        refused = cli(*command, "--store", url)
        assert refused.code == 1
        assert "has version 99" in refused.err, command
        assert "upgrade launcher" in refused.err


@pytest.mark.parametrize("url", ["sqlite:///{}/file.txt", "nosuch:///x", "postgresql://127.0.0.1:1/none"])
def test_what_is_no_store_cannot_be_migrated(cli: Cli, project: Project, url: str) -> None:
    project.write("file.txt", "a text that is no database\n")
    refused = cli("store", "migrate", "--store", url.format(project.folder))
    assert refused.code == 1
    assert refused.err.startswith("launcher: ")
