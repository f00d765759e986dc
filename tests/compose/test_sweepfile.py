"""Sweep files: every field, every mistake at once, and values that Hydra reads back as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher.compose import Block, Grid, Repository, Selection
from launcher.compose.rules import ACCEPTED, Rule
from launcher.compose.sweepfile import BLOCK_FIELDS, FIELDS, SweepFile, override_value, read_sweep_file
from launcher.errors import UsageError

SAMPLE = "expected {n: how many points, at least 1, seed: a whole number}"
METRIC = "expected a name, or {name: …, goal: maximize|minimize}"
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,4}", fullmatch=True).filter(
    lambda key: key.lower() not in ("true", "false", "null", "nan", "inf")
)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6) | st.text(
    alphabet="\\'\"${}[](),:= ab1.", max_size=8
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def parsed(override: str) -> Any:
    return OverridesParser.create().parse_override(override)


def complaints(folder: Path, text: str) -> list[str]:
    path = written(folder, text)
    with pytest.raises(UsageError) as error:
        read_sweep_file(path)
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"sweep file {path}: ") for line in lines)
    return [line.removeprefix(f"sweep file {path}: ") for line in lines]


# -- reading -------------------------------------------------------------------------------------------------------


def test_every_field_arrives_and_the_grid_follows_the_fixed_overrides(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        name: digits
        config_dir: conf
        config_name: main
        metric: {name: accuracy, goal: minimize}
        overrides: [experiment=digits, "+a='b c'"]
        grid: {model: [svm, mlp], lr: [0.1, 1], seed: range(3), one: 5, none: null, text: "1,2"}
        zip: {depth: [1, 2], width: [8, 16]}
        exclude: lr > 1
        require: ["seed == 1", "'a' in model"]
        repeat: {key: fold, values: 5}
        sample: {n: 20, seed: 3}
        order: shuffle
        queue: gpu
        priority: high
        stop_after_failures: 4
        retry: {max_attempts: 5}
        timeout: {run: 2h}
        fingerprint: {ignore: [name]}
        """,
    )
    assert read_sweep_file(path) == SweepFile(
        name="digits",
        blocks=(
            Block(
                (
                    "experiment=digits", "+a='b c'", "model=svm,mlp", "lr=0.1,1", "seed=range(3)", "one=5", "none=null",
                    "text=1,2", "depth=1,2", "width=8,16", "fold=range(5)",
                ),
                zips=(("depth", "width"),),
                rules=(
                    Rule.parse("exclude", "lr > 1"), Rule.parse("require", "seed == 1"),
                    Rule.parse("require", "'a' in model"),
                ),
            ),
        ),
        selection=Selection(sample=20, seed=3, shuffle=True),
        config_dir="conf",
        config_name="main",
        queue="gpu",
        priority=1,
        metric="accuracy",
        goal="minimize",
        stop_after_failures=4,
        policies={"retry": {"max_attempts": 5}, "timeout": {"run": "2h"}, "fingerprint": {"ignore": ["name"]}},
    )  # fmt: skip


def test_a_sweep_is_named_after_its_file_and_everything_else_may_be_left_out(tmp_path: Path) -> None:
    assert read_sweep_file(written(tmp_path, "grid:\n")) == SweepFile("mine")
    assert read_sweep_file(written(tmp_path, "{}")) == SweepFile("mine")


