"""Runs as `wandb.init` makes them: their config, summary, state and exit code in a record each, what they stream and
upload in files. An item's run exists from the moment when an agent begins with it, whatever its program does."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Mapping
from typing import Any

from launcher import canonical, series
from launcher.errors import NotFoundError, UsageError
from launcher.item import TERMINAL, Item, ItemFilter, RunState
from launcher.outcome import Cancelled, Failed, Finished, Outcome
from launcher.server.desk import (
    Ask,
    Desk,
    checked,
    file_node,
    moment,
    parsed,
    parts_of,
    project_name,
    project_number,
    storage_id,
)
from launcher.server.leases import finish, item_entity, item_of
from launcher.server.storage import LONGEST_LINE

KIND = "run"
CRASHED_SECONDS = 300.0
"""A run that was not heard of for so long counts as crashed; W&B's client speaks up every 30 seconds."""

LETTERS = string.ascii_lowercase + string.digits
ENDED = ("finished", "failed", "crashed", "killed", "preempted")
FROM_ITEM = {
    RunState.PENDING: "pending",
    RunState.LEASED: "pending",
    RunState.RUNNING: "running",
    RunState.FINISHED: "finished",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "killed",
}
FIELDS = {
    "displayName": "display_name", "description": "description", "notes": "notes", "groupName": "group",
    "commit": "commit", "host": "host", "jobProgram": "program", "jobRepo": "repo", "jobType": "job_type",
    "sweep": "sweep", "state": "state", "tags": "tags",
}  # fmt: skip
"""The arguments of upsertBucket that a run's record keeps as they are."""

HISTORY, EVENTS, LOG = "wandb-history.jsonl", "wandb-events.jsonl", "output.log"


def key_of(entity: str, project: str, name: str) -> str:
    """The key of a run's record; UsageError for names that are none."""
    return "/".join([checked(entity, "entity", 64), checked(project, "project"), checked(name, "run")])


def begin(
    ask: Ask, entity: str, project: str, name: str, item: Item, sweep: str | None = None, token: str | None = None
) -> tuple[str, str]:
    """The run of an item whose agent begins with it: the key of its record, and the folder of its files. With the token
    of an agent of ours, only that agent says how it ends; what an earlier attempt reported is forgotten then."""
    key = key_of(entity, project, name)

    def change(before: Mapping[str, Any] | None) -> Mapping[str, Any]:
        base = before or {**new(entity, project, name, ask.user.name), "sweep": sweep}
        earlier = token and base["seen_at"] < item.changed_at  # else its program was faster than its agent
        forgotten = _forgotten(base) if earlier else {}
        return {**base, **forgotten, "item": item.id, "ended": None, "ended_by": None, "lease": token}

    ask.desk.change(KIND, key, change)
    return key, str(ask.desk.storage.path(ask.desk.storage.run_file(entity, project, name, LOG)).parent)


