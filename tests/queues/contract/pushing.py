"""What every store must honour about pushes."""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest.mock import ANY

import pytest

from launcher.errors import LaunchError, NotFoundError, StoreError
from launcher.item import Item, ItemFilter, QueueInfo, Receipt, Sweep
from launcher.outcome import Failed
from launcher.policy import MAX_ATTEMPTS
from launcher.queues import Store, adding, staging
from launcher.spec import LaunchSpec
from tests.queues.steps import (
    EVERYTHING,
    LEASED,
    PENDING,
    Broken,
    OpenAgain,
    everything,
    ids,
    pop,
    push_one,
    spec,
    states,
)


class TrackedSpec(LaunchSpec):
    """Counts how many of its kind are alive."""

    alive = 0
    most = 0

    def __init__(self, *fields: Any) -> None:
        super().__init__(*fields)
        TrackedSpec.alive += 1
        TrackedSpec.most = max(TrackedSpec.most, TrackedSpec.alive)

    def __del__(self) -> None:
        TrackedSpec.alive -= 1


class PushingContract:
    """The tests; `store` and `open_again` come from the subclass."""

    def test_a_pushed_item_waits_with_all_that_it_was_given(self, store: Store) -> None:
        before = time.time()
        receipt = store.push(Sweep("s"), [spec(3, priority=1, name="train", run_id="chosen")])
        after = time.time()
        assert receipt == Receipt("s", 1, 0, ("chosen",))
        [item] = store.items(EVERYTHING)
        assert before <= item.added_at <= after
        assert item == Item(
            id="chosen",
            queue="default",
            sweep="s",
            state=PENDING,
            priority=1,
            name="train",
            point=("seed=3",),
            attempt=0,
            max_attempts=MAX_ATTEMPTS,
            added_at=item.added_at,
            changed_at=item.added_at,
        )
        assert store.events("chosen") == []

    def test_an_id_is_drawn_where_none_is_given(self, store: Store) -> None:
        drawn = store.push(None, [spec(seed) for seed in range(50)]).ids
        assert len(set(drawn)) == 50
        assert all(re.fullmatch("[a-z0-9]{8}", item_id) for item_id in drawn)
        assert ids(store.items(EVERYTHING)) == list(drawn)

    def test_a_push_takes_a_generator_and_keeps_its_order(self, store: Store) -> None:
        receipt = store.push(Sweep("s"), (spec(seed) for seed in range(1501)))
        assert receipt == Receipt("s", 1501, 0, ())
        assert [item.point for item in store.items(EVERYTHING)] == [(f"seed={seed}",) for seed in range(1501)]

    def test_a_push_holds_few_of_its_specs_at_a_time(self, store: Store) -> None:
        TrackedSpec.most = 0
        made = (TrackedSpec({"resource": "local-process", "seed": seed}) for seed in range(3000))
        assert store.push(None, made).added == 3000
        assert 0 < TrackedSpec.most <= 1000

    def test_while_specs_are_being_made_others_push_and_pop(self, store: Store, open_again: OpenAgain) -> None:
        other = open_again()

        def slow() -> Iterator[LaunchSpec]:
            for seed in range(600):
                if seed in (0, 1, 599):
                    other.push(None, [spec(priority=0)])
                    assert len(pop(other)) == 1
                yield spec(seed)

        assert store.push(Sweep("s"), slow()).added == 600
        assert Counter(states(store)) == {PENDING: 600, LEASED: 3}

    @pytest.mark.parametrize("made", [0, 1, 1200])
    def test_a_push_whose_specs_end_in_an_error_leaves_nothing(self, store: Store, made: int) -> None:
        store.push(Sweep("kept"), [spec()])
        before = everything(store)

        def breaking() -> Iterator[LaunchSpec]:
            yield from (spec(seed) for seed in range(made))
            raise Broken

        with pytest.raises(Broken):
            store.push(Sweep("s"), breaking())
        assert everything(store) == before
        assert store.push(Sweep("s"), [spec(5000)]).added == 1
        assert [item.point for item in store.items(ItemFilter(sweep="s"))] == [("seed=5000",)]

    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            (spec(9, queue="nowhere"), NotFoundError),
            (spec(9, priority=7), StoreError),
            (spec(9, priority=-1), StoreError),
            (spec(9, run_id="taken"), StoreError),
        ],
        ids=["unknown queue", "priority too big", "priority negative", "run_id taken"],
    )
    def test_a_push_with_one_bad_spec_at_its_end_leaves_nothing(
        self, store: Store, bad: LaunchSpec, error: type[Exception]
    ) -> None:
        push_one(store, run_id="taken")
        before = everything(store)
        with pytest.raises(error):
            store.push(Sweep("s"), [*(spec(seed) for seed in range(600)), bad])
        assert everything(store) == before

    def test_a_sweep_that_is_malformed_is_refused_with_its_specs(self, store: Store) -> None:
        before = everything(store)
        with pytest.raises(StoreError):
            store.push(Sweep("s", "accuracy", "sideways"), [spec()])
        assert everything(store) == before

    @pytest.mark.parametrize(("number", "shown"), [(0, 0), (1, 1), (100, 100), (101, 0)])
    def test_a_receipt_counts_all_and_shows_the_ids_of_few(self, store: Store, number: int, shown: int) -> None:
        receipt = store.push(Sweep("s"), [spec(seed) for seed in range(number)])
        assert (receipt.sweep, receipt.added, receipt.present) == ("s", number, 0)
        assert list(receipt.ids) == ids(store.items(EVERYTHING))[:shown]

    def test_a_run_id_that_the_store_has_is_refused_by_name(self, store: Store) -> None:
        push_one(store, run_id="taken")
        with pytest.raises(StoreError, match=r"'taken' is taken"):
            store.push(None, [spec(1), spec(2, run_id="taken"), spec(3, run_id="free")])
        assert ids(store.items(EVERYTHING)) == ["taken"]

    def test_a_run_id_that_comes_twice_in_a_push_is_refused_by_name(self, store: Store) -> None:
        with pytest.raises(StoreError, match=r"'twice' is taken"):
            store.push(Sweep("s"), [spec(1, run_id="twice"), spec(2, run_id="once"), spec(3, run_id="twice")])
        assert states(store) == []

    def test_an_unknown_queue_is_refused_with_the_known_ones(self, store: Store) -> None:
        store.create_queue(QueueInfo("gpu", "slurm"))
        with pytest.raises(NotFoundError) as refused:
            store.push(None, [spec(), spec(queue="gpuu"), spec(queue="zzz")])
        assert "'gpuu'" in str(refused.value)
        assert "'zzz'" in str(refused.value)
        assert "did you mean 'gpu'?" in str(refused.value)
        assert "known: default, gpu" in str(refused.value)

    def test_a_sweep_keeps_its_metric_until_another_is_named(self, store: Store) -> None:
        store.push(Sweep("s", "loss", "minimize"), [spec(1)])
        store.push(Sweep("s"), [spec(2)])
        [sweep] = store.sweeps()
        assert (sweep.metric, sweep.goal) == ("loss", "minimize")
        store.push(Sweep("s", "accuracy", "maximize"), [])
        [sweep] = store.sweeps()
        assert (sweep.metric, sweep.goal) == ("accuracy", "maximize")

    def test_sweeps_come_oldest_first(self, store: Store) -> None:
        before = time.time()
        for name in ("zebra", "ant", "moth"):
            store.push(Sweep(name), [spec()])
        store.push(Sweep("zebra"), [spec(1)])
        found = store.sweeps()
        assert [sweep.name for sweep in found] == ["zebra", "ant", "moth"]
        assert all(before <= sweep.created_at <= time.time() for sweep in found)

    # -- rows that find no room in memory, and IDs that are taken -----------------------------------------------------

    def test_a_push_of_any_length_keeps_every_document(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(staging, "BATCH", 7)
        monkeypatch.setattr(staging, "IN_MEMORY", 2)
        specs = [spec(seed, name=f"ünï\n{seed}", retry={"max_attempts": 1 + (seed - 10) % 3}) for seed in range(100)]
        assert store.push(Sweep("s"), specs[10:60]).added == 50
        [lease] = pop(store, limit=1)
        store.finish([(lease, Failed("run", "it broke"))])
        receipt = store.push(Sweep("s"), specs)
        assert receipt == Receipt("s", 50, 49, receipt.ids, 1, {PENDING: 49})
        found = list(store.items(EVERYTHING))
        assert [item.point for item in found] == [spec.point for spec in [*specs[10:60], *specs[:10], *specs[60:]]]
        assert ids(found[50:]) == list(receipt.ids)
        for item in found:
            seed = int(item.point[0].removeprefix("seed="))
            assert store.document(item.id) == specs[seed].document
            assert item.name == f"ünï\n{seed}"
            assert item.max_attempts == (2 if seed == 10 else 1 + (seed - 10) % 3)  # that one has failed once

    def test_a_long_push_that_is_refused_leaves_nothing(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(staging, "BATCH", 7)
        monkeypatch.setattr(staging, "IN_MEMORY", 1)
        before = everything(store)
        given = [spec(seed, run_id=f"run-{seed % 40}") for seed in range(50)]
        with pytest.raises(StoreError, match=r"'run-0', 'run-1', .*'run-9' is taken"):
            store.push(Sweep("s"), given)
        assert everything(store) == before

    @pytest.mark.parametrize("change", [{"run_id": "mine"}, {"limits": {"licence": 1}}, {"queue": "gpu"}, {"deep": {}}])
    def test_the_end_of_a_long_list_may_be_of_another_kind(
        self, store: Store, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(staging, "BATCH", 7)
        store.create_queue(QueueInfo("gpu", "local-process"))
        specs = [*map(spec, range(30)), spec(30, **change), spec(31)]
        assert store.push(Sweep("s"), specs).added == len(specs)
        found = list(store.items(EVERYTHING))
        assert [item.point for item in found] == [spec.point for spec in specs]
        assert [item.queue for item in found] == [spec.queue_name for spec in specs]
        assert [store.document(item.id) for item in found] == [spec.document for spec in specs]
        assert Counter(count.queue for count in store.counts() for _ in range(count.number)) == Counter(
            spec.queue_name for spec in specs
        )
        again = store.push(Sweep("s"), specs)
        assert again == Receipt("s", 0, len(specs), (), 0, {PENDING: len(specs)})

    @pytest.mark.parametrize("change", [{}, {"run_id": "mine"}])
    def test_the_end_of_a_long_list_may_be_there_already(
        self, store: Store, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(staging, "BATCH", 7)
        specs = [spec(0, **change), *map(spec, range(1, 21))]
        assert store.push(Sweep("s"), specs[14:]).added == 7
        assert store.push(Sweep("s"), specs) == Receipt("s", 14, 7, ANY, 0, {PENDING: 7})
        assert sorted(item.point for item in store.items(EVERYTHING)) == sorted(spec.point for spec in specs)

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ([{"queue": "no-such"}, {"queue": "nor-such"}], "no queue named 'no-such'.*\nno queue named 'nor-such'"),
            ([{"run_id": "one"}, {"run_id": "two"}], "run_id 'one', 'two' is taken"),
        ],
    )
    def test_a_long_list_whose_ends_are_refused_leaves_nothing_and_says_both(
        self, store: Store, changes: list[dict[str, Any]], told: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(staging, "BATCH", 7)
        store.push(None, [spec(run_id="one"), spec(run_id="two")])
        before = everything(store)
        first, last = changes
        with pytest.raises(LaunchError, match=told):
            store.push(Sweep("s"), [spec(0, **first), *map(spec, range(1, 30)), spec(30, **last)])
        assert everything(store) == before

    def test_drawn_ids_that_are_taken_are_drawn_anew(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (staging, adding):
            monkeypatch.setattr(module, "new_ids", lambda: map("drawn-{}".format, itertools.count()))
        first = store.push(Sweep("s"), [spec(seed) for seed in range(3)])
        assert first.ids == ("drawn-0", "drawn-1", "drawn-2")
        second = store.push(Sweep("s"), [spec(seed) for seed in range(2, 5)])
        assert ids(store.items(EVERYTHING)) == [*first.ids, *second.ids]
        assert len({*first.ids, *second.ids}) == 5
        monkeypatch.setattr(staging, "BATCH", 2)
        third = store.push(Sweep("s"), [spec(seed) for seed in (5, 6, 3, 4)])  # the last batch is there already
        assert (third.added, third.present) == (2, 2)
