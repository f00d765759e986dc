"""The store of a team: queues in a PostgreSQL database, for agents on many machines (extra `postgres`). Everything it
knows about SQL lies in sql/postgres/, one statement a file, in a schema of its own named `launcher`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from launcher import canonical
from launcher.errors import DeadlockError, TakenError
from launcher.item import RunRecord
from launcher.queues import rows
from launcher.queues.postgres_server import PostgresServer
from launcher.queues.sql_store import SqlStore
from launcher.slots import ANY_ROOM, Room

if TYPE_CHECKING:
    from launcher.item import ItemFilter, Lease, Receipt, Sweep
    from launcher.outcome import Outcome
    from launcher.queues.staging import Gathered, Row

TANGLES = 5
"""How often a verb may be begun anew for the sake of others."""

ITEM_TYPES = (
    "int8", *["text"] * 3, "int4", "text", "int8", *["text"] * 2, "int4", *["float8"] * 3, "int8",
)  # fmt: skip
IDENTITY_TYPES = ("int8", "text", "text", "text")
"""The types of the columns of copy_items and copy_identities, which a COPY in binary must have exactly."""

T = TypeVar("T")


class PostgresStore(PostgresServer, SqlStore):
    """A store in the database that `postgresql://…` names (libpq's URL); see `launcher.queues.Store` for its verbs."""

    dialect = "postgres"
    adds_meanwhile = True

    def __init__(self, url: str, *, read_only: bool = False, as_is: bool = False) -> None:
        SqlStore.__init__(self)
        PostgresServer.__init__(self, url, read_only=read_only, as_is=as_is)

    def _insert_items(self, db: Any, made: Callable[[], Iterator[Row]], number: int) -> None:
        """COPY: the server adds rows while we make, or even gather, the next; it has less to read in binary."""
        numbers = db.execute(self._sql("draw_numbers"), {"number": number}).fetchone()["numbers"]
        with db.cursor().copy(self._sql("copy_items")) as copy:
            copy.set_types(ITEM_TYPES)
            for seq, row in zip(numbers, made(), strict=True):
                copy.write_row((seq, *row[:-1]))
        try:
            with db.cursor().copy(self._sql("copy_identities")) as copy:
                copy.set_types(IDENTITY_TYPES)
                for seq, row in zip(numbers, made(), strict=True):
                    copy.write_row((seq, row[0], row[2], row[-1]))
        except self._unique as error:
            raise TakenError(f"store {self.url}: an ID was drawn that another item has; add again") from error

    # -- what this dialect does otherwise ---------------------------------------------------------------------------

    def pop(self, agent: str, queues: Sequence[str], limit: int, room: Room = ANY_ROOM) -> list[Lease]:
        """See `Store.pop`. Agents that take at the same moment pass over each other's items, so an empty hand may
        only mean that: look again, and soon."""
        for _ in range(4):
            leases = _untangled(super().pop, agent, queues, limit, room)
            if leases or not self._waits(queues):
                return leases
            time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - jitter
        return leases

    def exchange(  # noqa: PLR0913 - those of three verbs
        self, agent: str, started: Iterable[tuple[Lease, Mapping[str, Any], str]],
        ended: Iterable[tuple[Lease, Outcome]], queues: Sequence[str], limit: int, room: Room = ANY_ROOM,
    ) -> tuple[list[bool], list[bool], list[Lease]]:  # fmt: skip
        """See `Store.exchange`; an empty hand is looked at again, as in `pop`."""
        acked, done, leases = _untangled(super().exchange, agent, list(started), list(ended), queues, limit, room)
        again = limit > 0 and not leases and (acked or done)
        return acked, done, self.pop(agent, queues, limit, room) if again else leases

    def expire(self) -> int:
        """See `Store.expire`."""
        return _untangled(super().expire)

    def _waits(self, queues: Sequence[str]) -> bool:
        wanted = {"queues": canonical.encode(list(queues)), "now": time.time()}
        with self._session() as db:
            look = db.execute(self._sql("has_waiting"), wanted).fetchone()
        return look["waiting"] and not look["sized"]  # those are taken in turns

    def _before_pop(self, db: Any, wanted: Mapping[str, Any], look: Any) -> None:
        if look["sized"]:
            db.execute(self._sql("lock_limits"))
        if look["limited"]:
            db.execute(self._sql("lock_limited_queues"), wanted)

    def _before_stop(self, db: Any, sweeps: Mapping[str, Any]) -> None:
        db.execute(self._sql("lock_stops"), sweeps)

    def _add(self, sweep: Sweep | None, gathered: Gathered, *, again: bool) -> Receipt:
        return _untangled(super()._add, sweep, gathered, again=again)

    def _lock_queue(self, db: Any, name: str) -> None:
        db.execute(self._sql("lock_queue"), {"name": name})

    def _lock_items(self, db: Any, which: ItemFilter) -> None:
        conditions, values = rows.where(which)
        db.execute(self._sql("lock_items", *conditions), values)

    def cancel(self, which: ItemFilter, actor: str) -> tuple[int, int]:
        """See `Store.cancel`."""
        return _untangled(super().cancel, which, actor)

    def _change_items(self, verb: str, which: ItemFilter, **values: Any) -> int:
        return _untangled(super()._change_items, verb, which, **values)

    def heartbeat(self, agent: str) -> None:
        """See `Store.heartbeat`."""
        super().heartbeat(agent)
        with self._session() as db:
            db.execute(self._sql("compact_counts"))

    def _notify(self, db: Any) -> None:
        db.execute(self._sql("notify"))

    @staticmethod
    def _run_record(row: Any) -> RunRecord:
        return RunRecord(**row)


def _untangled(verb: Callable[..., T], *values: Any, **named: Any) -> T:
    """What a verb gives; begun anew when its transaction and another one waited for each other, and it was ended."""
    for _ in range(TANGLES):
        with suppress(DeadlockError):
            return verb(*values, **named)
    return verb(*values, **named)
