"""Items as W&B's clients and agents see them: pushed, shown, deleted, popped, acknowledged, failed, warned about. One
is PENDING, LEASED (popped), CLAIMED (acknowledged; the run says what became of it) or FAILED."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from graphql import FieldNode
from graphql.execution.values import get_argument_values

from launcher import canonical
from launcher.errors import ConflictError, NotFoundError, UsageError
from launcher.item import HELD, TERMINAL, Item, ItemFilter, QueueInfo, RunState
from launcher.outcome import Failed, Lost, Outcome, Preempted
from launcher.server.agents import agent_of
from launcher.server.desk import Ask, Desk, checked, moment, page, parsed, project_name
from launcher.server.leases import finish, found_item, item_entity, item_of, lease_node, lease_of, run_name
from launcher.server.pushing import Pusher, resumed, spec_of
from launcher.server.queues import found_queue, queue_by_id
from launcher.server.runs import begin, reported
from launcher.server.sweeps import give_up, known_sweep, sweep_of
from launcher.slots import ANY_ROOM, Room
from launcher.spec import POLICIES, SCHEDULER_URI, Source

STATES = {
    RunState.PENDING: "PENDING",
    RunState.LEASED: "LEASED",
    RunState.RUNNING: "CLAIMED",
    RunState.FINISHED: "CLAIMED",
    RunState.FAILED: "FAILED",
    RunState.CANCELLED: "FAILED",
}
NOTES = "item"
"""Records of what W&B's agents said about items: files, warnings."""

OURS = (*POLICIES, "provenance", "secrets", "hydra", "_traceparent")
"""Fields of a spec that only our agents read."""

PAGE = 100


def spec_for_agents(desk: Desk, document: Mapping[str, Any], item: Item) -> dict[str, Any]:
    """An item's spec as W&B's agent takes it: it looks a job's code up by itself, and refuses what names both, and what
    is of a sweep that it cannot find."""
    spec = {name: value for name, value in document.items() if name not in OURS}
    if spec.get("sweep_id") and not known_sweep(desk, spec):
        del spec["sweep_id"]
    if spec.get("job"):
        if spec.get("uri") != SCHEDULER_URI:
            spec.pop("uri", None)
        spec["docker"] = {key: value for key, value in spec["docker"].items() if key != "docker_image"}
        spec["git"] = {key: value for key, value in spec["git"].items() if key not in Source.KEYS}
    if item.attempt > 1:
        spec["_resume_count"] = item.attempt - 1
    return spec


def item_node(desk: Desk, item: Item) -> dict[str, Any]:
    """A GraphQL RunQueueItem."""
    started = run_name(item) is not None
    notes = desk.store.record(NOTES, item.id) if item.state in TERMINAL or started else None
    told = notes.value if notes else {}
    error = {"message": item.reason, "stage": item.stage, "filePaths": told.get("files", [])} if item.reason else None
    return {
        "id": item.id,
        "state": "CLAIMED" if started else STATES[item.state],
        "associatedRunId": run_name(item),
        "priority": item.priority,
        "createdAt": moment(item.added_at),
        "runSpec": lambda _: spec_for_agents(desk, desk.store.document(item.id), item),
        "error": error,
        "warnings": told.get("warnings", []),
    }


# -- resolvers --------------------------------------------------------------------------------------------------------


def run_queue_item(parent: Mapping[str, Any], info: Any, id: str) -> dict[str, Any] | None:
    """RunQueue.runQueueItem."""
    item = item_of(info.context.desk, id, parent["queue"].name)
    return item_node(info.context.desk, item) if item else None


def run_queue_items(
    parent: Mapping[str, Any], info: Any, first: int | None = PAGE, after: str | None = None
) -> dict[str, Any]:
    """RunQueue.runQueueItems: oldest first, at most a hundred at a time."""
    ask: Ask = info.context
    number = min(PAGE if first is None else first, PAGE)
    seen: list[Item] = []
    found = after is None
    for item in ask.desk.store.items(ItemFilter(queue=parent["queue"].name)):
        if found:
            seen.append(item)
        found = found or item.id == after
        if len(seen) > number:
            break
    return page([item_node(ask.desk, item) for item in seen], None, number, lambda node: str(node["id"]))


