"""What every store must honour, a theme a module. A store's own tests subclass `StoreContract` with two fixtures:
`store`, an empty store, and `open_again`, which opens another Store object on the same storage and closes it after the
test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from launcher.queues import Store
from tests.queues.contract.agents import AgentsContract
from tests.queues.contract.changing import ChangingContract
from tests.queues.contract.deleting import DeletingContract
from tests.queues.contract.documents import DocumentsContract
from tests.queues.contract.history import HistoryContract
from tests.queues.contract.holds import HoldsContract
from tests.queues.contract.jobs import JobsContract
from tests.queues.contract.leases import LeasesContract
from tests.queues.contract.looking import LookingContract
from tests.queues.contract.needs import NeedsContract
from tests.queues.contract.notices import NoticesContract
from tests.queues.contract.policies import PoliciesContract
from tests.queues.contract.pushing import PushingContract
from tests.queues.contract.pushing_again import PushingAgainContract
from tests.queues.contract.queues import QueuesContract
from tests.queues.contract.records import RecordsContract
from tests.queues.contract.taking import TakingContract
from tests.queues.contract.waiting import WaitingContract
from tests.queues.steps import assert_books_balance


class StoreContract(
    QueuesContract,
    PushingContract,
    PushingAgainContract,
    DocumentsContract,
    TakingContract,
    LeasesContract,
    AgentsContract,
    NeedsContract,
    PoliciesContract,
    HoldsContract,
    ChangingContract,
    DeletingContract,
    LookingContract,
    HistoryContract,
    WaitingContract,
    JobsContract,
    RecordsContract,
    NoticesContract,
):
    """Every theme; and whatever a test did, the books balance."""

    @pytest.fixture(autouse=True)
    def _books_balance_after_every_test(self, store: Store) -> Iterator[None]:
        yield
        assert_books_balance(store)
