"""The verbs of a store over SQL about what was: the event log, why items waited, and the agents that were there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from launcher import canonical
from launcher.item import AgentInfo, ItemFilter, LogEntry, RunRecord, RunState
from launcher.queues import Progress, rows
from launcher.waits import Blocker, Stall

RECORDS = 5000
"""Records that are read at once."""

KEPT_STALLS = 10_000
"""How many records of why items waited a store keeps: months of an ordinary one."""


class History:
    """What a store over SQL knows of the past; see `launcher.queues.Store` for the verbs."""

    _session: Callable[[], AbstractContextManager[Any]]
    _transaction: Callable[[Any], AbstractContextManager[Any]]
    _sql: Callable[..., str]

    def log(self, which: ItemFilter, *, after: int = 0, since: float | None = None, limit: int) -> list[LogEntry]:
        """See `Store.log`."""
        conditions, values = rows.where(which)
        values |= {"after": after, "since": since, "page": limit}
        verb = "select_log" if which.ids is None else "select_log_of_items"
        with self._session() as db:
            found = [dict(row) for row in db.execute(self._sql(verb, *conditions), values)]
        return [LogEntry(**row | {"before": RunState(row["before"]), "after": RunState(row["after"])}) for row in found]

    def run_records(self, which: ItemFilter) -> Iterator[RunRecord]:
        """See `Store.run_records`."""
        conditions, values = rows.where(which)
        text = self._sql("select_run_records", *conditions)
        values |= {"after": 0, "page": RECORDS}
        while True:
            with self._session() as db:
                page = [self._run_record(row) for row in db.execute(text, values)]
            yield from page
            if len(page) < RECORDS:
                return
            values["after"] = page[-1].seq

    _run_record: Callable[[Any], RunRecord] = RunRecord._make

    def newest(self, which: ItemFilter, limit: int) -> list[RunRecord]:
        """See `Store.newest`."""
        conditions, values = rows.where(which)
        with self._session() as db:
            found = db.execute(self._sql("select_newest", *conditions), values | {"page": limit})
            return [self._run_record(row) for row in found]

    def progress(self, which: ItemFilter, since: float) -> Progress:
        """See `Store.progress`."""
        conditions, values = rows.where(which)
        with self._session() as db:
            row = db.execute(self._sql("select_progress", *conditions), values | {"since": since}).fetchone()
        return Progress(int(row["ended"]), row["seconds"], int(row["lately"]))

    def series(self, ids: Iterable[str]) -> dict[str, bytes]:
        """See `Store.series`."""
        with self._session() as db:
            found = db.execute(self._sql("select_series"), {"ids": canonical.encode(list(ids))})
            return {row["id"]: bytes(row["points"]) for row in found}

    def blockers(self, queues: Sequence[str]) -> list[Blocker]:
        """See `Store.blockers`."""
        with self._session() as db:
            found = db.execute(self._sql("select_blockers"), {"queues": canonical.encode(list(queues))}).fetchall()
        return [
            Blocker(
                row["queue"], row["needs"], canonical.decode(row["asked"]) if row["asked"] else {}, row["max_running"],
                row["busy"], row["full_limit"],
            )
            for row in found
        ]  # fmt: skip

    def stalled(self, stalls: Iterable[Stall]) -> None:
        """See `Store.stalled`."""
        values = [asdict(stall) for stall in stalls]
        if not values:
            return
        with self._session() as db, self._transaction(db):
            for row in values:
                db.execute(self._sql("upsert_stall"), row)
            db.execute(self._sql("prune_stalls"), {"kept": KEPT_STALLS})

    def stalls(self, item_id: str) -> list[Stall]:
        """See `Store.stalls`."""
        with self._session() as db:
            return [Stall(**dict(row)) for row in db.execute(self._sql("select_stalls"), {"id": item_id})]

    def ahead(self, item_id: str) -> int:
        """See `Store.ahead`."""
        with self._session() as db:
            found = db.execute(self._sql("count_ahead"), {"id": item_id}).fetchone()
        return int(found["number"]) if found else 0

    def agents(self, since: float | None = None) -> list[AgentInfo]:
        """See `Store.agents`."""
        verb = "select_agents" if since is None else "select_agents_since"
        with self._session() as db:
            found = [dict(row) for row in db.execute(self._sql(verb), {"since": since})]
        return [
            AgentInfo(
                **row
                | {
                    "queues": tuple(canonical.decode(row["queues"])),
                    "room": canonical.decode(row["room"]),
                    "detached": bool(row["detached"]),
                }
            )
            for row in found
        ]
