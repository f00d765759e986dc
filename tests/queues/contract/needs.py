"""What every store must honour about items that ask for CPUs, memory, GPUs or places in limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher.item import ItemFilter, Lease, QueueInfo, RunState, Sweep
from launcher.outcome import Failed, Finished
from launcher.queues import Store
from launcher.slots import Room
from tests.conftest import until
from tests.queues.steps import (
    EVERYTHING,
    Broken,
    OpenAgain,
    agent,
    assert_books_balance,
    at_once,
    everything,
    ids,
    one,
    only,
    spec,
)

FREE = Room(cpus=8, memory=16e9, gpus=2, free_cpus=8, free_memory=16e9, free_gpus=2, free_part=1.0)


def asking(seed: int = 0, queue: str = "default", priority: int = 2, limits: Any = None, **asked: Any) -> Any:
    more = {"limits": limits} if limits else {}
    return spec(seed, queue, priority, resource_args={"local-process": asked}, **more)


def pop(store: Store, room: Room = FREE, queues: tuple[str, ...] = ("default",), limit: int = 10) -> list[Lease]:
    return store.pop("a", list(queues), limit, room)


class NeedsContract:
    @pytest.mark.parametrize(
        ("asked", "full"),
        [
            ({"cpus": 2}, {"free_cpus": 1.5}),
            ({"memory": "2G"}, {"free_memory": 1.9e9}),
            ({"gpus": 1}, {"free_gpus": 0}),
            ({"gpus": 2}, {"free_gpus": 1}),
            ({"gpus": 0.5}, {"free_part": 0.4}),
        ],
    )
    def test_what_does_not_fit_now_is_waited_for(
        self, store: Store, asked: dict[str, Any], full: dict[str, float]
    ) -> None:
        store.push(None, [asking(1, **asked), spec(2)])
        assert pop(store, replace(FREE, **full)) == [], "and nothing smaller passes it by"
        first = pop(store)
        assert [lease.item.point for lease in first] == [("seed=1",)]
        assert [lease.item.point for lease in pop(store, replace(FREE, **full))] == [("seed=2",)]

    def test_a_part_of_a_gpu_fits_where_no_whole_one_is_free(self, store: Store) -> None:
        store.push(None, [asking(gpus=0.5)])
        assert len(pop(store, replace(FREE, free_gpus=0, free_part=0.5))) == 1

    def test_what_an_agent_could_never_hold_is_left_to_others(self, store: Store) -> None:
        store.push(None, [asking(1, cpus=9), asking(2, gpus=3), asking(3, memory="17G"), asking(4, cpus=1)])
        assert [lease.item.point for lease in pop(store)] == [("seed=4",)]
        assert pop(store) == []
        large = replace(FREE, cpus=16, free_cpus=16)
        assert [lease.item.point for lease in pop(store, large)] == [("seed=1",)]

    def test_items_that_ask_are_taken_one_at_a_time_by_priority_then_age(self, store: Store) -> None:
        store.create_queue(QueueInfo("other", "local-process"))
        store.push(
            None,
            [asking(1, cpus=1), asking(2, "other", 1, gpus=1), spec(3, "other", 0), asking(4, cpus=2), spec(5)],
        )
        taken = []
        while leases := pop(store, queues=("default", "other", "default")):
            assert len(leases) == 1
            taken += [int(lease.item.point[0].removeprefix("seed=")) for lease in leases]
        assert taken == [3, 2, 1, 4, 5]

    def test_no_more_items_share_a_limit_than_it_allows_over_all_queues(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        store.create_queue(QueueInfo("other", "local-process"))
        limits = {"dataset-server": 2}
        store.push(None, [asking(seed, limits=limits) for seed in range(3)])
        store.push(None, [asking(seed, "other", limits=limits | {"licence": 1}) for seed in range(3, 5)])
        store.push(None, [spec(9, priority=3)])
        first, second = pop(store), open_again().pop("b", ["other"], 10, FREE)
        assert [lease.item.queue for lease in first + second] == ["default", "other"]
        assert [lease.item.point for lease in pop(store)] == [("seed=9",)], "what asks for no place passes"
        assert pop(store, queues=("default", "other")) == []
        store.ack([(first[0], {}, "x")])
        assert pop(store, queues=("other",)) == []
        store.finish([(first[0], Finished())])
        assert pop(store, queues=("other",)) == [], "its licence is in use"
        assert len(pop(store)) == 1

    def test_agents_that_pop_at_once_respect_a_limit_together(self, store: Store, open_again: OpenAgain) -> None:
        store.push(None, [asking(seed, limits={"server": 3}) for seed in range(20)])
        stores = [open_again() for _ in range(6)]
        found = at_once(6, lambda place: [stores[place].pop(f"a{place}", ["default"], 5, FREE) for _ in range(3)])
        taken = [lease for tries in found for leases in tries for lease in leases]
        assert len(set(ids(taken))) == len(taken) == 3

    def test_a_queues_own_limit_and_pause_hold_for_items_that_ask(self, store: Store) -> None:
        store.update_queue(replace(store.queues()[0], max_running=1))
        store.push(None, [asking(seed, cpus=1) for seed in range(3)])
        assert len(pop(store)) == 1
        assert pop(store) == []
        store.update_queue(replace(store.queues()[0], max_running=None))
        store.pause_queue("default", paused=True)
        assert pop(store) == []
        store.pause_queue("default", paused=False)
        assert len(pop(store)) == 1

    def test_what_fits_no_agent_fails_and_what_fits_one_waits(self, store: Store) -> None:
        store.create_queue(QueueInfo("other", "local-process"))
        added = store.push(
            None,
            [
                *(asking(1, cpus=9), asking(2, gpus=1), asking(3, memory="9G"), asking(4, cpus=1)),
                *(spec(5), asking(6, "other", cpus=99)),
            ],
        )
        rooms = [{"cpus": 8.0, "memory": 1e9, "gpus": 0.0}, {"cpus": 1.0, "memory": 9e9, "gpus": 1.0}]
        assert store.fail_unfit("default", rooms, "asks for too much") == 1
        [failed] = store.items(only(RunState.FAILED))
        assert (failed.id, failed.stage, failed.reason) == (added.ids[0], "prepare", "asks for too much")
        assert failed.finished_at is not None
        assert store.fail_unfit("default", rooms[:1], "no GPU") == 2
        assert store.fail_unfit("default", [], "nobody is there") == 1
        assert_books_balance(store)

    def test_what_fits_no_agent_may_wait_for_one_for_a_while(self, store: Store) -> None:
        store.push(None, [asking(gpus=1)])
        rooms = [{"cpus": 8.0, "memory": 1e9, "gpus": 0.0}]
        assert store.fail_unfit("default", rooms, "no GPU", seconds=3600) == 0
        until(lambda: store.fail_unfit("default", rooms, "no GPU", seconds=0.01) == 1)

    def test_what_waits_for_too_long_fails_though_nobody_asks_for_items(self, store: Store) -> None:
        sweep = Sweep("s", stop_after_failures=1)
        added = store.push(sweep, [spec(1, timeout={"queue": 0.01}), spec(2, timeout={"queue": 3600}), spec(3)])
        assert store.push(None, [spec(4, timeout={"queue": 3600})]).added == 1
        until(lambda: store.expire() == 1, "its end")
        [failed] = store.items(only(RunState.FAILED))
        assert (failed.id, failed.stage, failed.attempt) == (added.ids[0], "timeout", 0)
        assert failed.reason == "waited in its queue for too long"
        assert [item.hold for item in store.items(ItemFilter(sweep="s"))] == [None, "failures", "failures"]
        assert store.expire() == 0
        assert_books_balance(store)

    def test_an_item_that_failed_for_its_needs_can_be_retried(self, store: Store) -> None:
        added = store.push(None, [asking(cpus=9)])
        store.fail_unfit("default", [{"cpus": 8.0, "memory": 1e9, "gpus": 0.0}], "too much")
        assert store.retry(one(added.ids[0]), "ann") == 1
        assert len(pop(store, replace(FREE, cpus=9, free_cpus=9))) == 1

    def test_a_push_that_ends_in_an_error_leaves_no_needs(self, store: Store) -> None:
        before = everything(store)

        def specs() -> Any:
            yield asking(cpus=3)
            raise Broken

        with pytest.raises(Broken):
            store.push(None, specs())
        assert everything(store) == before

    def test_an_agent_tells_what_it_has(self, store: Store) -> None:
        room = {"cpus": 2.0, "memory": 8e9, "gpus": 1.0}
        store.register(agent("a", room=room))
        store.register(agent("b"))
        assert {found.id: found.room for found in store.agents()} == {"a": room, "b": {}}

    def test_an_item_that_asks_is_tried_again_as_others_are(self, store: Store) -> None:
        store.push(None, [asking(cpus=2, limits={"server": 1})])
        [lease] = pop(store)
        store.finish([(lease, Failed("run", "exit code 1", 1))])
        [item] = store.items(EVERYTHING)
        assert item.state is RunState.FAILED
        store.retry(EVERYTHING, "ann")
        assert len(pop(store)) == 1
