"""An item and who holds it: found for a user, and ended with the lease that its agent was given. W&B's agents know no
leases; ours say the token of theirs, so that one which was lost ends nothing of another's."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from launcher.errors import NotFoundError
from launcher.item import TERMINAL, Item, ItemFilter, Lease, RunState
from launcher.outcome import Outcome
from launcher.server.desk import Ask, Desk
from launcher.server.queues import entity_of, shown_name


def item_of(desk: Desk, item_id: str, queue: str | None = None) -> Item | None:
    """The item of this ID, in this queue if one is named; None where there is none."""
    if "\0" in item_id:
        return None
    return next(desk.store.items(ItemFilter(ids=(item_id,), queue=queue)), None)


def found_item(ask: Ask, item_id: str, role: str) -> Item:
    """An item, if the user has this role in its entity; one of another entity is as good as none."""
    item = item_of(ask.desk, item_id)
    entity = item_entity(ask.desk, item) if item else None
    if item is None or entity not in ask.user.roles:
        raise NotFoundError(f"no run queue item {item_id[:80]!r}")
    ask.user.check(str(entity), role)
    return item


def item_entity(desk: Desk, item: Item) -> str:
    """The entity of an item's queue; of its spec, when the queue is gone."""
    for queue in desk.store.queues():
        if queue.name == item.queue:
            return entity_of(desk, queue)
    return str(desk.store.document(item.id).get("queue_entity") or desk.home)


def run_name(item: Item) -> str | None:
    """The run of an item that was started: the one that its agent acknowledged it with, or, for our agents, the item's
    own ID."""
    if name := (item.handle or {}).get("wandb_run"):
        return str(name)
    started = item.state is RunState.RUNNING or (item.state in TERMINAL and item.started_at is not None)
    return item.id if started else None


def lease_of(desk: Desk, item: Item) -> Lease | None:
    """The lease that an agent holds of an item, if one does."""
    held = desk.store.held(item.agent) if item.agent else ()
    return next((lease for lease in held if lease.item.id == item.id), None)


def lease_node(desk: Desk, lease: Lease) -> dict[str, Any]:
    """A lease as our own agents take it, on whatever machine: its token, its item and all of its spec."""
    item, document = lease.item, lease.document
    queue = next((queue for queue in desk.store.queues() if queue.name == item.queue), None)
    told = {
        name: value
        for name, value in asdict(item).items()
        if name not in ("state", "agent", "run_dir", "handle", "result", "queue")
    }
    return {
        "token": lease.token,
        "item": {**told, "queue": shown_name(desk, queue) if queue else item.queue},
        "spec": {**document, "entity": document.get("entity") or item_entity(desk, item)},
    }


def finish(desk: Desk, item: Item, outcome: Outcome, token: str | None = None) -> bool:
    """End what an agent holds, with this token if one is said; False when nobody holds it (any more)."""
    lease = lease_of(desk, item)
    if lease is None or token not in (None, lease.token):
        return False
    with desk.writing:
        return desk.store.finish([(lease, outcome)])[0]
