"""What every store must honour about what people change: they cancel, try again, and set priorities."""

from __future__ import annotations

from launcher.item import Event, ItemFilter, QueueInfo, Sweep
from launcher.outcome import Cancelled, Failed, Finished, Lost
from launcher.policy import MAX_ATTEMPTS
from launcher.queues import Store
from tests.queues.steps import (
    CANCELLED,
    EVERYTHING,
    FAILED,
    FINISHED,
    LEASED,
    PENDING,
    RUNNING,
    OpenAgain,
    agent,
    bring_to,
    ids,
    one,
    one_in_each_state,
    only,
    pop,
    push_and_pop,
    push_one,
    spec,
    start,
    states,
)


class ChangingContract:
    # -- cancel -------------------------------------------------------------------------------------------------------

    def test_cancel_ends_what_waits_and_asks_for_what_runs_to_be_stopped(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        store.push(None, [spec(seed) for seed in range(4)])
        leased, running = pop(store, "a", 2)
        start(store, running)
        assert open_again().cancel(EVERYTHING, "me") == (2, 2)
        assert states(store) == [LEASED, RUNNING, CANCELLED, CANCELLED]
        assert store.leases("a") == {leased.token: True, running.token: True}
        assert [item.stop_requested for item in store.items(EVERYTHING)] == [True, True, False, False]
        waiting = next(iter(store.items(only(CANCELLED))))
        assert (waiting.reason, waiting.finished_at) == ("cancelled while waiting", waiting.changed_at)
        assert store.events(waiting.id) == [
            Event(waiting.changed_at, PENDING, CANCELLED, 0, "me", "cancelled while waiting")
        ]
        assert pop(store) == []
        assert store.finish([(leased, Cancelled()), (running, Cancelled())]) == [True, True]
        assert states(store) == [CANCELLED] * 4
        assert store.cancel(EVERYTHING, "me") == (0, 0)

    def test_a_run_that_ends_well_before_it_is_stopped_has_finished(self, store: Store) -> None:
        lease = push_and_pop(store)
        store.cancel(EVERYTHING, "me")
        assert store.ack([(lease, {}, "/runs")]) == [True]
        assert store.leases("a") == {lease.token: True}
        assert store.finish([(lease, Finished({"n": 1}))]) == [True]
        [item] = store.items(EVERYTHING)
        assert (item.state, item.stop_requested, item.result) == (FINISHED, False, {"n": 1})

    def test_cancel_leaves_what_has_ended_and_what_the_filter_leaves_out(self, store: Store) -> None:
        made = one_in_each_state(store)
        assert store.cancel(ItemFilter(ids=()), "me") == (0, 0)
        assert store.cancel(only(FINISHED, FAILED, CANCELLED), "me") == (0, 0)
        assert store.cancel(only(RUNNING), "me") == (0, 1)
        assert store.cancel(ItemFilter(ids=(made[PENDING], made[FINISHED])), "me") == (1, 0)
        found = {item.id: (item.state, item.stop_requested) for item in store.items(EVERYTHING)}
        assert found == {
            made[FINISHED]: (FINISHED, False),
            made[FAILED]: (FAILED, False),
            made[CANCELLED]: (CANCELLED, False),
            made[LEASED]: (LEASED, False),
            made[RUNNING]: (RUNNING, True),
            made[PENDING]: (CANCELLED, False),
        }

    def test_cancelling_what_waits_again_does_not_stretch_its_last_run(self, store: Store) -> None:
        lease = push_and_pop(store)
        start(store, lease)
        store.finish([(lease, Failed("run", "exit code 1", 1))])
        ran = store.item(lease.item.id).seconds
        assert ran is not None
        store.retry(EVERYTHING, "me")
        store.cancel(EVERYTHING, "me")
        assert store.item(lease.item.id).seconds in (None, ran)

    # -- retry --------------------------------------------------------------------------------------------------------

    def test_retry_makes_failed_and_cancelled_items_wait_again_and_no_others(self, store: Store) -> None:
        made = one_in_each_state(store)
        before = {state: store.item(item_id) for state, item_id in made.items()}
        assert store.retry(EVERYTHING, "me") == 2
        for state, item_id in made.items():
            if state in (FAILED, CANCELLED):
                item = store.item(item_id)
                assert (item.state, item.attempt, item.max_attempts) == (PENDING, 1, MAX_ATTEMPTS)
                assert (item.exit_code, item.stage, item.result, item.finished_at) == (None, None, None, None)
                last = store.events(item_id)[-1]
                assert (last.before, last.after, last.actor, last.reason) == (state, PENDING, "me", "retried")
            else:
                assert store.item(item_id) == before[state]
        assert store.retry(EVERYTHING, "me") == 0

    def test_retry_follows_its_filter(self, store: Store) -> None:
        failed, other = bring_to(store, FAILED), bring_to(store, FAILED)
        assert store.retry(ItemFilter(ids=()), "me") == 0
        assert store.retry(only(FINISHED), "me") == 0
        assert store.retry(ItemFilter(sweep="s"), "me") == 0
        assert store.retry(one(failed), "me") == 1
        assert (store.item(failed).state, store.item(other).state) == (PENDING, FAILED)

    def test_a_retried_item_has_one_more_attempt(self, store: Store) -> None:
        item_id = push_one(store)
        for _ in range(MAX_ATTEMPTS):
            [lease] = pop(store)
            store.finish([(lease, Lost("no trace"))])
        for more in range(1, 3):
            assert store.retry(one(item_id), "me") == 1
            assert store.item(item_id).max_attempts == MAX_ATTEMPTS + more
            [lease] = pop(store)
            assert lease.item.attempt == MAX_ATTEMPTS + more
            store.finish([(lease, Lost("no trace"))])
            assert store.item(item_id).state is FAILED

    def test_a_cancelled_run_that_is_retried_is_not_stopped_again(self, store: Store) -> None:
        lease = push_and_pop(store)
        store.cancel(EVERYTHING, "me")
        store.finish([(lease, Cancelled())])
        store.retry(EVERYTHING, "me")
        [again] = pop(store)
        assert store.leases("a") == {again.token: False}

    # -- priorities ---------------------------------------------------------------------------------------------------

    def test_a_changed_priority_counts_for_waiting_items_only(self, store: Store) -> None:
        store.create_queue(QueueInfo("flat", "local-process", "DISABLED"))
        store.push(Sweep("s"), [spec(0), spec(1), spec(2), spec(9, queue="flat")])
        [running] = pop(store, limit=1)
        last = list(store.items(EVERYTHING))[2]
        assert store.set_priority(one(last.id), 0) == 1
        assert store.set_priority(one(running.item.id), 0) == 0
        assert ids(pop(store, limit=1)) == [last.id]
        assert store.set_priority(ItemFilter(sweep="s"), 3) == 1
        assert [item.priority for item in store.items(EVERYTHING)] == [2, 3, 0, 2]

    def test_a_priority_is_kept_when_an_item_is_tried_again(self, store: Store) -> None:
        store.push(None, [spec(0)])
        store.set_priority(EVERYTHING, 1)
        store.register(agent("a"))
        [lease] = pop(store)
        store.release("a", "gone")
        assert [item.priority for item in store.items(EVERYTHING)] == [1]
        [lease] = pop(store)
        store.finish([(lease, Failed("run", "bad"))])
        store.retry(EVERYTHING, "me")
        assert [(item.state, item.priority) for item in store.items(EVERYTHING)] == [(PENDING, 1)]
