"""JSON as text: what goes in comes out, type for type, and digests do not see the order of keys."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import canonical

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
FEW = st.recursive(
    st.sampled_from([0, 1, -0.0, 0.0, 1.0, True, False, None, "", "1", 2**70]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=3,
)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(entry) for entry in value] if isinstance(value, list) else value


def standard(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


@given(JSON, st.booleans())
@settings(max_examples=150)
def test_decoding_gives_back_what_was_encoded_type_for_type(value: Any, sort: bool) -> None:
    again = canonical.decode(canonical.encode(value, sort=sort))
    assert standard(again) == standard(value)


@given(JSON)
@settings(max_examples=100)
def test_text_is_compact_on_one_line_and_keeps_the_order_of_keys(value: Any) -> None:
    text = canonical.encode({"z": value, "a": 1})
    assert list(json.loads(text)) == ["z", "a"]
    assert text.startswith('{"z":')
    assert text.endswith(',"a":1}')
    assert "\n" not in text


@given(JSON)
@settings(max_examples=150)
def test_a_digest_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    assert canonical.digest(reversed_keys(value)) == canonical.digest(value)
    assert canonical.encode(reversed_keys(value), sort=True) == canonical.encode(value, sort=True)


@given(FEW, FEW)
@settings(max_examples=300)
def test_digests_are_equal_exactly_for_equal_json(one: Any, other: Any) -> None:
    assert (canonical.digest(one) == canonical.digest(other)) == (standard(one) == standard(other))


def test_a_digest_is_32_hexadecimal_digits_and_tells_one_from_true_and_from_1_0() -> None:
    digests = {canonical.digest(value) for value in (1, 1.0, True, "1", [1])}
    assert len(digests) == 5
    assert all(len(digest) == 32 and set(digest) <= set("0123456789abcdef") for digest in digests)


def test_integers_beyond_64_bits_are_kept() -> None:
    assert canonical.encode({"b": 2**64, "a": -(2**90)}, sort=True) == f'{{"a":{-(2**90)},"b":{2**64}}}'


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1},
        b"x",
        [{"deep": 1j}],
        {1: 2},
        datetime(2020, 1, 1, tzinfo=UTC),
        "\ud800",
        {"a": 2**64, "b": "\ud800"},
        {"a": 2**64, "b": math.nan},
    ],
)
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical.encode(value)


@pytest.mark.parametrize("text", ["", "{", "nul", "{'a': 1}"])
def test_what_is_not_json_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Expecting"):
        canonical.decode(text)


@given(st.recursive(SCALARS | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
@settings(max_examples=100)
def test_finite_changes_nothing_but_nan_and_infinity_which_become_text(value: Any) -> None:
    def expected(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: expected(entry) for key, entry in part.items()}
        if isinstance(part, list):
            return [expected(entry) for entry in part]
        if isinstance(part, float) and not math.isfinite(part):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(part)]
        return part

    assert standard(canonical.finite(value)) == standard(expected(value))


def test_finite_makes_tuples_the_lists_that_json_has() -> None:
    assert canonical.finite((1, (math.nan,))) == [1, ["NaN"]]


@pytest.mark.parametrize("value", [2**63, 10**40, -(10**19), 0.1 + 0.2, 5e-324, -0.0, "\ud800", [10**18, "ä\0"]])
def test_what_is_read_is_what_json_says(value: object) -> None:
    text = json.dumps(value)
    assert repr(canonical.decode(text)) == repr(json.loads(text)) == repr(value)
