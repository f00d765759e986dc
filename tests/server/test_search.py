"""What a sweep's config means: every point of a grid once, draws that their seed repeats, all that is wrong at once."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import UsageError
from launcher.server.search import LONGEST, search_of

VALUES = st.lists(
    st.integers(-5, 5) | st.text("aü\"': ", max_size=3) | st.booleans() | st.none(), min_size=1, max_size=4
)
AXES = st.one_of(
    VALUES.map(lambda values: {"values": values}),
    st.integers(-9, 9).map(lambda value: {"value": value}),
    st.tuples(st.integers(-9, 9), st.integers(0, 4)).map(lambda pair: {"min": pair[0], "max": pair[0] + pair[1]}),
)
PARAMETERS = st.dictionaries(
    st.sampled_from("abcde"),
    AXES | st.dictionaries(st.sampled_from("xy"), AXES, min_size=1).map(lambda below: {"parameters": below}),
    min_size=1,
    max_size=4,
)


def text(method: str = "grid", **config: Any) -> str:
    return json.dumps({"method": method, **config}, ensure_ascii=False)


def key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def product(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination, made in the plainest way."""
    points: list[dict[str, Any]] = [{}]
    for name, axis in parameters.items():
        if "parameters" in axis:
            chosen: list[Any] = product(axis["parameters"])
        else:
            whole = list(range(axis.get("min", 0), axis.get("max", 0) + 1))
            chosen = axis.get("values", [axis["value"]] if "value" in axis else whole)
        points = [{**point, name: value} for point in points for value in chosen]
    return points


@given(PARAMETERS)
def test_a_grid_has_each_combination_once(parameters: dict[str, Any]) -> None:
    search = search_of(text(parameters=parameters))
    assert search.size is not None
    found = [key(search.point(number, "s")) for number in range(search.size)]
    assert len(found) == len(set(found))
    assert set(found) == {key(point) for point in product(parameters)}


