"""How W&B's clients make artifacts: a version begins PENDING, gets its manifest and files, and is committed. A job's
becomes a version of our job of that name then."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.errors import NotFoundError, UsageError
from launcher.item import JobVersion
from launcher.server.artifacts import (
    CLIENT,
    COLLECTION,
    JOB,
    KIND,
    collection_key,
    found_artifact,
    manifest_node,
    node,
)
from launcher.server.desk import Ask, file_node, page, parsed, project_name, storage_id
from launcher.server.jobs import JOB_FILE, as_job
from launcher.server.storage import hexadecimal

LARGEST_MANIFEST = 16 << 20


def create_artifact(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """A new version, PENDING until its files are there; or the one that has this content already."""
    ask: Ask = info.context
    entity, project = ask.entity(input["entityName"], "member"), project_name(input["projectName"])
    names = input.get("artifactCollectionNames") or [input.get("artifactCollectionName")]
    if len(names) != 1 or not names[0]:
        raise UsageError(f"artifactCollectionNames {names!r}; expected one name")
    key, digest, kind = collection_key(entity, project, names[0]), input["digest"], input["artifactTypeName"]
    artifact_id = storage_id("Artifact", secrets.token_hex(8))
    wanted = {entry["alias"]: None for entry in input.get("aliases") or ()}
    value = {
        "id": artifact_id, "entity": entity, "project": project, "collection": names[0], "type": kind,
        "digest": digest, "state": "PENDING", "description": input.get("description"), "wanted": list(wanted),
        "metadata": parsed(input.get("metadata"), "metadata") or {}, "created_at": time.time(), "files": {},
        "run": input.get("runName"),
    }  # fmt: skip
    ask.desk.store.keep_record(KIND, artifact_id, value)

    def join(before: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        known = before or {"type": kind, "versions": {}, "aliases": {}, "digests": {}}
        if known["type"] != kind:
            raise UsageError(f"artifact {names[0]!r} is of type {known['type']!r}, not {kind!r}; choose another name")
        if digest in known["digests"]:
            return None
        return {**known, "digests": {**known["digests"], digest: artifact_id}}

    collection = ask.desk.change(COLLECTION, key, join)
    kept = collection["digests"][digest]
    if kept != artifact_id:
        ask.desk.store.drop_record(KIND, artifact_id)
        add = lambda before: before and {**before, "wanted": list({**dict.fromkeys(before["wanted"]), **wanted})}  # noqa: E731
        value = ask.desk.change(KIND, kept, add)
        if value["state"] == "COMMITTED" and wanted:
            _name(ask, value, value["number"], wanted)
    if client := input.get("clientID"):
        ask.desk.store.keep_record(CLIENT, f"{entity}/{client}", {"artifact": kept})
    return {"artifact": node(ask, value)}


def create_manifest(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """Where an artifact's manifest goes."""
    value = found_artifact(info.context, input["artifactID"], "member")
    return {"artifactManifest": manifest_node(info.context, value)}


