"""The store contract over SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.queues import Store
from launcher.queues.sqlite import SqliteStore
from tests.queues.history_contract import HistoryContract
from tests.queues.jobs_contract import JobsContract
from tests.queues.needs_contract import NeedsContract
from tests.queues.notices_contract import NoticesContract
from tests.queues.pushing_contract import PushingContract
from tests.queues.records_contract import RecordsContract
from tests.queues.store_contract import StoreContract


class TestSqlite(
    HistoryContract, JobsContract, NeedsContract, NoticesContract, PushingContract, RecordsContract, StoreContract
):
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
