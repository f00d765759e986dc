"""The verbs of a store over SQL about sweeps as wholes: what there are, and the notices that they send."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from launcher import canonical, notices
from launcher.item import RunState, Sweep
from launcher.notices import Notice

SEND_SECONDS = 120.0
"""How long an agent may take to send a notice before another one tries."""


class Sweeps:
    """What a store over SQL does for sweeps; see `launcher.queues.Store` for the verbs."""

    _session: Callable[[], AbstractContextManager[Any]]
    _transaction: Callable[[Any], AbstractContextManager[Any]]
    _sql: Callable[..., str]

    def sweeps(self) -> list[Sweep]:
        """See `Store.sweeps`."""
        with self._session() as db:
            found = [dict(row) for row in db.execute(self._sql("select_sweeps"))]
        return [Sweep(**row | {"notify": tuple(canonical.decode(row["notify"] or "[]"))}) for row in found]

    def take_notice(self, agent: str) -> Notice | None:
        """See `Store.take_notice`. Looks first, so that where there is nothing to tell nobody writes."""
        now = time.time()
        with self._session() as db:
            come = self._come(db, now)
            if not (come or db.execute(self._sql("has_notices"), {"now": now}).fetchone()["waiting"]):
                return None
            with self._transaction(db):
                for row in come:
                    db.execute(self._sql("insert_notice"), row)
                values = {"agent": agent, "now": now, "until": now + SEND_SECONDS}
                row = db.execute(self._sql("take_notice"), values).fetchone()
        return row and _notice(row)

    def _come(self, db: Any, now: float) -> list[dict[str, Any]]:
        """The events that have come for somebody, and have no row yet."""
        found = []
        for sweep, (notify, counts) in _grouped(db.execute(self._sql("select_notifying"))).items():
            events = [(canonical.encode(target, sort=True), event) for target, event in notices.due(notify, counts)]
            known = db.execute(self._sql("select_notices"), {"sweep": sweep}).fetchall() if events else []
            told = canonical.encode({state.value: counts[state] for state in RunState if counts.get(state)})
            found += [
                {"sweep": sweep, "target": target, "event": event, "counts": told, "now": now}
                for target, event in events
                if (target, event) not in {(row["target"], row["event"]) for row in known}
            ]
        return found

    def settle_notice(self, notice: Notice, agent: str, error: str | None) -> bool:
        """See `Store.settle_notice`."""
        state = "sent" if error is None else "failed" if notice.tries >= notices.TRIES else "due"
        values = {
            "sweep": notice.sweep, "target": canonical.encode(notice.target, sort=True), "event": notice.event,
            "agent": agent, "tries": notice.tries, "state": state, "error": error,
            "due_at": time.time() + notices.pause(notice.tries),
        }  # fmt: skip
        with self._session() as db:
            return bool(db.execute(self._sql("settle_notice"), values).rowcount)

    def notices(self, sweep: str) -> list[tuple[Notice, str, str | None]]:
        """See `Store.notices`."""
        with self._session() as db:
            found = db.execute(self._sql("select_notices"), {"sweep": sweep}).fetchall()
        return [(_notice(row), row["state"], row["error"]) for row in found]


def _notice(row: Any) -> Notice:
    target, counts = canonical.decode(row["target"]), canonical.decode(row["counts"])
    return Notice(row["sweep"], target, row["event"], counts, row["tries"])


def row_of(sweep: Sweep) -> dict[str, Any]:
    """The columns of a sweep that is pushed now."""
    notify = canonical.encode(sweep.notify) if sweep.notify else None
    return asdict(sweep) | {"notify": notify, "created_at": time.time()}


def _grouped(rows: Any) -> dict[str, tuple[list[Mapping[str, Any]], dict[RunState, int]]]:
    found: dict[str, tuple[list[Mapping[str, Any]], dict[RunState, int]]] = {}
    for row in rows:
        if row["name"] not in found:
            found[row["name"]] = (canonical.decode(row["notify"]), {})
        found[row["name"]][1][RunState(row["state"])] = int(row["number"])
    return found