def push_by_name(pusher: Pusher) -> Any:
    """The resolver of pushToRunQueueByName, which adds through `pusher`."""

    def push(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
        ask: Ask = info.context
        if "pushes" not in ask.memory:
            ask.memory["pushes"] = _all_pushes(ask, info, pusher)
        item_id, spec = ask.memory["pushes"].get(info.path.key) or _push(ask, input, pusher)
        if isinstance(item_id, Exception):
            raise item_id
        waited = item_id if isinstance(item_id, str) else item_id.result()
        ours = {key: spec.document.get(key) for key in ("resource", "resource_args")} if spec else {}
        told = {**canonical.decode(input["runSpec"]), **{key: value for key, value in ours.items() if value}}
        return {
            "runQueueItemId": waited,
            "runSpec": canonical.encode({key: value for key, value in told.items() if not key.startswith("_wandb")}),
            "clientMutationId": input.get("clientMutationId"),
        }

    return push


def _all_pushes(ask: Ask, info: Any, pusher: Pusher) -> dict[str, Any]:
    """What becomes of all the pushes of one document, by their names in the answer: added in one go, as each of them
    would be alone."""
    made: dict[str, Any] = {}
    nodes = [node for node in info.operation.selection_set.selections if isinstance(node, FieldNode)]
    for node in nodes:
        if node.name.value == "pushToRunQueueByName" and not node.directives:
            key = node.alias.value if node.alias else node.name.value
            definition = info.parent_type.fields[node.name.value]
            try:
                arguments = get_argument_values(definition, node, info.variable_values)
                made[key] = _push(ask, arguments["input"], pusher)
            except Exception as error:  # of ours, too: else the others would be added once more for each of them
                made[key] = (error, None)
    return made


def _push(ask: Ask, given: Mapping[str, Any], pusher: Pusher) -> tuple[Any, Any]:
    """The ID of a new item, or its future, and its spec."""
    entity = ask.entity(given["entityName"], "member")
    target = found_queue(ask.desk, entity, given["queueName"])
    return _push_to(ask, target, given, pusher)


def _push_to(ask: Ask, target: QueueInfo, given: Mapping[str, Any], pusher: Pusher) -> tuple[Any, Any]:
    if again := resumed(ask, target, given["runSpec"]):
        item, attempt = again
        if item.state not in HELD:
            ask.desk.store.retry(ItemFilter(ids=(item.id,)), ask.user.name)
        elif item.attempt <= attempt:  # else this is told again, and the next attempt has begun meanwhile
            finish(ask.desk, item, Preempted("preempted, as its agent says"))
        return item.id, None
    spec = spec_of(ask, target, given["runSpec"], given.get("templateVariableValues"), given.get("priority"))
    return pusher.push([spec], sweep_of(ask.desk, spec.document))[0], spec


def push_by_id(pusher: Pusher) -> Any:
    """The resolver of pushToRunQueue, which W&B's client falls back to."""

    def push(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
        ask: Ask = info.context
        item_id, _ = _push_to(ask, queue_by_id(ask, input["queueID"], "member"), input, pusher)
        waited = item_id if isinstance(item_id, str) else item_id.result()
        return {"runQueueItemId": waited, "clientMutationId": input.get("clientMutationId")}

    return push


def pop(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any] | None:
    """The next item of a queue, leased to an agent for about a minute; None when nothing waits."""
    ask: Ask = info.context
    entity = ask.entity(input["entityName"], "member")
    target = found_queue(ask.desk, entity, input["queueName"])
    agent = agent_of(ask, entity, input.get("launchAgentId"))
    if target.paused:
        return None
    room = _room(parsed(input.get("room"), "room"))
    with ask.desk.writing:
        leases = ask.desk.store.pop(agent, [target.name], 1, room)
    if not leases:
        return None
    (lease,) = leases
    return {
        "runQueueItemId": lease.item.id, "runSpec": lambda _: spec_for_agents(ask.desk, lease.document, lease.item),
        "lease": lambda _: lease_node(ask.desk, lease), "clientMutationId": input.get("clientMutationId"),
    }  # fmt: skip


def _room(told: Mapping[str, Any] | None) -> Room:
    names = [field.name for field in fields(Room)]
    if not told:
        return ANY_ROOM
    if sorted(told) != sorted(names) or not all(type(number) in (int, float) for number in told.values()):
        raise UsageError(f"room is {canonical.encode(told):.200}, expected numbers for {', '.join(names)}")
    return Room(**told)


def ack(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """An agent begins with the run of an item; not for the second time, and not when its lease is over."""
    ask: Ask = info.context
    desk = ask.desk
    item = found_item(ask, input["runQueueItemId"], "member")
    name = checked(input["runName"], "run")
    token = input.get("leaseToken")
    lease = lease_of(desk, item) if item.state is RunState.LEASED else None
    if lease is None or token not in (None, lease.token):
        handle = item.handle or {}
        begun = item.state is RunState.RUNNING and (handle.get("wandb_run"), handle.get("lease")) == (name, token)
        return {"success": token is not None and begun, "clientMutationId": input.get("clientMutationId")}
    document = lease.document
    entity = ask.entity(document.get("entity") or item_entity(desk, item), "member")
    where = entity, project_name(document.get("project"))
    key, folder = begin(ask, *where, name, item, document.get("sweep_id"), token)
    with desk.writing:
        (ours,) = desk.store.ack([(lease, {"wandb_run": name, "wandb_key": key, "lease": token}, folder)])
    return {"success": ours, "clientMutationId": input.get("clientMutationId")}


def fail(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """An agent gives up on an item: its stage, its reason, and files that say more."""
    ask: Ask = info.context
    item = found_item(ask, input["runQueueItemId"], "member")
    token = input.get("leaseToken")
    if token is not None:
        lease = lease_of(ask.desk, item)
        if lease is None or lease.token != token:  # told again, or too late
            notes = ask.desk.store.record(NOTES, item.id)
            known = notes is not None and notes.value.get("ended") == token
            return {"success": known, "clientMutationId": input.get("clientMutationId")}
    more = {"files": list(input.get("filePaths") or ()), "ended": token}
    if any(more.values()):
        ask.desk.change(NOTES, item.id, lambda before: {**(before or {}), **more})
    outcome = _given_up(ask.desk, item, input)
    return {"success": finish(ask.desk, item, outcome, token), "clientMutationId": input.get("clientMutationId")}


def _given_up(desk: Desk, item: Item, input: Mapping[str, Any]) -> Outcome:
    message = input.get("message") or "its agent failed"
    match input.get("requeue"):
        case "PREEMPTED":
            return Preempted(message, begun=item.state is RunState.RUNNING)
        case "LOST":
            return Lost(message)
    told = reported(desk, item) if input.get("leaseToken") else (None, None)
    return Failed(input.get("stage") or "run", message, input.get("exitCode"), *told)


def warn(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """An agent tells of something that is wrong, while it goes on."""
    ask: Ask = info.context
    item = found_item(ask, input["runQueueItemId"], "member")
    told = {"message": input["message"], "stage": input["stage"], "filePaths": list(input.get("filePaths") or ())}

    def add(before: Mapping[str, Any] | None) -> Mapping[str, Any]:
        known = dict(before or {})
        return {**known, "warnings": [*known.get("warnings", ()), {**told, "at": time.time()}][-PAGE:]}

    ask.desk.change(NOTES, item.id, add)
    return {"success": True, "clientMutationId": input.get("clientMutationId")}


def delete(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """Forget an item that waits or has ended; ConflictError while an agent has it."""
    ask: Ask = info.context
    target = queue_by_id(ask, input["queueID"], "member")
    item = item_of(ask.desk, input["runQueueItemId"], target.name)
    if item is None:
        raise NotFoundError(f"no run queue item {input['runQueueItemId'][:80]!r} in this queue")
    document = ask.desk.store.document(item.id)
    with ask.desk.writing:
        deleted = ask.desk.store.delete(ItemFilter(ids=(item.id,), queue=target.name))
    if not deleted:
        raise ConflictError(f"run queue item {item.id!r} is {STATES[item.state]}; stop its run first")
    ask.desk.store.drop_record(NOTES, item.id)
    if document.get("sweep_id"):
        give_up(ask.desk, document, item.id)
    return {"success": True, "clientMutationId": input.get("clientMutationId")}
