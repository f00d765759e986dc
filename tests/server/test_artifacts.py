"""Artifacts whose content is none that W&B's client would make, and jobs of ours seen as artifacts."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any

import pytest
import requests

from launcher.item import JobVersion
from tests.server.conftest import Served

CREATE = """mutation C($kind: String!, $digest: String!, $metadata: JSONString) { createArtifact(input: {
entityName: "team", projectName: "p", artifactTypeName: $kind, artifactCollectionNames: ["made"], digest: $digest,
digestAlgorithm: MANIFEST_MD5, metadata: $metadata}) { artifact { id currentManifest { file { uploadUrl } } } } }"""
FILES = """mutation F($id: ID!, $md5: String!) { createArtifactFiles(input: {artifactFiles: [{artifactID: $id,
name: "wandb-job.json", md5: $md5}]}) { files { edges { node { uploadUrl } } } } }"""
COMMIT = "mutation C($id: ID!) { commitArtifact(input: {artifactID: $id}) { artifact { state size } } }"
IMAGE = {"source_type": "image", "source": {"image": "a:1"}}


def committed(served: Served, kind: str, told: Any, entry: Any = None, metadata: str | None = None) -> Any:
    """The response to the commit of an artifact with this job file, or with this entry in its manifest."""
    made = served.data(CREATE, kind=kind, digest=secrets.token_hex(8), metadata=metadata)["createArtifact"]["artifact"]
    content = json.dumps(told).encode()
    md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    edges = served.data(FILES, id=made["id"], md5=md5)["createArtifactFiles"]["files"]["edges"]
    if address := edges[0]["node"]["uploadUrl"]:
        assert requests.put(address, content, timeout=9).status_code == 200
    contents = {"wandb-job.json": entry or {"digest": md5, "size": len(content)}}
    manifest = {"version": 1, "contents": contents}
    requests.put(made["currentManifest"]["file"]["uploadUrl"], json.dumps(manifest), timeout=9)
    return served.ask(COMMIT, id=made["id"])


@pytest.mark.parametrize(
    ("told", "entry", "metadata", "status"),
    [
        (IMAGE, None, None, 200),
        (IMAGE, None, '{"input_schemas": [1]}', 200),
        (IMAGE, {"ref": "s3://bucket/job.json"}, None, 400),
        ({**IMAGE, "source": {"image": "a:1", "entrypoint": 5}}, None, None, 400),
        ({**IMAGE, "source": 3}, None, None, 400),
        ([IMAGE], None, None, 400),
    ],
)
def test_a_job_is_made_or_refused_whatever_its_artifact_holds(
    told: Any, entry: Any, metadata: str | None, status: int, served: Served
) -> None:
    assert committed(served, "job", told, entry, metadata).status_code == status
    assert len(served.store.jobs()) == (status == 200)


def test_an_entry_without_a_size_does_not_keep_its_artifact_from_being_read(served: Served) -> None:
    assert committed(served, "dataset", {}, {"ref": "s3://bucket/a", "size": "large"}).status_code == 200
    query = '{ project(entityName: "team", name: "p") { artifact(name: "made:latest") { size fileCount } } }'
    assert served.data(query)["project"]["artifact"] == {"size": 0, "fileCount": 1}


def test_a_job_of_ours_gets_another_alias_as_an_artifact(served: Served) -> None:
    served.store.keep_job(JobVersion("team/p/train", "image", {"docker": {"docker_image": "a:1"}}, (), {}, "ann"))
    made = served.data(
        """mutation A { updateArtifact(input: {artifactID: "job:team/p/train:v0", description: "mine",
        aliases: [{artifactCollectionName: "train", alias: "prod"}]}) { artifact { id aliases { alias } } } }"""
    )["updateArtifact"]["artifact"]
    assert {each["alias"] for each in made["aliases"]} == {"latest", "prod", "v0"}
    assert set(served.store.jobs("team/p/train")[0].aliases) == {"latest", "prod"}
