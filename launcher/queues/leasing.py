"""The verbs of a store over SQL that agents use: take items, say what became of them, and stay alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from launcher import canonical
from launcher.item import AgentInfo, Lease
from launcher.outcome import Lost, Outcome
from launcher.queues import rows
from launcher.queues.documents import Documents
from launcher.slots import ANY_ROOM, Room

Rows = Callable[[], list[Any]]


class Leasing:
    """What a store over SQL does for agents; see `launcher.queues.Store` for the verbs."""

    _session: Callable[[], AbstractContextManager[Any]]
    _transaction: Callable[[Any], AbstractContextManager[Any]]
    _notify: Callable[[Any], None]
    _sql: Callable[..., str]
    _documents: Documents

    def pop(self, agent: str, queues: Sequence[str], limit: int, room: Room = ANY_ROOM) -> list[Lease]:
        """See `Store.pop`. Looks outside of a transaction first: an idle agent costs others nothing."""
        wanted = _wanted(agent, queues, limit)
        with self._session() as db:
            if limit < 1 or not (look := self._look(db, wanted)):
                return []
            with self._pipelined(db):
                db.execute(self._sql("revive_agent"), wanted)
                popped = self._pop(db, look, wanted, room)
            return self._leases(db, popped())

    def exchange(  # noqa: PLR0913 - those of three verbs
        self, agent: str, started: Iterable[tuple[Lease, Mapping[str, Any], str]],
        ended: Iterable[tuple[Lease, Outcome]], queues: Sequence[str], limit: int, room: Room = ANY_ROOM,
    ) -> tuple[list[bool], list[bool], list[Lease]]:  # fmt: skip
        """See `Store.exchange`."""
        wanted = _wanted(agent, queues, limit)
        now = wanted["now"]
        begun = [rows.beginning(*each) for each in started]
        endings = [rows.ending(lease, outcome, now) for lease, outcome in ended]
        if not (begun or endings):
            return [], [], self.pop(agent, queues, limit, room)
        with self._session() as db:
            with self._pipelined(db):
                # first of all, as by who declares an agent lost: its row, then its items
                db.execute(self._sql("revive_agent"), wanted)
                acked = self._write(db, "ack_items", begun, now)
                written = self._write(db, "finish_items", endings, now)
                looked = self._later(db.execute(self._sql("has_waiting"), wanted)) if limit > 0 else None
                self._settle()
                told = acked(), written()
                look = looked()[0] if looked else None
                popped = self._pop(db, look, wanted, room) if look and _promises(look) else list
            return *told, self._leases(db, popped())

    def _look(self, db: Any, wanted: Mapping[str, Any]) -> Any:
        """What waits that `wanted` asks for; None if nothing does, nor is due for a change."""
        look = db.execute(self._sql("has_waiting"), wanted).fetchone()
        return look if _promises(look) else None

    def _pop(self, db: Any, look: Any, wanted: Mapping[str, Any], room: Room) -> Rows:
        if look["due"]:
            self._end_waits(db, wanted)
        self._before_pop(db, wanted, look)
        if look["sized"]:
            return self._later(db.execute(self._sql("pop_fitting"), {**wanted, **asdict(room)}))
        return self._later(db.execute(self._sql("pop_items"), wanted))

    def _end_waits(self, db: Any, wanted: Mapping[str, Any]) -> int:
        """What has waited for too long fails, what waited for another attempt may be taken; how many failed."""
        ended = self._later(db.execute(self._sql("expire_items"), wanted))
        db.execute(self._sql("end_backoff"), wanted)
        self._settle()
        expired = ended()
        self._hold_failing(db, expired)
        return len(expired)

    def _leases(self, db: Any, popped: list[Any]) -> list[Lease]:
        popped.sort(key=lambda row: (row["priority"], row["seq"]))
        return [Lease(rows.taken_of(row), row["token"], self._documents.of(db, row)) for row in popped]

    def _before_pop(self, db: Any, wanted: Mapping[str, Any], look: Any) -> None:
        """What a dialect must do so that agents that pop at once respect limits together."""

    def expire(self) -> int:
        """See `Store.expire`. Looks outside of a transaction first, as `pop` does."""
        wanted = _wanted("", (), 0)
        with self._session() as db:
            if not self._look(db, wanted):
                return 0
            with self._pipelined(db):
                return self._end_waits(db, wanted)

    def fail_unfit(self, queue: str, rooms: Sequence[Mapping[str, float]], reason: str, *, seconds: float = 0) -> int:
        """See `Store.fail_unfit`."""
        values = {
            "queue": queue, "rooms": canonical.encode(list(rooms)), "reason": reason, "now": time.time(),
            "seconds": seconds,
        }  # fmt: skip
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
        return [Lease(rows.item_of(row), row["token"], self._documents.of(db, row)) for row in held]

    def ack(self, started: Iterable[tuple[Lease, Mapping[str, Any], str]]) -> list[bool]:
        """See `Store.ack`."""
        return self._each(
            "ack_items",
            [rows.beginning(*each) for each in started],
            time.time(),
        )

    def finish(self, ended: Iterable[tuple[Lease, Outcome]]) -> list[bool]:
        """See `Store.finish`."""
        now = time.time()
        return self._each("finish_items", [rows.ending(lease, outcome, now) for lease, outcome in ended], now)

    def _each(self, verb: str, values: Sequence[Mapping[str, Any]], now: float) -> list[bool]:
        if not values:
            return []
        with self._session() as db, self._pipelined(db):
            written = self._write(db, verb, values, now)
            self._settle()
            return written()

    def _write(self, db: Any, verb: str, values: Sequence[Mapping[str, Any]], now: float) -> Callable[[], list[bool]]:
        """One statement for all rows; a second one where an item comes twice, so that the first of them counts. What is
        returned tells, once that is settled, which rows were ours to write."""
        asked = []
        for places in rows.rounds(values):
            given = (values[place] for place in places.values())
            said = [row if "series" not in row else {**row, "series": None} for row in given]
            texts = {"rows": canonical.encode(said), "now": now}
            asked.append((places, self._later(db.execute(self._sql(verb), texts))))
        if any(row.get("again") for row in values):
            self._notify(db)

        def written() -> list[bool]:
            done = [False] * len(values)
            for places, found in asked:
                for row in found():
                    done[places[row["id"]]] = True
            ours = [row for row, is_ours in zip(values, done, strict=True) if is_ours]
            for row in ours:
                if row.get("series"):
                    db.execute(self._sql("keep_series"), {"id": row["id"], "points": row["series"]})
                elif "series" in row:
                    db.execute(self._sql("drop_series"), {"id": row["id"]})
            self._hold_failing(db, [row for row in ours if row.get("state") == rows.FAILED and not row["again"]])
            if returned := [row["id"] for row in ours if row.get("again")]:
                db.execute(self._sql("hold_returned"), {"ids": canonical.encode(returned)})
            return done

        return written

    def _hold_failing(self, db: Any, failed: Iterable[Any]) -> None:
        if sweeps := {row["sweep"] for row in failed} - {None}:
            named = {"sweeps": canonical.encode(sorted(sweeps))}
            self._before_stop(db, named)
            db.execute(self._sql("stop_failing_sweeps"), named)
            db.execute(self._sql("hold_failing_sweeps"), named)

    def _before_stop(self, db: Any, sweeps: Mapping[str, Any]) -> None:
        """What a dialect must do so that failures that are told at once are counted together."""

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
            return sum(self._write(db, "finish_items", endings, now)())

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

    def _pipelined(self, db: Any) -> AbstractContextManager[Any]:
        """A transaction; where the dialect can, statements are sent on without waiting for each one's answer, until
        they are settled."""
        return self._transaction(db)

    def _later(self, cursor: Any) -> Rows:
        """What a statement gives, for when all that was sent is settled."""
        found = cursor.fetchall()
        return lambda: found

    def _settle(self) -> None:
        """In a pipeline, wait for all that was sent so far."""


def _wanted(agent: str, queues: Sequence[str], limit: int) -> dict[str, Any]:
    return {"agent": agent, "queues": canonical.encode(list(dict.fromkeys(queues))), "limit": limit, "now": time.time()}


def _promises(look: Any) -> bool:
    return bool(look["waiting"] or look["due"])
