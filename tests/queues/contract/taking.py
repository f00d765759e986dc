"""What every store must honour about taking: which items a pop leases and in which order, each to one agent; and an
exchange, which tells starts and ends and takes at once."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from launcher.item import Lease, QueueInfo, Sweep
from launcher.outcome import Failed, Finished, Lost, Outcome
from launcher.queues import Store
from tests.queues.steps import (
    EVERYTHING,
    FAILED,
    FINISHED,
    LEASED,
    PENDING,
    RUNNING,
    OpenAgain,
    agent,
    assert_books_balance,
    at_once,
    ids,
    one_in_each_state,
    only,
    pop,
    push_and_pop,
    push_one,
    spec,
    states,
    strict,
)


class TakingContract:
    # -- pop ----------------------------------------------------------------------------------------------------------

    def test_pop_takes_the_most_urgent_then_the_oldest_over_all_its_queues(self, store: Store) -> None:
        store.create_queue(QueueInfo("gpu", "slurm"))
        store.create_queue(QueueInfo("other", "slurm"))
        priorities = [2, 0, 3, 1, 2, 0, 3, 1, 1, 2]
        names = ["default", "gpu", "gpu", "other", "gpu", "default", "default", "gpu", "default", "gpu"]
        for seed, (name, priority) in enumerate(zip(names, priorities, strict=True)):
            store.push(None, [spec(seed, name, priority)])
        popped = []
        while leases := store.pop("a", ["gpu", "default"], 2):
            assert len(leases) <= 2
            popped += [int(lease.item.point[0].removeprefix("seed=")) for lease in leases]
        of_these = [seed for seed, name in enumerate(names) if name != "other"]
        assert popped == sorted(of_these, key=lambda seed: (priorities[seed], seed))
        assert [item.queue for item in store.items(only(PENDING))] == ["other"]

    def test_pop_takes_as_many_as_asked_for(self, store: Store) -> None:
        pushed = store.push(None, [spec(seed) for seed in range(5)]).ids
        assert pop(store, limit=0) == []
        assert pop(store, limit=-1) == []
        assert ids(pop(store, limit=2)) == list(pushed[:2])
        assert ids(pop(store, limit=100)) == list(pushed[2:])

    def test_a_queue_named_twice_counts_once(self, store: Store) -> None:
        pushed = store.push(None, [spec(seed) for seed in range(5)]).ids
        assert ids(store.pop("a", ["default", "default"], 4)) == list(pushed[:4])

    def test_nothing_is_popped_where_nothing_waits(self, store: Store) -> None:
        store.create_queue(QueueInfo("gpu", "slurm"))
        assert pop(store) == []
        push_one(store)
        assert store.pop("a", ["gpu"], 1) == []
        assert store.pop("a", ["unknown"], 1) == []
        assert store.pop("a", [], 1) == []
        assert len(pop(store)) == 1
        assert pop(store) == []

    def test_only_waiting_items_are_popped(self, store: Store) -> None:
        waiting = one_in_each_state(store)[PENDING]
        assert ids(pop(store, "b")) == [waiting]

    def test_a_lease_says_what_to_run_and_the_item_says_who_has_it(self, store: Store, open_again: OpenAgain) -> None:
        wanted = spec(4, name="train")
        store.push(Sweep("s"), [wanted])
        before = time.time()
        [lease] = open_again().pop("a", ["default"], 1)
        assert strict(lease.document) == strict(wanted.document)
        [item] = store.items(EVERYTHING)
        assert lease.item == item
        assert (item.state, item.agent, item.attempt) == (LEASED, "a", 1)
        assert before <= item.changed_at <= time.time()

    def test_every_lease_has_a_token_of_its_own(self, store: Store) -> None:
        store.push(None, [spec(seed) for seed in range(20)])
        tokens = [lease.token for lease in pop(store)]
        store.release("a", "gone")
        tokens += [lease.token for lease in pop(store)]
        assert len(tokens) == 40
        assert len(set(tokens)) == 40
        assert all(tokens)

    def test_agents_that_pop_at_once_never_get_the_same_item(self, store: Store, open_again: OpenAgain) -> None:
        pushed = store.push(Sweep("s"), (spec(seed, priority=seed % 4) for seed in range(400)))
        stores = [store, open_again(), store, open_again()]

        def take_all(place: int) -> list[Lease]:
            taken: list[Lease] = []
            while leases := stores[place].pop(f"agent{place}", ["default"], 3):
                taken += leases
            return taken

        taken = at_once(4, take_all)
        leases = [lease for part in taken for lease in part]
        assert sorted(ids(leases)) == sorted(ids(store.items(EVERYTHING)))
        assert len(leases) == pushed.added
        assert len({lease.token for lease in leases}) == 400
        for place, part in enumerate(taken):
            assert {lease.item.id for lease in part} == {lease.item.id for lease in store.held(f"agent{place}")}

    def test_items_pushed_while_agents_pop_are_all_taken_once(self, store: Store, open_again: OpenAgain) -> None:
        everything_pushed = threading.Event()
        stores = [store, open_again(), open_again()]

        def work(place: int) -> list[str]:
            taken: list[str] = []
            if place == 0:
                for seed in range(0, 200, 10):
                    store.push(Sweep("s"), [spec(seed + more) for more in range(10)])
                everything_pushed.set()
            else:
                ended = False
                while not ended:
                    ended = everything_pushed.is_set()
                    while leases := stores[place].pop(f"agent{place}", ["default"], 4):
                        taken += ids(leases)
            return taken

        taken = [item_id for part in at_once(3, work) for item_id in part]
        assert len(taken) == 200
        assert set(taken) == set(ids(store.items(only(LEASED))))

    # -- ends told and items taken at once ----------------------------------------------------------------------------

    def test_an_exchange_tells_ends_and_takes_into_the_places_that_became_free(self, store: Store) -> None:
        store.update_queue(replace(store.queues()[0], max_running=2))
        store.push(None, [spec(seed) for seed in range(5)])
        first = pop(store, "a")
        assert len(first) == 2
        outcomes: list[Outcome] = [Finished({"n": 1}), Failed("run", "no")]
        _, done, leases = store.exchange("a", [], list(zip(first, outcomes, strict=True)), ["default"], 10)
        assert (done, len(leases)) == ([True, True], 2)
        assert states(store) == [FINISHED, FAILED, LEASED, LEASED, PENDING]
        assert store.item(first[0].item.id).result == {"n": 1}
        assert_books_balance(store)

    def test_an_exchange_that_takes_nothing_tells_the_ends(self, store: Store) -> None:
        lease, other = push_and_pop(store), push_and_pop(store)
        push_one(store)
        assert store.exchange("a", [], [(lease, Finished())], ["default"], 0) == ([], [True], [])
        assert store.exchange("a", [], [(other, Finished())], ["elsewhere"], 5) == ([], [True], [])
        assert states(store) == [FINISHED, FINISHED, PENDING]

    def test_an_exchange_tells_starts_and_ends_in_one(self, store: Store) -> None:
        ending, starting, stale = (push_and_pop(store) for _ in range(3))
        store.finish([(stale, Lost("gone"))])
        begun = [(lease, {"pid": 7}, "/runs/7") for lease in (starting, stale)]
        acked, done, _ = store.exchange("a", begun, [(ending, Finished())], ["elsewhere"], 0)
        assert (acked, done) == ([True, False], [True])
        assert states(store)[:2] == [FINISHED, RUNNING]
        item = store.item(starting.item.id)
        assert (item.handle, item.run_dir) == ({"pid": 7}, "/runs/7")
        assert_books_balance(store)

    def test_an_exchange_of_nothing_is_a_pop(self, store: Store) -> None:
        push_one(store)
        _, done, [lease] = store.exchange("a", [], [], ["default"], 5)
        assert (done, lease.item.state) == ([], LEASED)

    def test_an_exchange_refuses_what_is_stale_and_takes_all_the_same(self, store: Store) -> None:
        stale = push_and_pop(store)
        store.release("a", "gone")
        _, done, [lease] = store.exchange("a", [], [(stale, Finished())], ["default"], 5)
        assert (done, lease.item.id, lease.item.attempt) == ([False], stale.item.id, 2)

    def test_what_an_exchange_puts_back_it_may_take_at_once(self, store: Store) -> None:
        store.register(agent("a"))
        lease = push_and_pop(store)
        _, done, [again] = store.exchange("a", [], [(lease, Lost("gone"))], ["default"], 5)
        assert (done, again.item.id, again.item.attempt, again.token != lease.token) == ([True], lease.item.id, 2, True)
        assert [attempt.attempt for attempt in store.attempts(lease.item.id)][:1] == [1]

    def test_agents_that_exchange_at_once_run_every_item_once(self, store: Store, open_again: OpenAgain) -> None:
        store.push(None, [spec(seed) for seed in range(120)])

        def work(number: int) -> list[str]:
            mine, ran = open_again(), []
            _, done, leases = mine.exchange(f"agent-{number}", [], [], ["default"], 7)
            while leases:
                ran += ids(lease.item for lease in leases)
                ended = [(lease, Finished()) for lease in leases]
                _, done, leases = mine.exchange(f"agent-{number}", [], ended, ["default"], 7)
                assert all(done)
            return ran

        ran = [item for part in at_once(4, work) for item in part]
        assert sorted(ran) == sorted(ids(store.items(EVERYTHING)))
        assert set(states(store)) == {FINISHED}
        assert_books_balance(store)
