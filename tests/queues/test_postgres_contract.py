"""The store contract over PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from launcher.queues import Store
from launcher.queues.postgres import PostgresStore
from tests.queues.history_contract import HistoryContract
from tests.queues.needs_contract import NeedsContract
from tests.queues.store_contract import StoreContract
from tests.services import Postgres


class TestPostgres(HistoryContract, NeedsContract, StoreContract):
    @pytest.fixture
    def url(self, postgres: Postgres) -> str:
        return postgres.database()

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        made = PostgresStore(url)
        yield made
        made.close()

    @pytest.fixture
    def open_again(self, url: str) -> Iterator[Callable[[], Store]]:
        opened: list[PostgresStore] = []

        def again() -> Store:
            opened.append(PostgresStore(url))
            return opened[-1]

        yield again
        for store in opened:
            store.close()
