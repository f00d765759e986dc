"""Artifacts as W&B's clients make and fetch them: versions of collections, with a manifest and blobs. What jobs need is
here: a committed artifact of the type `job` becomes a version of our job of that name, and our jobs look like artifacts."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

from launcher import canonical
from launcher.errors import NotFoundError, UsageError
from launcher.item import JobVersion
from launcher.jobs import NUMBERED, find_version
from launcher.paths import write_atomically
from launcher.server.desk import Ask, checked, moment, page, parsed, project_name, storage_id, value_of
from launcher.server.jobs import JOB_FILE, as_job, job_files
from launcher.server.storage import file_node, hexadecimal

KIND, COLLECTION, CLIENT = "artifact", "collection", "artifact_client"
LARGEST_MANIFEST = 16 << 20
JOB = "job"


def collection_key(entity: str, project: str, name: str) -> str:
    """The key of a collection's record."""
    return "/".join([entity, project, checked(name, "artifact")])


def found_artifact(ask: Ask, artifact_id: str, role: str = "viewer") -> Mapping[str, Any]:
    """The record of an artifact that the user may see or change."""
    if artifact_id.startswith("job:"):
        return _of_job(ask, artifact_id.removeprefix("job:"))
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


def _of_job(ask: Ask, reference: str) -> Mapping[str, Any]:
    """The artifact that stands for a job version which `launcher job` made."""
    name, _, alias = reference.rpartition(":")
    entity, _, rest = name.partition("/")
    if entity not in ask.user.roles:
        raise NotFoundError(f"no artifact {reference[:80]!r}")
    version = find_version(name, alias, ask.desk.store.jobs(name))
    project, _, collection = rest.partition("/")
    files = {file: _keep(ask, entity, content) for file, content in job_files(version).items()}
    made = {
        "id": f"job:{reference}", "entity": entity, "project": project, "collection": collection, "type": JOB,
        "digest": hexadecimal(files[JOB_FILE]["digest"]), "state": "COMMITTED", "description": None, "metadata": {}, "number": version.number,
        "aliases": list(version.aliases), "created_at": version.created_at, "files": files,
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


# -- nodes ----------------------------------------------------------------------------------------------------------------


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
        "ttlIsInherited": True,
        "tags": [],
        "size": sum(entry.get("size") or 0 for entry in files.values()),
        "fileCount": len(files),
        "commitHash": value["id"],
        "createdAt": moment(value["created_at"]),
        "updatedAt": moment(value["created_at"]),
        "artifactSequence": collection,
        "artifactType": {"id": value["type"], "name": value["type"]},
        "aliases": lambda _: _aliases(ask, value, collection),
        "currentManifest": lambda _: manifest_node(ask, value["id"]),
        "value": value,
    }


