"""The store contract over SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.queues import Store
from launcher.queues.sqlite import SqliteStore
from launcher.queues.sqlite_file import _check_identity
from tests.queues.contract import StoreContract


class TestSqlite(StoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/store.db"

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        made = SqliteStore(url)
        yield made
        made.close()

    @pytest.fixture
    def open_again(self, url: str) -> Iterator[Callable[[], Store]]:
        opened: list[SqliteStore] = []

        def again() -> Store:
            opened.append(SqliteStore(url))
            return opened[-1]

        yield again
        for store in opened:
            store.close()


def test_a_store_that_another_process_makes_at_this_moment_is_no_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    class Interrupted(sqlite3.Connection):
        """After its first statement, somebody makes the store."""

        def execute(self, *statement: Any) -> Any:
            found = super().execute(*statement).fetchall()
            SqliteStore(f"sqlite:///{path}").close()
            return SimpleNamespace(fetchone=lambda: found[0])

    with closing(sqlite3.connect(path, factory=Interrupted)) as db:
        _check_identity(db, path)
