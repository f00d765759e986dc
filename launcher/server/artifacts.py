"""Artifacts as W&B's clients fetch them: versions of collections, with a manifest and blobs, found by name and alias.
Our jobs look like artifacts of the type `job`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from launcher import canonical
from launcher.errors import NotFoundError
from launcher.jobs import NUMBERED, find_version
from launcher.paths import write_atomically
from launcher.server.desk import Ask, checked, file_node, moment, page, storage_id, value_of
from launcher.server.jobs import JOB_FILE, job_files
from launcher.server.storage import hexadecimal

KIND, COLLECTION, CLIENT = "artifact", "collection", "artifact_client"
JOB = "job"
NO_TTL = -2
"""What W&B's client reads as: kept for ever."""


def collection_key(entity: str, project: str, name: str) -> str:
    """The key of a collection's record."""
    return "/".join([entity, project, checked(name, "artifact")])


def found_artifact(ask: Ask, artifact_id: str, role: str = "viewer") -> Mapping[str, Any]:
    """The record of an artifact that the user may see or change."""
    if artifact_id.startswith("job:"):
        return _of_job(ask, artifact_id.removeprefix("job:"), role)
    value = value_of(ask.desk.store.record(KIND, artifact_id))
    if value is None or value["entity"] not in ask.user.roles:
        raise NotFoundError(f"no artifact {artifact_id[:80]!r}")
    ask.user.check(value["entity"], role)
    return value


def resolved(ask: Ask, entity: str, project: str, name: str) -> Mapping[str, Any] | None:
    """The committed artifact that `collection:alias` means; None where there is none."""
    collection, _, alias = name.partition(":")
    known = value_of(ask.desk.store.record(COLLECTION, collection_key(entity, project, collection)))
    jobs = ask.desk.store.jobs(f"{entity}/{project}/{collection}") if not known or known["type"] == JOB else ()
    number: int | None = None
    if jobs:
        try:
            number = find_version(collection, alias or "latest", jobs).number
        except NotFoundError:
            return None
    elif known:
        numbered = NUMBERED.fullmatch(alias or "latest")
        number = int(numbered[1]) if numbered else known["aliases"].get(alias or "latest")
    if number is None:
        return None
    if known and (found := known["versions"].get(str(number))):
        return value_of(ask.desk.store.record(KIND, found))
    return _of_job(ask, f"{entity}/{project}/{collection}:v{number}") if jobs else None


def _of_job(ask: Ask, reference: str, role: str = "viewer") -> Mapping[str, Any]:
    """The artifact that stands for a job version which `launcher job` made."""
    name, _, alias = reference.rpartition(":")
    entity, _, rest = name.partition("/")
    if entity not in ask.user.roles:
        raise NotFoundError(f"no artifact {reference[:80]!r}")
    ask.user.check(entity, role)
    version = find_version(name, alias, ask.desk.store.jobs(name))
    project, _, collection = rest.partition("/")
    files = {file: _keep(ask, entity, content) for file, content in job_files(version).items()}
    made: dict[str, Any] = {
        "id": f"job:{reference}", "entity": entity, "project": project, "collection": collection, "type": JOB,
        "digest": hexadecimal(files[JOB_FILE]["digest"]), "state": "COMMITTED", "description": None, "metadata": {},
        "number": version.number, "aliases": list(version.aliases), "created_at": version.created_at, "files": files,
    }  # fmt: skip
    manifest = {
        "version": 1, "storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"},
        "contents": {name: {**entry, "birthArtifactID": made["id"]} for name, entry in files.items()},
    }  # fmt: skip
    target = ask.desk.storage.path(ask.desk.storage.manifest(made["id"]))
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, canonical.encode(manifest))
    return made


def _keep(ask: Ask, entity: str, content: bytes) -> dict[str, Any]:
    """The entry of a manifest for a file that the server makes, kept as if it had been uploaded."""
    md5 = hashlib.md5(content, usedforsecurity=False).digest()
    path = ask.desk.storage.path(ask.desk.storage.blob(entity, md5.hex()))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.decode())
    return {"digest": base64.b64encode(md5).decode(), "size": len(content)}


# -- nodes ------------------------------------------------------------------------------------------------------------


