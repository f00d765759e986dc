"""What pages read of the store. What many viewers look at is read once for all of them, and the more seldom the more it
costs: whatever is kept open, reading takes about one percent of a core."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from launcher.analysis.failures import Failure, fold
from launcher.analysis.table import Ranking, Results, ranking, tabulate
from launcher.canonical import leaves
from launcher.item import AgentInfo, Count, Item, ItemFilter, QueueInfo, Sweep
from launcher.queues import Store

SHARE = 100
"""What was made is kept for so many times as long as making it took."""

LEAST_SECONDS = 1.0
UNCHANGED_SECONDS = 60.0
"""A sweep whose counts did not change is read again after so long: a run may have been repeated, and ended alike."""

LARGEST_TABLE = 10_000
"""Runs of a sweep that its page shows; `launcher results` has them all."""

SIBLINGS = 40
"""Items of a sweep that an item's config is compared with, spread evenly over its first ones."""

FIRST_RUNS = 5000

Value = TypeVar("Value")


@dataclass(slots=True)
class _Entry(Generic[Value]):
    value: Value
    version: Hashable
    made_at: float
    cost: float


class Kept(Generic[Value]):
    """Values by key, the `most` that were used last. Threads that want the same one wait for the first of them."""

    def __init__(self, most: int = 64) -> None:
        self._entries: OrderedDict[Hashable, _Entry[Value]] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._most = most

    def get(self, key: Hashable, make: Callable[[], Value], version: Hashable = None) -> Value:
        """The value of a key: the kept one while it is young or, where `version` says that nothing changed, not old."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            now = time.monotonic()
            entry = self._entries.get(key)
            if entry is not None:
                young = max(LEAST_SECONDS, SHARE * entry.cost)
                same = version is not None and entry.version == version
                if now < entry.made_at + (max(young, UNCHANGED_SECONDS) if same else young):
                    return entry.value
            began = time.thread_time()
            value = make()
            cost = time.thread_time() - began
            with self._lock:
                self._entries[key] = _Entry(value, version, time.monotonic(), cost)
                self._entries.move_to_end(key)
                while len(self._entries) > self._most:
                    dropped, _ = self._entries.popitem(last=False)
                    self._making.pop(dropped, None)
            return value

    def clear(self) -> None:
        """Forget all values: somebody changed what they are about."""
        with self._lock:
            self._entries.clear()
            self._making.clear()


@dataclass(frozen=True, slots=True)
class Overview:
    """A look at the whole store."""

    queues: Sequence[QueueInfo]
    sweeps: Sequence[Sweep]
    agents: Sequence[AgentInfo]
    counts: Sequence[Count]
    holds: Sequence[Count]
    held: Mapping[str, int]
    """How many items each agent holds."""

    def of_sweep(self, name: str) -> list[Count]:
        """A sweep's counts, by queue and state."""
        return [count for count in self.counts if count.sweep == name]


@dataclass(frozen=True, slots=True)
class Table:
    """A sweep's runs, at most LARGEST_TABLE of them, how they are ranked, and those that failed, by cause."""

    results: Results
    ranking: Ranking | None
    failures: Sequence[Failure]


@dataclass(frozen=True, slots=True)
class Reader:
    """A store, read for pages."""

    store: Store
    _overviews: Kept[Overview] = field(default_factory=Kept)
    _tables: Kept[Table] = field(default_factory=lambda: Kept(16))
    _configs: Kept[Sequence[Mapping[str, Any]]] = field(default_factory=Kept)
    _items: Kept[Item] = field(default_factory=lambda: Kept(1000))

    def overview(self) -> Overview:
        """Queues, sweeps, agents and counts."""
        return self._overviews.get("", self._overview)

    def overview_now(self) -> Overview:
        """The same, read anew: something is asked for that was not there a moment ago."""
        self._overviews.clear()
        return self.overview()

    def _overview(self) -> Overview:
        store = self.store
        agents = store.agents()
        held = {agent.id: len(store.leases(agent.id)) for agent in agents}
        return Overview(store.queues(), store.sweeps(), agents, store.counts(), store.holds(), held)

    def table(self, sweep: Sweep, queues: frozenset[str]) -> Table:
        """The table of a sweep's runs on these queues."""
        counts = self.overview().of_sweep(sweep.name)
        version = tuple(sorted((count.queue, count.state.value, count.number) for count in counts))
        return self._tables.get((sweep.name, queues), lambda: self._table(sweep, queues), version)

    def _table(self, sweep: Sweep, queues: frozenset[str]) -> Table:
        found = (run for run in self.store.run_records(ItemFilter(sweep=sweep.name)) if run.queue in queues)
        results = tabulate(islice(found, LARGEST_TABLE))
        return Table(results, ranking(results, [sweep]), fold(results))

    def item(self, item_id: str) -> Item:
        """An item; for its log's viewers, who ask for it again and again."""
        return self._items.get(item_id, lambda: self.store.item(item_id))

    def configs(self, sweep: str, queues: frozenset[str]) -> Sequence[Mapping[str, Any]]:
        """The configs of some of a sweep's items on these queues, each by its leaves' dotted paths."""
        return self._configs.get((sweep, queues), lambda: self._configs_of(sweep, queues), "")

    def _configs_of(self, sweep: str, queues: frozenset[str]) -> list[Mapping[str, Any]]:
        first = islice(self.store.run_records(ItemFilter(sweep=sweep)), FIRST_RUNS)
        ids = [run.id for run in first if run.queue in queues]
        spread = ids[:: max(1, -(-len(ids) // SIBLINGS))]
        documents = (self.store.document(item) for item in spread)
        return [dict(leaves(document["overrides"].get("run_config") or {})) for document in documents]

    def forget(self) -> None:
        """Somebody changed something: read anew."""
        for kept in (self._overviews, self._tables, self._items):
            kept.clear()
