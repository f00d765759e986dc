"""Files of runs and blobs of artifacts go to addresses that the server signs, and are what their digests say."""

from __future__ import annotations

import base64
import hashlib

import requests

from tests.server.conftest import Served
from tests.server.test_protocol import BUCKET


def test_uploads_go_to_signed_addresses_and_come_back(served: Served) -> None:
    made = served.data(
        """mutation F { createRunFiles(input: {entityName: "team", projectName: "p", runName: "r1",
        files: ["media/a.png"]}) { files { name uploadUrl } } }"""
    )["createRunFiles"]["files"][0]
    assert requests.put(made["uploadUrl"], b"picture", timeout=9).status_code == 200
    served.data(BUCKET, name="r1")
    query = """{ project(entityName: "team", name: "p") { run(name: "r1") { files { edges { node { name url sizeBytes }
    } } } } }"""
    (found,) = [edge["node"] for edge in served.data(query)["project"]["run"]["files"]["edges"]]
    assert (found["name"], found["sizeBytes"]) == ("media/a.png", 7)
    assert requests.get(found["url"], timeout=9).content == b"picture"
    assert requests.put(found["url"], b"other", timeout=9).status_code == 403, "an address to read is none to write"


def test_a_blob_must_be_what_its_digest_says(served: Served) -> None:
    digest = base64.b64encode(hashlib.md5(b"content", usedforsecurity=False).digest()).decode()
    made = served.data(
        """mutation C { createArtifact(input: {entityName: "team", projectName: "p", artifactTypeName: "model",
        artifactCollectionNames: ["weights"], digest: "d", digestAlgorithm: MANIFEST_MD5})
        { artifact { id state } } }"""
    )["createArtifact"]["artifact"]
    assert made["state"] == "PENDING"
    files = served.data(
        """mutation F($id: ID!, $md5: String!) { createArtifactFiles(input: {storageLayout: V2, artifactFiles: [
        {artifactID: $id, name: "a", md5: $md5}]}) { files { edges { node { uploadUrl } } } } }""",
        id=made["id"],
        md5=digest,
    )
    url = files["createArtifactFiles"]["files"]["edges"][0]["node"]["uploadUrl"]
    assert requests.put(url, b"another", timeout=9).status_code == 400
    assert requests.put(url, b"content", timeout=9).status_code == 200
