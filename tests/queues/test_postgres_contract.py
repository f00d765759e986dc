"""The store contract over PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest

from launcher.errors import ConflictError, StoreError
from launcher.item import ItemFilter, QueueInfo, RunState, Sweep
from launcher.outcome import Preempted
from launcher.queues import Store, postgres_server
from launcher.queues.postgres import PostgresStore
from tests.conftest import until
from tests.queues.contract import StoreContract
from tests.queues.steps import agent, spec
from tests.services import Postgres


class TestPostgres(StoreContract):
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

    def test_what_is_taken_while_its_agent_is_declared_lost_goes_to_the_next(
        self, store: PostgresStore, open_again: Callable[[], PostgresStore]
    ) -> None:
        store.push(None, [spec()])
        store.register(agent("dying"))
        dying = open_again()
        with ThreadPoolExecutor() as threads, held_open(dying) as reached:
            taking = threads.submit(dying.pop, "dying", ["default"], 1)
            assert reached.before.wait(30)
            adopting = threads.submit(store.adopt, "dying", "next")
            until(lambda: adopting.done() or waits_for_a_lock(store))
            reached.go_on.set()
            [lease] = taking.result()
            assert [adopted.token for adopted in adopting.result()] == [lease.token]
        assert [held.token for held in store.held("next")] == [lease.token]

    def test_an_agent_that_stands_still_in_a_transaction_holds_nobody_up(
        self, store: PostgresStore, open_again: Callable[[], PostgresStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.push(None, [spec()])
        store.register(agent("stopped"))
        monkeypatch.setattr(postgres_server, "STALLED_SECONDS", 1)
        stopped = open_again()
        with ThreadPoolExecutor() as threads, held_open(stopped) as reached:
            taking = threads.submit(stopped.pop, "stopped", ["default"], 1)
            assert reached.before.wait(30)
            assert threads.submit(store.release, "stopped", "silent").result(30) == 0
            reached.go_on.set()
            with pytest.raises(StoreError):
                taking.result()
        assert len(store.pop("another", ["default"], 1)) == 1

    def test_the_server_notices_soon_that_a_machine_is_gone(self, store: PostgresStore) -> None:
        with store._session() as db:
            found = [
                int(db.execute(f"SHOW tcp_keepalives_{name}").fetchone()[f"tcp_keepalives_{name}"])
                for name in ("idle", "interval", "count")
            ]
        idle, interval, count = found
        assert idle + interval * count <= 30

    def test_a_verb_that_is_ended_for_the_sake_of_another_is_begun_anew(self, store: PostgresStore, url: str) -> None:
        first, second = store.push(Sweep("s"), [spec(seed=1), spec(seed=2)]).ids
        lock = "SELECT 1 FROM launcher.items WHERE id = %s FOR UPDATE"
        with psycopg.connect(url) as other, ThreadPoolExecutor() as threads:
            other.execute("SET deadlock_timeout = '1h'")  # so that it is the other one that is ended
            other.execute(lock, [second])
            cancelling = threads.submit(store.cancel, ItemFilter(sweep="s"), "ann")
            until(lambda: waits_for_a_lock(store), "that it waits for the second item")
            other.execute(lock, [first])
            other.commit()
            assert cancelling.result(30) == (2, 0)

    def test_what_is_put_back_while_it_is_cancelled_is_cancelled(
        self, store: PostgresStore, open_again: Callable[[], PostgresStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.push(None, [spec()])
        [lease] = store.pop("a", ["default"], 1)
        cancelling, change, between, go_on = open_again(), store._change, threading.Event(), threading.Event()

        def slow(db: Any, verb: str, which: ItemFilter, **values: Any) -> int:
            if verb == "request_stop":
                between.set()
                assert go_on.wait(30)
            return change(db, verb, which, **values)

        monkeypatch.setattr(cancelling, "_change", slow)
        with ThreadPoolExecutor() as threads:
            cancelled = threads.submit(cancelling.cancel, ItemFilter(), "ann")
            assert between.wait(30)
            put_back = threads.submit(store.finish, [(lease, Preempted("its agent stopped"))])
            until(lambda: put_back.done() or waits_for_a_lock(store), "that it waits, or that it is done")
            go_on.set()
            assert cancelled.result(30) == (0, 1)
            assert put_back.result(30) == [True]
        [item] = store.items(ItemFilter())
        assert item.state is RunState.CANCELLED

    def test_a_push_that_is_ended_for_the_sake_of_another_is_begun_anew(self, store: PostgresStore, url: str) -> None:
        store.push(Sweep("s"), [spec(seed=1)])
        with psycopg.connect(url, options="-c search_path=launcher") as other, ThreadPoolExecutor() as threads:
            other.execute("SET deadlock_timeout = '1h'")
            other.execute("SELECT 1 FROM queues WHERE name = 'default' FOR UPDATE")
            pushing = threads.submit(store.push, Sweep("s"), (spec(seed) for seed in range(5)))
            until(lambda: waits_for_a_lock(store), "that it waits for the queue")
            other.execute("SELECT 1 FROM sweeps WHERE name = 's' FOR UPDATE")
            other.commit()
            assert pushing.result(30).added == 4
        assert len(list(store.items(ItemFilter()))) == 5

    def test_a_push_keeps_nobody_from_a_queue_with_a_limit(
        self, store: PostgresStore, open_again: Callable[[], PostgresStore]
    ) -> None:
        store.create_queue(QueueInfo("few", "local-process", max_running=2))
        store.push(None, [spec(1, queue="few")])
        adding = open_again()
        with ThreadPoolExecutor() as threads, held_open(adding) as reached:
            pushing = threads.submit(adding.push, None, [spec(2, queue="few")])
            assert reached.before.wait(30)
            [lease] = threads.submit(store.pop, "a", ["few"], 2).result(30)
            threads.submit(store.pause_queue, "few", paused=True).result(30)
            assert not pushing.done()
            reached.go_on.set()
            assert pushing.result(30).added == 1
        assert lease.item.point == ("seed=1",)

    def test_a_run_id_that_two_pushes_bring_at_once_is_refused_in_words(
        self, store: PostgresStore, open_again: Callable[[], PostgresStore]
    ) -> None:
        first = open_again()
        with ThreadPoolExecutor() as threads, held_open(first) as reached:
            pushing = threads.submit(first.push, None, [spec(1, run_id="mine")])
            assert reached.before.wait(30)
            second = threads.submit(store.push, None, [spec(2, run_id="mine"), spec(3)])
            until(lambda: second.done() or waits_for_a_lock(store), "that it waits for the first push")
            reached.go_on.set()
            assert pushing.result(30).ids == ("mine",)
            with pytest.raises(ConflictError, match="run_id 'mine' is taken"):
                second.result(30)
        assert len(list(store.items(ItemFilter()))) == 1

    def test_a_queue_that_a_push_adds_to_is_not_deleted_meanwhile(
        self, store: PostgresStore, open_again: Callable[[], PostgresStore]
    ) -> None:
        store.create_queue(QueueInfo("gpu", "slurm"))
        adding = open_again()
        with ThreadPoolExecutor() as threads, held_open(adding) as reached:
            pushing = threads.submit(adding.push, None, [spec(queue="gpu")])
            assert reached.before.wait(30)
            deleting = threads.submit(store.delete_queue, "gpu")
            until(lambda: deleting.done() or waits_for_a_lock(adding), "that it waits for the push")
            reached.go_on.set()
            assert pushing.result(30).added == 1
            with pytest.raises(ConflictError, match="still has items"):
                deleting.result(30)
        assert "gpu" in [queue.name for queue in store.queues()]


class Reached:
    """The end of a transaction, before its commit."""

    def __init__(self) -> None:
        self.before = threading.Event()
        self.go_on = threading.Event()


@contextmanager
def held_open(store: PostgresStore) -> Iterator[Reached]:
    """Let the transactions of a store wait before they commit, with all that they sent settled."""
    reached = Reached()

    def slow(
        transaction: Callable[[Any], AbstractContextManager[None]],
    ) -> Callable[[Any], AbstractContextManager[None]]:
        @contextmanager
        def slowly(db: Any) -> Iterator[None]:
            with transaction(db):
                yield
                store._settle()
                reached.before.set()
                reached.go_on.wait(30)

        return slowly

    store._transaction, store._pipelined = slow(store._transaction), slow(store._pipelined)
    try:
        yield reached
    finally:
        reached.go_on.set()


def waits_for_a_lock(store: PostgresStore) -> bool:
    with store._session() as db:
        return bool(db.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone())
