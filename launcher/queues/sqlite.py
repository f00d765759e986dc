"""The embedded store: queues in one SQLite file (WAL, durable commits), for any number of processes of one machine.
The default store; everything it knows about SQL lies in sql/sqlite/, one statement a file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from launcher import canonical
from launcher.errors import NotFoundError, StoreError, suggest
from launcher.item import (
    TERMINAL,
    AgentInfo,
    Count,
    Event,
    Item,
    ItemFilter,
    Lease,
    Outcome,
    QueueInfo,
    Receipt,
    RunState,
    Sweep,
)
from launcher.queues import LEASE_SECONDS, rows, staging
from launcher.queues.packing import unpack
from launcher.queues.sql import statement
from launcher.queues.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from launcher.spec import LaunchSpec

PAGE = 1000
KEPT_SHAPES = 64


class SqliteStore(SqliteFile):
    """A store in the file that `sqlite:///PATH` names; see `launcher.queues.Store` for its verbs."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        super().__init__(url, read_only=read_only)
        self._shapes: dict[int, tuple[Any, ...]] = {}

    # -- adding ---------------------------------------------------------------------------------------------------

    def push(self, sweep: Sweep | None, specs: Iterable[LaunchSpec], *, again: bool = False) -> Receipt:
        """See `Store.push`. Rows are gathered in a temporary table first, so agents go on while a grid composes."""
        with self._reading() as db:
            staged = staging.gather(db, sweep, specs)
        with self._writing() as db:
            if sweep:
                db.execute(_sql("insert_sweep"), asdict(sweep) | {"created_at": time.time()})
            unknown = [row["queue"] for row in db.execute(_sql("select_unknown_queues"))]
            if unknown:
                known = [queue.name for queue in self.queues()]
                raise NotFoundError("\n".join(f"no queue named {name!r}; {suggest(name, known)}" for name in unknown))
            added, ids = staging.copy(db, self.url, keep_present=again or sweep is None)
        return Receipt(sweep.name if sweep else None, added, staged - added, ids)

    # -- an agent's verbs -----------------------------------------------------------------------------------------

    def pop(self, agent: str, queues: Sequence[str], limit: int) -> list[Lease]:
        """See `Store.pop`. Looks without the write lock first: an idle agent costs others nothing."""
        wanted = {"queues": canonical.encode(list(dict.fromkeys(queues)))}
        with self._reading() as db:
            if limit < 1 or not db.execute(_sql("has_waiting"), wanted).fetchone()[0]:
                return []
        with self._writing() as db:
            db.execute(_sql("revive_agent"), {"agent": agent})
            popped = db.execute(_sql("pop_items"), {**wanted, "agent": agent, "now": time.time(), "limit": limit})
            seqs = canonical.encode([row["seq"] for row in popped.fetchall()])
            where = "seq IN (SELECT value FROM json_each(:seqs))"
            leased = db.execute(_sql("select_leases", where), {"seqs": seqs}).fetchall()
            return [self._lease(db, row) for row in leased]

    def held(self, agent: str) -> list[Lease]:
        """See `Store.held`."""
        where = "agent = :agent AND state IN ('leased', 'running')"
        with self._reading() as db:
            held = db.execute(_sql("select_leases", where), {"agent": agent}).fetchall()
            return [self._lease(db, row) for row in held]

    def ack(self, started: Iterable[tuple[Lease, Mapping[str, Any], str]]) -> list[bool]:
        """See `Store.ack`."""
        now = time.time()
        started_rows = [
            {
                "id": lease.item.id,
                "token": lease.token,
                "handle": canonical.encode(handle),
                "run_dir": folder,
                "now": now,
            }
            for lease, handle, folder in started
        ]
        return self._each("ack_item", started_rows)

    def finish(self, ended: Iterable[tuple[Lease, Outcome]]) -> list[bool]:
        """See `Store.finish`."""
        now = time.time()
        ended_rows = [
            rows.ending(outcome) | {"id": lease.item.id, "token": lease.token, "now": now} for lease, outcome in ended
        ]
        return self._each("finish_item", ended_rows)

    def _each(self, verb: str, values: Sequence[Mapping[str, Any]]) -> list[bool]:
        if not values:
            return []
        with self._writing() as db:
            return [db.execute(_sql(verb), row).rowcount == 1 for row in values]

    def heartbeat(self, agent: str) -> None:
        """See `Store.heartbeat`."""
        with self._writing() as db:
            db.execute(_sql("beat_agent"), {"agent": agent, "now": time.time()})

    def leases(self, agent: str) -> dict[str, bool]:
        """See `Store.leases`."""
        with self._reading() as db:
            return {
                row["token"]: bool(row["stop_requested"]) for row in db.execute(_sql("select_tokens"), {"agent": agent})
            }

    def release_lost(self, lease_seconds: float = LEASE_SECONDS) -> int:
        """See `Store.release_lost`."""
        limit = {"limit": time.time() - lease_seconds}
        with self._reading() as db:
            silent = [row["id"] for row in db.execute(_sql("select_silent_agents"), limit)]
        return self._release(silent, "lost", f"its agent was silent for more than {lease_seconds:g} s") if silent else 0

    def release(self, agent: str, reason: str) -> int:
        """See `Store.release`."""
        return self._release([agent], "lost", reason)

    def leave(self, agent: str) -> None:
        """See `Store.leave`."""
        self._release([agent], "left", "its agent stopped")

    def _release(self, agents: Sequence[str], state: str, reason: str) -> int:
        which = {"agents": canonical.encode(list(agents)), "state": state}
        with self._writing() as db:
            db.execute(_sql("set_agent_state"), which)
            return db.execute(_sql("release_items"), {**which, "reason": reason, "now": time.time()}).rowcount

    def register(self, agent: AgentInfo) -> None:
        """See `Store.register`."""
        with self._writing() as db:
            db.execute(_sql("upsert_agent"), asdict(agent) | {"queues": canonical.encode(agent.queues)})

    def agents(self) -> list[AgentInfo]:
        """See `Store.agents`."""
        with self._reading() as db:
            found = [dict(row) for row in db.execute(_sql("select_agents"))]
        return [AgentInfo(**row | {"queues": tuple(canonical.decode(row["queues"]))}) for row in found]

    # -- people's verbs -------------------------------------------------------------------------------------------

    def cancel(self, which: ItemFilter, actor: str) -> tuple[int, int]:
        """See `Store.cancel`."""
        where, values = rows.where(which)
        values |= {"actor": actor, "now": time.time()}
        with self._writing() as db:
            waiting = db.execute(_sql("cancel_waiting", where), values).rowcount
            return waiting, db.execute(_sql("request_stop", where), values).rowcount

    def retry(self, which: ItemFilter, actor: str) -> int:
        """See `Store.retry`."""
        where, values = rows.where(which)
        with self._writing() as db:
            return db.execute(_sql("retry_items", where), values | {"actor": actor, "now": time.time()}).rowcount

    def set_priority(self, which: ItemFilter, priority: int) -> int:
        """See `Store.set_priority`."""
        where, values = rows.where(which)
        with self._writing() as db:
            return db.execute(_sql("set_priority", where), values | {"priority": priority}).rowcount

    def delete(self, which: ItemFilter) -> int:
        """See `Store.delete`."""
        where, values = rows.where(which)
        with self._writing() as db:
            return db.execute(_sql("delete_items", where), values).rowcount

    def items(self, which: ItemFilter) -> Iterator[Item]:
        """See `Store.items`."""
        where, values = rows.where(which)
        values |= {"after": 0, "page": PAGE}
        while True:  # page by page, so that no read transaction stays open while the caller works
            with self._reading() as db:
                page = db.execute(_sql("select_items", where), values).fetchall()
            yield from map(rows.item_of, page)
            if len(page) < PAGE:
                return
            values["after"] = page[-1]["seq"]

    def item(self, prefix: str) -> Item:
        """See `Store.item`."""
        with self._reading() as db:
            found = [row["id"] for row in db.execute(_sql("select_ids"), {"prefix": prefix})]
        if prefix not in found and len(found) != 1:
            several = f"is the beginning of several IDs ({', '.join(found)}, …); give more of it"
            raise NotFoundError(
                f"{prefix!r} " + (several if found else f"is no item's ID, nor the beginning of one, in {self.url}")
            )
        return next(self.items(ItemFilter(ids=(prefix if prefix in found else found[0],))))

    def document(self, item_id: str) -> dict[str, Any]:
        """See `Store.document`."""
        with self._reading() as db:
            row = db.execute(_sql("select_document"), {"id": item_id}).fetchone()
            if row is None:
                raise NotFoundError(f"no item {item_id!r} in {self.url}")
            return self._document(db, row)

    def events(self, item_id: str) -> list[Event]:
        """See `Store.events`."""
        with self._reading() as db:
            found = [dict(row) for row in db.execute(_sql("select_events"), {"id": item_id})]
        return [Event(**row | {"before": RunState(row["before"]), "after": RunState(row["after"])}) for row in found]

    def counts(self) -> list[Count]:
        """See `Store.counts`."""
        with self._reading() as db:
            found = db.execute(_sql("count_items")).fetchall()
        return [Count(row["queue"], row["sweep"], RunState(row["state"]), row["number"]) for row in found]

    def sweeps(self) -> list[Sweep]:
        """See `Store.sweeps`."""
        with self._reading() as db:
            return [Sweep(**dict(row)) for row in db.execute(_sql("select_sweeps"))]

    # -- queues ---------------------------------------------------------------------------------------------------

    def queues(self) -> list[QueueInfo]:
        """See `Store.queues`."""
        with self._reading() as db:
            return [rows.queue_of(row) for row in db.execute(_sql("select_queues"))]

    def create_queue(self, queue: QueueInfo) -> None:
        """See `Store.create_queue`."""
        with self._writing() as db:
            if not db.execute(_sql("insert_queue"), rows.queue_row(queue) | {"now": time.time()}).rowcount:
                raise StoreError(f"queue {queue.name!r} exists already in {self.url}; choose another name")

    def update_queue(self, queue: QueueInfo) -> None:
        """See `Store.update_queue`."""
        self._change_queue("update_queue", queue.name, rows.queue_row(queue))

    def pause_queue(self, name: str, *, paused: bool) -> None:
        """See `Store.pause_queue`."""
        self._change_queue("pause_queue", name, {"paused": paused})

    def delete_queue(self, name: str) -> None:
        """See `Store.delete_queue`."""
        left = [count for count in self.counts() if count.queue == name and count.state not in TERMINAL]
        if left:
            told = ", ".join(f"{count.number} {count.state.value}" for count in left)
            raise StoreError(f"queue {name!r} still has items ({told}); cancel them first, or wait for them")
        self._change_queue("delete_queue", name, {"now": time.time()})

    def _change_queue(self, verb: str, name: str, values: Mapping[str, Any]) -> None:
        with self._writing() as db:
            if not db.execute(_sql(verb), {**values, "name": name}).rowcount:
                known = suggest(name, [queue.name for queue in self.queues()])
                raise NotFoundError(f"no queue named {name!r} in {self.url}; {known}")

    # -- documents ------------------------------------------------------------------------------------------------

    def _lease(self, db: sqlite3.Connection, row: sqlite3.Row) -> Lease:
        return Lease(rows.item_of(row), row["token"], self._document(db, row))

    def _document(self, db: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
        """The document of a row with its shape and leaves; shapes are kept, for most items share one."""
        shape = self._shapes.get(row["shape"])
        if shape is None:
            if len(self._shapes) == KEPT_SHAPES:
                del self._shapes[next(iter(self._shapes))]
            found = db.execute(_sql("select_shape"), {"id": row["shape"]}).fetchone()
            shape = self._shapes[row["shape"]] = tuple(map(canonical.decode, found))
        base, changed, gone = shape
        return unpack(base, changed, gone, canonical.decode(row["leaves"]))


def _sql(verb: str, where: str = "") -> str:
    text = statement("sqlite", verb)
    return text.replace("{where}", where) if where else text
