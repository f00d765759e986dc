"""What every store must honour about queues: their settings, their pauses, their limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from launcher.errors import NotFoundError, StoreError
from launcher.item import QueueInfo, Sweep
from launcher.outcome import Failed, Finished
from launcher.queues import Store
from tests.queues.steps import EVERYTHING, OpenAgain, one, pop, spec, strict


class QueuesContract:
    def test_a_new_store_has_the_default_queue(self, store: Store) -> None:
        [queue] = store.queues()
        assert (queue.name, queue.resource, queue.paused) == ("default", "local-process", False)

    def test_a_created_queue_keeps_all_that_it_was_given(self, store: Store, open_again: OpenAgain) -> None:
        arguments = {"slurm": {"partition": "{{partition}}", "gres": None, "time": 10**30, "tags": ["ü", 1, True]}}
        given = QueueInfo(
            "gpu", "slurm", "DISABLED", True, "team", arguments, {"partition": {"type": "string"}}, 7, False,
            {"docs": "https://example.org"}, "for nights",
        )  # fmt: skip
        store.create_queue(given)
        store.create_queue(QueueInfo("aaa", "ray"))
        found = open_again().queues()
        assert [queue.name for queue in found] == ["aaa", "default", "gpu"]
        assert found[2] == replace(given, created_at=found[2].created_at)
        assert strict(found[2].resource_args) == strict(arguments)

    def test_a_queue_of_a_known_name_is_refused_and_the_first_stays(self, store: Store, open_again: OpenAgain) -> None:
        store.create_queue(QueueInfo("gpu", "slurm"))
        before = store.queues()
        for name in ("gpu", "default"):
            with pytest.raises(StoreError, match=f"'{name}' exists already"):
                open_again().create_queue(QueueInfo(name, "ray"))
        assert store.queues() == before

    def test_a_queue_with_an_unknown_prioritization_is_refused(self, store: Store) -> None:
        before = store.queues()
        with pytest.raises(StoreError):
            store.create_queue(QueueInfo("gpu", "slurm", "sometimes"))
        assert store.queues() == before

    def test_an_updated_queue_has_other_settings_and_is_paused_as_before(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        store.create_queue(QueueInfo("gpu", "slurm", paused=True))
        changed = QueueInfo("gpu", "ray", "DISABLED", entity="e", max_running=3, description="d", links={"a": "b"})
        open_again().update_queue(changed)
        found = next(queue for queue in store.queues() if queue.name == "gpu")
        assert found == replace(changed, paused=True, created_at=found.created_at)

    def test_a_paused_queue_gives_nothing_until_it_is_resumed(self, store: Store) -> None:
        store.push(None, [spec(0)])
        store.pause_queue("default", paused=True)
        assert store.queues()[0].paused
        assert pop(store) == []
        store.pause_queue("default", paused=False)
        assert len(pop(store)) == 1

    def test_a_deleted_queue_is_gone_and_its_ended_items_stay(self, store: Store) -> None:
        store.create_queue(QueueInfo("gpu", "slurm"))
        store.push(Sweep("s"), [spec(0, queue="gpu")])
        with pytest.raises(StoreError, match=r"queue 'gpu' still has items \(1 pending\)"):
            store.delete_queue("gpu")
        [lease] = store.pop("a", ["gpu"], 1)
        with pytest.raises(StoreError, match=r"1 leased"):
            store.delete_queue("gpu")
        assert store.finish([(lease, Failed("run", "x", 1))]) == [True]
        store.delete_queue("gpu")
        assert [queue.name for queue in store.queues()] == ["default"]
        assert [item.queue for item in store.items(EVERYTHING)] == ["gpu"]
        with pytest.raises(NotFoundError, match="no queue named 'gpu'"):
            store.push(None, [spec(1, queue="gpu")])
        assert store.retry(one(lease.item.id), "me") == 0
        store.create_queue(QueueInfo("gpu", "ray", max_running=1))
        assert [(queue.name, queue.resource) for queue in store.queues()] == [
            ("default", "local-process"),
            ("gpu", "ray"),
        ]

    def test_verbs_about_a_queue_that_is_not_there_tell_the_known_ones(self, store: Store) -> None:
        verbs: list[Callable[[], None]] = [
            lambda: store.update_queue(QueueInfo("defalt", "ray")), lambda: store.pause_queue("defalt", paused=True),
            lambda: store.delete_queue("defalt"),
        ]  # fmt: skip
        for verb in verbs:
            with pytest.raises(NotFoundError, match=r"no queue named 'defalt' in .*; did you mean 'default'"):
                verb()

    def test_no_more_items_of_a_queue_are_held_than_it_allows(self, store: Store) -> None:
        store.update_queue(replace(store.queues()[0], max_running=3))
        store.create_queue(QueueInfo("free", "local-process"))
        store.push(None, [*(spec(seed) for seed in range(6)), *(spec(seed, queue="free") for seed in range(2))])
        first, second = store.pop("a", ["default"], 2), store.pop("b", ["default", "free"], 10)
        assert [len(first), len(second)] == [2, 3]
        assert Counter(lease.item.queue for lease in second) == {"default": 1, "free": 2}
        assert store.pop("c", ["default"], 10) == []
        store.ack([(first[0], {}, "x")])
        assert store.pop("c", ["default"], 10) == []
        assert store.finish([(first[0], Finished(None))]) == [True]
        assert len(store.pop("c", ["default"], 10)) == 1
