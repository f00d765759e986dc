"""Documents and bodies that hypothesis makes up, right by their form and mostly wrong by their meaning: each is
answered or refused, and breaks nothing."""

from __future__ import annotations

import json
import os
from typing import Any

import requests
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    build_schema,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.server.execution import SCHEMA
from tests.server.conftest import Served
from tests.server.security.conftest import PATHS
from tests.server.test_protocol import spec

SCHEMA_TEXT = build_schema(SCHEMA.read_text(encoding="utf-8"))

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
