"""Values to rows and back, the same for every SQL store: filters, outcomes, items."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from launcher import canonical
from launcher.item import Cancelled, Failed, Finished, Item, ItemFilter, Lost, Outcome, Preempted, QueueInfo, RunState


def where(which: ItemFilter) -> tuple[str, dict[str, Any]]:
    """The conditions of a filter as SQL and its values; only those that were given, so that each can use its index.

    >>> where(ItemFilter(sweep="digits"))
    ('sweep = :sweep', {'sweep': 'digits'})
    """
    conditions: dict[str, tuple[str, Any]] = {}
    if which.ids is not None:
        conditions["ids"] = ("id IN (SELECT value FROM json_each(:ids))", canonical.encode(which.ids))
    if which.sweep is not None:
        conditions["sweep"] = ("sweep = :sweep", which.sweep)
    if which.queue is not None:
        conditions["queue"] = ("queue = :queue", which.queue)
    if which.states is not None:
        states = canonical.encode(sorted(state.value for state in which.states))
        conditions["states"] = ("state IN (SELECT value FROM json_each(:states))", states)
    clause = " AND ".join(condition for condition, _ in conditions.values()) or "true"
    return clause, {name: value for name, (_, value) in conditions.items()}


def ending(outcome: Outcome) -> dict[str, Any]:
    """The values of finish_item for an outcome: the one place where outcomes become states.

    >>> ending(Finished({"accuracy": 0.9}))["state"]
    'finished'
    """
    row: dict[str, Any] = dict.fromkeys(("exit_code", "stage", "reason", "result"))
    row |= {"again": False, "grant": 0}
    match outcome:
        case Finished(result):
            row |= {"state": RunState.FINISHED.value, "exit_code": 0, "result": result}
        case Failed(stage, reason, exit_code, result):
            row |= {
                "state": RunState.FAILED.value,
                "stage": stage,
                "reason": reason,
                "exit_code": exit_code,
                "result": result,
            }
        case Cancelled(reason):
            row |= {"state": RunState.CANCELLED.value, "reason": reason}
        case Preempted(reason):
            row |= {"state": RunState.PENDING.value, "stage": "preempted", "reason": reason, "again": True, "grant": 1}
        case Lost(reason):
            row |= {"state": RunState.PENDING.value, "stage": "lost", "reason": reason, "again": True}
    row["result"] = None if row["result"] is None else canonical.encode(row["result"])
    return row


def queue_row(queue: QueueInfo) -> dict[str, Any]:
    """The columns of a queue."""
    row = asdict(queue)
    return row | {name: canonical.encode(row[name]) for name in ("resource_args", "variables", "links")}


def queue_of(row: Any) -> QueueInfo:
    """The queue of a row of select_queues."""
    values = {name: row[name] for name in row.keys()}
    values |= {name: canonical.decode(row[name]) for name in ("resource_args", "variables", "links")}
    return QueueInfo(**values | {"paused": bool(row["paused"]), "allow_overrides": bool(row["allow_overrides"])})


def item_of(row: Any) -> Item:
    """The item of a row of select_items (a mapping with `keys()`)."""
    columns = set(row.keys()) - {"seq", "token", "shape", "leaves"}
    values = {name: row[name] for name in columns}
    for name in ("point", "handle", "result"):
        values[name] = None if values[name] is None else canonical.decode(values[name])
    values["point"] = tuple(values["point"])
    values["state"] = RunState(values["state"])
    values["stop_requested"] = bool(values["stop_requested"])
    return Item(**values)
