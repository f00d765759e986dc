"""What every store must honour. A store's own tests subclass `StoreContract` with two fixtures: `store`, an empty
store, and `open_again`, which opens another Store object on the same storage and closes it after the test."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.errors import NotFoundError, StoreError
from launcher.item import (
    HELD,
    TERMINAL,
    TRANSITIONS,
    AgentInfo,
    Count,
    Event,
    ItemFilter,
    Lease,
    QueueInfo,
    Receipt,
    RunState,
    Sweep,
)
from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted
from launcher.policy import MAX_ATTEMPTS
from launcher.queues import Store
from launcher.spec import LaunchSpec

OpenAgain = Callable[[], Store]

EVERYTHING = ItemFilter()
PROMPT_SECONDS = 20.0
"""Far more than a store needs to notice something, far less than the tests would otherwise wait for."""
NEVER_SECONDS = 100.0

PENDING, LEASED, RUNNING = RunState.PENDING, RunState.LEASED, RunState.RUNNING
FINISHED, FAILED, CANCELLED = RunState.FINISHED, RunState.FAILED, RunState.CANCELLED


def spec(seed: int = 0, queue: str = "default", priority: int = 2, **document: Any) -> LaunchSpec:
    overrides = {"entry_point": ["python", "train.py"], "args": [f"seed={seed}"], "run_config": {"seed": seed}}
    whole = {"resource": "local-process", "overrides": overrides} | document
    return LaunchSpec(whole, queue, priority, (f"seed={seed}",))


def agent(name: str, **changes: Any) -> AgentInfo:
    now = time.time()
    described = AgentInfo(
        id=name, host="host", pid=7, process_started=5.5, queues=("default",), max_jobs=2, started_at=now, seen_at=now
    )
    return replace(described, **changes)


def beats(store: Store) -> dict[str, int]:
    return {found.id: found.beats for found in store.agents()}


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PROMPT_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


def only(state: RunState, *states: RunState) -> ItemFilter:
    return ItemFilter(states=frozenset({state, *states}))


def one(item_id: str) -> ItemFilter:
    return ItemFilter(ids=(item_id,))


def pop(store: Store, name: str = "a", limit: int = 1000) -> list[Lease]:
    return store.pop(name, ["default"], limit)


def ids(found: Any) -> list[str]:
    return [entry.item.id if isinstance(entry, Lease) else entry.id for entry in found]


def states(store: Store) -> list[RunState]:
    return [item.state for item in store.items(EVERYTHING)]


def everything(store: Store) -> Any:
    """All that a verb could have changed about items."""
    items = list(store.items(EVERYTHING))
    log = {item.id: store.events(item.id) for item in items}
    return items, log, Counter(store.counts()), store.sweeps()


def push_one(store: Store, seed: int = 0, **document: Any) -> str:
    return store.push(None, [spec(seed, **document)]).ids[0]


def push_and_pop(store: Store, name: str = "a") -> Lease:
    """An item of a store where nothing else waits, leased."""
    push_one(store)
    [lease] = pop(store, name)
    return lease


def start(store: Store, *leases: Lease) -> None:
    assert store.ack([(lease, {"pid": 1}, "/runs/x") for lease in leases]) == [True] * len(leases)


def bring_to(store: Store, state: RunState, name: str = "a") -> str:
    """The ID of a new item in this state; nothing else may wait in the store."""
    if state is PENDING:
        return push_one(store)
    lease = push_and_pop(store, name)
    if state is not LEASED:
        start(store, lease)
    if state in TERMINAL:
        outcome = {FINISHED: Finished(), FAILED: Failed("run", "exit code 1", 1), CANCELLED: Cancelled()}[state]
        assert store.finish([(lease, outcome)]) == [True]
    return lease.item.id


def one_in_each_state(store: Store) -> dict[RunState, str]:
    """An item in every state; the one that waits comes last, so that it is not popped."""
    return {state: bring_to(store, state) for state in (*TERMINAL, *HELD, PENDING)}


def assert_books_balance(store: Store) -> None:
    """The counts equal a recount; every item's events are allowed transitions and lead to its state."""
    items = list(store.items(EVERYTHING))
    recount = Counter((item.queue, item.sweep, item.state) for item in items)
    assert Counter(store.counts()) == Counter(Count(*place, number) for place, number in recount.items())
    assert len(set(ids(items))) == len(items)
    for item in items:
        state = PENDING
        for event in store.events(item.id):
            assert event.before is state
            assert event.after in TRANSITIONS[state]
            state = event.after
        assert state is item.state


