"""What every store must honour about what is deleted and freed: nothing that somebody needs goes with it."""

from __future__ import annotations

import time

from launcher.item import HELD, TERMINAL, Count, ItemFilter, Sweep
from launcher.outcome import Failed, Finished
from launcher.queues import Store
from tests.queues.steps import (
    EVERYTHING,
    FAILED,
    FINISHED,
    LEASED,
    PENDING,
    OpenAgain,
    at_once,
    ids,
    one,
    one_in_each_state,
    only,
    pop,
    spec,
)


class DeletingContract:
    def test_a_healthy_store_has_no_problems(self, store: Store) -> None:
        assert store.check() == []
        made = one_in_each_state(store)
        store.push(Sweep("s"), [spec(seed) for seed in range(20)])
        assert store.check() == []
        store.delete(one(made[FINISHED]))
        assert store.check() == []
        version, newest = store.version()
        assert version == newest >= 1
        assert store.size() > 1000

    def test_deleted_items_are_forgotten_unless_an_agent_holds_them(self, store: Store) -> None:
        store.push(Sweep("s"), [spec(0), spec(1), spec(2)])
        [held] = pop(store, limit=1)
        [ended] = pop(store, limit=1)
        store.finish([(ended, Failed("run", "bad"))])
        assert store.delete(ItemFilter(sweep="s")) == 2
        assert ids(store.items(EVERYTHING)) == [held.item.id]
        assert store.counts() == [Count("default", "s", LEASED, 1)]
        assert store.events(ended.item.id) == []
        assert store.finish([(held, Finished(None))]) == [True]

    def test_items_that_ended_before_a_time_are_ended_ones_only(self, store: Store) -> None:
        made = one_in_each_state(store)
        began = time.time()
        assert list(store.items(ItemFilter(ended_before=began - 100))) == []
        ended = store.items(ItemFilter(ended_before=began + 100))
        assert set(ids(ended)) == {made[state] for state in TERMINAL}
        store.retry(one(made[FAILED]), "ann")
        assert store.delete(ItemFilter(ids=tuple(made.values()), ended_before=began + 100)) == len(TERMINAL) - 1
        assert set(ids(store.items(EVERYTHING))) == {made[state] for state in (PENDING, FAILED, *HELD)}

    def test_parts_of_documents_that_no_item_needs_are_freed(self, store: Store) -> None:
        [gone] = store.push(None, [spec(1, own="gone")]).ids
        [kept] = store.push(None, [spec(2, own="kept")]).ids
        assert store.free() == 0
        assert store.delete(one(gone)) == 1
        assert store.free() == 2, "its base and its shape"
        assert store.free() == 0
        assert store.document(kept)["own"] == "kept"
        assert store.check() == []

    def test_freed_parts_are_never_taken_for_later_ones(self, store: Store, open_again: OpenAgain) -> None:
        reader = open_again()
        ours = store.push(None, [spec(seed, own=f"old {seed}") for seed in range(3)]).ids
        assert [reader.document(each)["own"] for each in ours] == ["old 0", "old 1", "old 2"]
        assert store.delete(EVERYTHING) == 3
        store.free()
        [later] = store.push(None, [spec(7, other="new")]).ids
        assert reader.document(later) == store.document(later)
        assert "own" not in reader.document(later)

    def test_freeing_leaves_what_is_being_added_alone(self, store: Store, open_again: OpenAgain) -> None:
        other = open_again()

        def work(place: int) -> None:
            for seed in range(20):
                if place:
                    other.push(None, [spec(seed, fresh=f"{seed}")])
                else:
                    store.delete(only(PENDING))
                    store.free()

        at_once(2, work)
        assert store.check() == []
        assert all(store.document(item.id)["fresh"] for item in store.items(EVERYTHING))
