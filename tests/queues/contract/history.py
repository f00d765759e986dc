"""What every store must honour about the past: the event log, why items waited, and which agents were there."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from launcher.item import ItemFilter, LogEntry, QueueInfo, RunState, Sweep
from launcher.outcome import Cancelled, Failed, Finished, Ran
from launcher.queues import Progress, Store, history
from launcher.waits import ALL_NEEDS, Stall
from tests.conftest import until
from tests.queues.contract.needs import asking
from tests.queues.steps import EVERYTHING, agent, one, pop, push_and_pop, push_one, spec, start

PENDING, LEASED, RUNNING = RunState.PENDING, RunState.LEASED, RunState.RUNNING


def told(entries: list[LogEntry]) -> list[tuple[RunState, RunState, str | None]]:
    return [(entry.before, entry.after, entry.hold) for entry in entries]


def log(store: Store, which: ItemFilter = EVERYTHING) -> list[LogEntry]:
    return store.log(which, limit=1000)


class HistoryContract:
    @pytest.mark.parametrize("outcome", [Finished(), Failed("run", "no", 1), Cancelled()])
    @pytest.mark.parametrize("again", [False, True])
    def test_a_run_ran_when_its_outcome_says(
        self, store: Store, outcome: Finished | Failed | Cancelled, again: bool
    ) -> None:
        push_one(store, retry={"on": ["failed"]} if again else {})
        [lease] = pop(store)
        start(store, lease)
        now = time.time()
        assert store.finish([(lease, replace(outcome, ran=Ran(now - 100.0, now - 40.0)))]) == [True]
        item = store.item(lease.item.id)
        assert (item.state is PENDING) is (again and isinstance(outcome, Failed))
        found = store.attempts(item.id)[0] if item.state is PENDING else item
        assert (found.started_at, found.finished_at) == (now - 100.0, now - 40.0)
        assert item.changed_at >= now, "the store heard of it now"

    def test_a_clock_that_is_ahead_makes_no_run_end_in_the_future(self, store: Store) -> None:
        lease = push_and_pop(store)
        start(store, lease)
        later = time.time() + 3600
        store.finish([(lease, Finished(ran=Ran(later, later + 9)))])
        item = store.item(lease.item.id)
        assert item.seconds == 0.0
        assert item.finished_at is not None
        assert item.finished_at <= time.time()

    # -- what tables are made of ------------------------------------------------------------------------------------

    def test_records_tell_of_items_what_items_do(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(history, "RECORDS", 2)
        store.push(Sweep("s"), [*(spec(seed) for seed in range(4)), spec(4, name="ünï")])
        store.push(None, [spec(9)])
        leases = pop(store, limit=3)
        start(store, *leases)
        store.finish([(leases[0], Finished({"loss": 0.5})), (leases[1], Failed("run", "exit code 3", 3))])
        records = list(store.run_records(ItemFilter(sweep="s")))
        items = list(store.items(ItemFilter(sweep="s")))
        assert [record.seq for record in records] == sorted(record.seq for record in records)
        assert [json.loads(record.result) if record.result else None for record in records] == [
            item.result for item in items
        ]
        assert [tuple(json.loads(record.point)) for record in records] == [item.point for item in items]
        assert [record.agent for record in records] == ["a", "a", "a", None, None]
        for name in (
            "id",
            "sweep",
            "queue",
            "attempt",
            "added_at",
            "started_at",
            "finished_at",
            "run_dir",
            "reason",
            "name",
        ):
            assert [getattr(record, name) for record in records] == [getattr(item, name) for item in items], name
        assert [record.state for record in records] == [item.state.value for item in items]
        assert [record.exit_code for record in records] == [0, 3, None, None, None]
        assert [record.name for record in records] == [None] * 4 + ["ünï"]
        assert {record.name for record in store.newest(EVERYTHING, 10)} == {None, "ünï"}
        assert len(list(store.run_records(ItemFilter(states=frozenset({RunState.FAILED}))))) == 1

    def test_progress_and_what_changed_last(self, store: Store) -> None:
        assert store.progress(EVERYTHING, 0.0) == Progress(0, None, 0)
        store.push(Sweep("s"), [spec(seed) for seed in range(4)])
        leases = pop(store, limit=3)
        start(store, *leases)
        begun = time.time()
        store.finish([(leases[1], Finished())])
        store.finish([(leases[0], Failed("run", "x", 1))])
        found = store.progress(ItemFilter(sweep="s"), begun - 60)
        assert (found.ended, found.lately) == (2, 2)
        assert found.seconds is not None
        assert 0 <= found.seconds < 60
        assert store.progress(ItemFilter(sweep="s"), begun + 3600).lately == 0
        assert [record.id for record in store.newest(EVERYTHING, 2)] == [lease.item.id for lease in leases[:2]]
        failed = store.newest(ItemFilter(sweep="s", states=frozenset({RunState.FAILED})), 5)
        assert [(record.id, record.state) for record in failed] == [(leases[0].item.id, "failed")]

    def test_a_series_is_kept_with_its_runs_end_and_goes_with_its_item(self, store: Store) -> None:
        first, second, third = (push_and_pop(store) for _ in range(3))
        store.finish(
            [(first, Finished(series=b"\0a")), (second, Failed("run", "x", 1, series=b"b")), (third, Finished())]
        )
        ids = [lease.item.id for lease in (first, second, third)]
        assert store.series(ids) == {ids[0]: b"\0a", ids[1]: b"b"}
        assert store.series(ids[2:]) == {}
        store.retry(one(ids[1]), "ann")
        [again] = pop(store)
        assert store.finish([(second, Finished(series=b"stale"))]) == [False]
        assert store.finish([(again, Failed("run", "x", 1, series=b"new"))]) == [True]
        assert store.series(ids[1:2]) == {ids[1]: b"new"}
        store.retry(one(ids[1]), "ann")
        [silent] = pop(store)
        assert store.finish([(silent, Finished())]) == [True]
        assert store.series(ids) == {ids[0]: b"\0a"}
        store.delete(EVERYTHING)
        assert store.series(ids) == {}
        assert store.check() == []

    # -- the event log --------------------------------------------------------------------------------------------

    def test_the_log_tells_every_transition_with_what_it_is_about(self, store: Store) -> None:
        store.push(Sweep("s"), [spec()])
        [lease] = pop(store, "a")
        start(store, lease)
        store.finish([(lease, Failed("run", "exit code 1", 1))])
        entries = log(store)
        assert told(entries) == [(PENDING, LEASED, None), (LEASED, RUNNING, None), (RUNNING, RunState.FAILED, None)]
        assert {(entry.item, entry.sweep, entry.queue, entry.attempt) for entry in entries} == {
            (lease.item.id, "s", "default", 1)
        }
        assert [(entry.actor, entry.reason) for entry in entries] == [("a", None), ("a", None), ("a", "exit code 1")]
        assert [entry.at for entry in entries] == [event.at for event in store.events(lease.item.id)]

    def test_the_log_tells_when_an_item_is_held_and_let_go(self, store: Store) -> None:
        item_id = push_one(store)
        before = time.time()
        store.hold(EVERYTHING)
        store.hold(EVERYTHING)
        store.resume(EVERYTHING)
        entries = log(store)
        assert told(entries) == [(PENDING, PENDING, "paused"), (PENDING, PENDING, None)]
        assert before - 0.1 <= entries[0].at <= entries[1].at <= time.time() + 0.1
        assert store.events(item_id) == [], "no transition was made"

    def test_the_log_tells_that_an_item_backs_off_and_that_its_sweep_is_stopped(self, store: Store) -> None:
        retry = {"on": ["failed"], "backoff": {"initial": "1h"}}
        store.push(Sweep("s", stop_after_failures=1), [spec(retry=retry), spec(1), spec(2)])
        first, second = pop(store, limit=2)
        store.finish([(first, Failed("run", "x", 1))])
        assert told(log(store, one(first.item.id)))[-1] == (LEASED, PENDING, "backoff")
        store.finish([(second, Failed("run", "x", 1))])
        [third] = [item.id for item in store.items(ItemFilter(states=frozenset({PENDING}))) if item.attempt == 0]
        assert told(log(store, one(third))) == [(PENDING, PENDING, "failures")]
        assert told(log(store, one(first.item.id)))[-1] == (PENDING, PENDING, "failures")

    def test_the_log_is_read_page_by_page(self, store: Store) -> None:
        store.push(None, [spec(seed) for seed in range(5)])
        pop(store)
        whole = log(store)
        assert [entry.seq for entry in whole] == sorted({entry.seq for entry in whole})
        first = store.log(EVERYTHING, limit=2)
        rest = store.log(EVERYTHING, after=first[-1].seq, limit=1000)
        assert first + rest == whole
        assert len(first) == 2
        assert store.log(EVERYTHING, after=whole[-1].seq, limit=10) == []

    def test_the_log_of_a_filter_and_from_a_time_on(self, store: Store) -> None:
        store.push(Sweep("s"), [spec(1)])
        store.push(Sweep("t"), [spec(2)])
        [first] = pop(store, limit=1)
        between = log(store)[-1].at
        while time.time() <= between:
            time.sleep(0.001)
        store.finish([(first, Finished())])
        pop(store)
        assert [entry.sweep for entry in log(store, ItemFilter(sweep="s"))] == ["s", "s"]
        assert [entry.after for entry in log(store, one(first.item.id))] == [LEASED, RunState.FINISHED]
        late = store.log(EVERYTHING, since=between + 1e-6, limit=10)
        assert [(entry.sweep, entry.after) for entry in late] == [("s", RunState.FINISHED), ("t", LEASED)]

    def test_deleted_items_are_gone_from_the_log(self, store: Store) -> None:
        item_id = push_one(store)
        store.hold(EVERYTHING)
        store.delete(one(item_id))
        assert log(store) == []

    # -- what items wait for --------------------------------------------------------------------------------------

    def test_nothing_blocks_where_nothing_waits(self, store: Store) -> None:
        push_and_pop(store)
        held = push_one(store, 1)
        store.hold(one(held))
        assert store.blockers(["default"]) == []
        assert store.blockers([]) == []
        push_one(store, 2)
        store.pause_queue("default", paused=True)
        assert store.blockers(["default"]) == [], "a pause is recorded by itself"

    def test_blockers_say_how_full_a_queue_is(self, store: Store) -> None:
        store.create_queue(QueueInfo("two", "local-process", max_running=2))
        store.push(None, [spec(seed, "two") for seed in range(3)])
        store.pop("a", ["two"], 1)
        [blocker] = store.blockers(["two", "default", "nowhere"])
        assert (blocker.queue, blocker.needs, dict(blocker.asked)) == ("two", 0, {})
        assert (blocker.max_running, blocker.busy, blocker.full_limit) == (2, 1, None)

    def test_blockers_say_what_is_asked_for_in_the_order_of_taking(self, store: Store) -> None:
        store.push(None, [spec(), asking(gpus=1, priority=1), asking(2, gpus=1, priority=1), asking(3, cpus=2)])
        found = store.blockers(["default"])
        assert [(blocker.asked.get("gpus"), blocker.asked.get("cpus")) for blocker in found] == [
            (1.0, 0.0),
            (None, None),
            (0.0, 2.0),
        ]
        assert len({blocker.needs for blocker in found}) == 3

    def test_blockers_name_a_limit_that_is_full(self, store: Store) -> None:
        store.push(None, [asking(seed, limits={"licence": 1, "server": 9}) for seed in range(2)])
        assert [blocker.full_limit for blocker in store.blockers(["default"])] == [None]
        pop(store, limit=1)
        assert [blocker.full_limit for blocker in store.blockers(["default"])] == ["licence"]

    def test_how_many_items_are_ahead(self, store: Store) -> None:
        store.create_queue(QueueInfo("other", "local-process"))
        first, second, third = store.push(None, [spec(1), spec(2), spec(3, priority=1)]).ids
        store.push(None, [spec(4, "other")])
        assert [store.ahead(item) for item in (first, second, third)] == [1, 2, 0]
        store.hold(one(first))
        assert store.ahead(second) == 1, "what is held is passed over"
        pop(store)
        assert store.ahead(third) == 0

    # -- why they waited ------------------------------------------------------------------------------------------

    def test_a_stall_is_extended_and_told_of_items_that_ask_for_the_same(self, store: Store) -> None:
        plain, sized = store.push(None, [spec(), asking(gpus=1)]).ids
        needs = next(blocker.needs for blocker in store.blockers(["default"]) if blocker.needs)
        now = time.time()
        stall = Stall("default", needs, "a", "no free GPU", now, now + 1)
        store.stalled([stall, Stall("other", needs, "a", "no free GPU", now, now + 1)])
        longer = Stall("default", needs, "a", "no free GPU", now, now + 5)
        everybody = Stall("default", ALL_NEEDS, "b", "queue limit", now, now + 2)
        store.stalled([longer, everybody])
        store.stalled([])
        assert set(store.stalls(sized)) == {longer, everybody}
        assert store.stalls(plain) == [everybody]

    def test_stalls_from_before_an_item_are_not_its_own(self, store: Store) -> None:
        item_id = push_one(store)
        added = store.item(item_id).added_at
        store.stalled([Stall("default", 0, "a", "no free CPU", added - 9, added - 1)])
        assert store.stalls(item_id) == []

    def test_a_pause_of_a_queue_is_kept(self, store: Store) -> None:
        item_id = push_one(store)
        store.pause_queue("default", paused=True)
        store.pause_queue("default", paused=True)
        [pause] = store.stalls(item_id)
        assert (pause.cause, pause.agent, pause.until) == ("queue paused", "", None)
        store.pause_queue("default", paused=False)
        [ended] = store.stalls(item_id)
        assert ended.since == pause.since
        assert ended.until is not None
        assert ended.since <= ended.until <= time.time() + 0.1
        later = ended.since + 0.002  # SQLite tells milliseconds
        until(lambda: time.time() > later)
        store.pause_queue("default", paused=True)
        assert sorted(stall.until is None for stall in store.stalls(item_id)) == [False, True]

    def test_old_stalls_are_forgotten(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(history, "KEPT_STALLS", 3)
        item_id = push_one(store)
        store.pause_queue("default", paused=True)
        now = time.time()
        for second in range(6):
            store.stalled([Stall("default", 0, "a", "no free CPU", now + second, now + second + 1)])
        kept = sorted(stall.until - now for stall in store.stalls(item_id) if stall.until is not None)
        assert kept == pytest.approx([3, 4, 5, 6])
        assert [stall.cause for stall in store.stalls(item_id) if stall.until is None] == ["queue paused"]

    def test_agents_that_have_left_are_told_from_a_time_on(self, store: Store) -> None:
        long_ago = time.time() - 1000
        store.register(agent("left", seen_at=long_ago))
        store.register(agent("lost", seen_at=long_ago))
        store.register(agent("here", seen_at=long_ago))
        before = time.time()
        store.leave("left")
        store.release("lost", "silent")
        assert {found.id for found in store.agents()} == {"here"}
        assert {found.id: found.state for found in store.agents(before)} == {"left": "left", "here": "alive"}
        assert len(store.agents(long_ago)) == 3
