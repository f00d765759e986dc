"""Two validators read the same schema files: the Rust one says yes or no in bulk, the Python one explains. They never
disagree."""

from __future__ import annotations

import datetime
import enum
import math
import uuid
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import schema

SCHEMAS = sorted(path.relative_to(schema.FOLDER).with_suffix("").as_posix() for path in schema.FOLDER.rglob("*.json"))
TEXTS = st.sampled_from(
    [
        "",
        "a",
        "A_1",
        "a/b",
        "../x",
        "/x",
        "a/../b",
        "..",
        "a\n",
        "x" * 64,
        "x" * 65,
        "x" * 129,
        "ünï",
        "[",
        "local",
        "V0",
        "1h 30m",
        "90s",
        "90 x",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 10**10) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


class Text(str):
    __slots__ = ()


KINDS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS, "integer": st.integers(0, 10**10), "number": st.integers(0, 9) | st.floats(0, 9),
    "boolean": st.booleans(), "null": st.none(), "object": st.dictionaries(TEXTS, VALUES, max_size=2),
    "array": st.lists(VALUES, max_size=2),
}  # fmt: skip


def of(  # noqa: PLR0911 - one for each keyword
    definition: Any, whole: dict[str, Any], rest: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    """Values that a schema may well accept: its properties with values of their types, and what `rest` adds."""
    if "$ref" in definition:
        return of(whole["$defs"][definition["$ref"].rpartition("/")[2]], whole, rest)
    if "enum" in definition or "const" in definition:
        return st.sampled_from(definition.get("enum", [definition.get("const")])) | rest
    if "anyOf" in definition:
        return st.one_of(*(of(each, whole, rest) for each in definition["anyOf"]))
    kinds = definition.get("type", [])
    if "properties" in definition:
        properties = {name: of(each, whole, rest) for name, each in definition["properties"].items()}
        required = {name: properties.pop(name) for name in definition.get("required", [])}
        return st.fixed_dictionaries(required, optional=properties) | rest
    if "items" in definition:
        return st.lists(of(definition["items"], whole, rest), max_size=2) | rest
    if isinstance(definition.get("additionalProperties"), dict):
        return st.dictionaries(TEXTS, of(definition["additionalProperties"], whole, rest), max_size=2) | rest
    return st.one_of(*(KINDS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)), rest)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_validators_give_the_same_verdict(name: str) -> None:
    whole = schema._load(name)
    slow = jsonschema.Draft202012Validator(whole)
    verdicts = set()

    @settings(max_examples=300, deadline=None)
    @given(of(whole, whole, st.nothing()) | of(whole, whole, VALUES))
    def agree(document: Any) -> None:
        told = slow.is_valid(document)
        assert schema._fast(name).is_valid(document) == told
        assert bool(schema.problems(document, name)) == (not told)
        verdicts.add(told)

    agree()
    assert verdicts == {True, False}


class Kind(enum.Enum):
    A = 1


ODD = st.sampled_from([
    math.nan, -math.nan, math.inf, -math.inf, float.fromhex("0x1.fffffffffffffp+1023"), 5e-324, 2**64, -(2**80),
    "\0", "\\u0000", "\ud800", "null", "g12345\xf0\x7f", Kind.A, enum.IntEnum("N", "A").A, uuid.UUID(int=1), b"x",
    (1, 2), {1, 2}, 1j, ..., datetime.date(2026, 1, 1), {1: 2}, {None: 1}, {"\ud800": 1}, {"\0": 1}, {(): 1}, {True: 1},
    object(), type, Text("a"),
])  # fmt: skip


@given(st.recursive(VALUES | ODD, lambda each: st.lists(each, max_size=3) | st.dictionaries(TEXTS, each, max_size=3)))
@settings(max_examples=1000, deadline=None)
def test_the_quick_look_lets_nothing_pass_that_the_thorough_one_refuses(value: Any) -> None:
    found: list[Any] = []
    schema._not_json(value, (), found)
    assert not (schema._surely_json(value) and found)


@pytest.mark.parametrize(
    "value", [{"a": [1, None, 1.5, "x", True, {"b": []}]}, {"a": "null", "b": 2**53}, {"a": math.pi}]
)
def test_the_quick_look_is_enough_for_what_specs_hold(value: Any) -> None:
    assert schema._surely_json(value)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema._load(name))
    assert schema._load(name)["$id"] == name
    assert Path(schema.FOLDER / f"{name}.json").is_file()
