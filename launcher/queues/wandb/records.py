"""What tables, plots and `launcher watch` read of a W&B store: from the local outbox, as the server sees its items."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from launcher.item import ItemFilter, RunRecord, RunState
from launcher.queues import Progress
from launcher.queues.sqlite import SqliteStore

WAITING = ("PENDING", "LEASED")
"""The server's states of what no agent there has begun with."""


class WandbRecords:
    """The verbs of a `WandbStore` over very many items; it knows the server's states."""

    _local: SqliteStore
    _remote: dict[str, str]
    _refresh: Callable[[], None]

    def run_records(self, which: ItemFilter) -> Iterator[RunRecord]:
        """See `Store.run_records`."""
        self._refresh()
        states = None if which.states is None else {state.value for state in which.states}
        for record in self._local.run_records(replace(which, states=None)):
            seen = self._seen_record(record)
            if states is None or seen.state in states:
                yield seen

    def newest(self, which: ItemFilter, limit: int) -> list[RunRecord]:
        """See `Store.newest`: by when they ended, or were added."""
        found = self.run_records(which)
        return heapq.nlargest(limit, found, key=lambda record: (record.finished_at or record.added_at, record.seq))

    def progress(self, which: ItemFilter, since: float) -> Progress:
        """See `Store.progress`."""
        self._refresh()
        return self._local.progress(which, since)

    def series(self, ids: Iterable[str]) -> dict[str, bytes]:
        """See `Store.series`: those of runs there are the server's."""
        return self._local.series(ids)

    def _seen_record(self, record: RunRecord) -> RunRecord:
        record = record._replace(run_dir=None, agent=None)
        if record.state == RunState.RUNNING.value and self._remote.get(record.id, WAITING[0]) in WAITING:
            return record._replace(state=RunState.PENDING.value, started_at=None)
        return record
