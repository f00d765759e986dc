"""Which function answers which field of schema.graphql. What is not named here is a key of its parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.errors import NotFoundError
from launcher.server import agents, artifacts, items, queues, run_fields, runs, sweep_agents, sweeps, uploads
from launcher.server.access import User
from launcher.server.desk import Ask, page, project_name, project_number, storage_id
from launcher.server.execution import Resolver, Resolvers
from launcher.server.pushing import Pusher
from launcher.server.scheduling import upsert_sweep

FEATURES = ("LAUNCHER_ITEM_ID_IS_RUN_ID", "LAUNCHER_LEASES")
"""What this server tells of itself: our own client asks for an item by the ID of its run, and need not search; our own
agents get leases with a token."""


def _viewer(_: Any, info: Any) -> dict[str, Any]:
    return _user(info.context.user)


def _server_info(*_: Any) -> dict[str, Any]:
    """What old clients look up there, they take for granted."""
    features = [{"name": name, "isEnabled": True} for name in FEATURES]
    latest = {"outOfDate": False, "latestVersionString": "", "versionOnThisInstanceString": ""}
    return {"features": features, "cliVersionInfo": {}, "latestLocalVersionInfo": latest}


def _user(user: User) -> dict[str, Any]:
    return {
        "id": user.name,
        "name": user.name,
        "username": user.name,
        "email": None,
        "entity": user.entity,
        "admin": False,
        "flags": "{}",
        "teams": {"edges": [{"node": _entity_node(name, user)} for name in user.roles]},
        "apiKeys": {"edges": []},
    }


def _entity_node(name: str, user: User) -> dict[str, Any]:
    return {
        "id": storage_id("Entity", name),
        "name": name,
        "isTeam": name != user.name,
        "xxhashDigestsEnabled": False,
        "organization": None,
    }


def _entity(_: Any, info: Any, name: str) -> dict[str, Any]:
    ask: Ask = info.context
    return _entity_node(ask.entity(name), ask.user)


def _project(_: Any, info: Any, name: str | None = None, entityName: str | None = None) -> dict[str, Any]:
    ask: Ask = info.context
    return {"entity_name": ask.entity(entityName), "project_name": project_name(name)}


def _models(
    _: Any,
    info: Any,
    entityName: str | None = None,
    first: int | None = None,
    after: str | None = None,
) -> dict[str, Any]:
    ask: Ask = info.context
    entity = ask.entity(entityName)
    names = {record.key.split("/")[1] for record in ask.desk.store.records(runs.KIND, f"{entity}/")}
    nodes = [{"entity_name": entity, "project_name": name} for name in sorted(names)]
    return page(nodes, after, first, lambda node: str(node["project_name"]))


def _runs(
    parent: Mapping[str, Any], info: Any, after: str | None = None, first: int | None = 50, **_: Any
) -> dict[str, Any]:
    ask: Ask = info.context
    entity, project = parent["entity_name"], parent["project_name"]
    names = [record.value["name"] for record in ask.desk.store.records(runs.KIND, f"{entity}/{project}/")]
    found = page([{"name": name} for name in names], after, min(first or 50, 200), lambda each: str(each["name"]))
    for edge in found["edges"]:
        edge["node"] = runs.found_run(ask, entity, project, edge["node"]["name"])
    return found


def _run(parent: Mapping[str, Any], info: Any, name: str, **_: Any) -> dict[str, Any] | None:
    return runs.found_run(info.context, parent["entity_name"], parent["project_name"], name)


def _queue(parent: Mapping[str, Any], info: Any, name: str) -> dict[str, Any] | None:
    ask: Ask = info.context
    try:
        return queues.queue_node(ask, queues.found_queue(ask.desk, parent["entity_name"], name))
    except NotFoundError:
        return None


def _queues(parent: Mapping[str, Any], info: Any) -> list[dict[str, Any]]:
    ask: Ask = info.context
    return [queues.queue_node(ask, queue) for queue in queues.queues_of(ask.desk, parent["entity_name"])]


def _upsert_model(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    ask: Ask = info.context
    entity = ask.entity(input.get("entityName"), "member")
    node = {"entity_name": entity, "project_name": project_name(input.get("name"))}
    return {"project": node, "model": node, "inserted": False, "clientMutationId": input.get("clientMutationId")}


def _artifact(parent: Mapping[str, Any], info: Any, name: str) -> dict[str, Any] | None:
    ask: Ask = info.context
    return artifacts.node(ask, artifacts.resolved(ask, parent["entity_name"], parent["project_name"], name))


def _membership(parent: Mapping[str, Any], info: Any, name: str) -> dict[str, Any] | None:
    return artifacts.membership(info.context, parent["entity_name"], parent["project_name"], name)


def _collection(parent: Mapping[str, Any], info: Any, name: str) -> dict[str, Any] | None:
    ask: Ask = info.context
    entity, project = parent["entity_name"], parent["project_name"]
    kind = parent.get("name")
    known = ask.desk.store.record(artifacts.COLLECTION, artifacts.collection_key(entity, project, name))
    if known is None and not ask.desk.store.jobs(f"{entity}/{project}/{name}"):
        return None
    of_type = known.value["type"] if known else artifacts.JOB
    return artifacts.collection_node(ask, entity, project, name, of_type) if kind in (None, of_type) else None


def _artifact_type(parent: Mapping[str, Any], info: Any, name: str) -> dict[str, Any]:
    return artifacts.type_node(parent["entity_name"], parent["project_name"], name)


def _create_artifact_type(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    entity = info.context.entity(input["entityName"], "member")
    return {"artifactType": artifacts.type_node(entity, project_name(input["projectName"]), input["name"])}


def _artifact_types(parent: Mapping[str, Any], info: Any, after: str | None = None) -> dict[str, Any]:
    prefix = f"{parent['entity_name']}/{parent['project_name']}/"
    known = info.context.desk.store.records(artifacts.COLLECTION, prefix)
    names = sorted({record.value["type"] for record in known} | {artifacts.JOB})
    return page([_artifact_type(parent, info, name) for name in names], after, None, lambda node: str(node["name"]))


def _collections(parent: Mapping[str, Any], info: Any, after: str | None = None, first: int | None = None) -> Any:
    ask: Ask = info.context
    prefix = f"{parent['entity_name']}/{parent['project_name']}/"
    kind = parent["name"]
    known = ask.desk.store.records(artifacts.COLLECTION, prefix)
    names = {record.key.removeprefix(prefix) for record in known if record.value["type"] == kind}
    if kind == artifacts.JOB:
        names |= {job.name.removeprefix(prefix) for job in ask.desk.store.jobs() if job.name.startswith(prefix)}
    nodes = [
        artifacts.collection_node(ask, parent["entity_name"], parent["project_name"], name, kind)
        for name in sorted(names)
    ]
    return page(nodes, after, first, lambda node: str(node["name"]))


PROJECT: Mapping[str, Resolver] = {
    "id": lambda node, _: storage_id("Project", node["entity_name"], node["project_name"]),
    "internalId": lambda node, _: project_number(node["entity_name"], node["project_name"]),
    "name": lambda node, _: node["project_name"],
    "entityName": lambda node, _: node["entity_name"],
    "entity": lambda node, info: _entity_node(node["entity_name"], info.context.user),
    "user": lambda _, info: _user(info.context.user),
    "access": lambda *_: "PRIVATE",
    "readOnly": lambda node, info: info.context.user.roles.get(node["entity_name"]) == "viewer",
    "run": _run,
    "bucket": _run,
    "runs": _runs,
    "buckets": _runs,
    "runCount": lambda node, info, **_: _runs(node, info)["totalCount"],
    "runQueue": _queue,
    "runQueues": _queues,
    "sweep": sweeps.sweep,
    "sweeps": sweeps.sweeps,
    "totalSweeps": lambda node, info: sweeps.sweeps(node, info)["totalCount"],
    "artifact": _artifact,
    "artifactType": _artifact_type,
    "artifactTypes": _artifact_types,
    "artifactCollection": _collection,
    "artifactCollectionMembership": _membership,
}


RESOLVERS: Resolvers = {
    "Query": {
        "viewer": _viewer,
        "entity": _entity,
        "project": _project,
        "model": _project,
        "models": _models,
        "launchAgent": agents.launch_agent,
        "artifact": artifacts.by_id,
        "clientIDMapping": artifacts.client_id_mapping,
        "serverInfo": _server_info,
    },
    "Mutation": {
        "upsertModel": _upsert_model,
        "createDefaultResourceConfig": queues.create_default_resource_config,
        "createRunQueue": queues.create_run_queue,
        "upsertRunQueue": queues.upsert_run_queue,
        "deleteRunQueues": queues.delete_run_queues,
        "popFromRunQueue": items.pop,
        "ackRunQueueItem": items.ack,
        "failRunQueueItem": items.fail,
        "updateRunQueueItemWarning": items.warn,
        "deleteFromRunQueue": items.delete,
        "createLaunchAgent": agents.create_launch_agent,
        "updateLaunchAgent": agents.update_launch_agent,
        "upsertBucket": runs.upsert_bucket,
        "deleteRun": runs.delete_run,
        "updateRunState": runs.update_run_state,
        "stopRun": runs.stop_run,
        "createRunFiles": runs.create_run_files,
        "markRunFilesUploaded": runs.acknowledged,
        "notifyScriptableRunAlert": runs.acknowledged,
        "createArtifactType": _create_artifact_type,
        "createArtifact": uploads.create_artifact,
        "createArtifactManifest": uploads.create_manifest,
        "updateArtifactManifest": uploads.update_manifest,
        "createArtifactFiles": uploads.create_files,
        "commitArtifact": uploads.commit,
        "updateArtifact": uploads.update,
        "useArtifact": uploads.use,
        "createAgent": sweep_agents.create_agent,
        "agentHeartbeat": sweep_agents.agent_heartbeat,
    },
    "Entity": {"defaultResourceConfig": queues.default_resource_config},
    "Project": PROJECT,
    "RunQueue": {"runQueueItem": items.run_queue_item, "runQueueItems": items.run_queue_items},
    "Run": {
        "history": run_fields.history,
        "events": run_fields.events,
        "sampledHistory": run_fields.sampled_history,
        "historyTail": run_fields.tail(runs.HISTORY),
        "eventsTail": run_fields.tail(runs.EVENTS),
        "files": run_fields.run_files,
        "logLines": run_fields.log_lines,
        "fileCount": lambda run, info: run_fields.run_files(run, info)["totalCount"],
    },
    "Sweep": {"runs": sweeps.sweep_runs, "runCount": lambda node, info: len(sweeps.run_names(info.context, node))},
    "Artifact": {"files": artifacts.files, "filesByManifestEntries": artifacts.files_by_entries},
    "ArtifactType": {
        "artifact": _artifact,
        "artifactCollection": _collection,
        "artifactSequence": _collection,
        "artifactCollections": _collections,
    },
}


def resolvers(pusher: Pusher) -> Resolvers:
    """All resolvers; items are added through `pusher`."""
    pushing = {
        "pushToRunQueue": items.push_by_id(pusher),
        "pushToRunQueueByName": items.push_by_name(pusher),
        "upsertSweep": upsert_sweep(pusher),
    }
    return {**RESOLVERS, "Mutation": {**RESOLVERS["Mutation"], **pushing}}
