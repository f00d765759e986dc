"""What every store must honour about sweeps that are pushed again: what they have is left out, what failed waits."""

from __future__ import annotations

from launcher.item import ItemFilter, QueueInfo, Receipt, Sweep
from launcher.outcome import Cancelled, Failed, Finished
from launcher.queues import Store
from tests.queues.steps import (
    CANCELLED,
    EVERYTHING,
    FINISHED,
    PENDING,
    RUNNING,
    OpenAgain,
    at_once,
    ids,
    pop,
    spec,
    start,
    states,
)


class PushingAgainContract:
    def test_specs_that_the_sweep_has_already_are_left_out(self, store: Store) -> None:
        first = store.push(Sweep("s"), [spec(seed) for seed in range(3)])
        second = store.push(Sweep("s"), [spec(seed) for seed in range(5)])
        assert (second.added, second.present, len(second.ids)) == (2, 3, 2)
        assert ids(store.items(EVERYTHING)) == [*first.ids, *second.ids]
        assert [item.point for item in store.items(EVERYTHING)] == [(f"seed={seed}",) for seed in range(5)]

    def test_again_adds_them_again(self, store: Store) -> None:
        store.push(Sweep("s"), [spec(seed) for seed in range(3)])
        assert store.push(Sweep("s"), [spec(seed) for seed in range(3)], again=True).added == 3
        assert len(states(store)) == 6

    def test_who_asks_under_which_run_id_and_how_urgently_makes_no_other_spec(self, store: Store) -> None:
        store.push(Sweep("s"), [spec(1, author="me", run_id="mine")])
        same = [spec(1), spec(1, author="you"), spec(1, run_id="yours"), spec(1, run_id="mine"), spec(1, priority=0)]
        assert store.push(Sweep("s"), same) == Receipt("s", 0, 5, (), 0, {PENDING: 5})

    def test_another_document_queue_or_sweep_makes_another_spec(self, store: Store) -> None:
        store.create_queue(QueueInfo("gpu", "slurm"))
        store.push(Sweep("s"), [spec(1)])
        assert store.push(Sweep("s"), [spec(1, queue="gpu"), spec(1, name="n"), spec(2)]).added == 3
        assert store.push(Sweep("t"), [spec(1)]).added == 1
        assert store.push(None, [spec(1)]).added == 1
        assert store.push(None, [spec(1)]).added == 1

    def test_specs_whose_items_have_ended_are_present_still(self, store: Store) -> None:
        store.push(Sweep("s"), [spec(1)])
        [lease] = pop(store)
        store.finish([(lease, Finished())])
        assert store.push(Sweep("s"), [spec(1)]).present == 1

    def test_what_failed_waits_again_when_its_sweep_is_pushed_again(self, store: Store) -> None:
        store.push(Sweep("s"), [spec(seed) for seed in range(4)])
        failed, finished, cancelled = pop(store, limit=3)
        store.finish([(failed, Failed("run", "x", 1)), (finished, Finished()), (cancelled, Cancelled())])
        receipt = store.push(Sweep("s"), [spec(seed) for seed in range(5)])
        assert (receipt.added, receipt.retried, receipt.present) == (1, 1, 3)
        assert states(store) == [PENDING, FINISHED, CANCELLED, PENDING, PENDING]
        assert [old.exit_code for old in store.attempts(failed.item.id)] == [1]
        [again] = pop(store, limit=1)
        assert (again.item.id, again.item.attempt) == (failed.item.id, 2)

    def test_what_failed_once_and_finished_once_is_there(self, store: Store) -> None:
        store.push(Sweep("s"), [spec(1)])
        [lease] = pop(store)
        store.finish([(lease, Failed("run", "x", 1))])
        store.push(Sweep("s"), [spec(1)], again=True)
        [lease] = pop(store)
        store.finish([(lease, Finished())])
        assert store.push(Sweep("s"), [spec(1)]) == Receipt("s", 0, 1, (), 0, {FINISHED: 1})

    def test_a_receipt_says_in_which_states_those_are_that_were_there(self, store: Store) -> None:
        store.push(Sweep("s"), [spec(seed) for seed in range(7)])
        failed, finished, other, cancelled, running, _ = leases = pop(store, limit=6)
        start(store, *leases)
        ends = [(failed, Failed("run", "x", 1)), (finished, Finished()), (other, Finished()), (cancelled, Cancelled())]
        assert store.finish(ends) == [True] * 4
        store.push(Sweep("t"), [spec(3), spec(8)])
        receipt = store.push(Sweep("s"), [*(spec(seed) for seed in range(9)), spec(0)])
        assert (receipt.added, receipt.retried) == (2, 1)
        assert receipt.present == 7, "one of them comes twice, and it waits again"
        assert receipt.present_states == {PENDING: 2, RUNNING: 2, FINISHED: 2, CANCELLED: 1}
        assert store.push(Sweep("s"), [spec(8), spec(9)], again=True) == Receipt(
            "s", 2, 0, tuple(ids(store.items(ItemFilter(sweep="s")))[-2:])
        )
        assert store.item(running.item.id).state is RUNNING

    def test_of_several_items_with_one_spec_the_newest_that_has_not_failed_counts(self, store: Store) -> None:
        for outcome in (Finished(), Cancelled(), Failed("run", "x", 1)):
            store.push(Sweep("s"), [spec(1)], again=True)
            [lease] = pop(store)
            store.finish([(lease, outcome)])
        assert store.push(Sweep("s"), [spec(1)]).present_states == {CANCELLED: 1}

    def test_a_sweep_pushed_from_two_stores_one_after_the_other_is_one_sweep(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        assert store.push(Sweep("s"), [spec(seed) for seed in range(4)]).added == 4
        assert open_again().push(Sweep("s"), [spec(seed) for seed in range(6)]) == Receipt(
            "s", 2, 4, tuple(ids(store.items(EVERYTHING))[4:]), 0, {PENDING: 4}
        )
        assert [sweep.name for sweep in store.sweeps()] == ["s"]

    def test_a_sweep_pushed_from_two_stores_at_once_has_each_spec_once(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        stores = [store, open_again()]
        receipts = at_once(2, lambda place: stores[place].push(Sweep("s"), (spec(seed) for seed in range(300))))
        assert sorted((receipt.added, receipt.present) for receipt in receipts) == [(0, 300), (300, 0)]
        assert {item.point for item in store.items(EVERYTHING)} == {(f"seed={seed}",) for seed in range(300)}
        assert len(states(store)) == 300
