"""Placeholders are filled by pure substitution: each one once, and nothing that a value brings along."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import LaunchError
from launcher.template import expand_arguments, fill

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,4}", fullmatch=True)
LITERAL = st.text(alphabet="ab ${}\\:.", max_size=6).filter(lambda text: "${" not in text and not text.endswith("$"))
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.tuples(LITERAL, NAMES), max_size=5),
    LITERAL,
    st.dictionaries(NAMES, st.sampled_from(["", "v", "${run_id}", "${a}", "\\1", "$"])),
    st.dictionaries(NAMES, st.sampled_from(["env", "${b}", "\\g<0>"])),
)
@settings(max_examples=150)
def test_every_macro_is_replaced_by_its_value_and_the_values_are_not_read_again(
    parts: list[tuple[str, str]], tail: str, macros: dict[str, str], environ: dict[str, str]
) -> None:
    text = "".join(f"{literal}${{{name}}}" for literal, name in parts) + tail
    expected = "".join(
        literal + macros.get(name, environ.get(name, f"${{{name}}}")) for literal, name in parts
    )  # fmt: skip
    assert fill(text, macros, environ) == expected + tail


@given(TREES)
@settings(max_examples=80)
def test_what_holds_no_macro_stays_as_it_is_and_is_a_copy(tree: Any) -> None:
    before = copy.deepcopy(tree)
    filled = fill({"tree": tree}, {"run_id": "r"}, {})
    assert filled == {"tree": before}
    if isinstance(tree, dict | list):
        assert filled["tree"] is not tree


def test_macros_are_filled_in_every_string_at_any_depth_but_not_in_keys() -> None:
    tree = {"${run_id}": ["${run_id}", {"a": ("x-${run_id}", 3, None, True)}]}
    assert fill(tree, {"run_id": "k3"}, {}) == {"${run_id}": ["k3", {"a": ["x-k3", 3, None, True]}]}


def test_the_six_names_win_over_the_environment() -> None:
    assert fill("${author}", {"author": "macro"}, {"author": "environment"}) == "macro"


def test_unknown_macros_and_other_placeholders_stay() -> None:
    text = "${other} {{variable}} $HOME ${} ${a.b} ${x:y} ${ run_id}"
    assert fill(text, {"run_id": "k3"}, {"HOME": "/root"}) == text


def test_a_macro_without_a_value_is_an_error_even_if_the_environment_has_one() -> None:
    with pytest.raises(LaunchError) as error:
        fill(["${image_uri}"], {"image_uri": None}, {"image_uri": "x"})
    assert str(error.value) == "${image_uri} has no value in this run; remove it or give the run one"


@given(st.lists(st.sampled_from(["${overrides}", "--x", "a ${overrides} b", "${run_dir}", ""])), st.lists(st.text()))
@settings(max_examples=80)
def test_overrides_are_one_argument_each_where_alone_and_joined_inside_text(
    args: list[str], overrides: list[str]
) -> None:
    expected: list[str] = []
    for argument in args:
        if argument == "${overrides}":
            expected += overrides
        elif argument.startswith("a "):
            expected.append("a " + " ".join(overrides) + " b")
        else:
            expected.append(argument)
    assert expand_arguments(args, overrides) == expected


def test_overrides_that_hold_a_placeholder_are_not_read_again() -> None:
    assert expand_arguments(["${overrides}", "<${overrides}>"], ["a=${overrides}"]) == [
        "a=${overrides}", "<a=${overrides}>",
    ]  # fmt: skip
