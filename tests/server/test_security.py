"""What nobody may do with a server: without a key, with another entity's, with requests made to hurt. Each is refused
as it should be: no status 5xx, no traceback, nothing of another entity."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import requests
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    build_schema,
    get_introspection_query,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from launcher.item import JobVersion
from launcher.outcome import Finished
from launcher.queues import Store
from launcher.server.access import KEY_LENGTH, add_user
from launcher.server.execution import SCHEMA, Engine
from tests.conftest import Project, until
from tests.server.conftest import Served, serving
from tests.server.test_protocol import ACK, AGENT, BUCKET, FAIL, POP, PUSH, QUEUE, WARN, popped, push, spec, stream
from tests.server.test_sweeps import AGENT as SWEEP_AGENT
from tests.server.test_sweeps import BEAT, GRID, UPSERT, launch, upsert

VIEWER = {"query": "{ viewer { id } }"}
PATHS = ["/graphql", "/files/team/p/r1/file_stream"]
NAMES = ["../x", "a/../../x", "/etc/passwd", "..", "", "a//b", "..\\x", "a\nb", "./x", "x" * 600, "a/" + "b" * 300]
SCHEMA_TEXT = build_schema(SCHEMA.read_text(encoding="utf-8"))


@pytest.fixture
def filled(served: Served) -> Served:
    """A team with a queue, an item of which its run is going on, a file, and a sweep with an agent."""
    served.data(QUEUE, name="gpu")
    item_id = popped(served)
    served.data(ACK, id=item_id, run="secretrun")
    served.data(BUCKET, name="secretrun")
    stream(served, "secretrun", files={"output.log": {"offset": 0, "content": ["secret line"]}})
    push(served, name="secret")
    served.data(SWEEP_AGENT, sweep=upsert(served, config=GRID)["name"])
    image = {"docker": {"docker_image": "secret:1"}}
    served.store.keep_job(JobVersion("team/p/train", "image", image, (), {}, "ann"))
    return served


def queue_id(served: Served) -> str:
    query = '{ project(entityName: "team", name: "p") { runQueue(name: "gpu") { id } } }'
    return str(served.data(query)["project"]["runQueue"]["id"])


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


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_ten_megabytes_is_refused(path: str, chunked: bool, served: Served) -> None:
    body = b'{"query": "' + b"x" * 10_000_000 + b'"}'

    def chunks() -> Any:
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    try:
        response = requests.post(
            served.url + path, data=chunks() if chunked else body, auth=("api", served.keys["ann"]), timeout=30
        )
    except requests.ConnectionError:  # the server hung up on who goes on sending
        return
    assert response.status_code == 413
    assert "larger than" in response.json()["errors"][0]["message"]


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


LINKS = """mutation U($resource: JSONString!, $links: JSONString) { upsertRunQueue(input: {entityName: "team",
projectName: "p", queueName: "gpu", resourceType: "local-container", resourceConfig: $resource, externalLinks: $links})
{ success } }"""
CHANGED = """mutation B($config: JSONString, $summary: JSONString) { upsertBucket(input: {entityName: "team",
modelName: "p", name: "secretrun", config: $config, summaryMetrics: $summary}) { inserted } }"""
IN_ROOM = """mutation P($room: JSONString) { popFromRunQueue(input: {entityName: "team", projectName: "p",
queueName: "gpu", room: $room}) { runQueueItemId } }"""
SHAPES: list[tuple[str, dict[str, Any]]] = [
    (VIEWER["query"], {"unknown": deep(700)}),
    (CHANGED, {"config": json.dumps(deep(700))}),
    (CHANGED, {"summary": json.dumps(deep(700))}),
    (PUSH, {"queue": "gpu", "spec": spec(overrides={"run_config": deep(700)})}),
    (PUSH, {"queue": "gpu", "spec": spec(project="\u6f22" * 100)}),
    (PUSH, {"queue": "gpu", "spec": spec(run_id="r", _resume_count="3")}),
    (BUCKET, {"name": "\u6f22" * 100}),
    (IN_ROOM, {"room": '{"docker": 3}'}),
    (IN_ROOM, {"room": '{"cpus": "many"}'}),
    (LINKS, {"resource": '{"resource_args": [1]}'}),
    (LINKS, {"resource": "{}", "links": '{"links": [{}]}'}),
    (LINKS, {"resource": "{}", "links": '{"links": 3}'}),
]


@pytest.mark.parametrize(("query", "variables"), SHAPES)
def test_values_of_another_shape_are_refused(query: str, variables: dict[str, Any], filled: Served) -> None:
    response = filled.ask(query, **variables)
    assert response.status_code == 400
    assert "internal error" not in response.json()["errors"][0]["message"]


def nested(depth: int) -> str:
    return '{ project(entityName: "team") ' + '{ run(name: "r") { project ' * depth + "{ id }" + " } }" * depth + " }"


BOMB = "query { ...f0 } " + " ".join(
    f"fragment f{n} on Query {{ a: viewer {{ id }} ...f{n + 1} b{n}: viewer {{ id }} ...f{n + 1} }}" for n in range(30)
)
ABUSES = {
    "deep": nested(20),
    "deeper than the stack": "{ a " * 20_000,
    "many aliases": "{ " + " ".join(f"a{n}: viewer {{ id }}" for n in range(3000)) + " }",
    "fragments that double": BOMB + " fragment f30 on Query { viewer { id } }",
    "fragments in a circle": "query { ...a } fragment a on Query { ...b } fragment b on Query { ...a }",
    "introspection within itself": "{ __schema { types " + "{ fields { type " * 12 + "{ name }" + " } }" * 12 + " } }",
    "too long": "{ viewer { id } } #" + "x" * 200_000,
    "no document": "",
    "a subscription": "subscription { viewer { id } }",
    "only fragments": "fragment a on Query { viewer { id } }",
    "two operations and no name": "query A { viewer { id } } query B { viewer { id } }",
}


@pytest.mark.parametrize("abuse", ABUSES)
def test_documents_that_are_made_to_hurt_are_refused(abuse: str, served: Served) -> None:
    response = served.ask(ABUSES[abuse])
    assert response.status_code == 400
    assert response.json()["errors"][0]["message"]
    assert "Traceback" not in response.text


def test_of_long_documents_none_is_remembered() -> None:
    engine = Engine({})
    for number in range(3):
        fields = " ".join(f"a{number}x{place}: viewer {{ id }}" for place in range(800))
        assert engine.answer({"query": f"{{ {fields} }}"}, None).status == 200
    assert engine.answer(VIEWER, None).status == 200
    assert engine._checked.cache_info().currsize == 1


def test_the_ordinary_introspection_is_answered(served: Served) -> None:
    names = [kind["name"] for kind in served.data(get_introspection_query())["__schema"]["types"]]
    assert "PushToRunQueueByNamePayload" in names


def test_an_unknown_operation_is_refused_by_its_name(served: Served) -> None:
    response = served.ask("mutation { createTeam(input: {}) { id } }")
    assert response.status_code == 400
    assert "'createTeam'" in response.json()["errors"][0]["message"]
    assert served.post("/graphql/more", VIEWER).status_code == 404
    assert requests.get(served.url + "/graphql", timeout=9).status_code == 404


@pytest.mark.parametrize("name", NAMES)
def test_no_file_name_leads_out_of_the_folder_of_its_run(name: str, served: Served) -> None:
    query = """mutation F($files: [String!]!) { createRunFiles(input: {entityName: "team", projectName: "p",
    runName: "r1", files: $files}) { files { uploadUrl } } }"""
    assert served.ask(query, files=[name]).status_code == 400
    served.data(BUCKET, name="r1")
    assert stream(served, "r1", files={name: {"offset": 0, "content": ["x"]}}).status_code == 400
    for bucket in (name, name.replace("/", "%2F")):
        made = served.ask(BUCKET, name=bucket)
        assert made.status_code == 400 or not bucket


@pytest.mark.parametrize("path", ["storage/x.1/../../s.db", "storage/x.1/%2e%2e/%2e%2e/s.db", "storage/%00/a", "s/a"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_no_address_but_those_that_the_server_gave_is_served(path: str, method: str, served: Served) -> None:
    prepared = requests.Request(method, served.url).prepare()
    prepared.url = f"{served.url}/{path}"  # as it is: requests would tidy it up
    response = requests.Session().send(prepared, timeout=9)
    assert response.status_code in (403, 404)


TEXTS = st.sampled_from(
    ["team", "lab", "p", "gpu", "r1", "default", "", "../x", "x" * 300, "ü\u2028", "a/b", ":", "{}"]
)
JSON_TEXTS = st.sampled_from(
    ["{}", "[]", "null", "1", "{", '{"a": NaN}', "[" * 500, '"\\ud800"', '{"docker": 3}', spec()]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "JSONString": JSON_TEXTS | TEXTS, "String": TEXTS | JSON_TEXTS, "ID": TEXTS, "Int": st.integers(-(2**31), 2**31),
    "Int64": st.integers(-(2**70), 2**70), "Boolean": st.booleans(), "Duration": st.integers(), "JSON": JSON_TEXTS,
}  # fmt: skip


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an input type, right by its form and mostly wrong by their meaning."""
    if isinstance(kind, GraphQLNonNull):
        return values(kind.of_type)
    if isinstance(kind, GraphQLList):
        return st.lists(values(kind.of_type), max_size=2)
    if isinstance(kind, GraphQLEnumType):
        return st.sampled_from(sorted(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        needed = {name: values(f.type) for name, f in kind.fields.items() if isinstance(f.type, GraphQLNonNull)}
        others = {name: values(f.type) for name, f in kind.fields.items() if name not in needed}
        return st.fixed_dictionaries(needed, optional=others)
    return VALUES[kind.name]


@st.composite
def selections(draw: st.DrawFn, kind: Any, depth: int) -> tuple[str, dict[str, tuple[str, Any]]]:
    """A selection of fields of a type, with the variables of their arguments: names to types and values."""
    while isinstance(kind, GraphQLNonNull | GraphQLList):
        kind = kind.of_type
    if not isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        return "", {}
    chosen = draw(st.lists(st.sampled_from(sorted(kind.fields)), min_size=1, max_size=3, unique=True))
    texts, variables = ["__typename"], {}
    for name in chosen:
        field = kind.fields[name]
        given_ = []
        for argument, definition in field.args.items():
            if isinstance(definition.type, GraphQLNonNull) or draw(st.booleans()):
                variable = f"v{depth}_{name}_{argument}"
                variables[variable] = (str(definition.type), draw(values(definition.type)))
                given_.append(f"{argument}: ${variable}")
        below, more = draw(selections(field.type, depth + 1)) if depth < 4 else ("{ __typename }", {})
        leaf = not below or (depth >= 4 and not _composite(field.type))
        texts.append(f"{name}{'(' + ', '.join(given_) + ')' if given_ else ''} {'' if leaf else below}")
        variables |= more
    return "{ " + " ".join(texts) + " }", variables


def _composite(kind: Any) -> bool:
    while isinstance(kind, GraphQLNonNull | GraphQLList):
        kind = kind.of_type
    return isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)


@settings(
    max_examples=int(os.environ.get("LAUNCHER_TEST_DOCUMENTS", "300")),
    suppress_health_check=list(HealthCheck),
    deadline=None,
)
@given(data=st.data())
def test_made_up_documents_are_answered_or_refused_and_break_nothing(data: st.DataObject, filled: Served) -> None:
    operation = data.draw(st.sampled_from(["query", "mutation"]))
    root = SCHEMA_TEXT.query_type if operation == "query" else SCHEMA_TEXT.mutation_type
    text, variables = data.draw(selections(root, 0))
    declared = ", ".join(f"${name}: {kind}" for name, (kind, _) in variables.items())
    query = f"{operation} M{'(' + declared + ')' if declared else ''} {text}"
    who = data.draw(st.sampled_from(["ann", "bob", "eve"]))
    response = filled.ask(query, who, **{name: value for name, (_, value) in variables.items()})
    assert response.status_code < 500, (query, variables, response.text)
    told = response.json()
    assert not any("internal error" in error["message"] for error in told.get("errors") or ()), (query, variables, told)
    if who == "bob":
        assert "secretrun" not in response.text
        assert "secret line" not in response.text


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(body=st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["query", "variables", "files", "offset", "content", "exitcode"]), inner),
    max_leaves=9,
).map(lambda value: json.dumps(value).encode()), path=st.sampled_from(PATHS))  # fmt: skip
def test_bodies_of_any_kind_are_answered_or_refused(body: bytes, path: str, filled: Served) -> None:
    response = requests.post(
        filled.url + path.replace("r1", "secretrun"), body, auth=("api", filled.keys["ann"]), timeout=9
    )
    assert response.status_code < 500, (body, response.text)
    assert isinstance(response.json(), dict)


