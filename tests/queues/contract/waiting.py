"""What every store must honour about waiting: it ends as soon as there may be something to do."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from launcher.outcome import Lost
from launcher.queues import Store
from tests.queues.steps import EVERYTHING, NEVER_SECONDS, PROMPT_SECONDS, OpenAgain, push_and_pop, spec


class WaitingContract:
    def test_wait_returns_when_another_store_has_committed_since_the_last_wait(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        other = open_again()
        store.wait(threading.Event(), 0)
        other.push(None, [spec()])
        before = time.monotonic()
        store.wait(threading.Event(), NEVER_SECONDS)
        assert time.monotonic() - before < PROMPT_SECONDS

    @pytest.mark.parametrize("verb", ["push", "cancel", "put back"])
    def test_wait_returns_when_another_store_gives_something_to_do(
        self, store: Store, open_again: OpenAgain, verb: str
    ) -> None:
        other = open_again()
        lease = push_and_pop(other)
        waiting = threading.Event()

        def wait(_: int) -> float:
            store.wait(threading.Event(), 0)
            waiting.set()
            before = time.monotonic()
            store.wait(threading.Event(), NEVER_SECONDS)
            return time.monotonic() - before

        with ThreadPoolExecutor(1) as pool:
            waited = pool.submit(wait, 0)
            assert waiting.wait(PROMPT_SECONDS)
            if verb == "push":
                other.push(None, [spec()])
            elif verb == "cancel":
                other.cancel(EVERYTHING, "me")
            else:
                other.finish([(lease, Lost("no trace"))])
            assert waited.result(NEVER_SECONDS * 2) < PROMPT_SECONDS

    def test_wait_returns_when_it_is_woken(self, store: Store) -> None:
        wake = threading.Event()
        waiting = threading.Event()

        def wait() -> float:
            store.wait(wake, 0)
            waiting.set()
            before = time.monotonic()
            store.wait(wake, NEVER_SECONDS)
            return time.monotonic() - before

        with ThreadPoolExecutor(1) as pool:
            waited = pool.submit(wait)
            assert waiting.wait(PROMPT_SECONDS)
            wake.set()
            assert waited.result(NEVER_SECONDS * 2) < PROMPT_SECONDS

    def test_wait_returns_after_its_timeout_and_not_before(self, store: Store) -> None:
        store.wait(threading.Event(), 0)
        before = time.monotonic()
        store.wait(threading.Event(), 0.3)
        assert 0.29 <= time.monotonic() - before < PROMPT_SECONDS
