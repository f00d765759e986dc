"""What every store must honour about leases: ack and finish, what each outcome becomes, and that a stale lease writes
nothing."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted
from launcher.policy import MAX_ATTEMPTS
from launcher.queues import Store
from tests.queues.steps import (
    CANCELLED,
    EVERYTHING,
    FAILED,
    FINISHED,
    LEASED,
    PENDING,
    PROMPT_SECONDS,
    RUNNING,
    OpenAgain,
    at_once,
    everything,
    ids,
    pop,
    push_and_pop,
    push_one,
    spec,
    start,
    states,
    strict,
)


class LeasesContract:
    # -- ack and finish -----------------------------------------------------------------------------------------------

    def test_an_acknowledged_item_runs_and_its_handle_is_kept(self, store: Store, open_again: OpenAgain) -> None:
        lease = push_and_pop(store)
        handle = {"pid": 10**30, "started": 1.5, "host": "ü", "none": None}
        before = time.time()
        assert open_again().ack([(lease, handle, "/runs/ü/1")]) == [True]
        item = store.item(lease.item.id)
        assert (item.state, item.run_dir, item.agent, item.attempt) == (RUNNING, "/runs/ü/1", "a", 1)
        assert strict(item.handle) == strict(handle)
        assert item.started_at is not None
        assert before <= item.started_at <= time.time()
        assert item.seconds is None
        assert store.ack([(lease, {"other": 1}, "/other")]) == [False]
        assert store.item(lease.item.id) == item

    @pytest.mark.parametrize("started", [False, True], ids=["leased", "running"])
    @pytest.mark.parametrize(
        ("outcome", "expected"),
        [
            (Finished(), (FINISHED, 0, None, None, None)),
            (Finished({"accuracy": 0.9, "n": 10**30}), (FINISHED, 0, None, None, {"accuracy": 0.9, "n": 10**30})),
            (Failed("prepare", "no such commit"), (FAILED, None, "prepare", "no such commit", None)),
            (Failed("run", "kill: ü", -9, {"loss": 1}), (FAILED, -9, "run", "kill: ü", {"loss": 1})),
            (Cancelled(), (CANCELLED, None, None, "cancelled while running", None)),
            (Cancelled("stopped by hand"), (CANCELLED, None, None, "stopped by hand", None)),
            (Preempted("left"), (PENDING, None, "preempted", "left", None)),
            (Lost("no trace"), (PENDING, None, "lost", "no trace", None)),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Outcome) else "",
    )
    def test_an_outcome_becomes_a_state_and_says_how_it_ended(
        self, store: Store, outcome: Outcome, expected: tuple[Any, ...], started: bool
    ) -> None:
        lease = push_and_pop(store)
        if started:
            start(store, lease)
        assert store.finish([(lease, outcome)]) == [True]
        item = store.item(lease.item.id)
        assert (item.state, item.exit_code, item.stage, item.reason, item.result) == expected
        assert item.agent is None
        assert not item.stop_requested
        assert store.leases("a") == {}
        assert store.held("a") == []
        assert (item.seconds is not None) == started
        last = store.events(item.id)[-1]
        assert (last.before, last.after) == (RUNNING if started else LEASED, item.state)
        assert (last.attempt, last.actor, last.reason) == (1, "a", item.reason)

    def test_a_lost_run_is_tried_again_until_its_attempts_are_used_up(self, store: Store) -> None:
        item_id = push_one(store)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            [lease] = pop(store)
            assert lease.item.attempt == attempt
            start(store, lease)
            assert store.finish([(lease, Lost("no trace"))]) == [True]
            assert store.item(item_id).state is (PENDING if attempt < MAX_ATTEMPTS else FAILED)
        item = store.item(item_id)
        assert (item.attempt, item.stage, item.reason) == (MAX_ATTEMPTS, "lost", "no trace")
        assert pop(store) == []

    def test_a_preempted_run_always_waits_again_and_has_an_attempt_more(self, store: Store) -> None:
        item_id = push_one(store)
        for attempt in range(1, MAX_ATTEMPTS + 4):
            [lease] = pop(store)
            assert store.finish([(lease, Preempted("its agent left"))]) == [True]
            item = store.item(item_id)
            assert (item.state, item.attempt, item.max_attempts) == (PENDING, attempt, MAX_ATTEMPTS + attempt)
        for left in reversed(range(MAX_ATTEMPTS)):
            [lease] = pop(store)
            store.finish([(lease, Lost("no trace"))])
            assert store.item(item_id).state is (PENDING if left else FAILED)

    def test_an_item_put_back_keeps_its_place(self, store: Store) -> None:
        pushed = store.push(None, [spec(seed) for seed in range(3)]).ids
        [first] = pop(store, limit=1)
        store.finish([(first, Lost("no trace"))])
        assert ids(pop(store)) == list(pushed)

    def test_the_next_attempt_knows_nothing_of_the_last(self, store: Store) -> None:
        lease = push_and_pop(store)
        start(store, lease)
        store.finish([(lease, Failed("run", "exit code 1", 1, {"loss": 1}))])
        store.retry(EVERYTHING, "me")
        [again] = pop(store, "b")
        old = ("started_at", "finished_at", "run_dir", "handle", "exit_code", "stage", "reason", "result", "seconds")
        assert {name: getattr(again.item, name) for name in old} == dict.fromkeys(old)
        assert again.item.attempt == 2

    def test_ack_and_finish_take_generators_and_nothing_at_all(self, store: Store) -> None:
        store.push(None, [spec(1), spec(2)])
        leases = pop(store)
        assert store.ack([]) == []
        assert store.finish([]) == []
        assert store.ack((lease, {}, "/runs") for lease in leases) == [True, True]
        assert store.finish((lease, Finished()) for lease in leases) == [True, True]

    # -- leases that count no more ------------------------------------------------------------------------------------

    def test_the_second_finish_is_refused(self, store: Store, open_again: OpenAgain) -> None:
        lease = push_and_pop(store)
        assert store.finish([(lease, Finished({"n": 1}))]) == [True]
        before = everything(store)
        assert open_again().finish([(lease, Failed("run", "late"))]) == [False]
        assert store.ack([(lease, {}, "/late")]) == [False]
        assert everything(store) == before

    def test_of_two_outcomes_in_one_call_the_first_counts(self, store: Store) -> None:
        lease = push_and_pop(store)
        assert store.finish([(lease, Finished()), (lease, Failed("run", "second"))]) == [True, False]
        assert states(store) == [FINISHED]

    @pytest.mark.parametrize("taken_by", ["a", "b"])
    def test_a_stale_lease_is_refused_and_changes_nothing(self, store: Store, taken_by: str) -> None:
        stale = push_and_pop(store)
        start(store, stale)
        store.release("a", "gone")
        for write in ("while it waits", "while another has it", "while another runs it"):
            before = everything(store)
            assert store.ack([(stale, {"late": 1}, "/late")]) == [False], write
            assert store.finish([(stale, Finished({"late": 1}))]) == [False], write
            assert store.finish([(stale, Lost("late"))]) == [False], write
            assert everything(store) == before, write
            if write == "while it waits":
                [lease] = pop(store, taken_by)
            elif write == "while another has it":
                start(store, lease)
        assert store.finish([(lease, Finished())]) == [True]

    def test_a_token_counts_for_its_own_item_only(self, store: Store) -> None:
        store.push(None, [spec(1), spec(2)])
        first, second = pop(store)
        foreign = replace(first, token=second.token)
        before = everything(store)
        for token in (second.token, "", "no token"):
            foreign = replace(first, token=token)
            assert store.ack([(foreign, {}, "/foreign")]) == [False]
            assert store.finish([(foreign, Finished())]) == [False]
        assert everything(store) == before
        assert set(store.leases("a")) == {first.token, second.token}

    def test_a_refused_write_among_others_stops_none_of_them(self, store: Store) -> None:
        stale = push_and_pop(store)
        store.release("a", "gone")
        store.push(None, [spec(1), spec(2)])
        _, good, better = pop(store, "b")
        assert store.ack([(good, {}, "/1"), (stale, {}, "/2"), (better, {}, "/3")]) == [True, False, True]
        outcomes = [(stale, Finished()), (good, Finished()), (stale, Finished()), (better, Failed("run", "x"))]
        assert store.finish(outcomes) == [False, True, False, True]
        assert states(store) == [LEASED, FINISHED, FAILED]

    def test_an_outcome_that_races_with_a_release_is_kept_or_refused_never_both(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        store.push(None, (spec(seed) for seed in range(60)))
        leases = pop(store)
        other = open_again()
        some_finished = threading.Event()

        def work(place: int) -> list[bool]:
            if place == 0:
                assert some_finished.wait(PROMPT_SECONDS)
                return [bool(other.release("a", "gone"))]
            kept = []
            for lease in leases:
                kept += store.finish([(lease, Finished())])
                if len(kept) == 10:
                    some_finished.set()
            return kept

        _, kept = at_once(2, work)
        assert len(kept) == 60
        assert kept[:10] == [True] * 10
        assert states(store) == [FINISHED if ours else PENDING for ours in kept]

    def test_valid_tokens_are_those_that_somebody_holds(self, store: Store) -> None:
        store.push(None, [spec(1), spec(2), spec(3)])
        first, second, third = pop(store)
        start(store, second)
        store.finish([(third, Finished())])
        asked = {first.token, second.token, third.token, "unknown", ""}
        assert store.valid(asked) == {first.token, second.token}
        assert store.valid(set()) == set()
        store.release("a", "gone")
        assert store.valid(asked) == set()
