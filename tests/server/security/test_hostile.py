"""Requests that are made to hurt: too large, too deep, of another shape, out of their folder. Each is refused as it
should be: no status 5xx, no traceback."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from graphql import get_introspection_query

from launcher.server.execution import Engine
from tests.server.conftest import Served
from tests.server.security.conftest import LINKS, PATHS, VIEWER
from tests.server.test_protocol import BUCKET, PUSH, spec, stream


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


NAMES = ["../x", "a/../../x", "/etc/passwd", "..", "", "a//b", "..\\x", "a\nb", "./x", "x" * 600, "a/" + "b" * 300]


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
