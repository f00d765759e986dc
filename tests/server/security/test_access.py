"""What nobody may do with a server: without a key, with another entity's, with a viewer's. Each is refused as it should
be, and nothing of another entity is told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.routing import Route

from launcher.outcome import Finished
from launcher.queues import Store
from launcher.server.access import KEY_LENGTH, add_user
from tests.conftest import until
from tests.server.conftest import Served, serving
from tests.server.security.conftest import LINKS, PATHS, VIEWER, queue_id
from tests.server.test_protocol import ACK, AGENT, BUCKET, FAIL, POP, PUSH, QUEUE, WARN, spec
from tests.server.test_sweeps import AGENT as SWEEP_AGENT
from tests.server.test_sweeps import BEAT, GRID, UPSERT, launch


@pytest.mark.parametrize("path", [*PATHS, "/artifactsV2/r/team/x/0123456789abcdef0123456789abcdef/a"])
@pytest.mark.parametrize(
    "header", [None, "Basic", "Basic !!", "Basic YXBpOg==", "Bearer x", f"Bearer {'k' * 40}", "Digest a", "Basic 4pyT"]
)
def test_without_a_users_key_nothing_is_answered(path: str, header: str | None, served: Served) -> None:
    headers = {"Authorization": header} if header else {}
    method = "GET" if path.startswith("/artifacts") else "POST"
    response = requests.request(method, served.url + path, json=VIEWER, headers=headers, timeout=9)
    assert response.status_code == 401
    assert "API key" in response.json()["errors"][0]["message"]


def test_a_key_that_is_revoked_opens_nothing(served: Served) -> None:
    from launcher.server.access import revoke

    assert served.post("/graphql", VIEWER, "bob").status_code == 200
    for name in ("ann", "bob", "eve"):
        revoke(served.store, name)
    until(lambda: served.post("/graphql", VIEWER, "bob").status_code == 401, "the refusal")


def test_revoking_the_last_user_before_the_first_request_opens_nothing(store: Store, tmp_path: Path) -> None:
    from launcher.server.access import revoke

    add_user(store, "ann", {"home": "admin"})
    for url in serving(store, tmp_path / "server"):
        revoke(store, "ann")
        assert requests.post(url + "/graphql", json=VIEWER, auth=("api", "k" * 40), timeout=9).status_code == 401


def test_without_users_only_this_machine_by_its_own_names_is_answered(store: Store, tmp_path: Path) -> None:
    """Whatever has data, of every kind of request, is refused to a page of another name (DNS rebinding)."""
    from launcher.server.app import create_app, wandb_routes

    app = create_app(store, tmp_path / "routes", groups=[wandb_routes])
    paths = [re.sub(r"{[^}]*}", "x", route.path) for route in app.routes if isinstance(route, Route)]
    assert len(paths) > 3
    strangers = ["evil.example", "a_b.evil.example", "localhost.evil.example", "0.0.0.0", "localhost@evil", "[", ""]  # noqa: S104
    for url in serving(store, tmp_path / "server"):
        for path, host in product(paths, [*strangers, "LocalHost:1", "127.0.0.1", "[::1]:1"]):
            method = "GET" if path.startswith("/artifacts") else "POST"
            key = ("api", "k" * 40)
            answer = requests.request(method, url + path, json=VIEWER, auth=key, headers={"Host": host}, timeout=9)
            assert (answer.status_code == 401) == (host in strangers), (path, host)
            assert answer.status_code < 500
        assert requests.post(url + "/graphql", json=VIEWER, auth=key, timeout=9).status_code == 200


def test_only_hashes_of_keys_are_stored(served: Served) -> None:
    files = b"".join(path.read_bytes() for path in served.folder.rglob("*") if path.is_file())
    assert not any(key.encode() in files for key in served.keys.values())
    assert all(len(key) == KEY_LENGTH for key in served.keys.values())


READS = [
    'query { project(entityName: "team", name: "p") { runQueues { id name } } }',
    'query { project(entityName: "team", name: "p") { run(name: "secretrun") { config summaryMetrics } } }',
    """query { model(entityName: "team", name: "p") { bucket(name: "secretrun") { logLines { edges { node { line } } }
    } } }""",
    'query { models(entityName: "team") { edges { node { name } } } }',
    'query { project(entityName: "team", name: "p") { sweeps { edges { node { config } } } } }',
    'query { project(entityName: "team", name: "p") { sweep(sweepName: "x") { config runs { totalCount } } } }',
    'query { entity(name: "team") { isTeam defaultResourceConfig(id: "x") { config } } }',
]


@pytest.mark.parametrize("query", READS)
def test_another_entity_reads_nothing(query: str, filled: Served) -> None:
    assert filled.ask(query).status_code == 200
    for query_ in (query, query.replace("team", "nowhere")):
        response = filled.ask(query_, "bob")
        assert response.status_code == 403
        assert "permission denied" in response.json()["errors"][0]["message"]
        assert "secret" not in response.text
        assert "gpu" not in response.text


WRITES: list[tuple[str, dict[str, Any]]] = [
    (PUSH, {"spec": spec(), "queue": "gpu"}),
    (POP, {}),
    (QUEUE, {"name": "mine"}),
    (BUCKET, {"name": "secretrun"}),
    (ACK, {"id": "ITEM", "run": "x"}),
    (FAIL, {"id": "ITEM"}),
    (WARN, {"id": "ITEM"}),
    (AGENT, {"queue": "QUEUE"}),
    ("mutation D($id: ID!) { deleteRunQueues(input: {queueIDs: [$id]}) { success } }", {"id": "QUEUE"}),
    (
        "mutation D($q: ID!, $id: ID!) { deleteFromRunQueue(input: {queueID: $q, runQueueItemId: $id}) { success } }",
        {"q": "QUEUE", "id": "ITEM"},
    ),
    (
        "mutation P($q: ID!, $s: JSONString!) { pushToRunQueue(input: {queueID: $q, runSpec: $s}) { runQueueItemId } }",
        {"q": "QUEUE", "s": spec()},
    ),
    (
        """mutation C { createDefaultResourceConfig(input: {entityName: "team", resource: "local-container",
        config: "{}"}) { success } }""",
        {},
    ),
    (
        """mutation M { createArtifactManifest(input: {artifactID: "job:team/p/train:v0", name: "m", digest: "d",
        entityName: "team", projectName: "p", runName: "r"}) { artifactManifest { file { uploadUrl } } } }""",
        {},
    ),
    (
        """mutation F { createArtifactFiles(input: {artifactFiles: [{artifactID: "job:team/p/train:v0",
        name: "f", md5: "0123456789abcdef0123456789abcdef"}]}) { files { edges { node { uploadUrl } } } } }""",
        {},
    ),
    (
        """mutation A { updateArtifact(input: {artifactID: "job:team/p/train:v0", aliases: [
        {artifactCollectionName: "train", alias: "prod"}]}) { artifact { id } } }""",
        {},
    ),
    ("mutation S($id: ID!) { stopRun(input: {id: $id}) { success } }", {"id": "RUN"}),
    ("mutation D($id: ID!) { deleteRun(input: {id: $id}) { success } }", {"id": "RUN"}),
    (UPSERT, {"config": GRID, "entity": "team"}),
    (UPSERT, {"config": GRID, "entity": "team", "launch": launch()}),
    (UPSERT, {"id": "SWEEP", "state": "CANCELED"}),
    (UPSERT, {"id": "SWEEP", "launch": launch()}),
    (SWEEP_AGENT, {"sweep": "SWEEP NAME"}),
    (BEAT, {"id": "SWEEP AGENT"}),
]


@pytest.mark.parametrize("who", ["bob", "eve"])
@pytest.mark.parametrize(("query", "variables"), WRITES)
def test_another_entity_and_a_viewer_change_nothing(
    query: str, variables: dict[str, Any], who: str, filled: Served
) -> None:
    item = next(iter(filled.store.items(filled_items())))
    from launcher.server.desk import storage_id

    (sweep,) = filled.store.records("sweep")
    (agent,) = filled.store.records("sweep_agent")
    places = {
        "ITEM": item.id, "QUEUE": queue_id(filled), "RUN": storage_id("Run", "team", "p", "secretrun"),
        "SWEEP": storage_id("Sweep", *sweep.key.split("/")), "SWEEP NAME": sweep.value["name"],
        "SWEEP AGENT": storage_id("SweepAgent", *agent.key.split("/")),
    }  # fmt: skip
    before = [(each.id, each.state) for each in filled.store.items(filled_items())]
    named = {name: places.get(value, value) for name, value in variables.items()}
    response = filled.ask(query, who, **named)
    assert response.status_code in (403, 404), response.text
    assert "secret line" not in response.text
    assert [(each.id, each.state) for each in filled.store.items(filled_items())] == before
    assert [queue.name for queue in filled.store.queues()] == ["default", "gpu"]
    assert (filled.store.records("sweep"), filled.store.records("sweep_agent")) == ([sweep], [agent])
    assert [filled.store.records(kind) for kind in ("sweep_run", "resource_config")] == [[], []]
    assert [job.aliases for job in filled.store.jobs()] == [("latest",)]


def filled_items() -> Any:
    from launcher.item import ItemFilter

    return ItemFilter(queue="gpu")


def test_a_run_that_is_named_after_anothers_item_shows_and_stops_nothing_of_it(filled: Served) -> None:
    filled.keys["zoe"] = add_user(filled.store, "zoe", {"lab": "member", "team": "viewer"})
    until(lambda: filled.ask(VIEWER["query"], "zoe").status_code == 200, "that the server has read the users again")
    held, waiting = filled.store.items(filled_items())
    filled.store.cancel(replace(filled_items(), ids=(waiting.id,)), "team")
    read = 'query R($name: String!) { project(entityName: "lab", name: "p") { run(name: $name) { state } } }'
    for item in (held, waiting):
        made = filled.data(BUCKET.replace('"team"', '"lab"'), "zoe", name=item.id)["upsertBucket"]["bucket"]["id"]
        assert filled.data(read, "zoe", name=item.id)["project"]["run"]["state"] == "running"
        filled.data("mutation S($id: ID!) { stopRun(input: {id: $id}) { success } }", "zoe", id=made)
    assert filled.store.item(held.id).stop_requested is False


UPLOADS = [
    'run(name: "secretrun") { files(names: ["output.log"]) { edges { node { uploadUrl } } } }',
    'run(name: "secretrun") { files(names: ["output.log"]) { edges { node { url(upload: true) } } } }',
    'artifact(name: "train:latest") { currentManifest { file { uploadUrl } } }',
    'artifact(name: "train:latest") { files { edges { node { uploadUrl } } } }',
]


@pytest.mark.parametrize("fields", UPLOADS)
def test_a_viewer_gets_no_address_to_write_to(fields: str, filled: Served) -> None:
    query = f'{{ project(entityName: "team", name: "p") {{ {fields} }} }}'
    assert "/storage/" in json.dumps(filled.data(query))
    told = filled.ask(query, "eve")
    assert "/storage/" not in told.text
    assert "is viewer of entity 'team'" in told.json()["errors"][0]["message"]


def test_a_member_makes_queues_and_changes_none(filled: Served) -> None:
    filled.keys["mel"] = add_user(filled.store, "mel", {"team": "member"})
    until(lambda: filled.ask(VIEWER["query"], "mel").status_code == 200, "that the server has read the users again")
    for name, status in (("new", 200), ("new", 403), ("gpu", 403)):
        named = LINKS.replace('"gpu"', f'"{name}"')
        assert filled.ask(named, "mel", resource='{"resource_args": {}}').status_code == status
    assert filled.ask(LINKS, "eve", resource="{}").status_code == 403


def test_a_queue_of_a_deleted_ones_name_shows_nothing_of_it(filled: Served) -> None:
    for agent in filled.store.agents():
        filled.store.finish([(lease, Finished({"secret": 1})) for lease in filled.store.held(agent.id)])
    filled.store.cancel(filled_items(), "ann")
    filled.data("mutation D($id: ID!) { deleteRunQueues(input: {queueIDs: [$id]}) { success } }", id=queue_id(filled))
    items = """{ project(entityName: "%s", name: "p") { runQueue(name: "gpu") { runQueueItems { edges { node {
    id runSpec } } } } } }"""
    for entity, who, number in (("lab", "bob", 0), ("team", "ann", 2)):
        filled.data(QUEUE.replace('"team"', f'"{entity}"'), who, name="gpu")
        found = filled.data(items % entity, who)["project"]["runQueue"]["runQueueItems"]["edges"]
        assert len(found) == number


def test_another_entity_streams_and_fetches_nothing(filled: Served) -> None:
    body = {"files": {"output.log": {"offset": 0, "content": ["mine"]}}}
    for who in ("bob", "eve"):
        assert filled.post("/files/team/p/secretrun/file_stream", body, who).status_code == 403
    blob = "/artifactsV2/r/team/x/0123456789abcdef0123456789abcdef/a"
    assert requests.get(filled.url + blob, auth=("api", filled.keys["bob"]), timeout=9).status_code == 403
