"""Where queues live. `Store` is the protocol that every store honours (one contract suite runs over all of them);
`open_store` finds the one that a URL names."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from launcher.errors import StoreError, suggest
from launcher.item import (
    AgentInfo,
    Attempt,
    Count,
    Event,
    Item,
    ItemFilter,
    JobVersion,
    Lease,
    LogEntry,
    QueueInfo,
    Receipt,
    Record,
    RunRecord,
    Sweep,
)
from launcher.outcome import Outcome
from launcher.slots import ANY_ROOM, Room

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.notices import Notice
    from launcher.queues.migration import Schema
    from launcher.spec import LaunchSpec
    from launcher.waits import Blocker, Stall

LEASE_SECONDS = 30.0
"""An agent that was not heard of for this long has lost its leases."""

_STORES = {
    "sqlite": "launcher.queues.sqlite:SqliteStore",
    "postgresql": "launcher.queues.postgres:PostgresStore",
    "wandb+https": "launcher.queues.wandb.store:WandbStore",
    "wandb+http": "launcher.queues.wandb.store:WandbStore",
}


class Progress(NamedTuple):
    """How many runs have ended, their mean duration in seconds (None for none), and how many ended lately."""

    ended: int
    seconds: float | None
    lately: int


class Store(Protocol):
    """Queues, sweeps and items. Every verb is one transaction; a state changes in one guarded statement."""

    url: str
    renders: bool
    """Whether template variables are filled before an item gets here; else the store fills them."""

    detaches: bool
    """Whether agents may hold items unattended and give them back at no cost: what an engine runs goes on with no agent
    watching, short runs are taken ahead. Else an agent stays with what it runs, and takes nothing else."""

    environment: Mapping[str, str]
    """What runs get in their environment to know the store, unless their agent's says otherwise."""

    def push(self, sweep: Sweep | None, specs: Iterable[LaunchSpec], *, again: bool = False) -> Receipt:
        """Add the specs of a sweep (created if need be), all or nothing. Specs that the sweep has already are left
        out, and wait again if they had failed, unless `again`. Raises StoreError for a run_id that is taken,
        NotFoundError for an unknown queue."""

    def pop(self, agent: str, queues: Sequence[str], limit: int, room: Room = ANY_ROOM) -> list[Lease]:
        """Lease up to `limit` waiting items of these queues to an agent: highest priority, then oldest, first. While
        items wait that ask for CPUs, memory, GPUs or limits, at most one, and only if it fits into `room`."""

    def fail_unfit(self, queue: str, rooms: Sequence[Mapping[str, float]], reason: str, *, seconds: float = 0) -> int:
        """Fail what has waited in a queue for `seconds`, and asks for more (cpus, memory, gpus) than each of `rooms`
        has; says how many."""

    def expire(self) -> int:
        """Fail what has waited in any queue for longer than its timeout, as `pop` does, for agents whose places are all
        taken; says how many."""

    def ack(self, started: Iterable[tuple[Lease, Mapping[str, Any], str]]) -> list[bool]:
        """Leased → running, with each run's handle and folder; False where the lease is no longer ours."""

    def finish(self, ended: Iterable[tuple[Lease, Outcome]]) -> list[bool]:
        """Held → what the outcome says; False where the lease is no longer ours, and nothing is written then."""

    def exchange(  # noqa: PLR0913 - those of three verbs
        self, agent: str, started: Iterable[tuple[Lease, Mapping[str, Any], str]],
        ended: Iterable[tuple[Lease, Outcome]], queues: Sequence[str], limit: int, room: Room = ANY_ROOM,
    ) -> tuple[list[bool], list[bool], list[Lease]]:  # fmt: skip
        """`ack`, `finish`, then `pop` into the places that became free: what an agent does most, for the price of
        one."""

    def heartbeat(self, agent: str) -> None:
        """Keep all of an agent's leases, in one statement."""

    def leases(self, agent: str) -> dict[str, bool]:
        """The tokens that an agent holds, True for those whose run shall be stopped."""

    def valid(self, tokens: Collection[str]) -> set[str]:
        """Those of these tokens whose leases somebody holds."""

    def next_due(self, queues: Sequence[str]) -> float | None:
        """Seconds until the next item of these queues may be tried again; None if none waits for that."""

    def release(self, agent: str, reason: str, *, beats: int | None = None) -> int:
        """An agent is gone: put back, or end, what it held, as runs that were lost; returns how many items that were.
        With `beats`, only if it is alive and was not heard of since it had beaten so often."""

    def adopt(self, dead: str, agent: str, *, beats: int | None = None) -> list[Lease]:
        """Give what an agent held that is gone to one that can go on with it; returns those leases, as they were.
        Nothing, when somebody else was faster, or, with `beats`, when it was heard of since it had beaten so often."""

    def register(self, agent: AgentInfo) -> None:
        """An agent begins (or begins again)."""

    def leave(self, agent: str) -> None:
        """An agent ends; what it still holds goes back."""

    def agents(self, since: float | None = None) -> list[AgentInfo]:
        """The agents that have not left; with `since`, also those that had not left at that time."""

    def held(self, agent: str) -> list[Lease]:
        """What an agent holds."""

    def cancel(self, which: ItemFilter, actor: str) -> tuple[int, int]:
        """Cancel waiting items, and ask for held ones to be stopped; returns both counts."""

    def retry(self, which: ItemFilter, actor: str) -> int:
        """Failed or cancelled items wait again, with one more attempt; returns how many."""

    def hold(self, which: ItemFilter) -> int:
        """Let agents pass over waiting items until they are resumed; returns how many."""

    def resume(self, which: ItemFilter) -> int:
        """Let agents take what was held, by somebody or for its sweep's failures; returns how many."""

    def set_priority(self, which: ItemFilter, priority: int) -> int:
        """Change the priority of waiting items, except on queues without prioritization; returns how many."""

    def delete(self, which: ItemFilter) -> int:
        """Forget items that no agent holds, their events included; returns how many."""

    def items(self, which: ItemFilter) -> Iterator[Item]:
        """The items that a filter selects, oldest first."""

    def run_records(self, which: ItemFilter) -> Iterator[RunRecord]:
        """The items that a filter selects, oldest first, as lean rows: for tables over very many."""

    def newest(self, which: ItemFilter, limit: int) -> list[RunRecord]:
        """The items that a filter selects, those first whose state changed last."""

    def progress(self, which: ItemFilter, since: float) -> Progress:
        """How far the items that a filter selects have come; `since`: from when on an end is lately."""

    def series(self, ids: Iterable[str]) -> dict[str, bytes]:
        """The series of those of these items whose runs ended with one, as `launcher.series` packs them."""

    def item(self, prefix: str) -> Item:
        """The item of an ID, or of a unique beginning of one; NotFoundError otherwise."""

    def document(self, item_id: str) -> dict[str, Any]:
        """The launch spec of an item."""

    def events(self, item_id: str) -> list[Event]:
        """The transitions of an item, oldest first."""

    def log(self, which: ItemFilter, *, after: int = 0, since: float | None = None, limit: int) -> list[LogEntry]:
        """The first entries of the event log about these items that come `after` one (its seq), oldest first, from the
        time `since` on. Entries written at the same moment may become readable one after the other, in any order."""

    def blockers(self, queues: Sequence[str]) -> list[Blocker]:
        """What may keep waiting items of these queues, as far as they are not paused, from being taken; in the order in
        which they would be."""

    def stalled(self, stalls: Iterable[Stall]) -> None:
        """Record why an agent took nothing; one that is recorded already is extended. Old ones are forgotten."""

    def stalls(self, item_id: str) -> list[Stall]:
        """Why agents took no items like this one while it was there."""

    def ahead(self, item_id: str) -> int:
        """How many items would be taken from its queue before a waiting one."""

    def attempts(self, item_id: str) -> list[Attempt]:
        """How the starts of an item ended, all but its last."""

    def counts(self) -> list[Count]:
        """How many items are in which state, by queue and sweep."""

    def holds(self) -> list[Count]:
        """How many waiting items may not be taken now, by queue, sweep and reason (see `Item.hold`)."""

    def sweeps(self) -> list[Sweep]:
        """All sweeps, oldest first."""

    def take_notice(self, agent: str) -> Notice | None:
        """A notice that a sweep wants sent now. It is given to one agent; to another one when that took too long."""

    def settle_notice(self, notice: Notice, agent: str, error: str | None) -> bool:
        """A notice was sent, or with an `error` could not be, and waits to be tried again; False where another agent
        has it by now."""

    def notices(self, sweep: str) -> list[tuple[Notice, str, str | None]]:
        """The notices of a sweep that have come: each with its state (due, sending, sent, failed) and last error."""

    def queues(self) -> list[QueueInfo]:
        """All queues, by name."""

    def create_queue(self, queue: QueueInfo) -> None:
        """Add a queue; StoreError if there is one of that name."""

    def update_queue(self, queue: QueueInfo) -> None:
        """Give the queue of that name other settings (all but `paused`); NotFoundError if there is none."""

    def pause_queue(self, name: str, *, paused: bool) -> None:
        """Let agents take nothing from a queue, or let them again; NotFoundError if there is none."""

    def delete_queue(self, name: str) -> None:
        """Delete a queue; StoreError while it has items that have not ended, NotFoundError if there is none."""

    def keep_patch(self, digest: str, content: bytes) -> None:
        """Keep uncommitted changes that specs name by their digest; the same content is kept once."""

    def patch(self, digest: str) -> bytes:
        """The content of a patch; NotFoundError where there is none."""

    def keep_job(self, version: JobVersion, aliases: Collection[str] = ()) -> JobVersion:
        """Add a version of a job, or find the one that has this content already; `latest` and these aliases name it
        from now on. Returns it as it is kept."""

    def alias_job(self, name: str, number: int, aliases: Collection[str]) -> None:
        """Let aliases name this version of a job; NotFoundError where there is none."""

    def jobs(self, name: str | None = None) -> list[JobVersion]:
        """The versions of a job, oldest first; or of all jobs, by name."""

    def record(self, kind: str, key: str) -> Record | None:
        """The record of this kind and key; None where there is none."""

    def records(self, kind: str, prefix: str = "") -> list[Record]:
        """The records of a kind whose keys begin so, by key."""

    def keep_record(self, kind: str, key: str, value: Mapping[str, Any], revision: int = 0) -> bool:
        """Change the record that still has this `revision`, or add one (0); False when somebody else was faster."""

    def drop_record(self, kind: str, key: str) -> bool:
        """Forget a record; False where there is none."""

    def check(self) -> list[str]:
        """What is wrong with the store, a line each: counts that are not those of its items, items whose documents
        cannot be read, damage of its file; none when all is well."""

    def free(self) -> int:
        """Forget the parts of documents that only items needed which were deleted, and returns how many; and the sweeps
        that have no items any more."""

    def version(self) -> tuple[int, int]:
        """The version of the store, and the newest that this launcher knows."""

    def size(self) -> int:
        """How many bytes it takes on disk."""

    def backup(self, file: Path) -> None:
        """Copy the store, as it is at one moment, into a file that must not be there yet, while others go on with it;
        StoreError if that cannot be done."""

    def wait(self, wake: threading.Event, timeout: float) -> bool:
        """Return when another process has given us something to do (added items, or put them back, or asked for a run
        to be stopped), maybe without that too; when `wake` is set; or after `timeout` seconds. False where nobody else
        has changed anything meanwhile, as far as the store knows."""

    def close(self) -> None:
        """Let go of the store's files or connections."""


def open_store(url: str, *, read_only: bool = False, as_is: bool = False) -> Store:
    """The store that a URL names, created if it is not there yet (unless `read_only`). With `as_is` it must be there,
    and may be of an older version, which it keeps: for looking after it, not for its items.

    Raises StoreError for an unknown kind of store, and for one that cannot be used.

    >>> open_store("sqlite:///")
    Traceback (most recent call last):
    ...
    launcher.errors.StoreError: store 'sqlite:///' names no file; expected sqlite:///PATH
    """
    return cast(Store, _class(url)(url, read_only=read_only, as_is=as_is))


def open_schema(url: str, *, read_only: bool = False) -> AbstractContextManager[Schema]:
    """The tables of the store that a URL names, whatever their version, for `launcher.queues.migration`; with
    `read_only` they cannot be written."""
    return cast("AbstractContextManager[Schema]", _class(url).schema(url, read_only=read_only))


def _class(url: str) -> Any:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _STORES:
        known = [f"{name}://" for name in _STORES]
        raise StoreError(f"store {url!r} is of an unknown kind; {suggest(scheme + '://', known)}, as in sqlite:///PATH")
    module, _, name = _STORES[scheme].partition(":")
    return getattr(import_module(module), name)
