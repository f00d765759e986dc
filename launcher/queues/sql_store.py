"""The verbs of a store over SQL, one transaction each. A dialect's store adds its connections, how rows get into its
staging tables, and how its waiting ends; everything else it knows lies in sql/<dialect>/, one statement a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from launcher import canonical
from launcher.errors import NotFoundError, suggest
from launcher.item import (
    AgentInfo,
    Attempt,
    Count,
    Event,
    Item,
    ItemFilter,
    Lease,
    Lost,
    Outcome,
    Receipt,
    RunState,
    Sweep,
)
from launcher.queues import rows, staging
from launcher.queues.catalog import Catalog
from launcher.queues.documents import Documents
from launcher.queues.history import History
from launcher.queues.jobs import Jobs
from launcher.queues.sql import statement
from launcher.queues.upkeep import Upkeep
from launcher.slots import ANY_ROOM, Room

if TYPE_CHECKING:
    from launcher.spec import LaunchSpec

PAGE = 1000


class SqlStore(Catalog, History, Jobs, Upkeep):
    """A store over a connection of its dialect; see `launcher.queues.Store` for its verbs.

    `_session` gives this thread a connection that commits each statement; `_writing` one inside a transaction.
    """

    dialect: ClassVar[str]
    url: str
    _stage: Callable[[Any, str, Sequence[tuple[Any, ...]]], None]

    def __init__(self) -> None:
        self._documents = Documents(self._sql)

    # -- adding ---------------------------------------------------------------------------------------------------

    def push(self, sweep: Sweep | None, specs: Iterable[LaunchSpec], *, again: bool = False) -> Receipt:
        """See `Store.push`. Rows are gathered in temporary tables first, so agents go on while a grid composes."""
        with self._session() as db:
            staging.gather(self._sql, db, self._stage, sweep, specs)
            with self._transaction(db):
                if sweep:
                    db.execute(self._sql("insert_sweep"), asdict(sweep) | {"created_at": time.time()})
                self._check_queues(db)
                receipt = staging.copy(self._sql, db, sweep, keep_present=again or sweep is None, url=self.url)
                self._notify(db)
        return receipt

    def _check_queues(self, db: Any) -> None:
        unknown = [row["queue"] for row in db.execute(self._sql("select_unknown_queues"))]
        if unknown:
            known = [row["name"] for row in db.execute(self._sql("select_queues"))]
            raise NotFoundError("\n".join(f"no queue named {name!r}; {suggest(name, known)}" for name in unknown))

    # -- an agent's verbs -----------------------------------------------------------------------------------------

    def pop(self, agent: str, queues: Sequence[str], limit: int, room: Room = ANY_ROOM) -> list[Lease]:
        """See `Store.pop`. Looks outside of a transaction first: an idle agent costs others nothing."""
        now = time.time()
        wanted = {"queues": canonical.encode(list(dict.fromkeys(queues))), "now": now}
        with self._session() as db:
            if limit < 1:
                return []
            look = db.execute(self._sql("has_waiting"), wanted).fetchone()
            if not (look["waiting"] or look["due"]):
                return []
            with self._pipeline(db), self._transaction(db):
                if look["due"]:
                    self._hold_failing(db, self._rows(db.execute(self._sql("expire_items"), wanted)))
                    db.execute(self._sql("end_backoff"), wanted)
                self._before_pop(db, wanted, sized=look["sized"])
                db.execute(self._sql("revive_agent"), {"agent": agent})
                verb = "pop_fitting" if look["sized"] else "pop_items"
                values = wanted | {"agent": agent, "limit": limit} | (asdict(room) if look["sized"] else {})
                popped = self._rows(db.execute(self._sql(verb), values))
            popped.sort(key=lambda row: (row["priority"], row["seq"]))
            return [self._lease(db, row) for row in popped]

    def _before_pop(self, db: Any, wanted: Mapping[str, Any], *, sized: bool) -> None:
        """What a dialect must do so that agents that pop at once respect limits together."""

    def fail_unfit(self, queue: str, rooms: Sequence[Mapping[str, float]], reason: str) -> int:
        """See `Store.fail_unfit`."""
        values = {"queue": queue, "rooms": canonical.encode(list(rooms)), "reason": reason, "now": time.time()}
        with self._session() as db, self._transaction(db):
            return int(db.execute(self._sql("fail_unfit"), values).rowcount)

    def next_due(self, queues: Sequence[str]) -> float | None:
        """See `Store.next_due`."""
        with self._session() as db:
            due = db.execute(self._sql("next_due"), {"queues": canonical.encode(list(queues))}).fetchone()["due"]
        return None if due is None else max(0.0, due - time.time())

    def held(self, agent: str) -> list[Lease]:
        """See `Store.held`."""
        with self._session() as db:
            return self._held(db, agent)

    def _held(self, db: Any, agent: str) -> list[Lease]:
        held = db.execute(self._sql("select_leases", "where_held"), {"agent": agent}).fetchall()
        return [self._lease(db, row) for row in held]

    def ack(self, started: Iterable[tuple[Lease, Mapping[str, Any], str]]) -> list[bool]:
        """See `Store.ack`."""
        return self._each(
            "ack_items",
            [
                rows.key(lease) | {"handle": canonical.encode(handle), "run_dir": folder}
                for lease, handle, folder in started
            ],
            time.time(),
        )

    def finish(self, ended: Iterable[tuple[Lease, Outcome]]) -> list[bool]:
        """See `Store.finish`."""
        now = time.time()
        return self._each("finish_items", [rows.ending(lease, outcome, now) for lease, outcome in ended], now)

    def _each(self, verb: str, values: Sequence[Mapping[str, Any]], now: float) -> list[bool]:
        if not values:
            return []
        with self._session() as db, self._pipeline(db), self._transaction(db):
            return self._write(db, verb, values, now)

    def _write(self, db: Any, verb: str, values: Sequence[Mapping[str, Any]], now: float) -> list[bool]:
        """One statement for all rows; a second one where an item comes twice, so that the first of them counts."""
        done = [False] * len(values)
        for places in rows.rounds(values):
            texts = {"rows": canonical.encode([values[place] for place in places.values()]), "now": now}
            for found in self._rows(db.execute(self._sql(verb), texts)):
                done[places[found["id"]]] = True
        written = [row for row, ours in zip(values, done, strict=True) if ours]
        self._hold_failing(db, [row for row in written if row.get("state") == RunState.FAILED.value])
        if any(row.get("again") for row in values):
            self._notify(db)
        return done

    def _hold_failing(self, db: Any, unwell: Iterable[Any]) -> None:
        if sweeps := {row["sweep"] for row in unwell} - {None}:
            db.execute(self._sql("hold_failing_sweeps"), {"sweeps": canonical.encode(sorted(sweeps))})

    def heartbeat(self, agent: str) -> None:
        """See `Store.heartbeat`."""
        with self._session() as db:
            db.execute(self._sql("beat_agent"), {"agent": agent, "now": time.time()})

    def leases(self, agent: str) -> dict[str, bool]:
        """See `Store.leases`."""
        with self._session() as db:
            found = db.execute(self._sql("select_tokens"), {"agent": agent}).fetchall()
        return {row["token"]: bool(row["stop_requested"]) for row in found}

    def valid(self, tokens: Collection[str]) -> set[str]:
        """See `Store.valid`."""
        if not tokens:
            return set()
        with self._session() as db:
            found = db.execute(
                self._sql("select_valid_tokens"), {"tokens": canonical.encode(sorted(tokens))}
            ).fetchall()
        return {row["token"] for row in found}

    def release(self, agent: str, reason: str, *, beats: int | None = None) -> int:
        """See `Store.release`."""
        return self._release(agent, "lost", reason, beats)

    def leave(self, agent: str) -> None:
        """See `Store.leave`."""
        self._release(agent, "left", "its agent stopped", None)

    def _release(self, agent: str, state: str, reason: str, beats: int | None) -> int:
        with self._session() as db, self._transaction(db):
            which = {"agent": agent, "state": state, "beats": beats, "now": time.time()}
            if not db.execute(self._sql("end_agent"), which).rowcount and beats is not None:
                return 0
            now = time.time()
            endings = [rows.ending(lease, Lost(reason), now) for lease in self._held(db, agent)]
            return sum(self._write(db, "finish_items", endings, now))

    def adopt(self, dead: str, agent: str, *, beats: int | None = None) -> list[Lease]:
        """See `Store.adopt`."""
        with self._session() as db, self._transaction(db):
            if not db.execute(
                self._sql("end_agent"), {"agent": dead, "state": "lost", "beats": beats, "now": time.time()}
            ).rowcount:
                return []
            tokens = {lease.token for lease in self._held(db, dead)}
            db.execute(self._sql("adopt_items"), {"dead": dead, "agent": agent})
            return [lease for lease in self._held(db, agent) if lease.token in tokens]

    def register(self, agent: AgentInfo) -> None:
        """See `Store.register`."""
        with self._session() as db:
            texts = {"queues": canonical.encode(agent.queues), "room": canonical.encode(agent.room)}
            db.execute(self._sql("upsert_agent"), asdict(agent) | texts)

    # -- people's verbs -------------------------------------------------------------------------------------------

    def cancel(self, which: ItemFilter, actor: str) -> tuple[int, int]:
        """See `Store.cancel`."""
        with self._session() as db, self._transaction(db):
            waiting = self._change(db, "cancel_waiting", which, actor=actor)
            return waiting, self._change(db, "request_stop", which)

    def retry(self, which: ItemFilter, actor: str) -> int:
        """See `Store.retry`."""
        return self._change_items("retry_items", which, actor=actor)

    def hold(self, which: ItemFilter) -> int:
        """See `Store.hold`."""
        return self._change_items("hold_items", which)

    def resume(self, which: ItemFilter) -> int:
        """See `Store.resume`."""
        return self._change_items("resume_items", which)

    def set_priority(self, which: ItemFilter, priority: int) -> int:
        """See `Store.set_priority`."""
        return self._change_items("set_priority", which, priority=priority)

    def delete(self, which: ItemFilter) -> int:
        """See `Store.delete`."""
        return self._change_items("delete_items", which)

    def _change_items(self, verb: str, which: ItemFilter, **values: Any) -> int:
        with self._session() as db, self._transaction(db):
            return self._change(db, verb, which, **values)

    def _change(self, db: Any, verb: str, which: ItemFilter, **values: Any) -> int:
        conditions, more = rows.where(which)
        number = int(db.execute(self._sql(verb, *conditions), {**values, **more, "now": time.time()}).rowcount)
        if number:
            self._notify(db)
        return number

    def items(self, which: ItemFilter) -> Iterator[Item]:
        """See `Store.items`."""
        conditions, values = rows.where(which)
        text = self._sql("select_items", *conditions)
        values |= {"after": 0, "page": PAGE}
        while True:  # page by page, so that no read transaction stays open while the caller works
            with self._session() as db:
                page = db.execute(text, values).fetchall()
            yield from map(rows.item_of, page)
            if len(page) < PAGE:
                return
            values["after"] = page[-1]["seq"]

    def item(self, prefix: str) -> Item:
        """See `Store.item`."""
        with self._session() as db:
            found = [row["id"] for row in db.execute(self._sql("select_ids"), {"prefix": prefix})]
        if prefix not in found and len(found) != 1:
            several = f"is the beginning of several IDs ({', '.join(found)}, …); give more of it"
            raise NotFoundError(
                f"{prefix!r} " + (several if found else f"is no item's ID, nor the beginning of one, in {self.url}")
            )
        return next(self.items(ItemFilter(ids=(prefix if prefix in found else found[0],))))

    def document(self, item_id: str) -> dict[str, Any]:
        """See `Store.document`."""
        with self._session() as db:
            row = db.execute(self._sql("select_document"), {"id": item_id}).fetchone()
            if row is None:
                raise NotFoundError(f"no item {item_id!r} in {self.url}")
            return self._documents.of(db, row)

    def events(self, item_id: str) -> list[Event]:
        """See `Store.events`."""
        with self._session() as db:
            found = [dict(row) for row in db.execute(self._sql("select_events"), {"id": item_id})]
        return [Event(**row | {"before": RunState(row["before"]), "after": RunState(row["after"])}) for row in found]

    def attempts(self, item_id: str) -> list[Attempt]:
        """See `Store.attempts`."""
        with self._session() as db:
            found = [dict(row) for row in db.execute(self._sql("select_attempts"), {"id": item_id})]
        return [Attempt(**row | {"state": RunState(row["state"])}) for row in found]

    def counts(self) -> list[Count]:
        """See `Store.counts`."""
        return self._counts("count_items")

    def holds(self) -> list[Count]:
        """See `Store.holds`."""
        return self._counts("count_holds")

    def _counts(self, verb: str) -> list[Count]:
        with self._session() as db:
            found = [dict(row) for row in db.execute(self._sql(verb))]
        return [Count(**row | {"state": RunState(row["state"]), "number": int(row["number"])}) for row in found]

    def sweeps(self) -> list[Sweep]:
        """See `Store.sweeps`."""
        with self._session() as db:
            return [Sweep(**dict(row)) for row in db.execute(self._sql("select_sweeps"))]

    # -- what the verbs share -------------------------------------------------------------------------------------

    def _lease(self, db: Any, row: Any) -> Lease:
        return Lease(rows.item_of(row), row["token"], self._documents.of(db, row))

    def _sql(self, verb: str, *conditions: str) -> str:
        return statement(self.dialect, verb, *conditions)

    def _pipeline(self, db: Any) -> AbstractContextManager[Any]:  # noqa: ARG002 - for the dialects
        """Where the dialect can: send statements on without waiting for each one's answer, until one is fetched."""
        return nullcontext()

    def _rows(self, cursor: Any) -> list[Any]:
        """What a statement gave, also in a pipeline."""
        found: list[Any] = cursor.fetchall()
        return found

    def _notify(self, db: Any) -> None:
        """Tell those who wait, at this transaction's commit, where the dialect does not tell them by itself."""
