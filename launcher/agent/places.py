"""From which queues an agent may take how many items now: as many as it has places for what runs on its own machine,
and what each engine takes that runs elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from launcher.item import Lease, RunState
from launcher.outcome import Finished, Outcome
from launcher.queues import Store
from launcher.runners import REMOTE, RUNNABLE, Runner, runnable_here
from launcher.slots import ANY_ROOM, Needs, Room, Slots

Pop = Callable[[Sequence[str], int, Room], list[Lease]]


@dataclass(slots=True)
class Places:
    """What an agent may take from `queues` (None for all of `store` that can be run here), up to `max_jobs` runs at a
    time: by default one on its own machine, and on an engine as many as it takes."""

    store: Store
    slots: Slots
    queues: Sequence[str] | None
    max_jobs: int | None
    runner: Callable[[str], Runner]
    resources: frozenset[str] = field(default_factory=lambda: frozenset(filter(runnable_here, RUNNABLE)))
    engine_full: bool = False
    """Whether an engine took no more when it was last asked, so that something may wait for it."""
    _known: dict[str, list[str]] | None = None
    _due_at: float | None = None

    def look_again(self) -> None:
        """The queues may be others now, and other items may wait."""
        self._known = self._due_at = None

    def ended(self, outcome: Outcome) -> None:
        """A run ended so: its item may wait for another attempt."""
        if not isinstance(outcome, Finished):
            self._due_at = None

    def names(self, remote: bool | None = None) -> list[str]:
        """The queues; only those of engines, or only the others, where that is said."""
        return [name for resource, names in self._by_resource().items() if remote in (None, resource in REMOTE)
                for name in names]  # fmt: skip

    def due(self) -> float | None:
        """Seconds until the next item may be tried again, if one waits for that."""
        now = time.monotonic()
        if self._due_at is None or self._due_at <= now:
            due = self.store.next_due(self.names())
            self._due_at = math.inf if due is None else now + due
        return None if self._due_at == math.inf else max(0.0, self._due_at - now)

    def free(self, running: Iterable[str]) -> int:
        """How many places are left on this machine, while runs of these resources run."""
        return self._free(running, remote=False)

    def take(self, pop: Pop, running: Collection[str], ahead: int) -> list[Lease]:
        """What `pop` gives while runs of these resources run, for this machine `ahead` items more than it has places
        for; one by one while the store gives them so."""
        leases: list[Lease] = []
        self.engine_full = False
        for names, free, room in self._now(running, ahead):
            before = len(leases)
            self.engine_full |= free <= 0 and room is _any_room and self._waiting(names)
            while (limit := free - (len(leases) - before)) > 0:
                taken = pop(names, limit, room())
                for lease in taken:
                    self.slots.take(lease.token, Needs.of(lease.document))
                leases += taken
                if len(taken) != 1:
                    break
        return leases

    def _now(self, running: Collection[str], ahead: int) -> Iterator[tuple[list[str], int, Callable[[], Room]]]:
        """Queues that share a room, and how many items more may be taken of them."""
        by_resource = self._by_resource()
        if local := [name for resource, names in by_resource.items() if resource not in REMOTE for name in names]:
            yield local, self.free(running) + ahead, self.slots.room
        for resource in REMOTE & by_resource.keys():
            free = self._free(running, remote=True)
            yield by_resource[resource], min(free, self.runner(resource).room()) if free > 0 else 0, _any_room

    def _waiting(self, names: Collection[str]) -> bool:
        pending = (count for count in self.store.counts() if count.state is RunState.PENDING)
        return any(count.number and count.queue in names for count in pending)

    def _free(self, running: Iterable[str], *, remote: bool) -> int:
        most = (sys.maxsize if remote else 1) if self.max_jobs is None else self.max_jobs
        return most - sum((resource in REMOTE) is remote for resource in running)

    def _by_resource(self) -> dict[str, list[str]]:
        if self._known is None:
            self._known = self._looked_up()
        return self._known

    def _looked_up(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        if self.queues is not None and not self.resources & REMOTE:
            return {"": list(self.queues)}
        for queue in self.store.queues():
            wanted = queue.resource in self.resources if self.queues is None else queue.name in self.queues
            if wanted:
                found.setdefault(queue.resource, []).append(queue.name)
        return found


def _any_room() -> Room:
    return ANY_ROOM
