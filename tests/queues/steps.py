"""What the tests of stores are told in: specs and agents to give, steps that bring items somewhere, and looks at what a
store says. The contract (contract/) uses them, and whatever else needs a store in which something has happened."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from launcher.item import HELD, TERMINAL, TRANSITIONS, AgentInfo, Count, ItemFilter, Lease, RunState
from launcher.outcome import Cancelled, Failed, Finished
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


# -- steps ------------------------------------------------------------------------------------------------------------


def push_one(store: Store, seed: int = 0, **document: Any) -> str:
    return store.push(None, [spec(seed, **document)]).ids[0]


def pop(store: Store, name: str = "a", limit: int = 1000) -> list[Lease]:
    return store.pop(name, ["default"], limit)


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


def at_once(number: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of `number` threads that begin at the same moment."""
    ready = threading.Barrier(number)

    def begin(place: int) -> Any:
        ready.wait(PROMPT_SECONDS)
        return work(place)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(begin, range(number)))


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PROMPT_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


class Broken(Exception):  # noqa: N818 - it stands for whatever may go wrong while a grid composes
    pass


# -- looks ------------------------------------------------------------------------------------------------------------


def only(state: RunState, *states: RunState) -> ItemFilter:
    return ItemFilter(states=frozenset({state, *states}))


def one(item_id: str) -> ItemFilter:
    return ItemFilter(ids=(item_id,))


def ids(found: Any) -> list[str]:
    return [entry.item.id if isinstance(entry, Lease) else entry.id for entry in found]


def states(store: Store) -> list[RunState]:
    return [item.state for item in store.items(EVERYTHING)]


def beats(store: Store) -> dict[str, int]:
    return {found.id: found.beats for found in store.agents()}


def everything(store: Store) -> Any:
    """All that a verb could have changed about items."""
    items = list(store.items(EVERYTHING))
    log = {item.id: store.events(item.id) for item in items}
    return items, log, Counter(store.counts()), store.sweeps()


def strict(value: Any) -> str:
    """JSON text that tells 1, 1.0, true and null apart, whatever the order of keys."""
    return json.dumps(value, sort_keys=True)


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