def test_a_grid_takes_steps_and_ends_at_its_run_cap() -> None:
    steps = {"lr": {"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.1}}
    search = search_of(text(parameters=steps))
    assert search.size
    assert [search.point(number, "s")["lr"] for number in range(search.size)] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert search_of(text(parameters=steps, run_cap=2)).size == 2
    assert search_of(text(parameters={"n": {"min": 1, "max": 10**9}}, run_cap=10**6)).size == 10**6


DRAWS: dict[str, tuple[dict[str, Any], Any]] = {
    "uniform": ({"min": 0.5, "max": 2.0}, lambda x: 0.5 <= x <= 2),
    "int_uniform": ({"min": 2, "max": 4}, lambda x: x in (2, 3, 4)),
    "q_uniform": ({"min": 0, "max": 10, "q": 5}, lambda x: x in (0, 5, 10)),
    "log_uniform": ({"min": -2, "max": 0}, lambda x: math.exp(-2) <= x <= 1),
    "log_uniform_values": ({"min": 0.001, "max": 0.1}, lambda x: 0.0009 <= x <= 0.11),
    "inv_log_uniform": ({"min": 0, "max": 2}, lambda x: math.exp(-2) <= x <= 1),
    "inv_log_uniform_values": ({"min": 0.001, "max": 0.1}, lambda x: 0.0009 <= x <= 0.11),
    "q_log_uniform_values": ({"min": 8, "max": 256, "q": 8}, lambda x: x % 8 == 0 and 8 <= x <= 256),
    "normal": ({"mu": 5, "sigma": 1}, lambda x: -5 < x < 15),
    "q_normal": ({"sigma": 3}, lambda x: x == int(x)),
    "log_normal": ({"mu": 700, "sigma": 900}, lambda x: x >= 0 and math.isfinite(x)),
    "beta": ({"a": 2, "b": 3}, lambda x: 0 <= x <= 1),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_lie_where_their_distribution_says_and_repeat_with_their_seed(name: str) -> None:
    arguments, right = DRAWS[name]
    config = {"parameters": {"p": {"distribution": name, **arguments}}}
    search, seeded = search_of(text("random", **config)), search_of(text("random", seed=3, **config))
    draws = [search.point(number, "sweep")["p"] for number in range(200)]
    assert all(map(right, draws)), draws
    assert len(set(draws)) > 1
    assert draws == [search.point(number, "sweep")["p"] for number in range(200)]
    assert draws != [search.point(number, "other")["p"] for number in range(200)]
    assert seeded.point(7, "sweep") == seeded.point(7, "other")
    assert (search.size, search_of(text("random", run_cap=9, **config)).size) == (None, 9)


def test_choices_are_drawn_by_their_probabilities() -> None:
    choice = {"values": ["a", "b", "c"], "probabilities": [0.9, 0.1, 0]}
    search = search_of(text("random", parameters={"p": choice}))
    drawn = [search.point(number, "s")["p"] for number in range(300)]
    assert drawn.count("a") > 200
    assert set(drawn) == {"a", "b"}


WRONG = {
    "method": (text("bayes", parameters={"a": {"value": 1}}), "method 'bayes' is not searched by this server"),
    "no parameters": (text(), "parameters are missing"),
    "a list": (text(parameters=[1]), "parameters is [1], expected a mapping"),
    "no values": (text(parameters={"a": {"values": []}}), "parameters.a: values are [], expected a list"),
    "endless": (text(parameters={"a": {"min": 0.1, "max": 1.0}}), "parameters.a: a grid needs values"),
    "order": (text("random", parameters={"a": {"min": 2, "max": 1}}), "min 2 is more than max 1"),
    "missing": (text("random", parameters={"a": {"min": 2}}), "distribution uniform needs max"),
    "unknown": (
        text("random", parameters={"a": {"distribution": "cauchy"}}),
        "distribution 'cauchy' is unknown; expected int_uniform, uniform",
    ),
    "no number": (text("random", parameters={"a": {"min": "0", "max": 1}}), "min is '0', expected a number"),
    "logarithm": (
        text("random", parameters={"a": {"distribution": "log_uniform_values", "min": 0, "max": 1}}),
        "min is 0, expected more than 0",
    ),
    "no whole number": (
        text("random", parameters={"a": {"distribution": "int_uniform", "min": 0.5, "max": 1}}),
        "are no whole numbers",
    ),
    "step": (
        text("random", parameters={"a": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}}),
        "q is 0, expected more than 0",
    ),
    "probabilities": (
        text("random", parameters={"a": {"values": [1, 2], "probabilities": [1]}}),
        "expected a number from 0 to 1 for each",
    ),
    "cap": (text(parameters={"a": {"value": 1}}, run_cap=0), "run_cap is 0"),
    "controller": (
        text(parameters={"a": {"value": 1}}, controller={"type": "local"}),
        "a local one is not listened to",
    ),
    "no mapping": ("[1]", "config holds list"),
    "no YAML": ("a: [", "config is no YAML"),
    "a date": ("a: 2020-01-01", "config is no YAML that JSON could hold"),
    "an alias": ("a: &x [1]\nb: *x", "config has an alias"),
    "a circle": ("a: &x [*x]", "config has an alias"),
    "a program": ("a: !!python/object/apply:os.system [ls]", "config is no YAML"),
    "deep": ("[" * 3000 + "]" * 3000, "config is no YAML"),
    "long": ("a: " + "x" * LONGEST, "at most 100,000"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_config_is_told(case: str) -> None:
    config, told = WRONG[case]
    with pytest.raises(UsageError) as error:
        search_of(config)
    assert told in str(error.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(UsageError) as error:
        search_of(text("annealing", parameters={"a": {"values": 1}, "b": {"parameters": {"c": 3}}}, run_cap="x"))
    told = str(error.value).splitlines()
    assert [line.split(":")[0].split(" ")[0] for line in told] == [
        "method",
        "run_cap",
        "parameters.a",
        "parameters.b.c",
    ]