def test_blocks_hold_what_the_file_shares_and_then_their_own(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        overrides: [experiment=digits]
        exclude: lr > 1
        zip: [{a: [1, 2], b: [3, 4]}]
        repeat: {key: seed, values: [7, 8]}
        blocks:
          - grid: {lr: [0.1, 1]}
            require: seed > 0
          - overrides: [model=mlp]
            zip: [{c: [1], d: [2]}, {e: [3], f: [4]}]
        """,
    )
    assert read_sweep_file(path).blocks == (
        Block(
            ("experiment=digits", "lr=0.1,1", "a=1,2", "b=3,4", "seed=7,8"),
            zips=(("a", "b"),),
            rules=(Rule.parse("exclude", "lr > 1"), Rule.parse("require", "seed > 0")),
        ),
        Block(
            ("experiment=digits", "model=mlp", "a=1,2", "b=3,4", "c=1", "d=2", "e=3", "f=4", "seed=7,8"),
            zips=(("a", "b"), ("c", "d"), ("e", "f")),
            rules=(Rule.parse("exclude", "lr > 1"),),
        ),
    )


def test_a_metric_may_be_just_its_name(tmp_path: Path) -> None:
    read = read_sweep_file(written(tmp_path, "metric: loss\n"))
    assert read == replace(SweepFile("mine"), metric="loss", goal="maximize")


@pytest.mark.parametrize(("written_as", "number"), [("0", 0), ("low", 3), ("'1'", 1), ("null", None)])
def test_a_priority_is_a_number_or_a_name(tmp_path: Path, written_as: str, number: int | None) -> None:
    assert read_sweep_file(written(tmp_path, f"priority: {written_as}\n")).priority == number


def test_a_list_in_a_grid_is_one_value_and_text_in_a_list_is_no_syntax(tmp_path: Path) -> None:
    path = written(tmp_path, "grid: {hidden: [[8, 8], [16]], name: ['range(3)', 'a,b', \"it's\", svm, true, 'true']}\n")
    hidden, name = map(parsed, read_sweep_file(path).blocks[0].overrides)
    assert list(hidden.sweep_iterator()) == [[8, 8], [16]]
    assert [getattr(value, "text", value) for value in name.sweep_iterator()] == [
        "range(3)", "a,b", "it's", "svm", True, "true",
    ]  # fmt: skip


def test_a_sweep_file_spans_the_grid_that_it_shows(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: 0\nb: x\nc: []\n")
    file = read_sweep_file(written(tmp_path, "overrides: [a=1]\ngrid: {b: [p, 'q r'], c: [[1], [2, 3]]}\n"))
    points = list(Grid.of_blocks(Repository(tmp_path), "config", file.blocks, multirun=True))
    assert [point.config for point in points] == [
        {"a": 1, "b": b, "c": c} for b in ("p", "q r") for c in ([1], [2, 3])
    ]  # fmt: skip


# -- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "nme: x\n",
            f"field 'nme' is unknown; did you mean 'name'? known: {', '.join(sorted(FIELDS))}",
        ),
        ("3: x\n", f"field 3 is unknown; known: {', '.join(sorted(FIELDS))}"),
        ("name: 3\n", "name is 3, expected a string"),
        ("config_dir: [a]\n", "config_dir is ['a'], expected a string"),
        ("config_name: true\n", "config_name is True, expected a string"),
        ("queue: {a: 1}\n", "queue is {'a': 1}, expected a string"),
        ("overrides: a=1\n", "overrides is 'a=1', expected a list of override strings"),
        ("overrides: [a=1, {b: 2}]\n", "overrides is ['a=1', {'b': 2}], expected a list of override strings"),
        (
            "priority: urgent\n",
            "priority 'urgent' is unknown; expected one of 0 (critical), 1 (high), 2 (medium), 3 (low)",
        ),
        ("metric: [a]\n", f"metric is ['a'], {METRIC}"),
        ("metric: {goal: maximize}\n", f"metric is {{'goal': 'maximize'}}, {METRIC}"),
        ("metric: {name: a, x: 1}\n", f"metric is {{'name': 'a', 'x': 1}}, {METRIC}"),
        ("metric: {name: a, goal: up}\n", "metric.goal is 'up', expected one of maximize, minimize"),
        ("grid: [a]\n", "grid is ['a'], expected a mapping of keys to lists of values (or to Hydra's syntax)"),
        ("grid: {a: []}\n", "grid.a has no value, so the grid is empty; give it at least one"),
        ("grid: {a: {b: 1}}\n", "grid.a is {'b': 1}, expected a list of values, or Hydra's sweep syntax as text"),
        ("grid: {1: [2]}\n", "grid key 1 is not a string; quote it"),
        ("zip: [{a: [1]}, 3]\n", "zip is 3, expected a mapping of keys to lists of values (or to Hydra's syntax)"),
        ("exclude: 3\n", "exclude is 3, expected a condition such as: model.name == 'svm' and lr > 0.1"),
        ("require: [lr >]\n", f"require 'lr >' is no condition: invalid syntax; expected {ACCEPTED}"),
        ("repeat: {key: seed}\n", "repeat is {'key': 'seed'}, expected {key: seed, values: …}"),
        (
            "repeat: {key: seed, values: 0}\n",
            "repeat.values is 0, so the grid is empty; give it at least one value",
        ),
        (
            "repeat: {key: seed, values: true}\n",
            "repeat.values is True, expected a list, a count, or Hydra's sweep syntax as text",
        ),
        ("sample: {n: 0}\n", f"sample is {{'n': 0}}, {SAMPLE}"),
        ("sample: 5\n", f"sample is 5, {SAMPLE}"),
        ("sample: {n: 5, seed: x}\n", f"sample is {{'n': 5, 'seed': 'x'}}, {SAMPLE}"),
        ("stop_after_failures: 0\n", "stop_after_failures is 0, expected a whole number, at least 1"),
        ("stop_after_failures: true\n", "stop_after_failures is True, expected a whole number, at least 1"),
        ("retry: 3\n", "retry is 3, expected a mapping"),
        ("timeout: 2h\n", "timeout is '2h', expected a mapping"),
        ("fingerprint: [a]\n", "fingerprint is ['a'], expected a mapping"),
        ("order: random\n", "order is 'random', expected one of grid, shuffle"),
        ("blocks: []\n", f"blocks is [], expected a list of mappings with the fields {', '.join(BLOCK_FIELDS)}"),
        (
            "blocks: [{grid: {a: []}}]\n",
            "block 1: grid.a has no value, so the grid is empty; give it at least one",
        ),
        ("blocks: [{}, {queue: x}]\n", f"block 2: field 'queue' is unknown; known: {', '.join(sorted(BLOCK_FIELDS))}"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_value_and_what_was_expected(tmp_path: Path, text: str, told: str) -> None:
    assert complaints(tmp_path, text) == [told]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "nme: x\nqueue: 1\noverrides: 2\npriority: 9\nmetric: 3\ngrid: {a: [], b: {}, 4: []}\n"
    assert [line.split(" ")[0] for line in complaints(tmp_path, text)] == [
        "field", "queue", "overrides", "priority", "metric", "grid.a", "grid.b", "grid", "grid.4",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), [("", "NoneType"), ("- a\n", "list"), ("text\n", "str")])
def test_a_file_without_fields_is_told(tmp_path: Path, text: str, kind: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_sweep_file(path)
    assert str(error.value) == (
        f"sweep file {path} holds {kind}, expected fields: name, config_dir, config_name, config_rev, config_repo, "
        "metric, queue, priority, overrides, grid, zip, exclude, require, repeat, blocks, sample, order, "
        "stop_after_failures, notify, retry, timeout, limits, resources, fingerprint"
    )


def test_a_file_that_is_not_there_not_readable_or_not_yaml_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "no.yaml"
    with pytest.raises(UsageError) as error:
        read_sweep_file(missing)
    assert str(error.value) == f"no sweep file {missing}; name an existing one, or give overrides as key=value"
    with pytest.raises(UsageError) as error:
        read_sweep_file(tmp_path)
    assert str(error.value) == f"sweep file {tmp_path} cannot be read: Is a directory"
    for content in (b"a: [1\n", b"\xff\xfe\x00", b"a: 1\na\n"):
        path = tmp_path / "bad.yaml"
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is not YAML: "):
            read_sweep_file(path)


# -- values --------------------------------------------------------------------------------------------------------


@given(VALUES)
@example("inf")
@example("NaN")
@example("True")
@example("NULL")
@example("\\")
@example("it's \\'")
@example("1e3")
@example("a\nb")
@example("${x}")
@example("range(3)")
@example(float("-inf"))
@settings(max_examples=250, deadline=None)
def test_hydra_reads_an_override_value_back_as_the_value_it_was(value: Any) -> None:
    override = parsed(f"key={override_value(value)}")
    assert not override.is_sweep_override()
    assert repr(override.value()) == repr(value)


@given(st.lists(VALUES, min_size=2, max_size=4))
@settings(max_examples=80, deadline=None)
def test_hydra_reads_a_list_of_values_back_as_the_axis_it_was(values: list[Any]) -> None:
    override = parsed(f"key={','.join(map(override_value, values))}")
    assert override.is_discrete_sweep()
    strings = [f"key={text}" for text in override.sweep_string_iterator()]
    assert repr([parsed(string).value() for string in strings]) == repr(values)


@pytest.mark.parametrize("key", ["a b", "a:b", "a,b", "a=b", "a{b}", "a[b", "a-b", "a.b", "a/b", "a\\b", "$a", "a(b)"])
def test_hydra_reads_a_mapping_with_special_characters_in_a_key_back(key: str) -> None:
    assert parsed(f"key={override_value({key: 1})}").value() == {key: 1}


@pytest.mark.parametrize("key", [1, -1.5, True, None, "a 1", "007", "1_", "0x1F", "yes"])
def test_hydra_reads_the_key_of_a_mapping_back_with_its_type(key: Any) -> None:
    assert repr(parsed(f"key={override_value([{key: 1}])}").value()) == repr([{key: 1}])


@pytest.mark.parametrize("key", ["1", "true", "1e5", "", "é", "a#b"])
def test_a_key_that_hydra_would_read_as_another_is_told(tmp_path: Path, key: str) -> None:
    assert complaints(tmp_path, f"grid: {{a: [1, {{{json.dumps(key)}: 2}}]}}\n") == [
        f"grid.a: {key!r} cannot be the key of a mapping in an override, for Hydra does not read it as the same; "
        "rename it, or hold the mappings in a config group, and sweep that"
    ]