def _aliases(ask: Ask, value: Mapping[str, Any], collection: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = value.get("aliases")
    if names is None:
        key = collection_key(value["entity"], value["project"], value["collection"])
        known = value_of(ask.desk.store.record(COLLECTION, key)) or {"aliases": {}}
        names = [alias for alias, number in known["aliases"].items() if number == value.get("number")]
    return [{"id": f"{value['id']}:{name}", "alias": name, "artifactCollection": collection} for name in names]


def collection_node(ask: Ask, entity: str, project: str, name: str, kind: str) -> dict[str, Any]:
    """A GraphQL ArtifactSequence."""
    return {
        "id": storage_id("ArtifactSequence", entity, project, name),
        "name": name,
        "type": kind,
        "digestAlgorithm": "MANIFEST_MD5",
        "project": {"entity_name": entity, "project_name": project},
        "latestArtifact": lambda _: node(ask, resolved(ask, entity, project, name)),
        "artifactMembership": lambda _, aliasName="latest": membership(ask, entity, project, f"{name}:{aliasName}"),  # noqa: N803 - GraphQL's
        "artifacts": lambda _, **__: page(_versions(ask, entity, project, name), None, None, lambda each: str(each["id"])),
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


def manifest_node(ask: Ask, artifact_id: str) -> dict[str, Any]:
    """A GraphQL ArtifactManifest."""
    storage = ask.desk.storage
    return {"id": artifact_id, "file": file_node(storage, ask.base, "manifest", storage.manifest(artifact_id))}


def files(
    parent: Mapping[str, Any], info: Any, names: list[str] | None = None, after: str | None = None,
    first: int | None = None, **_: Any,
) -> dict[str, Any]:  # fmt: skip
    """Artifact.files, and by the entries of its manifest: where each can be fetched."""
    ask: Ask = info.context
    value = parent["value"]
    storage = ask.desk.storage
    nodes = [
        file_node(storage, ask.base, name, storage.blob(value["entity"], entry["digest"]), {"md5": entry["digest"]})
        for name, entry in (value.get("files") or {}).items()
        if (names is None or name in names) and entry.get("digest") and not entry.get("ref")
    ]
    return page(nodes, after, first, lambda file: str(file["name"]))


def files_by_entries(parent: Mapping[str, Any], info: Any, entries: Any = None, **named: Any) -> dict[str, Any]:
    """Artifact.filesByManifestEntries."""
    return files(parent, info, [entry["name"] for entry in entries or ()], named.get("after"), named.get("first"))


# -- resolvers of mutations ---------------------------------------------------------------------------------------------


def create_artifact(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:  # noqa: A002
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


def create_manifest(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:  # noqa: A002
    """Where an artifact's manifest goes."""
    found_artifact(info.context, input["artifactID"], "member")
    return {"artifactManifest": manifest_node(info.context, input["artifactID"])}


def update_manifest(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:  # noqa: A002
    """The same, when its digest is known."""
    found_artifact(info.context, input["artifactManifestID"], "member")
    return {"artifactManifest": manifest_node(info.context, input["artifactManifestID"])}


def create_files(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:  # noqa: A002
    """Where an artifact's files go: none that the server has already."""
    ask: Ask = info.context
    storage = ask.desk.storage
    nodes = []
    for spec in input["artifactFiles"]:
        value = found_artifact(ask, spec["artifactID"], "member")
        relative = storage.blob(value["entity"], spec["md5"])
        more: dict[str, Any] = {"artifact": node(ask, value), "storagePath": relative, "md5": spec["md5"]}
        if storage.size(relative) is not None:
            more["uploadUrl"] = None
        nodes.append(file_node(storage, ask.base, spec["name"], relative, more))
    return {"files": page(nodes, None, None, lambda file: str(file["name"]))}


def commit(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:  # noqa: A002
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
    number = ask.desk.store.keep_job(job, [name for name in value["wanted"] if name != "latest"]).number if job else None
    number = _name(ask, value, number, dict.fromkeys(["latest", *value["wanted"]]))
    kept = {
        name: {"digest": entry.get("digest"), "size": entry.get("size"), "ref": entry.get("ref")}
        for name, entry in contents.items()
    }
    change = lambda before: {**before, "state": "COMMITTED", "number": number, "files": kept}  # noqa: E731
    return {"artifact": node(ask, ask.desk.change(KIND, value["id"], change))}


def _as_job(ask: Ask, value: Mapping[str, Any], contents: Mapping[str, Any]) -> JobVersion:
    entry = contents.get(JOB_FILE)
    if entry is None:
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


def update(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:  # noqa: A002
    """An artifact's description, metadata and aliases."""
    ask: Ask = info.context
    value = found_artifact(ask, input["artifactID"], "member")
    changes: dict[str, Any] = {}
    if input.get("description") is not None:
        changes["description"] = input["description"]
    if input.get("metadata") is not None:
        changes["metadata"] = parsed(input["metadata"], "metadata") or {}
    if input.get("aliases") and value.get("number") is not None:
        _name(ask, value, value["number"], {entry["alias"]: None for entry in input["aliases"]})
    return {"artifact": node(ask, ask.desk.change(KIND, value["id"], lambda before: before and {**before, **changes}))}


def use(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:  # noqa: A002
    """A run reads an artifact."""
    info.context.entity(input["entityName"], "member")
    return {"artifact": node(info.context, found_artifact(info.context, input["artifactID"]))}


def client_id_mapping(_: Any, info: Any, clientID: str) -> dict[str, Any] | None:  # noqa: N803 - GraphQL's
    """The artifact that a client made under an ID of its own."""
    for entity in info.context.user.roles:
        if found := value_of(info.context.desk.store.record(CLIENT, f"{entity}/{clientID}")):
            return {"serverID": found["artifact"]}
    return None


def by_id(_: Any, info: Any, id: str) -> dict[str, Any] | None:  # noqa: A002
    """Query.artifact."""
    return node(info.context, found_artifact(info.context, id))


