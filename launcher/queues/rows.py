"""Values to rows and back, the same for every SQL store: filters, outcomes, items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from launcher import canonical
from launcher.item import Item, ItemFilter, Lease, QueueInfo, RunState
from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted, Ran

ITEM_COLUMNS = tuple(field.name for field in fields(Item))
FINISHED, FAILED, CANCELLED = RunState.FINISHED.value, RunState.FAILED.value, RunState.CANCELLED.value
JSON_COLUMNS = ("resource_args", "variables", "links", "retry", "timeout")


def where(which: ItemFilter) -> tuple[list[str], dict[str, Any]]:
    """The conditions of a filter, by the names of their files, and their values; only those that were given, so that
    each can use its index.

    >>> where(ItemFilter(sweep="digits"))
    (['where_sweep'], {'sweep': 'digits'})
    """
    values: dict[str, Any] = {}
    if which.ids is not None:
        values["ids"] = canonical.encode(which.ids)
    if which.sweep is not None:
        values["sweep"] = which.sweep
    if which.queue is not None:
        values["queue"] = which.queue
    if which.states is not None:
        values["states"] = canonical.encode(sorted(state.value for state in which.states))
    if which.ended_before is not None:
        values["ended_before"] = which.ended_before
    if which.points:
        values["points"] = canonical.encode(which.points)
    return [f"where_{name}" for name in values], values


def key(lease: Lease) -> dict[str, str]:
    """What every write by an agent carries."""
    return {"id": lease.item.id, "token": lease.token}


def rounds(values: Sequence[Mapping[str, Any]]) -> list[dict[str, int]]:
    """The places of rows by their item's ID, in as many rounds as an item comes often.

    >>> rounds([{"id": "a"}, {"id": "b"}, {"id": "a"}])
    [{'a': 0, 'b': 1}, {'a': 2}]
    """
    found: list[dict[str, int]] = []
    for place, row in enumerate(values):
        free = next((places for places in found if row["id"] not in places), None)
        if free is None:
            found.append(free := {})
        free[row["id"]] = place
    return found


def beginning(lease: Lease, handle: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The values of ack_items for a run that was started for `lease`."""
    return key(lease) | {"handle": canonical.encode(handle), "run_dir": folder}


def ending(lease: Lease, outcome: Outcome, now: float) -> dict[str, Any]:
    """The values of finish_items for how the run of `lease` ended: the one place where outcomes become states.

    `again`: the item shall wait for another attempt, from `not_before` on; `grant`: attempts that this one gives back.
    What there is nothing to say of is left out. `sweep` and `series` are for others than finish_items.
    """
    row: dict[str, Any] = key(lease) | {"again": False, "grant": 0, "state": FAILED}
    match outcome:
        case Finished(result, series, ran):
            row |= {"state": FINISHED, "exit_code": 0, "result": result, "series": series} | _times(ran, now)
        case Failed(stage, reason, exit_code, result, series, ran):
            row |= {"stage": stage, "reason": reason, "exit_code": exit_code, "result": result, "series": series}
            row |= _times(ran, now)
        case Cancelled(reason, result, series, ran):
            row |= {"state": CANCELLED, "reason": reason, "result": result, "series": series} | _times(ran, now)
        case Preempted(reason):
            row |= {"stage": "preempted", "reason": reason, "grant": 1}
        case Lost(reason):
            row |= {"stage": "lost", "reason": reason}
    if not isinstance(outcome, Finished):
        row |= {"sweep": lease.item.sweep} | _another_attempt(lease, outcome, row["grant"], now)
    if row.get("reason"):
        row["reason"] = row["reason"].replace("\0", "\N{REPLACEMENT CHARACTER}")  # no SQL text holds it
    if row.get("result") is not None:
        row["result"] = canonical.encode(row["result"])
    told = {"sweep", "series"} if lease.item.attempt > 1 else {"sweep"}  # no series: that of an attempt before goes
    return {name: value for name, value in row.items() if value is not None or name in told}


def _times(ran: Ran | None, now: float) -> dict[str, float]:
    """When the run began and ended; a clock of another machine may be ahead of ours."""
    if ran is None:
        return {}
    ended = min(ran.ended, now)
    return {"began": min(ran.began, ended), "ended": ended}


def _another_attempt(lease: Lease, outcome: Outcome, grant: int, now: float) -> dict[str, Any]:
    if lease.item.attempt >= lease.item.max_attempts + grant:
        return {}
    from launcher.policy import Retry

    retry = Retry.of(lease.document)
    if not retry.covers(outcome):
        return {}
    given = max(0, lease.item.max_attempts - retry.max_attempts)  # starts that cost none of the attempts
    delay = 0.0 if grant else retry.delay(max(1, lease.item.attempt - given))
    return {"again": True, "not_before": now + delay if delay else None}


def queue_row(queue: QueueInfo) -> dict[str, Any]:
    """The columns of a queue."""
    row = asdict(queue)
    return row | {name: canonical.encode(row[name]) for name in JSON_COLUMNS}


def queue_of(row: Any) -> QueueInfo:
    """The queue of a row of select_queues."""
    values = {name: row[name] for name in row.keys()}
    values |= {name: canonical.decode(row[name]) for name in JSON_COLUMNS}
    return QueueInfo(**values | {"paused": bool(row["paused"]), "allow_overrides": bool(row["allow_overrides"])})


def taken_of(row: Any) -> Item:
    """The item of a row of pop_items or pop_fitting: what that has no column for is empty now."""
    return Item(
        row["id"], row["queue"], row["sweep"], RunState.LEASED, row["priority"], row["name"],
        tuple(canonical.decode(row["point"])), row["attempt"], row["max_attempts"], row["added_at"], row["changed_at"],
        agent=row["agent"], not_before=row["not_before"], expires_at=row["expires_at"],
    )  # fmt: skip


def item_of(row: Any) -> Item:
    """The item of a row that has its columns, and maybe others."""
    values = {name: row[name] for name in ITEM_COLUMNS}
    for name in ("point", "handle", "result"):
        if values[name] is not None:
            values[name] = canonical.decode(values[name])
    values["point"] = tuple(values["point"])
    values["state"] = RunState(values["state"])
    values["stop_requested"] = bool(values["stop_requested"])
    return Item(**values)