def node(ask: Ask, value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A GraphQL Artifact."""
    if value is None:
        return None
    files = value.get("files") or {}
    collection = collection_node(ask, value["entity"], value["project"], value["collection"], value["type"])
    return {
        "id": value["id"],
        "state": value["state"],
        "digest": value["digest"],
        "digestAlgorithm": "MANIFEST_MD5",
        "description": value["description"],
        "metadata": canonical.encode(value["metadata"]) if value["metadata"] else "{}",
        "versionIndex": value.get("number"),
        "ttlDurationSeconds": NO_TTL,
        "ttlIsInherited": False,
        "tags": [],
        "size": sum(entry.get("size") or 0 for entry in files.values()),
        "fileCount": len(files),
        "commitHash": value["id"],
        "createdAt": moment(value["created_at"]),
        "updatedAt": moment(value["created_at"]),
        "artifactSequence": collection,
        "artifactType": type_node(value["entity"], value["project"], value["type"]),
        "aliases": lambda _: _aliases(ask, value, collection),
        "currentManifest": lambda _: manifest_node(ask, value),
        "value": value,
    }


def type_node(entity: str, project: str, name: str) -> dict[str, Any]:
    """A GraphQL ArtifactType."""
    own = {"entity_name": entity, "project_name": project}
    return {"id": storage_id("ArtifactType", entity, project, name), "name": name, **own}


def _aliases(ask: Ask, value: Mapping[str, Any], collection: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = value.get("aliases")
    if names is None:
        key = collection_key(value["entity"], value["project"], value["collection"])
        known = value_of(ask.desk.store.record(COLLECTION, key)) or {"aliases": {}}
        names = [alias for alias, number in known["aliases"].items() if number == value.get("number")]
    numbered = [] if value.get("number") is None else [f"v{value['number']}"]
    return [
        {"id": f"{value['id']}:{name}", "alias": name, "artifactCollection": collection} for name in [*names, *numbered]
    ]


def collection_node(ask: Ask, entity: str, project: str, name: str, kind: str) -> dict[str, Any]:
    """A GraphQL ArtifactSequence."""
    return {
        "id": storage_id("ArtifactSequence", entity, project, name),
        "name": name,
        "type": kind,
        "digestAlgorithm": "MANIFEST_MD5",
        "project": {"entity_name": entity, "project_name": project},
        "latestArtifact": lambda _: node(ask, resolved(ask, entity, project, name)),
        "artifactMembership": lambda _, aliasName="latest": membership(ask, entity, project, f"{name}:{aliasName}"),
        "artifacts": lambda _, **__: page(_versions(ask, entity, project, name), None, None, lambda one: one["id"]),
    }  # fmt: skip


def _versions(ask: Ask, entity: str, project: str, name: str) -> list[dict[str, Any]]:
    known = value_of(ask.desk.store.record(COLLECTION, collection_key(entity, project, name)))
    numbers = known["versions"] if known else ()
    if not known or known["type"] == JOB:
        numbers = [job.number for job in ask.desk.store.jobs(f"{entity}/{project}/{name}")]
    found = [node(ask, resolved(ask, entity, project, f"{name}:v{number}")) for number in numbers]
    return [each for each in found if each]


def membership(ask: Ask, entity: str, project: str, name: str) -> dict[str, Any] | None:
    """A GraphQL ArtifactCollectionMembership: the artifact that `collection:alias` means, in its collection."""
    found = node(ask, resolved(ask, entity, project, name))
    if found is None:
        return None
    return {
        "id": found["id"], "versionIndex": found["versionIndex"], "createdAt": found["createdAt"],
        "aliases": found["aliases"], "artifactCollection": found["artifactSequence"], "artifact": found,
        "files": lambda info, **named: files(found, info, **named),
    }  # fmt: skip


def manifest_node(ask: Ask, value: Mapping[str, Any]) -> dict[str, Any]:
    """A GraphQL ArtifactManifest."""
    relative = ask.desk.storage.manifest(value["id"])
    return {"id": value["id"], "file": file_node(ask, value["entity"], "manifest", relative)}


def files(
    parent: Mapping[str, Any], info: Any, names: list[str] | None = None, after: str | None = None,
    first: int | None = None, **_: Any,
) -> dict[str, Any]:  # fmt: skip
    """Artifact.files, and by the entries of its manifest: where each can be fetched."""
    ask: Ask = info.context
    value = parent["value"]
    storage = ask.desk.storage
    nodes = [
        file_node(ask, value["entity"], name, storage.blob(value["entity"], entry["digest"]), {"md5": entry["digest"]})
        for name, entry in (value.get("files") or {}).items()
        if (names is None or name in names) and entry.get("digest") and not entry.get("ref")
    ]
    return page(nodes, after, first, lambda file: str(file["name"]))


def files_by_entries(parent: Mapping[str, Any], info: Any, entries: Any = None, **named: Any) -> dict[str, Any]:
    """Artifact.filesByManifestEntries."""
    return files(parent, info, [entry["name"] for entry in entries or ()], named.get("after"), named.get("first"))


def client_id_mapping(_: Any, info: Any, clientID: str) -> dict[str, Any] | None:
    """The artifact that a client made under an ID of its own."""
    for entity in info.context.user.roles:
        if found := value_of(info.context.desk.store.record(CLIENT, f"{entity}/{clientID}")):
            return {"serverID": found["artifact"]}
    return None


def by_id(_: Any, info: Any, id: str) -> dict[str, Any] | None:
    """Query.artifact."""
    return node(info.context, found_artifact(info.context, id))