def _forgotten(value: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's record another attempt begins with anew. Its log goes on; of each other file no line counts."""
    lines = {file: number if file == LOG else 0 for file, number in value["lines"].items()}
    return {"summary": {}, "exit_code": None, "host": None, "stop": False, "lines": lines}


def new(entity: str, project: str, name: str, user: str) -> dict[str, Any]:
    """The record of a run that nobody initialized yet."""
    return {
        "entity": entity, "project": project, "name": name, "user": user, "created_at": time.time(), "seen_at": 0.0,
        "initialized": False, "config": {}, "summary": {}, "lines": {}, "ended": None, "exit_code": None,
    }  # fmt: skip


def found_run(ask: Ask, entity: str, project: str, name: str) -> dict[str, Any] | None:
    """The run of this name as a GraphQL Run; None where there is none. An item whose program never called `wandb.init`
    has one, too."""
    try:
        record = ask.desk.store.record(KIND, key_of(entity, project, name))
    except UsageError:
        return None
    value = dict(record.value) if record else None
    item = item_of_run(ask.desk, entity, project, name, value)
    if value is None:
        if item is None or (item.handle is None and item.state not in TERMINAL):
            return None
        document = ask.desk.store.document(item.id)
        value = new(entity, project, name, str(document.get("author") or ""))
        run_config = (document.get("overrides") or {}).get("run_config") or {}
        value |= {
            "created_at": item.added_at, "config": {key: {"value": entry} for key, entry in run_config.items()},
            "summary": item.result or {}, "display_name": document.get("name"), "item": item.id,
        }  # fmt: skip
    return node(ask, value, item)


def state_of(value: Mapping[str, Any], item: Item | None, now: float) -> str:
    """A run's state: as the run said itself, else as its item says."""
    if value["ended"]:
        return str(value["ended"])
    if item and item.state in TERMINAL:
        return FROM_ITEM[item.state]
    if value["initialized"]:
        if value.get("state") in ("pending", "preempting"):
            return str(value["state"])
        return "crashed" if now > value["seen_at"] + CRASHED_SECONDS else "running"
    if item and not (item.handle or {}).get("wandb_run"):
        return FROM_ITEM[item.state]
    return "pending"


def run_outcome(desk: Desk, item: Item) -> tuple[Outcome | None, float]:
    """How the run of an item that a W&B agent began has ended, None while it goes on, and when it was last heard of."""
    record = desk.store.record(KIND, str((item.handle or {}).get("wandb_key")))
    if record is None:
        return None, 0.0
    value = record.value
    token = (item.handle or {}).get("lease")
    if not value["ended"] or value.get("ended_by") != token:
        return None, value["seen_at"]
    result, points = _reported(desk, value)
    if item.stop_requested:
        return Cancelled("stopped by its user", result, points), value["seen_at"]
    if value["ended"] == "finished":
        return Finished(result, points), value["seen_at"]
    code = value["exit_code"]
    return Failed("run", f"{value['ended']}, exit code {code}", code, result, points), value["seen_at"]


def reported(desk: Desk, item: Item) -> tuple[dict[str, Any] | None, bytes | None]:
    """What the run of an item has reported so far: its result, and its history as tables and plots read it."""
    record = desk.store.record(KIND, str((item.handle or {}).get("wandb_key")))
    return _reported(desk, record.value) if record else (None, None)


def _reported(desk: Desk, value: Mapping[str, Any]) -> tuple[dict[str, Any], bytes | None]:
    result = canonical.finite({key: entry for key, entry in value["summary"].items() if key[:1] != "_"})
    if not value["lines"].get(HISTORY):
        return result, None
    history = desk.storage.path(desk.storage.run_file(value["entity"], value["project"], value["name"], HISTORY))
    try:
        with history.open("rb") as lines:
            return result, series.of_history(iter(lambda: lines.readline(LONGEST_LINE), b""))
    except OSError:
        return result, None


def settle(desk: Desk, value: Mapping[str, Any], token: str | None = None) -> None:
    """End the item of a run that has ended, if a W&B agent began with it, or an agent of ours on another machine, which
    then says its token; ours beside the server report by themselves."""
    item = item_of(desk, str(value.get("item"))) if value.get("item") else None
    if item and item.state is RunState.RUNNING and (item.handle or {}).get("wandb_run") == value["name"]:
        outcome, _ = run_outcome(desk, item)
        if outcome:
            finish(desk, item, outcome, token)


def node(ask: Ask, value: Mapping[str, Any], item: Item | None) -> dict[str, Any]:
    """A GraphQL Run."""
    entity, project, name = value["entity"], value["project"], value["name"]
    state = state_of(value, item, time.time())
    stopped = bool(value.get("stop") or (item and item.stop_requested))
    lines: Mapping[str, int] = value["lines"]
    found = {
        "id": storage_id("Run", entity, project, name),
        "name": name,
        "displayName": value.get("display_name") or name,
        "description": value.get("description"),
        "notes": value.get("notes"),
        "state": state,
        "stopped": stopped,
        "shouldStop": stopped,
        "running": state == "running",
        "failed": state in ("failed", "crashed"),
        "exitcode": value["exit_code"],
        "tags": value.get("tags") or [],
        "group": value.get("group"),
        "jobType": value.get("job_type"),
        "sweepName": value.get("sweep"),
        "commit": value.get("commit"),
        "host": value.get("host"),
        "readOnly": ask.user.roles.get(entity) == "viewer",
        "createdAt": moment(value["created_at"]),
        "heartbeatAt": moment(value["seen_at"] or value["created_at"]),
        "config": canonical.encode(value["config"]),
        "summaryMetrics": canonical.encode(value["summary"]),
        "systemMetrics": "{}",
        "historyKeys": None,
        "historyLineCount": lines.get(HISTORY, 0),
        "eventsLineCount": lines.get(EVENTS, 0),
        "logLineCount": lines.get(LOG, 0),
        "user": {"id": value["user"], "name": value["user"], "username": value["user"]},
        "project": {"entity_name": entity, "project_name": project},
        "projectId": project_number(entity, project),
        "where": (entity, project, name),
        "lines": lines,
    }
    return found | {"wandbConfig": lambda _, keys=None: found["config"]}  # noqa: ARG005 - all of it holds these, too


# -- resolvers of mutations -------------------------------------------------------------------------------------------


def upsert_bucket(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """A run begins, or changes: by its ID, or by entity, project and name. Fields that are not given stay."""
    ask: Ask = info.context
    if input.get("id"):
        entity, project, name = parts_of(input["id"], "Run", 3)
    else:
        entity, project = input.get("entityName") or ask.user.entity, project_name(input.get("modelName"))
        name = input.get("name") or "".join(secrets.choice(LETTERS) for _ in range(8))
    ask.entity(entity, "member")
    key = key_of(entity, project, name)
    given: dict[str, Any] = {kept: input[name] for name, kept in FIELDS.items() if input.get(name) is not None}
    for argument, kept in (("config", "config"), ("summaryMetrics", "summary")):
        if (value := parsed(input.get(argument), argument)) is not None:
            given[kept] = canonical.finite(value)
    linked = item_of_run(ask.desk, entity, project, name)
    inserted = False

    def change(before: Mapping[str, Any] | None) -> Mapping[str, Any]:
        nonlocal inserted
        inserted = before is None or not before["initialized"]
        base = dict(before) if before else new(entity, project, name, ask.user.name)
        if linked and not base.get("item"):
            base["item"] = linked.id
        begun = {"initialized": True, "seen_at": time.time(), "ended": None if input.get("host") else base["ended"]}
        return {**base, **begun, **given}

    value = ask.desk.change(KIND, key, change)
    item = item_of(ask.desk, str(value["item"])) if value.get("item") else None
    return {
        "bucket": node(ask, value, item), "inserted": inserted, "serverSettings": {"serverMessages": []},
        "clientMutationId": input.get("clientMutationId"),
    }  # fmt: skip


def item_of_run(
    desk: Desk, entity: str, project: str, name: str, value: Mapping[str, Any] | None = None
) -> Item | None:
    """The item of a run: what its record is linked to, else the one that it is named after, if that is for the same
    entity and project: another's may have any name."""
    if value and value.get("item"):
        return item_of(desk, str(value["item"]))
    item = item_of(desk, name)
    if item is None:
        return None
    document = desk.store.document(item.id)
    ours = (document.get("entity") or item_entity(desk, item), (document.get("project") or "uncategorized").lower())
    return item if ours == (entity, project.lower()) else None


def _own(ask: Ask, run_id: str) -> str:
    entity, project, name = parts_of(run_id, "Run", 3)
    ask.entity(entity, "member")
    return key_of(entity, project, name)


def delete_run(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """Forget a run; its files stay until their folder is removed, its item stays."""
    deleted = info.context.desk.store.drop_record(KIND, _own(info.context, input["id"]))
    return {"success": deleted, "clientMutationId": input.get("clientMutationId")}


def update_run_state(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """Say in which state a run is, for runs that cannot say so themselves."""
    ask: Ask = info.context
    state = input["state"].lower()
    if state not in (*ENDED, "pending", "running", "preempting"):
        raise UsageError(f"state {input['state']!r} is unknown; expected one of pending, running, {', '.join(ENDED)}")

    def change(before: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return before and {**before, "state": state, "ended": state if state in ENDED else None}

    value = ask.desk.change(KIND, _own(ask, input["id"]), change)
    if value is None:
        return {"success": False}
    settle(ask.desk, value)
    return {"success": True, "clientMutationId": input.get("clientMutationId")}


def stop_run(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a run to stop: its client notices, or its agent."""
    ask: Ask = info.context
    key = _own(ask, input["id"])
    value = ask.desk.change(KIND, key, lambda before: before and {**before, "stop": True})
    entity, project, name = key.split("/")
    item = item_of_run(ask.desk, entity, project, name, value)
    if value is None and item is None:
        raise NotFoundError(f"no run {key!r}")
    if item and item_entity(ask.desk, item) in ask.user.roles:
        with ask.desk.writing:
            ask.desk.store.cancel(ItemFilter(ids=(item.id,)), ask.user.name)
    return {"success": True, "clientMutationId": input.get("clientMutationId")}


def create_run_files(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """Addresses to upload a run's files to."""
    ask: Ask = info.context
    entity = ask.entity(input["entityName"], "member")
    project, name = project_name(input["projectName"]), checked(input["runName"], "run")
    storage = ask.desk.storage
    files = [file_node(ask, entity, file, storage.run_file(entity, project, name, file)) for file in input["files"]]
    return {"runID": storage_id("Run", entity, project, name), "uploadHeaders": [], "files": files}


def acknowledged(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """What a client tells and nobody here needs: files that were uploaded are seen, alerts have no reader."""
    info.context.entity(input["entityName"], "member")
    return {"success": True, "clientMutationId": input.get("clientMutationId")}
