"""What can be done on the page: cancel, retry, pause, resume and another priority for a sweep or an item, pause and
resume for a queue. Each is asked for once more before it is done, and needs a role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from launcher.errors import NotFoundError, UsageError
from launcher.item import ItemFilter
from launcher.queues import Store
from launcher.spec import PRIORITY_NAMES
from launcher.web.view import View


@dataclass(frozen=True, slots=True)
class Order:
    """What an action gets: on which items of the store, who does it, and the fields of its form."""

    store: Store
    which: ItemFilter
    by: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Action:
    """A verb: its name on buttons, what it will do (of what `{}` is), in the past tense what it did, and how."""

    label: str
    question: str
    done: str
    do: Callable[[Order], int]
    danger: bool = False


def _priority(fields: Mapping[str, str]) -> int:
    given = fields.get("priority", "")
    if given not in PRIORITY_NAMES:
        raise UsageError(f"priority {given!r} is none; expected one of {', '.join(PRIORITY_NAMES)}")
    return PRIORITY_NAMES.index(given)


ITEM_ACTIONS: Mapping[str, Action] = {
    "cancel": Action(
        "Cancel", "Cancel {}? What waits is cancelled at once, what runs is stopped by its agent.", "cancelled",
        lambda do: sum(do.store.cancel(do.which, do.by)), danger=True,
    ),
    "retry": Action(
        "Retry", "Retry {}? What failed or was cancelled waits again, with one more attempt.", "will be retried",
        lambda do: do.store.retry(do.which, do.by),
    ),
    "priority": Action(
        "Priority", "Give {} another priority? It matters for what waits.", "given the new priority",
        lambda do: do.store.set_priority(do.which, _priority(do.fields)),
    ),
    "pause": Action(
        "Pause", "Pause {}? Agents pass over what waits until it is resumed; what runs goes on.", "paused",
        lambda do: do.store.hold(do.which),
    ),
    "resume": Action(
        "Resume", "Resume {}? Agents may take what was paused, or held after failures.", "resumed",
        lambda do: do.store.resume(do.which),
    ),
}  # fmt: skip
"""By verb; for sweeps and for single items. They need a member."""

QUEUE_ACTIONS: Mapping[str, Action] = {
    "pause": Action(
        "Pause", "Pause {}? Agents take nothing more from it; what runs goes on.", "paused",
        lambda do: _pause(do, paused=True),
    ),
    "resume": Action(
        "Resume", "Resume {}? Agents take from it again.", "resumed",
        lambda do: _pause(do, paused=False),
    ),
}  # fmt: skip
"""By verb; for queues. They need an admin."""


def _pause(do: Order, *, paused: bool) -> int:
    assert do.which.queue
    do.store.pause_queue(do.which.queue, paused=paused)
    return 1


@dataclass(frozen=True, slots=True)
class Task:
    """An action on something, for somebody who may do it: on which items, and where its page is."""

    verb: str
    action: Action
    what: str
    filters: tuple[ItemFilter, ...]
    page: str
    by: str

    def do(self, store: Store, fields: Mapping[str, str]) -> int:
        """Do it; says for how many items."""
        return sum(self.action.do(Order(store, which, self.by, fields)) for which in self.filters)


def task(view: View, verb: str, kind: str, name: str, links: Mapping[str, Callable[[str], str]]) -> Task:
    """What a form asks for; NotFoundError for what there is not, AccessError without the role."""
    known = QUEUE_ACTIONS if kind == "queues" else ITEM_ACTIONS
    if verb not in known or kind not in ("queues", "sweeps", "items"):
        raise NotFoundError(f"no action {verb!r} for {kind}")
    who = view.user.name
    if kind == "queues":
        view.need("admin", [name])
        return Task(verb, known[verb], f"queue {name}", (ItemFilter(queue=name),), "/", who)
    if kind == "items":
        item = view.item(name)
        view.need("member", [item.queue])
        return Task(verb, known[verb], f"run {item.id}", (ItemFilter(ids=(item.id,)),), links["item"](item.id), who)
    sweep, queues = view.sweep(name)
    may = view.need("member", sorted(queues))
    filters = tuple(ItemFilter(sweep=sweep.name, queue=queue) for queue in may)
    return Task(verb, known[verb], f"sweep {sweep.name}", filters, links["sweep"](sweep.name), who)


def told(parameters: Mapping[str, str]) -> str:
    """What was done, from the address that a form led to; only words of ours, whoever made the address."""
    verb, count = parameters.get("done", ""), parameters.get("count", "")
    if verb not in ITEM_ACTIONS or not count.isascii() or not count.isdigit() or len(count) > 9:
        return ""
    if count == "0":
        return "Nothing to do: none is in a state for that"
    if "queue" in parameters:
        return f"The queue is {ITEM_ACTIONS[verb].done}"
    return f"{int(count):,} {'run' if count == '1' else 'runs'} {ITEM_ACTIONS[verb].done}"
