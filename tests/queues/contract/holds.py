"""What every store must honour about what is held back: by people, or because enough of its sweep has failed."""

from __future__ import annotations

import time
from collections import Counter

from launcher.item import Count, ItemFilter, QueueInfo, Sweep
from launcher.outcome import Failed, Finished, Preempted
from launcher.queues import Store
from tests.queues.steps import (
    EVERYTHING,
    FAILED,
    NEVER_SECONDS,
    PENDING,
    OpenAgain,
    at_once,
    one,
    pop,
    spec,
    wait_for,
)  # fmt: skip


class HoldsContract:
    def test_what_is_held_is_passed_over_until_it_is_resumed(self, store: Store) -> None:
        store.push(Sweep("s"), [spec(seed) for seed in range(3)])
        store.push(Sweep("t"), [spec(seed) for seed in range(2)])
        assert store.hold(ItemFilter(sweep="s")) == 3
        assert store.hold(ItemFilter(sweep="s")) == 0
        assert {item.hold for item in store.items(ItemFilter(sweep="s"))} == {"paused"}
        assert {lease.item.sweep for lease in pop(store)} == {"t"}
        assert store.hold(EVERYTHING) == 0, "what runs is not held"
        assert store.resume(ItemFilter(sweep="s", points=("seed=1",))) == 1
        assert [lease.item.point for lease in pop(store)] == [("seed=1",)]
        assert store.cancel(ItemFilter(sweep="s"), "me") == (2, 1)
        assert {item.hold for item in store.items(EVERYTHING)} == {None}

    def test_what_is_held_is_counted_by_reason(self, store: Store) -> None:
        store.create_queue(QueueInfo("gpu", "slurm"))
        backoff = {"on": ["failed"], "max_attempts": 9, "backoff": {"initial": NEVER_SECONDS}}
        store.push(Sweep("s", stop_after_failures=1), [spec(seed) for seed in range(4)])
        store.push(Sweep("t"), [spec(seed, "gpu", retry=backoff) for seed in range(3)])
        store.push(None, [spec(1), spec(2, "gpu")])
        assert store.holds() == []
        [failing] = pop(store, limit=1)
        [backing_off] = store.pop("a", ["gpu"], 1)
        store.finish([(failing, Failed("run", "x", 1)), (backing_off, Failed("run", "x", 1))])
        assert store.hold(ItemFilter(sweep="t", points=("seed=1",))) == 1
        assert store.hold(ItemFilter(queue="default", sweep="s", points=("seed=3",))) == 1
        assert store.hold(one(list(store.items(EVERYTHING))[-2].id)) == 1
        assert Counter(store.holds()) == Counter([
            Count("default", "s", PENDING, 2, "failures"), Count("default", "s", PENDING, 1, "paused"),
            Count("gpu", "t", PENDING, 1, "backoff"), Count("gpu", "t", PENDING, 1, "paused"),
            Count("default", None, PENDING, 1, "paused"),
        ])  # fmt: skip
        assert store.resume(EVERYTHING) == 5
        assert store.holds() == [Count("gpu", "t", PENDING, 1, "backoff")]

    def test_a_sweep_stops_after_as_many_failures_as_it_allows(self, store: Store) -> None:
        store.push(Sweep("s", stop_after_failures=2), [spec(seed) for seed in range(6)])
        store.push(Sweep("t"), [spec(9)])
        first, second, third = pop(store, limit=3)
        store.finish([(first, Failed("run", "x", 1)), (second, Finished())])
        assert [item.hold for item in store.items(ItemFilter(sweep="s"))] == [None] * 6
        store.finish([(third, Failed("run", "x", 1))])
        assert [item.hold for item in store.items(ItemFilter(sweep="s"))] == [None] * 3 + ["failures"] * 3
        assert [lease.item.sweep for lease in pop(store)] == ["t"]
        store.resume(ItemFilter(sweep="s"))
        assert len(pop(store, limit=2)) == 2
        assert [sweep.stop_after_failures for sweep in store.sweeps()] == [2, None]

    def test_what_was_resumed_is_not_held_again_for_what_fails_elsewhere(self, store: Store) -> None:
        store.push(Sweep("s", stop_after_failures=1), [spec(seed) for seed in range(3)])
        store.push(Sweep("t"), [spec(seed, priority=0) for seed in range(2)])
        elsewhere, _, stale = pop(store, limit=3)
        store.finish([(stale, Failed("run", "x", 1))])
        assert store.resume(ItemFilter(sweep="s")) == 2
        refused, written = (stale, Failed("run", "x", 1)), (elsewhere, Failed("run", "x", 1))
        assert store.finish([refused, written]) == [False, True]
        assert [item.hold for item in store.items(ItemFilter(sweep="s"))] == [None] * 3

    def test_what_comes_back_holds_no_resumed_sweep_again(self, store: Store) -> None:
        store.push(Sweep("s", stop_after_failures=1), [spec(seed) for seed in range(4)])
        failing, given_back, preempted = pop(store, limit=3)
        store.finish([(failing, Failed("run", "x", 1))])
        assert store.resume(ItemFilter(sweep="s")) == 1
        store.finish([(given_back, Preempted("no place", begun=False)), (preempted, Preempted("left"))])
        assert [item.hold for item in store.items(ItemFilter(sweep="s"))] == [None] * 4
        [lease, *_] = pop(store)
        store.finish([(lease, Failed("run", "x", 1))])
        store.finish([(lease, Preempted("left")) for lease in store.held("a")])
        assert [item.hold for item in store.items(ItemFilter(sweep="s"))].count("failures") == 2

    def test_what_comes_back_into_a_stopped_sweep_waits_with_the_others(self, store: Store) -> None:
        store.push(Sweep("s", stop_after_failures=1), [spec(seed) for seed in range(3)])
        store.push(Sweep("t"), [spec(9)])
        failing, running, *_, other = pop(store)
        store.finish([(failing, Failed("run", "x", 1))])
        store.finish([(running, Preempted("left")), (other, Preempted("left"))])
        assert {item.point: item.hold for item in store.items(EVERYTHING) if item.state is PENDING} == {
            ("seed=1",): "failures", ("seed=9",): None,
        }  # fmt: skip
        assert store.resume(ItemFilter(sweep="s")) == 1
        assert len(pop(store)) == 2

    def test_failures_that_are_told_at_once_are_counted_together(self, store: Store, open_again: OpenAgain) -> None:
        others = [store, open_again()]
        for number in range(20):
            name = f"s{number}"
            store.push(Sweep(name, stop_after_failures=2), [spec(seed) for seed in range(3)])
            leases = pop(store, limit=2)
            ended = at_once(2, lambda place, leases=leases: others[place].finish([(leases[place], Failed("run", "x"))]))
            assert ended == [[True], [True]]
            [rest] = [item for item in store.items(ItemFilter(sweep=name)) if item.state is PENDING]
            assert rest.hold == "failures"

    def test_what_waited_too_long_counts_among_the_failures_of_its_sweep(self, store: Store) -> None:
        store.push(Sweep("s", stop_after_failures=1), [spec(0, timeout={"queue": 0.001}), spec(1)])
        wait_for(lambda: time.time() > next(store.items(EVERYTHING)).added_at + 0.001)
        assert pop(store) == []
        assert [(item.state, item.hold) for item in store.items(EVERYTHING)] == [(FAILED, None), (PENDING, "failures")]
