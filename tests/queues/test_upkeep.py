"""Damage is found and named, on both stores; a backup is a whole store, made while others write."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.errors import StoreError
from launcher.item import ItemFilter, Sweep
from launcher.queues import open_store
from launcher.queues.postgres import PostgresStore
from launcher.queues.sql_store import SqlStore
from launcher.queues.sqlite import SqliteStore
from tests.conftest import Result
from tests.queues.steps import agent, spec
from tests.services import Postgres

Cli = Callable[..., Result]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres").database())
    return f"sqlite:///{tmp_path}/kept/store.db"


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    made = open_store(url)
    assert isinstance(made, SqlStore)
    made.push(Sweep("s"), [spec(seed) for seed in range(12)])
    yield made
    made.close()


def harm(store: SqlStore, *statements: str) -> None:
    with store._session() as db, store._unchecked(db):
        for text in statements:
            db.execute(text)


def test_counts_that_are_not_those_of_the_items_are_told(store: SqlStore, url: str, cli: Cli) -> None:
    harm(store, "UPDATE counts SET number = number + 2")
    assert store.check() == ["counts: 14 pending in queue 'default', sweep 's', but 12 items are"]
    told = cli("store", "check", "--store", url)
    assert told.code == 1
    assert "is damaged:\n  counts: 14 pending" in told.err
    assert json.loads(cli("store", "check", "--json", "--store", url).out)["problems"] == store.check()
    harm(store, "DELETE FROM counts")
    assert store.check() == ["counts: 0 pending in queue 'default', sweep 's', but 12 items are"]


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("DELETE FROM shapes WHERE id = (SELECT max(id) FROM shapes)", r"shape \d+ of its document is missing"),
        ("DELETE FROM bases WHERE id = (SELECT max(id) FROM bases)", r"base \d+ of its document is missing"),
    ],
)
def test_items_whose_documents_cannot_be_read_are_told(store: SqlStore, loss: str, told: str) -> None:
    [damaged] = store.push(None, [spec(99)]).ids
    harm(store, loss)
    assert [line for line in store.check() if re.fullmatch(f"item {damaged}: {told}", line)], store.check()
    with pytest.raises(StoreError, match="launcher store check"):
        store.document(damaged)


def test_many_broken_items_are_told_by_ten(store: SqlStore) -> None:
    harm(store, "DELETE FROM bases")
    told = [line for line in store.check() if "document" in line or "like these" in line]
    assert len(told) == 11
    assert told[-1] == "… and more items like these"


def test_a_healthy_store_is_said_to_be_so(store: SqlStore, url: str, cli: Cli) -> None:
    told = cli("store", "check", "--store", url)
    assert (told.code, told.out) == (0, f"store {store.url}: all is well\n")
    facts = json.loads(cli("store", "info", "--json", "--store", url).out)
    assert (facts["store"], facts["kind"], facts["bytes"]) == (store.url, url.partition(":")[0], store.size())
    assert facts["version"] == facts["newest"]
    assert facts["items"] == {
        "pending": 12, "leased": 0, "running": 0, "finished": 0, "failed": 0, "cancelled": 0
    }  # fmt: skip


def test_a_damaged_file_is_told(tmp_path: Path, cli: Cli) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    made = SqliteStore(url)
    made.push(Sweep("s"), [spec(seed, text=f"{seed} " * 1000) for seed in range(200)])
    made.close()
    with (tmp_path / "store.db").open("r+b") as file:
        file.seek(-40 * 4096, 2)
        file.write(b"\xff" * 20 * 4096)
    told = cli("store", "check", "--store", url)
    assert told.code == 1
    assert "is damaged:\n  the file: " in told.err
    assert "is damaged: database disk image is malformed" in cli("retry", "s", "--store", url).err


@pytest.mark.parametrize("verb", [["info"], ["check"], ["backup", "copy.db"]])
def test_a_store_that_is_not_there_is_told_and_not_made(cli: Cli, tmp_path: Path, verb: list[str]) -> None:
    told = cli("store", *verb, "--store", f"sqlite:///{tmp_path}/none/store.db")
    assert (told.code, told.err) == (
        1, f"launcher: there is no store at {tmp_path}/none/store.db; name another with --store sqlite:///PATH\n"
    )  # fmt: skip
    assert not (tmp_path / "none").exists()


def test_an_empty_file_is_no_store_yet(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    told = cli("store", "info", "--store", f"sqlite:///{tmp_path}/store.db")
    assert told.code == 1
    assert f"there is no store in {tmp_path}/store.db yet" in told.err


def test_an_empty_database_holds_no_store_yet(postgres: Postgres, cli: Cli) -> None:
    told = cli("store", "info", "--store", postgres.database())
    assert told.code == 1
    assert "launcher store migrate makes one" in told.err


def test_a_backup_is_the_store_at_one_moment_while_others_write(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    store = SqliteStore(url)
    store.push(Sweep("s"), [spec(seed) for seed in range(50)])
    store.register(agent("a"))
    done, wrote = threading.Event(), threading.Event()

    def write() -> None:
        writer = SqliteStore(url)
        while not done.is_set():
            writer.push(None, [spec(1), spec(2)])
            wrote.set()
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert wrote.wait(20)
        results = [cli("store", "backup", str(tmp_path / f"copy{number}.db"), "--store", url) for number in range(5)]
    finally:
        done.set()
        thread.join()
    assert [result.code for result in results] == [0] * 5, results
    for number in range(5):
        copy = SqliteStore(f"sqlite:///{tmp_path}/copy{number}.db")
        assert copy.check() == []
        items = list(copy.items(ItemFilter()))
        assert len(items) >= 52
        assert len(items) % 2 == 0, "half of a push"
        assert copy.document(items[-1].id) == store.document(items[-1].id)
        copy.close()
    store.close()
    assert not list(tmp_path.glob("*.partial*"))


def test_a_backup_overwrites_nothing(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    SqliteStore(url).close()
    (tmp_path / "precious").write_text("mine")
    told = cli("store", "backup", str(tmp_path / "precious"), "--store", url)
    assert told.code == 1
    assert f"{tmp_path}/precious exists already" in told.err
    assert (tmp_path / "precious").read_text() == "mine"
    nowhere = cli("store", "backup", str(tmp_path / "no/folder/copy.db"), "--store", url)
    assert nowhere.code == 1
    assert f"{tmp_path}/no/folder/copy.db cannot be written" in nowhere.err


def test_a_backup_of_an_older_store_stays_of_that_version(cli: Cli, tmp_path: Path) -> None:
    from tests.queues.test_migration import build

    build(f"sqlite:///{tmp_path}/store.db", "sqlite", 1)
    assert cli("store", "backup", str(tmp_path / "copy.db"), "--store", f"sqlite:///{tmp_path}/store.db").code == 0
    for name in ("store.db", "copy.db"):
        db = sqlite3.connect(tmp_path / name)
        assert db.execute("PRAGMA user_version").fetchone() == (1,), name
        db.close()


def test_a_backup_of_postgres_is_made_by_its_own_program(postgres: Postgres, cli: Cli) -> None:
    url = postgres.database().replace("launcher@", "launcher:secret@")
    PostgresStore(url).close()
    told = cli("store", "backup", "copy.dump", "--store", url)
    assert told.code == 1
    assert "pg_dump --schema=launcher --format=custom --file=" in told.err
    assert told.err.rstrip().endswith(url.replace(":secret", ""))
    assert "secret" not in told.err


def test_sweeps_whose_items_are_deleted_are_forgotten_but_for_what_they_have_to_tell(store: SqlStore) -> None:
    notify = ({"command": ["true"], "on": ["end"]},)
    for name in ("told", "telling", "left"):
        store.push(Sweep(name, notify=notify if name != "left" else ()), [spec(0), spec(1)])
    store.cancel(ItemFilter(sweep="told"), "ann")
    told = store.take_notice("a")
    assert told
    assert store.settle_notice(told, "a", None)
    store.cancel(ItemFilter(sweep="telling"), "ann")
    telling = store.take_notice("a")
    assert telling
    for name in ("told", "telling"):
        assert store.delete(ItemFilter(sweep=name)) == 2
    [kept, *_] = store.items(ItemFilter(sweep="left"))
    store.delete(ItemFilter(ids=(kept.id,)))
    store.delete(ItemFilter(sweep="s"))
    store.free()
    assert [sweep.name for sweep in store.sweeps()] == ["telling", "left"]
    assert store.check() == []
    assert store.settle_notice(telling, "a", None)
    store.free()
    assert [sweep.name for sweep in store.sweeps()] == ["left"]
    assert store.push(Sweep("told", notify=notify), [spec(0)]).added == 1
    assert [sweep.name for sweep in store.sweeps()] == ["left", "told"]


def test_items_that_are_pushed_while_sweeps_are_forgotten_keep_their_sweep(store: SqlStore) -> None:
    stop = threading.Event()

    def forget() -> None:
        while not stop.is_set():
            store.free()

    forgetting = threading.Thread(target=forget)
    forgetting.start()
    try:
        for _ in range(30):
            store.push(Sweep("again"), [spec(0)], again=True)
            assert "again" in {sweep.name for sweep in store.sweeps()}
            assert store.delete(ItemFilter(sweep="again")) == 1
    finally:
        stop.set()
        forgetting.join()
