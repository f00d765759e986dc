"""What the hot verbs cost beside a million finished items, against what they cost in a store that has none."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from launcher.item import Sweep
from launcher.outcome import Finished
from launcher.queues import Store, open_store
from tests.bench.measure import Measured, folder
from tests.bench.peers import AT_ONCE, no_op_specs
from tests.bench.queues import server
from tests.queues.filling import add_finished

FINISHED = 1_000_000
PUSHED = 2000
"""Items a round."""

ROUNDS = 7
VERBS = ("push", "pop", "finish", "counts")


def growth() -> Iterator[Measured]:
    """Push, pop, finish and counts with 1,000,000 finished items, as a multiple of the same in an empty store."""
    with folder() as place:
        yield from _grown("SQLite", open_store(f"sqlite:///{place}/0.db"), open_store(f"sqlite:///{place}/1.db"))
    with server() as postgres:
        if postgres:
            yield from _grown("PostgreSQL", open_store(postgres.database()), open_store(postgres.database()))


def _grown(name: str, empty: Store, full: Store) -> Iterator[Measured]:
    add_finished(full, FINISHED)
    numbers = itertools.count()
    _round(empty, next(numbers)), _round(full, next(numbers))
    pairs = [(_round(full, next(numbers)), _round(empty, next(numbers))) for _ in range(ROUNDS)]
    for store in (empty, full):
        store.close()
    for place, verb in enumerate(VERBS):
        full_s = statistics.median(pair[0][place] for pair in pairs)
        empty_s = statistics.median(pair[1][place] for pair in pairs)
        figure = f"{full_s * 1e6:.0f} µs, {full_s / empty_s:.2f}× {empty_s * 1e6:.0f} µs"
        yield Measured(
            f"{verb}, 1,000,000 finished, {name}", full_s, empty_s, figure, "≤ 1.5×", full_s <= 1.5 * empty_s
        )


def _round(store: Store, number: int) -> tuple[float, ...]:
    """Seconds of each verb, per item (of `counts`, per call)."""
    ready = list(no_op_specs(PUSHED))
    push = _time(lambda: store.push(Sweep(f"round-{number}"), ready))
    pop = finish = 0.0
    while True:
        leases: list[Any] = []
        pop += _time(lambda: leases.extend(store.pop("agent", ["default"], AT_ONCE)))  # noqa: B023 - called at once
        if not leases:
            break
        finish += _time(lambda: store.finish((lease, Finished()) for lease in leases))  # noqa: B023
    store.heartbeat("agent")
    counts = _time(lambda: [store.counts() for _ in range(10)])
    return push / PUSHED, pop / PUSHED, finish / PUSHED, counts / 10


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