def update_manifest(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """The same, when its digest is known."""
    value = found_artifact(info.context, input["artifactManifestID"], "member")
    return {"artifactManifest": manifest_node(info.context, value)}


def create_files(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """Where an artifact's files go: none that the server has already."""
    ask: Ask = info.context
    storage = ask.desk.storage
    nodes = []
    found = {
        known: found_artifact(ask, known, "member") for known in {each["artifactID"] for each in input["artifactFiles"]}
    }
    for spec in input["artifactFiles"]:
        value = found[spec["artifactID"]]
        relative = storage.blob(value["entity"], spec["md5"])
        more: dict[str, Any] = {"artifact": node(ask, value), "storagePath": relative, "md5": spec["md5"]}
        if storage.size(relative) is not None:
            more["uploadUrl"] = None
        nodes.append(file_node(ask, value["entity"], spec["name"], relative, more))
    return {"files": page(nodes, None, None, lambda file: str(file["name"]))}


def commit(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """A version is complete: it gets its number and its aliases, and a job becomes a version of ours."""
    ask: Ask = info.context
    value = found_artifact(ask, input["artifactID"], "member")
    if value["state"] == "COMMITTED":
        return {"artifact": node(ask, value)}
    storage = ask.desk.storage
    relative = storage.manifest(value["id"])
    if (storage.size(relative) or 0) > LARGEST_MANIFEST:
        raise UsageError(f"the manifest is larger than {LARGEST_MANIFEST:,} bytes")
    manifest = parsed(storage.read(relative).decode(errors="replace"), "manifest") or {}
    contents = manifest.get("contents")
    if not isinstance(contents, dict) or not all(isinstance(entry, dict) for entry in contents.values()):
        raise UsageError("the manifest has no contents; upload it before committing")
    missing = [
        name for name, entry in contents.items()
        if not entry.get("ref") and storage.size(storage.blob(value["entity"], str(entry.get("digest")))) is None
    ]  # fmt: skip
    if missing:
        raise NotFoundError(f"files {', '.join(missing[:5])} of the artifact were not uploaded")
    job = _as_job(ask, value, contents) if value["type"] == JOB else None
    number = (
        ask.desk.store.keep_job(job, [name for name in value["wanted"] if name != "latest"]).number if job else None
    )
    number = _name(ask, value, number, dict.fromkeys(["latest", *value["wanted"]]))
    kept = {
        name: {"digest": entry.get("digest"), "size": size, "ref": entry.get("ref")}
        for name, entry in contents.items()
        for size in [entry.get("size") if type(entry.get("size")) is int else None]
    }
    change = lambda before: {**before, "state": "COMMITTED", "number": number, "files": kept}  # noqa: E731
    return {"artifact": node(ask, ask.desk.change(KIND, value["id"], change))}


def _as_job(ask: Ask, value: Mapping[str, Any], contents: Mapping[str, Any]) -> JobVersion:
    entry = contents.get(JOB_FILE)
    if entry is None or entry.get("ref"):
        raise UsageError(f"a job's artifact holds {JOB_FILE}; this one does not")
    content = ask.desk.storage.read(ask.desk.storage.blob(value["entity"], entry["digest"]))
    told = parsed(content.decode(errors="replace"), JOB_FILE) or {}
    name = f"{value['entity']}/{value['project']}/{value['collection']}"
    return as_job(name, told, author=ask.user.name, digest=hexadecimal(entry["digest"]), metadata=value["metadata"])


def _name(ask: Ask, value: Mapping[str, Any], number: int | None, aliases: Mapping[str, None]) -> int:
    """Put a version into its collection, under its number (the next one, if none is given) and these aliases."""
    key = collection_key(value["entity"], value["project"], value["collection"])

    def change(before: Mapping[str, Any] | None) -> Mapping[str, Any]:
        assert before
        mine = next((int(each) for each, known in before["versions"].items() if known == value["id"]), None)
        chosen = number if number is not None else mine if mine is not None else len(before["versions"])
        return {
            **before,
            "versions": {**before["versions"], str(chosen): value["id"]},
            "aliases": {**before["aliases"], **dict.fromkeys(aliases, chosen)},
            "last": chosen,
        }

    chosen = int(ask.desk.change(COLLECTION, key, change)["last"])
    if value["type"] == JOB and value["state"] == "COMMITTED":
        ask.desk.store.alias_job("/".join(key.split("/")), chosen, aliases)
    return chosen


def update(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """An artifact's description, metadata and aliases."""
    ask: Ask = info.context
    value = found_artifact(ask, input["artifactID"], "member")
    changes: dict[str, Any] = {}
    if input.get("description") is not None:
        changes["description"] = input["description"]
    if input.get("metadata") is not None:
        changes["metadata"] = parsed(input["metadata"], "metadata") or {}
    if input.get("aliases") and value.get("number") is not None:
        _alias(ask, value, [entry["alias"] for entry in input["aliases"]])
    kept = ask.desk.change(KIND, value["id"], lambda before: before and {**before, **changes})
    return {"artifact": node(ask, kept or found_artifact(ask, value["id"]))}


def _alias(ask: Ask, value: Mapping[str, Any], aliases: Sequence[str]) -> None:
    """Give a version these aliases; one that `launcher job` made lies in no collection."""
    if value["id"].startswith("job:"):
        name = "/".join([value["entity"], value["project"], value["collection"]])
        ask.desk.store.alias_job(name, value["number"], aliases)
    else:
        _name(ask, value, value["number"], dict.fromkeys(aliases))


def use(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    """A run reads an artifact."""
    info.context.entity(input["entityName"], "member")
    return {"artifact": node(info.context, found_artifact(info.context, input["artifactID"]))}