def test_no_public_address_is_served_without_users(project: Project) -> None:
    done = project.run("serve", "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - it is refused
    assert done.code == 2
    assert "no user has a key" in done.err
    assert "launcher user add" in done.err


@pytest.mark.parametrize(("given", "told"), [((), True), (("--entity", "vision"), False)])
def test_queues_that_no_user_would_see_are_told_of(given: tuple[str, ...], told: bool, project: Project) -> None:
    project.run("user", "add", "ann", "--entity", "vision:admin", "--entity", "lab")
    process = project.start("serve", "--port", "0", *given)
    assert process.stdout
    assert "serving" in process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert ("nobody sees them here; --entity says whose they are (users have roles in: lab, vision)" in err) == told


def test_users_are_added_listed_and_revoked(project: Project) -> None:
    done = project.run("user", "add", "ann", "--entity", "vision:admin", "--entity", "lab")
    key = done.out.strip()
    assert (done.code, len(key)) == (0, KEY_LENGTH)
    assert "vision:admin, lab:member" in project.run("user", "list").out
    assert key not in project.run("user", "list", "--json").out
    assert project.run("user", "add", "ann").code == 1
    assert project.run("user", "add", "bob", "--entity", "lab:boss").code == 2
    assert project.run("user", "revoke", "anne").err.count("did you mean 'ann'") == 1
    assert project.run("user", "revoke", "ann").code == 0
    assert "ann" not in project.run("user", "list").out


def test_what_is_missing_is_named_with_its_extra(project: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'graphql' else find(n, *a)\n"
    )
    process = project.start("serve", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "launcher serve needs graphql; pip install 'launcher[server]'" in err
