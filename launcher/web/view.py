"""What a user sees of the store, and what they may do: queues belong to entities, in which a user has a role; sweeps
and items are seen as far as their queues are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from launcher.errors import AccessError, NotFoundError, suggest
from launcher.item import Count, Item, QueueInfo, RunState, Sweep
from launcher.server.access import ROLES, User
from launcher.server.desk import Desk
from launcher.server.queues import entity_of, former_entity
from launcher.web.reader import Overview, Reader

Tally = dict[str, int]
"""Numbers of items by their states' names, in the order of states; all states."""

STATES = tuple(state.value for state in RunState)


@dataclass(frozen=True)
class View:
    """The store as one user sees it now."""

    desk: Desk
    reader: Reader
    user: User

    @cached_property
    def all(self) -> Overview:
        """What there is, for the eyes of others too."""
        return self.reader.overview()

    @cached_property
    def roles(self) -> dict[str, str]:
        """The user's role by queue; only queues that they see. Items of a queue that was deleted are still its
        entity's."""
        entities = {queue.name: entity_of(self.desk, queue) for queue in self.all.queues}
        names = dict.fromkeys([*entities, *(count.queue for count in self.all.counts)])
        owners = {name: entities.get(name) or former_entity(self.desk, name) or self.desk.home for name in names}
        found = {name: self.user.roles.get(owner) for name, owner in owners.items()}
        return {name: role for name, role in found.items() if role}

    @property
    def queues(self) -> list[QueueInfo]:
        """The queues that this user sees, by name."""
        return [queue for queue in self.all.queues if queue.name in self.roles]

    @property
    def counts(self) -> list[Count]:
        """The counts of these queues."""
        return [count for count in self.all.counts if count.queue in self.roles]

    def may(self, role: str, queues: Iterable[str]) -> bool:
        """Whether the user has at least this role for one of these queues."""
        return bool(self.allowed(role, queues))

    def allowed(self, role: str, queues: Iterable[str]) -> list[str]:
        """Those of these queues for which the user has at least this role."""
        needed = ROLES.index(role)
        return [name for name in queues if name in self.roles and ROLES.index(self.roles[name]) >= needed]

    def sweep(self, name: str) -> tuple[Sweep, frozenset[str]]:
        """A sweep, with those of its queues that this user sees; NotFoundError if there is none for them."""
        found = self._sweep(name) or self._anew()._sweep(name)
        if found is None:
            known = suggest(name, {count.sweep for count in self.counts if count.sweep})
            raise NotFoundError(f"no sweep named {name!r}; {known}")
        return found

    def _sweep(self, name: str) -> tuple[Sweep, frozenset[str]] | None:
        queues = frozenset(count.queue for count in self.counts if count.sweep == name)
        seen = queues or not self.all.of_sweep(name)
        return next(((sweep, queues) for sweep in self.all.sweeps if sweep.name == name and seen), None)

    def item(self, name: str, *, kept: bool = False) -> Item:
        """The item with this ID, or beginning of one, if this user sees it; `kept`: as of a moment ago will do. Else
        NotFoundError, the same whatever others have."""
        unknown = NotFoundError(f"{name!r} is no item's ID")
        try:
            item = self.reader.item(name) if kept else self.desk.store.item(name)
        except NotFoundError:  # it tells of others' IDs, and where the store is
            raise unknown from None
        if item.queue not in self.roles and item.queue not in self._anew().roles:
            raise unknown
        return item

    def _anew(self) -> View:
        """This view, of the store as it is now: what it lacks may have been added in the last seconds."""
        for name in ("all", "roles"):
            vars(self).pop(name, None)
        vars(self)["all"] = self.reader.overview_now()
        return self

    def need(self, role: str, queues: Iterable[str]) -> list[str]:
        """Those of these queues for which the user has this role; AccessError if it is none of them."""
        found = self.allowed(role, queues)
        if not found:
            raise AccessError(f"permission denied: {self.user.name!r} would have to be {role} for this")
        return found


def tally(counts: Iterable[Count]) -> Tally:
    """Counts summed by state."""
    found = dict.fromkeys(STATES, 0)
    for count in counts:
        found[count.state.value] += count.number
    return found
