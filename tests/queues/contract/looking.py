"""What every store must honour about looking: what filters select, how an item is found, what its events and the counts
tell."""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from launcher.errors import NotFoundError
from launcher.item import Count, ItemFilter, QueueInfo, RunState, Sweep
from launcher.outcome import Failed, Finished, Lost
from launcher.queues import Store
from launcher.spec import LaunchSpec
from tests.queues.steps import (
    CANCELLED,
    EVERYTHING,
    FAILED,
    FINISHED,
    LEASED,
    PENDING,
    RUNNING,
    OpenAgain,
    ids,
    one,
    only,
    pop,
    push_one,
    spec,
    start,
    states,
)


class LookingContract:
    def test_a_filter_selects_the_items_for_which_all_its_conditions_hold(self, store: Store) -> None:
        store.create_queue(QueueInfo("gpu", "slurm"))
        for sweep, queue in itertools.product((None, "s", "t"), ("default", "gpu")):
            store.push(sweep and Sweep(sweep), [spec(seed, queue) for seed in range(4)])
            _, leased, ended = store.pop("a", [queue], 3)
            start(store, leased)
            store.finish([(ended, Finished())])
        items = list(store.items(EVERYTHING))
        assert [int(item.point[0][-1]) for item in items] == [0, 1, 2, 3] * 6
        assert Counter(item.state for item in items) == {LEASED: 6, RUNNING: 6, FINISHED: 6, PENDING: 6}
        some = tuple(item.id for item in items[3:20:3])
        conditions: list[tuple[Any, ...]] = [
            (None, (), some, (items[0].id,), ("unknown", items[5].id)),
            (None, "s", "t", "unknown"),
            (None, "default", "gpu", "unknown"),
            (None, frozenset(), frozenset({PENDING}), frozenset({LEASED, FINISHED}), frozenset(RunState)),
        ]
        for wanted, sweep, queue, allowed in itertools.product(*conditions):
            expected = [
                item.id
                for item in items
                if (wanted is None or item.id in wanted)
                and (sweep is None or item.sweep == sweep)
                and (queue is None or item.queue == queue)
                and (allowed is None or item.state in allowed)
            ]
            which = ItemFilter(wanted, sweep, queue, allowed)
            assert ids(store.items(which)) == expected, which

    def test_every_verb_changes_what_its_filter_selects_and_nothing_else(self, store: Store) -> None:
        def grid(sweep: str) -> list[LaunchSpec]:
            points = itertools.product(("svm", "mlp"), (1, 2))
            return [replace(spec(seed, name=sweep + model), point=(f"model={model}", f"seed={seed}"))
                    for model, seed in points]  # fmt: skip

        for sweep in ("s", "t"):
            store.push(Sweep(sweep), grid(sweep))
        which = ItemFilter(sweep="s", queue="default", states=frozenset({PENDING, FAILED}), points=("model=svm",))
        meant = [item.id for item in store.items(EVERYTHING) if item.sweep == "s" and item.point[0] == "model=svm"]
        assert ids(store.items(which)) == meant
        assert ids(store.items(replace(which, points=("seed=2", "model=svm")))) == meant[1:]
        for points in (("model=sv",), ("seed=1", "seed=2"), ("model",), ("SEED=1",)):
            assert ids(store.items(ItemFilter(points=points))) == []
        assert store.hold(which) == 2
        assert [item.id for item in store.items(EVERYTHING) if item.hold] == meant
        assert store.resume(which) == 2
        assert store.set_priority(which, 0) == 2
        assert [item.id for item in store.items(EVERYTHING) if item.priority == 0] == meant
        store.finish([(lease, Failed("run", "x", 1)) for lease in pop(store)])
        assert store.retry(which, "me") == 2
        assert ids(store.items(only(PENDING))) == meant
        assert store.cancel(which, "me") == (2, 0)
        assert ids(store.items(only(CANCELLED))) == meant
        assert store.cancel(which, "me") == (0, 0), "its states are those that it was given"
        assert store.retry(which, "me") == 0

    def test_a_walk_over_items_lets_its_store_write_while_others_write(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        other = open_again()
        pushed = store.push(None, [spec(seed) for seed in range(20)]).ids
        walked = []
        for item in store.items(EVERYTHING):
            walked.append(item.id)
            if item.id == pushed[3]:
                other.create_queue(QueueInfo("gpu", "slurm"))
            if item.id in pushed[:10]:
                assert store.cancel(one(item.id), "me") == (1, 0)
        assert walked == list(pushed)
        assert states(store) == [CANCELLED] * 10 + [PENDING] * 10

    def test_an_item_is_found_by_its_id_or_a_unique_beginning(self, store: Store) -> None:
        for item_id in ("digits", "digits-1", "Digits-9", "digit.x", "svm_1", "svm1", "0"):
            push_one(store, run_id=item_id)
        for prefix, expected in {
            "digits": "digits",
            "digits-": "digits-1",
            "digits-1": "digits-1",
            "digit.": "digit.x",
            "D": "Digits-9",
            "svm_": "svm_1",
            "0": "0",
        }.items():
            assert store.item(prefix).id == expected

    def test_a_beginning_of_several_ids_is_refused_with_some_of_them(self, store: Store) -> None:
        for number in range(9):
            push_one(store, run_id=f"run{number}")
        with pytest.raises(NotFoundError, match="several") as refused:
            store.item("run")
        assert "run0, run1" in str(refused.value)

    def test_what_begins_no_id_is_not_found(self, store: Store) -> None:
        push_one(store, run_id="run_1")
        for prefix in ("run_10", "un", "RUN", "run%", "%", "r_n", "run*", "z", "~"):
            with pytest.raises(NotFoundError, match=re.escape(repr(prefix))):
                store.item(prefix)

    def test_the_events_of_an_item_tell_its_story(self, store: Store) -> None:
        item_id = push_one(store)
        begun = time.time()
        [lease] = pop(store, "a")
        start(store, lease)
        store.finish([(lease, Lost("no trace"))])
        store.cancel(EVERYTHING, "me")
        store.retry(EVERYTHING, "you")
        [lease] = pop(store, "b")
        store.finish([(lease, Finished())])
        told = store.events(item_id)
        assert [(event.before, event.after, event.attempt, event.actor, event.reason) for event in told] == [
            (PENDING, LEASED, 1, "a", None),
            (LEASED, RUNNING, 1, "a", None),
            (RUNNING, PENDING, 1, "a", "no trace"),
            (PENDING, CANCELLED, 1, "me", "cancelled while waiting"),
            (CANCELLED, PENDING, 1, "you", "retried"),
            (PENDING, LEASED, 2, "b", None),
            (LEASED, FINISHED, 2, "b", None),
        ]
        times = [event.at for event in told]
        assert times == sorted(times)
        assert begun <= times[0] <= times[-1] <= time.time()
        assert store.events("unknown") == []

    def test_counts_tell_sweeps_queues_and_states_apart(self, store: Store) -> None:
        assert store.counts() == []
        store.create_queue(QueueInfo("gpu", "slurm"))
        store.push(Sweep("s"), [spec(seed) for seed in range(3)])
        store.push(Sweep("s"), [spec(seed, "gpu") for seed in range(2)])
        store.push(None, [spec(priority=0)])
        [lease] = pop(store, limit=1)
        store.finish([(lease, Finished())])
        pop(store, limit=1)
        assert set(store.counts()) == {
            Count("default", "s", LEASED, 1),
            Count("default", "s", PENDING, 2),
            Count("gpu", "s", PENDING, 2),
            Count("default", None, FINISHED, 1),
        }
