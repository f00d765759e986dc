"""What every store must honour about the policies of specs: after what work is tried again, how often and when, and how
long it may wait."""

from __future__ import annotations

import time
from typing import Any

import pytest

from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted
from launcher.queues import Store
from tests.queues.steps import FAILED, PENDING, ids, one, pop, push_one, states, wait_for


class PoliciesContract:
    @pytest.mark.parametrize(
        ("outcome", "on", "again"),
        [
            (Failed("run", "x", 1), ["failed"], True),
            (Failed("run", "x", 75), [75], True),
            (Failed("run", "x", 1), [75], False),
            (Failed("prepare", "x"), ["lost"], False),
            (Failed("timeout", "x"), ["timeout"], True),
            (Failed("timeout", "x"), ["failed"], False),
            (Lost("x"), ["failed"], False),
            (Lost("x"), ["lost"], True),
            (Preempted("x"), ["lost"], False),
            (Preempted("x"), ["preempted"], True),
            (Preempted("x", begun=False), ["failed"], True),
            (Cancelled("x"), ["failed", "lost", "preempted", "timeout"], False),
            (Finished(), ["failed", "lost", "preempted", "timeout", 0], False),
        ],
    )
    def test_a_spec_says_after_what_it_is_tried_again(
        self, store: Store, outcome: Outcome, on: list[Any], again: bool
    ) -> None:
        push_one(store, retry={"max_attempts": 2, "on": on})
        [lease] = pop(store)
        store.finish([(lease, outcome)])
        assert (states(store) == [PENDING]) == again

    def test_attempts_are_counted_against_the_specs_own_number(self, store: Store) -> None:
        item_id = push_one(store, retry={"max_attempts": 4})
        for attempt in range(1, 5):
            [lease] = pop(store)
            store.finish([(lease, Failed("run", f"exit code {attempt}", attempt))])
            assert store.item(item_id).state is (PENDING if attempt < 4 else FAILED)
        assert [(old.attempt, old.exit_code, old.state) for old in store.attempts(item_id)] == [
            (number, number, FAILED) for number in (1, 2, 3)
        ]

    def test_each_attempt_is_kept_with_its_agent_its_folder_and_its_end(self, store: Store) -> None:
        item_id = push_one(store)
        [lease] = pop(store, "a")
        store.ack([(lease, {"pid": 1}, "/runs/1")])
        store.finish([(lease, Lost("no trace"))])
        [lease] = pop(store, "b")
        store.ack([(lease, {"pid": 2}, "/runs/2")])
        store.finish([(lease, Failed("run", "exit code 3", 3, {"loss": 1}))])
        store.retry(one(item_id), "me")
        first, second = store.attempts(item_id)
        assert (first.attempt, first.agent, first.run_dir, first.stage, first.reason, first.exit_code) == (
            1, "a", "/runs/1", "lost", "no trace", None,
        )  # fmt: skip
        assert (second.attempt, second.agent, second.run_dir, second.stage, second.reason, second.exit_code) == (
            2, "b", "/runs/2", "run", "exit code 3", 3,
        )  # fmt: skip
        assert None not in (first.started_at, first.finished_at, second.started_at, second.finished_at)
        assert store.attempts("unknown") == []
        store.delete(one(item_id))
        assert store.attempts(item_id) == []

    def test_an_item_that_backs_off_is_passed_over_until_its_time(self, store: Store) -> None:
        item_id = push_one(store, retry={"on": ["failed"], "backoff": {"initial": 0.2, "jitter": 0}})
        other = push_one(store, 1)
        [lease] = pop(store, limit=1)
        assert store.next_due(["default"]) is None
        store.finish([(lease, Failed("run", "x", 1))])
        item = store.item(item_id)
        assert (item.state, item.hold) == (PENDING, "backoff")
        assert item.not_before is not None
        assert item.not_before - item.changed_at == pytest.approx(0.2)
        assert store.next_due([]) is None
        assert ids(pop(store)) == [other]
        due = store.next_due(["default"])
        assert due is None or 0 <= due <= 0.2
        again = wait_for(lambda: pop(store))
        assert ids(again) == [item_id]
        assert time.time() >= item.not_before
        assert (again[0].item.hold, again[0].item.not_before, again[0].item.attempt) == (None, None, 2)

    def test_what_has_waited_too_long_has_failed(self, store: Store) -> None:
        item_id = push_one(store, timeout={"queue": 1e-6})
        patient = push_one(store, 1, timeout={"queue": "1h"})
        assert ids(pop(store)) == [patient]
        item = store.item(item_id)
        assert (item.state, item.stage, item.attempt, item.started_at) == (FAILED, "timeout", 0, None)
        assert "too long" in (item.reason or "")
        assert [(event.before, event.after) for event in store.events(item_id)] == [(PENDING, FAILED)]

    def test_what_has_run_once_does_not_expire_when_it_waits_again(self, store: Store) -> None:
        item_id = push_one(store, timeout={"queue": 0.1}, retry={"max_attempts": 3})
        [lease] = pop(store)
        store.ack([(lease, {"pid": 1}, "/runs/1")])
        wait_for(lambda: time.time() > lease.item.added_at + 0.1)
        store.finish([(lease, Failed("run", "exit code 1", 1))])
        assert ids(pop(store)) == [item_id]