def strict(value: Any) -> str:
    """JSON text that tells 1, 1.0, true and null apart, whatever the order of keys."""
    return json.dumps(value, sort_keys=True)


def at_once(number: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of `number` threads that begin at the same moment."""
    ready = threading.Barrier(number)

    def begin(place: int) -> Any:
        ready.wait(PROMPT_SECONDS)
        return work(place)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(begin, range(number)))


class Broken(Exception):  # noqa: N818 - it stands for whatever may go wrong while a grid composes
    pass


BIG: dict[str, Any] = {
    "resource": "slurm",
    "nothing": None,
    "yes": True,
    "one": 1,
    "one point": 1.0,
    "minus zero": -0.0,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "64 bits": [2**63 - 1, -(2**63), 2**64 - 1, 2**64, 2**53 + 1],
    "beyond": 10**30,
    "empty": {"": {}, "list": [], "text": ""},
    "ünï→код🦀": {"日本": "語\u2028\u0000\t\"'\\", "~": "a/b.c[0]"},
    "deep": {"a": {"b": {"c": {"d": {"e": {"f": [1, [2, {"g": None}]]}}}}}},
    "wide": {f"key{number}": {"value": number, "text": "x" * 50} for number in range(200)},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """BIG with another value at a dotted path."""
    document: dict[str, Any] = json.loads(json.dumps(BIG))
    node = document
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    node[last] = value
    return document


def without(path: str) -> dict[str, Any]:
    document = changed(path, None)
    node = document
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    del node[last]
    return document


VARIANTS = [
    BIG,
    *(changed("yes", value) for value in (1, 1.0, "true", None, [True], {"a": True})),
    *(changed("one", value) for value in (True, 1.0, "1", 10**30, -(10**30))),
    *(changed("minus zero", value) for value in (0.0, 0, False)),
    *(changed("64 bits", value) for value in ([True], [1], [1.0], [], [2**64])),
    *(changed("deep.a.b.c", value) for value in (None, {}, {"d": None}, {"d": {"e": {"f": [True, [2, {"g": 0}]]}}})),
    *(changed("empty", value) for value in (None, {}, {"": None})),
    changed("ünï→код🦀.日本", "другой"),
    changed("new", {"a": None}),
    changed("deep.a.new", None),
    without("nothing"),
    without("deep.a.b"),
    without("empty."),
    {"resource": "slurm"},
    {"resource": "slurm", "wide": {f"key{number}": number for number in range(300)}},
    BIG,
]

_KEYS = st.sampled_from(["a", "b", "c", "é", ""])
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.lists(st.dictionaries(_KEYS, _VALUES, max_size=5), min_size=1, max_size=8)


class StoreContract:
    """The tests; `store` and `open_again` come from the subclass."""

    @pytest.fixture(autouse=True)
    def _books_balance_after_every_test(self, store: Store) -> Iterator[None]:
        yield
        assert_books_balance(store)

    # -- queues ---------------------------------------------------------------------------------------------------

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

    # -- priorities and deletion ----------------------------------------------------------------------------------

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

    # -- pop ------------------------------------------------------------------------------------------------------

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

    # -- ack and finish -------------------------------------------------------------------------------------------

    def test_an_acknowledged_item_runs_and_its_handle_is_kept(self, store: Store, open_again: OpenAgain) -> None:
        lease = push_and_pop(store)
        handle = {"pid": 10**30, "started": 1.5, "host": "ü", "none": None}
        before = time.time()
        assert open_again().ack([(lease, handle, "/runs/ü/1")]) == [True]
        item = store.item(lease.item.id)
        assert (item.state, item.run_dir, item.agent, item.attempt) == (RUNNING, "/runs/ü/1", "a", 1)
        assert strict(item.handle) == strict(handle)
        assert item.started_at is not None
        assert before <= item.started_at <= time.time()
        assert item.seconds is None
        assert store.ack([(lease, {"other": 1}, "/other")]) == [False]
        assert store.item(lease.item.id) == item

    @pytest.mark.parametrize("started", [False, True], ids=["leased", "running"])
    @pytest.mark.parametrize(
        ("outcome", "expected"),
        [
            (Finished(), (FINISHED, 0, None, None, None)),
            (Finished({"accuracy": 0.9, "n": 10**30}), (FINISHED, 0, None, None, {"accuracy": 0.9, "n": 10**30})),
            (Failed("prepare", "no such commit"), (FAILED, None, "prepare", "no such commit", None)),
            (Failed("run", "kill: ü", -9, {"loss": 1}), (FAILED, -9, "run", "kill: ü", {"loss": 1})),
            (Cancelled(), (CANCELLED, None, None, "cancelled while running", None)),
            (Cancelled("stopped by hand"), (CANCELLED, None, None, "stopped by hand", None)),
            (Preempted("left"), (PENDING, None, "preempted", "left", None)),
            (Lost("no trace"), (PENDING, None, "lost", "no trace", None)),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Outcome) else "",
    )
    def test_an_outcome_becomes_a_state_and_says_how_it_ended(
        self, store: Store, outcome: Outcome, expected: tuple[Any, ...], started: bool
    ) -> None:
        lease = push_and_pop(store)
        if started:
            start(store, lease)
        assert store.finish([(lease, outcome)]) == [True]
        item = store.item(lease.item.id)
        assert (item.state, item.exit_code, item.stage, item.reason, item.result) == expected
        assert item.agent is None
        assert not item.stop_requested
        assert store.leases("a") == {}
        assert store.held("a") == []
        assert (item.seconds is not None) == started
        last = store.events(item.id)[-1]
        assert (last.before, last.after) == (RUNNING if started else LEASED, item.state)
        assert (last.attempt, last.actor, last.reason) == (1, "a", item.reason)

    def test_a_lost_run_is_tried_again_until_its_attempts_are_used_up(self, store: Store) -> None:
        item_id = push_one(store)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            [lease] = pop(store)
            assert lease.item.attempt == attempt
            start(store, lease)
            assert store.finish([(lease, Lost("no trace"))]) == [True]
            assert store.item(item_id).state is (PENDING if attempt < MAX_ATTEMPTS else FAILED)
        item = store.item(item_id)
        assert (item.attempt, item.stage, item.reason) == (MAX_ATTEMPTS, "lost", "no trace")
        assert pop(store) == []

    def test_a_preempted_run_always_waits_again_and_has_an_attempt_more(self, store: Store) -> None:
        item_id = push_one(store)
        for attempt in range(1, MAX_ATTEMPTS + 4):
            [lease] = pop(store)
            assert store.finish([(lease, Preempted("its agent left"))]) == [True]
            item = store.item(item_id)
            assert (item.state, item.attempt, item.max_attempts) == (PENDING, attempt, MAX_ATTEMPTS + attempt)
        for left in reversed(range(MAX_ATTEMPTS)):
            [lease] = pop(store)
            store.finish([(lease, Lost("no trace"))])
            assert store.item(item_id).state is (PENDING if left else FAILED)

    def test_an_item_put_back_keeps_its_place(self, store: Store) -> None:
        pushed = store.push(None, [spec(seed) for seed in range(3)]).ids
        [first] = pop(store, limit=1)
        store.finish([(first, Lost("no trace"))])
        assert ids(pop(store)) == list(pushed)

    def test_the_next_attempt_knows_nothing_of_the_last(self, store: Store) -> None:
        lease = push_and_pop(store)
        start(store, lease)
        store.finish([(lease, Failed("run", "exit code 1", 1, {"loss": 1}))])
        store.retry(EVERYTHING, "me")
        [again] = pop(store, "b")
        old = ("started_at", "finished_at", "run_dir", "handle", "exit_code", "stage", "reason", "result", "seconds")
        assert {name: getattr(again.item, name) for name in old} == dict.fromkeys(old)
        assert again.item.attempt == 2

    def test_the_second_finish_is_refused(self, store: Store, open_again: OpenAgain) -> None:
        lease = push_and_pop(store)
        assert store.finish([(lease, Finished({"n": 1}))]) == [True]
        before = everything(store)
        assert open_again().finish([(lease, Failed("run", "late"))]) == [False]
        assert store.ack([(lease, {}, "/late")]) == [False]
        assert everything(store) == before

    def test_of_two_outcomes_in_one_call_the_first_counts(self, store: Store) -> None:
        lease = push_and_pop(store)
        assert store.finish([(lease, Finished()), (lease, Failed("run", "second"))]) == [True, False]
        assert states(store) == [FINISHED]

    @pytest.mark.parametrize("taken_by", ["a", "b"])
    def test_a_stale_lease_is_refused_and_changes_nothing(self, store: Store, taken_by: str) -> None:
        stale = push_and_pop(store)
        start(store, stale)
        store.release("a", "gone")
        for write in ("while it waits", "while another has it", "while another runs it"):
            before = everything(store)
            assert store.ack([(stale, {"late": 1}, "/late")]) == [False], write
            assert store.finish([(stale, Finished({"late": 1}))]) == [False], write
            assert store.finish([(stale, Lost("late"))]) == [False], write
            assert everything(store) == before, write
            if write == "while it waits":
                [lease] = pop(store, taken_by)
            elif write == "while another has it":
                start(store, lease)
        assert store.finish([(lease, Finished())]) == [True]

    # -- ends told and items taken at once ------------------------------------------------------------------------

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

    def test_a_token_counts_for_its_own_item_only(self, store: Store) -> None:
        store.push(None, [spec(1), spec(2)])
        first, second = pop(store)
        foreign = replace(first, token=second.token)
        before = everything(store)
        for token in (second.token, "", "no token"):
            foreign = replace(first, token=token)
            assert store.ack([(foreign, {}, "/foreign")]) == [False]
            assert store.finish([(foreign, Finished())]) == [False]
        assert everything(store) == before
        assert set(store.leases("a")) == {first.token, second.token}

    def test_a_refused_write_among_others_stops_none_of_them(self, store: Store) -> None:
        stale = push_and_pop(store)
        store.release("a", "gone")
        store.push(None, [spec(1), spec(2)])
        _, good, better = pop(store, "b")
        assert store.ack([(good, {}, "/1"), (stale, {}, "/2"), (better, {}, "/3")]) == [True, False, True]
        outcomes = [(stale, Finished()), (good, Finished()), (stale, Finished()), (better, Failed("run", "x"))]
        assert store.finish(outcomes) == [False, True, False, True]
        assert states(store) == [LEASED, FINISHED, FAILED]

    def test_ack_and_finish_take_generators_and_nothing_at_all(self, store: Store) -> None:
        store.push(None, [spec(1), spec(2)])
        leases = pop(store)
        assert store.ack([]) == []
        assert store.finish([]) == []
        assert store.ack((lease, {}, "/runs") for lease in leases) == [True, True]
        assert store.finish((lease, Finished()) for lease in leases) == [True, True]

    def test_an_outcome_that_races_with_a_release_is_kept_or_refused_never_both(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        store.push(None, (spec(seed) for seed in range(60)))
        leases = pop(store)
        other = open_again()
        some_finished = threading.Event()

        def work(place: int) -> list[bool]:
            if place == 0:
                assert some_finished.wait(PROMPT_SECONDS)
                return [bool(other.release("a", "gone"))]
            kept = []
            for lease in leases:
                kept += store.finish([(lease, Finished())])
                if len(kept) == 10:
                    some_finished.set()
            return kept

        _, kept = at_once(2, work)
        assert len(kept) == 60
        assert kept[:10] == [True] * 10
        assert states(store) == [FINISHED if ours else PENDING for ours in kept]

    # -- what agents hold -----------------------------------------------------------------------------------------

    def test_held_and_leases_list_what_an_agent_has_and_nothing_else(self, store: Store, open_again: OpenAgain) -> None:
        store.push(Sweep("s"), [spec(seed) for seed in range(5)])
        mine = pop(store, "a", 3)
        theirs = pop(store, "b", 1)
        start(store, mine[1])
        store.finish([(mine[2], Finished())])
        seen = open_again()
        assert seen.leases("a") == {mine[0].token: False, mine[1].token: False}
        assert seen.leases("b") == {theirs[0].token: False}
        assert seen.leases("nobody") == {}
        held = {lease.token: lease for lease in seen.held("a")}
        assert set(held) == {mine[0].token, mine[1].token}
        assert held[mine[0].token] == mine[0]
        assert held[mine[1].token].item == store.item(mine[1].item.id)
        assert strict(held[mine[1].token].document) == strict(mine[1].document)
        assert seen.held("nobody") == []

    def test_agents_are_listed_with_all_they_said_until_they_leave(self, store: Store, open_again: OpenAgain) -> None:
        first = agent("z", queues=("gpu", "ü"), max_jobs=4, pid=2**22, started_at=10.5)
        second = agent("a", queues=(), started_at=20.5)
        store.register(second)
        store.register(first)
        assert open_again().agents() == [first, second]
        store.leave("z")
        assert store.agents() == [second]
        store.release("a", "gone")
        assert store.agents() == []

    def test_an_agent_begins_again_under_its_name(self, store: Store) -> None:
        store.register(agent("a"))
        store.leave("a")
        later = agent("a")
        store.register(later)
        [found] = store.agents()
        assert (found.seen_at, found.state) == (later.seen_at, "alive")

    def test_an_agent_that_begins_again_is_listed_as_it_is_now(self, store: Store) -> None:
        store.register(agent("a"))
        now = agent("a", host="elsewhere", pid=8, process_started=6.5, queues=("gpu",), max_jobs=9)
        store.register(now)
        assert store.agents() == [replace(now, beats=1)]

    def test_a_heartbeat_counts_and_keeps_the_leases_of_its_agent_alone(self, store: Store) -> None:
        for name in ("a", "b"):
            push_and_pop(store, name)
            store.register(agent(name, seen_at=1.0))
        seen = beats(store)
        before = time.time()
        store.heartbeat("a")
        assert beats(store) == {"a": seen["a"] + 1, "b": seen["b"]}
        [seen_at] = [found.seen_at for found in store.agents() if found.id == "a"]
        assert before <= seen_at <= time.time()
        assert [store.release(name, "silent", beats=seen[name]) for name in ("a", "b")] == [0, 1]
        assert len(store.leases("a")) == 1
        assert store.leases("b") == {}
        assert [found.id for found in store.agents()] == ["a"]

    def test_what_a_silent_agent_held_waits_again(self, store: Store) -> None:
        store.push(None, [spec(seed) for seed in range(4)])
        for name in ("quiet", "heard"):
            store.register(agent(name))
        lost = pop(store, "quiet", 2)
        kept = pop(store, "heard", 1)
        start(store, lost[1])
        assert store.release("quiet", "was silent", beats=beats(store)["quiet"]) == 2
        assert states(store) == [PENDING, PENDING, LEASED, PENDING]
        assert set(store.leases("heard")) == {kept[0].token}
        item = store.item(lost[1].item.id)
        assert (item.agent, item.attempt, item.stage, item.reason) == (None, 1, "lost", "was silent")
        assert store.release("quiet", "was silent", beats=0) == 0

    def test_a_lost_items_event_names_the_agent_that_held_it(self, store: Store) -> None:
        held = {push_and_pop(store, name).item.id: name for name in ("a", "b", "c")}
        for name in ("a", "b", "c"):
            assert store.release(name, "gone") == 1
        assert {item_id: store.events(item_id)[-1].actor for item_id in held} == held

    def test_what_was_to_be_cancelled_is_cancelled_when_its_agent_is_lost(self, store: Store) -> None:
        store.push(None, [spec(1), spec(2)])
        first, second = pop(store)
        start(store, first)
        store.cancel(one(first.item.id), "me")
        assert store.release("a", "silent") == 2
        assert {item.id: item.state for item in store.items(EVERYTHING)} == {
            first.item.id: CANCELLED,
            second.item.id: PENDING,
        }
        assert not store.item(first.item.id).stop_requested

    @pytest.mark.parametrize("outcome", [Lost("no trace"), Preempted("its agent left")])
    def test_what_was_to_be_cancelled_is_cancelled_when_its_run_would_be_put_back(
        self, store: Store, outcome: Outcome
    ) -> None:
        lease = push_and_pop(store)
        start(store, lease)
        assert store.cancel(EVERYTHING, "me") == (0, 1)
        assert store.finish([(lease, outcome)]) == [True]
        assert states(store) == [CANCELLED]

    def test_an_agent_declared_lost_that_is_heard_again_works_on(self, store: Store) -> None:
        store.register(agent("a"))
        silent = beats(store)["a"]
        store.release("a", "silent", beats=silent)
        assert store.agents() == []
        store.heartbeat("a")
        assert [found.id for found in store.agents()] == ["a"]
        lease = push_and_pop(store)
        assert store.release("a", "silent", beats=silent) == 0
        assert store.finish([(lease, Finished())]) == [True]

    def test_what_an_agent_takes_after_it_was_declared_lost_is_put_back_when_it_stays_silent(
        self, store: Store
    ) -> None:
        store.register(agent("a"))
        store.release("a", "silent", beats=beats(store)["a"])
        push_and_pop(store)
        assert store.release("a", "silent", beats=beats(store)["a"]) == 1
        assert states(store) == [PENDING]

    @pytest.mark.parametrize("verb", ["release", "leave"])
    def test_what_an_agent_held_goes_back_when_it_is_gone(self, store: Store, verb: str) -> None:
        store.push(None, [spec(seed) for seed in range(5)])
        for name in ("a", "b"):
            store.register(agent(name))
        leased, running, doomed = pop(store, "a", 3)
        start(store, running, doomed)
        store.cancel(one(doomed.item.id), "me")
        [other] = pop(store, "b", 1)
        if verb == "release":
            assert store.release("a", "its agent (pid 7) died") == 3
            assert store.item(running.item.id).reason == "its agent (pid 7) died"
        else:
            store.leave("a")
        assert states(store) == [PENDING, PENDING, CANCELLED, LEASED, PENDING]
        assert store.leases("a") == {}
        assert set(store.leases("b")) == {other.token}
        assert [found.id for found in store.agents()] == ["b"]
        assert store.finish([(leased, Finished()), (running, Finished())]) == [False, False]
        assert store.release("a", "again") == 0

    def test_releasing_uses_up_attempts(self, store: Store) -> None:
        item_id = push_one(store)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            assert len(pop(store)) == 1
            assert store.release("a", f"died {attempt} times") == 1
            assert store.item(item_id).state is (PENDING if attempt < MAX_ATTEMPTS else FAILED)
        item = store.item(item_id)
        assert (item.stage, item.reason) == ("lost", f"died {MAX_ATTEMPTS} times")

    # -- policies -------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("outcome", "on", "again"),
        [
            (Failed("run", "x", 1), ["failed"], True),
            (Failed("run", "x", 75), [75], True),
            (Failed("run", "x", 1), [75], False),
            (Failed("prepare", "x"), ["lost"], False),
            (Failed("timeout", "x"), ["timeout"], True),
            (Failed("timeout", "x"), ["failed"], False),
            (Lost("x"), ["failed"], False),
            (Lost("x"), ["lost"], True),
            (Preempted("x"), ["lost"], False),
            (Preempted("x"), ["preempted"], True),
            (Preempted("x", begun=False), ["failed"], True),
            (Cancelled("x"), ["failed", "lost", "preempted", "timeout"], False),
            (Finished(), ["failed", "lost", "preempted", "timeout", 0], False),
        ],
    )
    def test_a_spec_says_after_what_it_is_tried_again(
        self, store: Store, outcome: Outcome, on: list[Any], again: bool
    ) -> None:
        push_one(store, retry={"max_attempts": 2, "on": on})
        [lease] = pop(store)
        store.finish([(lease, outcome)])
        assert (states(store) == [PENDING]) == again

    def test_attempts_are_counted_against_the_specs_own_number(self, store: Store) -> None:
        item_id = push_one(store, retry={"max_attempts": 4})
        for attempt in range(1, 5):
            [lease] = pop(store)
            store.finish([(lease, Failed("run", f"exit code {attempt}", attempt))])
            assert store.item(item_id).state is (PENDING if attempt < 4 else FAILED)
        assert [(old.attempt, old.exit_code, old.state) for old in store.attempts(item_id)] == [
            (number, number, FAILED) for number in (1, 2, 3)
        ]

    def test_each_attempt_is_kept_with_its_agent_its_folder_and_its_end(self, store: Store) -> None:
        item_id = push_one(store)
        [lease] = pop(store, "a")
        store.ack([(lease, {"pid": 1}, "/runs/1")])
        store.finish([(lease, Lost("no trace"))])
        [lease] = pop(store, "b")
        store.ack([(lease, {"pid": 2}, "/runs/2")])
        store.finish([(lease, Failed("run", "exit code 3", 3, {"loss": 1}))])
        store.retry(one(item_id), "me")
        first, second = store.attempts(item_id)
        assert (first.attempt, first.agent, first.run_dir, first.stage, first.reason, first.exit_code) == (
            1, "a", "/runs/1", "lost", "no trace", None,
        )  # fmt: skip
        assert (second.attempt, second.agent, second.run_dir, second.stage, second.reason, second.exit_code) == (
            2, "b", "/runs/2", "run", "exit code 3", 3,
        )  # fmt: skip
        assert None not in (first.started_at, first.finished_at, second.started_at, second.finished_at)
        assert store.attempts("unknown") == []
        store.delete(one(item_id))
        assert store.attempts(item_id) == []

    def test_an_item_that_backs_off_is_passed_over_until_its_time(self, store: Store) -> None:
        item_id = push_one(store, retry={"on": ["failed"], "backoff": {"initial": 0.2, "jitter": 0}})
        other = push_one(store, 1)
        [lease] = pop(store, limit=1)
        assert store.next_due(["default"]) is None
        store.finish([(lease, Failed("run", "x", 1))])
        item = store.item(item_id)
        assert (item.state, item.hold) == (PENDING, "backoff")
        assert item.not_before is not None
        assert item.not_before - item.changed_at == pytest.approx(0.2)
        assert store.next_due([]) is None
        assert ids(pop(store)) == [other]
        due = store.next_due(["default"])
        assert due is None or 0 <= due <= 0.2
        again = wait_for(lambda: pop(store))
        assert ids(again) == [item_id]
        assert time.time() >= item.not_before
        assert (again[0].item.hold, again[0].item.not_before, again[0].item.attempt) == (None, None, 2)

    def test_what_has_waited_too_long_has_failed(self, store: Store) -> None:
        item_id = push_one(store, timeout={"queue": 1e-6})
        patient = push_one(store, 1, timeout={"queue": "1h"})
        assert ids(pop(store)) == [patient]
        item = store.item(item_id)
        assert (item.state, item.stage, item.attempt, item.started_at) == (FAILED, "timeout", 0, None)
        assert "too long" in (item.reason or "")
        assert [(event.before, event.after) for event in store.events(item_id)] == [(PENDING, FAILED)]

    def test_what_has_run_once_does_not_expire_when_it_waits_again(self, store: Store) -> None:
        item_id = push_one(store, timeout={"queue": 0.1}, retry={"max_attempts": 3})
        [lease] = pop(store)
        store.ack([(lease, {"pid": 1}, "/runs/1")])
        wait_for(lambda: time.time() > lease.item.added_at + 0.1)
        store.finish([(lease, Failed("run", "exit code 1", 1))])
        assert ids(pop(store)) == [item_id]

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

    def test_what_waited_too_long_counts_among_the_failures_of_its_sweep(self, store: Store) -> None:
        store.push(Sweep("s", stop_after_failures=1), [spec(0, timeout={"queue": 0.001}), spec(1)])
        wait_for(lambda: time.time() > next(store.items(EVERYTHING)).added_at + 0.001)
        assert pop(store) == []
        assert [(item.state, item.hold) for item in store.items(EVERYTHING)] == [(FAILED, None), (PENDING, "failures")]

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

    # -- agents that die ------------------------------------------------------------------------------------------

    def test_what_a_dead_agent_held_is_adopted_once_as_it_was(self, store: Store, open_again: OpenAgain) -> None:
        store.push(None, [spec(seed) for seed in range(3)])
        for name in ("dead", "heir", "other"):
            store.register(agent(name))
        leased, running = pop(store, "dead", 2)
        [own] = pop(store, "heir", 1)
        start(store, running)
        adopted = open_again().adopt("dead", "heir")
        assert {lease.token for lease in adopted} == {leased.token, running.token}
        assert store.adopt("dead", "other") == []
        assert set(store.leases("heir")) == {own.token, leased.token, running.token}
        assert [found.id for found in store.agents()] == ["heir", "other"]
        assert {lease.item.id: lease.item.handle for lease in adopted} == {
            leased.item.id: None,
            running.item.id: {"pid": 1},
        }
        start(store, leased)
        assert store.finish([(running, Finished()), (leased, Lost("x"))]) == [True, True]
        assert [event.actor for event in store.events(leased.item.id)] == ["dead", "heir", "heir"]

    def test_valid_tokens_are_those_that_somebody_holds(self, store: Store) -> None:
        store.push(None, [spec(1), spec(2), spec(3)])
        first, second, third = pop(store)
        start(store, second)
        store.finish([(third, Finished())])
        asked = {first.token, second.token, third.token, "unknown", ""}
        assert store.valid(asked) == {first.token, second.token}
        assert store.valid(set()) == set()
        store.release("a", "gone")
        assert store.valid(asked) == set()

    def test_texts_that_no_database_holds_come_back_marked(self, store: Store) -> None:
        lease = push_and_pop(store)
        store.finish([(lease, Failed("run", "bad \0 byte", 1))])
        assert store.item(lease.item.id).reason == "bad \N{REPLACEMENT CHARACTER} byte"

    # -- cancel and retry -----------------------------------------------------------------------------------------

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

    # -- looking --------------------------------------------------------------------------------------------------

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

    def test_the_document_of_an_unknown_item_is_not_found(self, store: Store) -> None:
        item_id = push_one(store)
        with pytest.raises(NotFoundError, match="unknown"):
            store.document("unknown")
        with pytest.raises(NotFoundError):
            store.document(item_id[:4])

    def test_documents_come_back_as_they_were_pushed(self, store: Store, open_again: OpenAgain) -> None:
        pushed = store.push(Sweep("s"), (LaunchSpec(document) for document in VARIANTS), again=True).ids
        assert len(pushed) == len(VARIANTS)
        seen = open_again()
        for item_id, document in zip(pushed, VARIANTS, strict=True):
            assert strict(seen.document(item_id)) == strict(document)
        popped = {lease.item.id: strict(lease.document) for lease in pop(seen)}
        assert popped == {item_id: strict(document) for item_id, document in zip(pushed, VARIANTS, strict=True)}

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
            HealthCheck.too_slow,
        ],
    )
    @given(documents=DOCUMENTS)
    def test_any_json_document_comes_back_as_it_was_pushed(self, store: Store, documents: list[dict[str, Any]]) -> None:
        pushed = store.push(None, [LaunchSpec(document) for document in documents]).ids
        leases = pop(store)
        assert ids(leases) == list(pushed)
        for item_id, document, lease in zip(pushed, documents, leases, strict=True):
            assert strict(store.document(item_id)) == strict(document)
            assert strict(lease.document) == strict(document)

    def test_documents_of_later_pushes_do_not_mix_with_those_of_earlier_ones(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        stores = [store, open_again()]
        wanted = {}
        for number in range(12):
            document = changed("one", number)
            [item_id] = stores[number % 2].push(Sweep(f"s{number % 3}"), [LaunchSpec(document)]).ids
            wanted[item_id] = strict(document)
            with pytest.raises(Broken):
                stores[number % 2].push(None, (spec(1 // 0) if seed else spec() for seed in _then_break()))
        for reader in stores:
            assert {item_id: strict(reader.document(item_id)) for item_id in wanted} == wanted

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

    # -- waiting --------------------------------------------------------------------------------------------------

    def test_wait_returns_when_another_store_has_committed_since_the_last_wait(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        other = open_again()
        store.wait(threading.Event(), 0)
        other.push(None, [spec()])
        before = time.monotonic()
        store.wait(threading.Event(), NEVER_SECONDS)
        assert time.monotonic() - before < PROMPT_SECONDS

    @pytest.mark.parametrize("verb", ["push", "cancel", "put back"])
    def test_wait_returns_when_another_store_gives_something_to_do(
        self, store: Store, open_again: OpenAgain, verb: str
    ) -> None:
        other = open_again()
        lease = push_and_pop(other)
        waiting = threading.Event()

        def wait(_: int) -> float:
            store.wait(threading.Event(), 0)
            waiting.set()
            before = time.monotonic()
            store.wait(threading.Event(), NEVER_SECONDS)
            return time.monotonic() - before

        with ThreadPoolExecutor(1) as pool:
            waited = pool.submit(wait, 0)
            assert waiting.wait(PROMPT_SECONDS)
            if verb == "push":
                other.push(None, [spec()])
            elif verb == "cancel":
                other.cancel(EVERYTHING, "me")
            else:
                other.finish([(lease, Lost("no trace"))])
            assert waited.result(NEVER_SECONDS * 2) < PROMPT_SECONDS

    def test_wait_returns_when_it_is_woken(self, store: Store) -> None:
        wake = threading.Event()
        waiting = threading.Event()

        def wait() -> float:
            store.wait(wake, 0)
            waiting.set()
            before = time.monotonic()
            store.wait(wake, NEVER_SECONDS)
            return time.monotonic() - before

        with ThreadPoolExecutor(1) as pool:
            waited = pool.submit(wait)
            assert waiting.wait(PROMPT_SECONDS)
            wake.set()
            assert waited.result(NEVER_SECONDS * 2) < PROMPT_SECONDS

    def test_wait_returns_after_its_timeout_and_not_before(self, store: Store) -> None:
        store.wait(threading.Event(), 0)
        before = time.monotonic()
        store.wait(threading.Event(), 0.3)
        assert 0.29 <= time.monotonic() - before < PROMPT_SECONDS


def _then_break() -> Iterator[int]:
    yield 0
    raise Broken
