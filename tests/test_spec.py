"""What is asked for: arguments, the documents they become, and the sources and priorities in them."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import canonical
from launcher.errors import UsageError
from launcher.spec import PRIORITIES, SCHEDULER_URI, LaunchArguments, LaunchSpec, Source, construct, parse_priority

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
EVERYTHING: dict[str, Any] = {
    "uri": "u", "job": "j", "config": {"a": {"b": [1]}}, "template_variables": {"t": 1}, "project": "p", "entity": "e",
    "queue_name": "q", "resource": "slurm", "entry_point": ["x"], "name": "n", "version": "v", "docker_image": "d",
    "project_queue": "pq", "resource_args": {"slurm": {"partition": "a"}}, "run_id": "r", "build": True,
    "repository": "repo", "sweep_id": "s", "author": "me", "priority": 0,
}  # fmt: skip


def shuffled(value: Any) -> Any:
    """`value` with the keys of all its mappings in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(entry) for entry in value] if isinstance(value, list) else value


def scribble(value: Any) -> None:
    """Change every mapping and list inside `value`."""
    if isinstance(value, dict):
        for entry in value.values():
            scribble(entry)
        value["scribbled"] = True
    elif isinstance(value, list):
        for entry in value:
            scribble(entry)
        value.append("scribbled")


# -- priorities ----------------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(PRIORITIES)), st.data())
@settings(max_examples=30)
def test_a_priority_is_known_by_its_name_in_any_case_and_by_its_number_as_number_or_text(
    name: str, data: st.DataObject
) -> None:
    number = PRIORITIES[name]
    cased = "".join(c.upper() if data.draw(st.booleans()) else c for c in name)
    assert [parse_priority(value) for value in (cased, number, str(number))] == [number] * 3


def test_critical_comes_first_and_low_last() -> None:
    assert PRIORITIES == {"critical": 0, "high": 1, "medium": 2, "low": 3}


@given(st.integers() | st.floats() | st.text(max_size=4) | st.booleans() | st.none() | st.lists(st.integers()))
@settings(max_examples=150)
def test_a_priority_is_one_of_four_numbers_or_an_error_that_lists_them(value: object) -> None:
    if type(value) is int and 0 <= value <= 3:
        assert parse_priority(value) == value
    elif isinstance(value, str) and value in ("0", "1", "2", "3"):
        assert parse_priority(value) == int(value)
    elif isinstance(value, str) and value.lower() in PRIORITIES:
        assert parse_priority(value) == PRIORITIES[value.lower()]
    else:
        with pytest.raises(UsageError) as error:
            parse_priority(value)
        expected = "expected one of 0 (critical), 1 (high), 2 (medium), 3 (low)"
        assert str(error.value) == f"priority {value!r} is unknown; {expected}"


@pytest.mark.parametrize("value", [True, False, -1, 4, 1.0, "", "urgent", " high", "０"])
def test_what_looks_like_a_priority_is_none(value: object) -> None:
    with pytest.raises(UsageError, match="is unknown; expected one of"):
        parse_priority(value)


# -- launch_add's arguments ----------------------------------------------------------------------------------------


def test_the_arguments_are_the_contracts_in_its_order() -> None:
    assert [field.name for field in fields(LaunchArguments)] == list(EVERYTHING)


def test_all_given_arguments_count_as_given() -> None:
    assert LaunchArguments(**EVERYTHING).given() == EVERYTHING


def test_empty_strings_and_what_was_left_out_count_as_absent_but_priority_0_and_empty_lists_do_not() -> None:
    arguments = LaunchArguments(uri="", job="", docker_image="alpine", priority=0, build=False, entry_point=[])
    assert arguments.given() == {"docker_image": "alpine", "priority": 0, "entry_point": []}
    assert LaunchArguments().given() == {}


def test_arguments_come_from_a_mapping_by_name() -> None:
    assert LaunchArguments.from_mapping({"uri": ".", "priority": "low"}) == LaunchArguments(uri=".", priority="low")


def test_all_unknown_arguments_of_a_mapping_are_told_at_once_with_the_nearest_names() -> None:
    with pytest.raises(UsageError) as error:
        LaunchArguments.from_mapping({"queue_nam": "q", "uri": ".", "zzz": 1}, "node")
    first, second = str(error.value).splitlines()
    assert first.startswith("node.queue_nam is not an argument; did you mean 'queue_name'? known: author, build, ")
    assert second.startswith("node.zzz is not an argument; known: author, build, ")


# -- sources -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "recorded"),
    [
        (Source(folder="/code"), {"uri": "/code", "git": {}}),
        (Source(folder="/code", commit="a" * 40), {"uri": "/code", "git": {"version": "a" * 40}}),
        (
            Source(folder="/code", commit="a" * 40, dirty=True),
            {"uri": "/code", "git": {"version": "a" * 40, "dirty": True}},
        ),
        (
            Source(repo="https://x/y", commit="b" * 40),
            {"uri": "https://x/y", "git": {"repo": "https://x/y", "version": "b" * 40}},
        ),
    ],
)
def test_a_source_is_recorded_in_a_spec_and_read_back(source: Source, recorded: dict[str, Any]) -> None:
    assert source.fields() == recorded
    assert Source.of(recorded) == source


# -- specs ---------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4), st.text(min_size=1), st.text(min_size=1))
@settings(max_examples=50)
def test_a_fingerprint_ignores_the_order_of_keys_and_what_two_runs_of_the_same_work_differ_in(
    document: dict[str, Any], run_id: str, author: str
) -> None:
    again = {**shuffled(document), "run_id": run_id, "author": author, "_resume_count": 3}
    assert LaunchSpec(again).fingerprint() == LaunchSpec(document).fingerprint()


def test_a_fingerprint_tells_apart_queue_and_work_but_neither_priority_nor_point() -> None:
    document = {"project": "p", "overrides": {"args": ["a=1"]}}
    other = {"project": "p", "overrides": {"args": ["a=1.0"]}}
    same = [LaunchSpec(document), LaunchSpec(document, priority=0), LaunchSpec(document, point=("a=1",))]
    assert len({spec.fingerprint() for spec in same}) == 1
    assert len({s.fingerprint() for s in (same[0], LaunchSpec(document, "gpu"), LaunchSpec(other))}) == 3


def test_a_fingerprint_sees_where_code_is_only_where_nothing_else_names_it() -> None:
    pushed = Source(folder="/code", repo="file:///r", commit="a" * 40, patch="c" * 64, dirty=True)
    told = [pushed, replace(pushed, repo=None), replace(pushed, repo="file:///moved"), replace(pushed, dirty=False)]
    assert len({LaunchSpec(source.fields()).fingerprint() for source in told}) == 1
    others = [replace(pushed, **{name: "b" * 64}) for name in ("folder", "commit", "patch", "subdir")]
    assert len({LaunchSpec(source.fields()).fingerprint() for source in [pushed, *others]}) == 5
    for uri in ({}, {"uri": SCHEDULER_URI}):
        repos = [{**uri, "git": {"repo": repo, "version": "a" * 40}} for repo in ("file:///r", "file:///other")]
        assert len({LaunchSpec(document).fingerprint() for document in repos}) == 2


def test_a_command_is_the_entry_point_then_the_arguments() -> None:
    assert LaunchSpec({"overrides": {"entry_point": ["python", "t.py"], "args": ["a=1"]}}).command() == [
        "python", "t.py", "a=1",
    ]  # fmt: skip
    assert LaunchSpec({"overrides": {}}).command() == []


# -- construct -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["project", "entity"])
@pytest.mark.parametrize(
    ("levels", "winner"),
    [
        (("argument", "config", "LAUNCHER", "WANDB"), "argument"),
        (("config", "LAUNCHER", "WANDB"), "config"),
        (("LAUNCHER", "WANDB"), "LAUNCHER"),
        (("WANDB",), "WANDB"),
        ((), ""),
    ],
)
def test_project_and_entity_follow_argument_config_environments_default(
    name: str, levels: tuple[str, ...], winner: str
) -> None:
    given_ = {name: "argument"} if "argument" in levels else {}
    config = {name: "config"} if "config" in levels else {name: ""}
    environ = {f"{prefix}_{name.upper()}": prefix for prefix in ("LAUNCHER", "WANDB") if prefix in levels}
    assert construct({**given_, "config": config}, environ, "user")[name] == winner


@pytest.mark.parametrize(
    ("given_", "environ", "winner"),
    [
        ({"author": "argument", "config": {"author": "config"}}, {"WANDB_USERNAME": "wandb"}, "argument"),
        ({"config": {"author": "config"}}, {"WANDB_USERNAME": "wandb"}, "config"),
        ({}, {"WANDB_USERNAME": "wandb"}, "wandb"),
        ({}, {}, "user"),
    ],
)
def test_the_author_follows_argument_config_wandb_username_user(
    given_: dict[str, Any], environ: dict[str, str], winner: str
) -> None:
    assert construct(given_, environ, "user")["author"] == winner


def test_the_resource_follows_argument_config_none() -> None:
    assert construct({"resource": "slurm", "config": {"resource": "ray"}}, {}, "u")["resource"] == "slurm"
    assert construct({"config": {"resource": "ray"}}, {}, "u")["resource"] == "ray"
    assert construct({}, {}, "u")["resource"] is None


@pytest.mark.parametrize(
    ("name", "path", "value", "other"),
    [
        ("uri", ("uri",), "new", "old"),
        ("job", ("job",), "new", "old"),
        ("name", ("name",), "new", "old"),
        ("run_id", ("run_id",), "new", "old"),
        ("sweep_id", ("sweep_id",), "new", "old"),
        ("resource_args", ("resource_args",), {"slurm": {"a": 1}}, {"ray": {"b": 2}}),
        ("docker_image", ("docker", "docker_image"), "new", "old"),
        ("entry_point", ("overrides", "entry_point"), ["new"], ["old"]),
        ("version", ("git", "version"), "new", "old"),
        ("repository", ("registry", "url"), "new", "old"),
    ],
)
def test_an_argument_lands_in_its_field_and_wins_over_the_configs(
    name: str, path: tuple[str, ...], value: Any, other: Any
) -> None:
    def field_of(document: Any) -> Any:
        for key in path:
            document = document.get(key, {})
        return document

    config: Any = other
    for key in reversed(path):
        config = {key: config}
    assert field_of(construct({name: value, "config": config}, {}, "u")) == value
    assert field_of(construct({"config": config}, {}, "u")) == other
    assert field_of(construct({}, {}, "u")) == {}


def test_an_argument_leaves_the_other_fields_beside_it() -> None:
    config = {"docker": {"user_id": 3}, "git": {"repo": "r"}, "overrides": {"args": ["a"]}, "registry": {"x": 1}}
    document = construct(
        {"docker_image": "d", "version": "v", "entry_point": ["e"], "repository": "u", "config": config}, {}, "u"
    )
    assert document["docker"] == {"docker_image": "d", "user_id": 3}
    assert document["git"] == {"repo": "r", "version": "v"}
    assert document["overrides"] == {"args": ["a"], "entry_point": ["e"]}
    assert document["registry"] == {"x": 1, "url": "u"}


def test_the_smallest_document_has_every_field_that_is_always_there_and_no_other() -> None:
    assert construct({"uri": "."}, {}, "me") == {
        "uri": ".", "entity": "", "project": "", "author": "me", "resource": None, "docker": {}, "git": {},
        "overrides": {},
    }  # fmt: skip


def test_parts_of_the_config_that_are_null_count_as_empty() -> None:
    config = {"docker": None, "git": None, "overrides": None, "registry": None}
    document = construct({"config": config, "repository": "r"}, {}, "me")
    assert document["docker"] == document["git"] == document["overrides"] == {}
    assert document["registry"] == {"url": "r"}


@given(st.dictionaries(st.text(min_size=1, max_size=3).map("x_{}".format), JSON, min_size=1, max_size=4))
@settings(max_examples=30)
def test_unknown_keys_of_the_config_are_kept(config: dict[str, Any]) -> None:
    document = construct({"config": config}, {}, "u")
    assert {key: document[key] for key in config} == config


@given(st.dictionaries(st.sampled_from(["docker", "git", "overrides", "registry", "x", "y"]), st.just({"a": [{}]})))
@settings(max_examples=30)
def test_the_callers_arguments_are_neither_changed_nor_shared(config: dict[str, Any]) -> None:
    given_ = copy.deepcopy({**EVERYTHING, "config": {**EVERYTHING["config"], **config}})
    before = copy.deepcopy(given_)
    document = construct(canonical.plain(given_), {"LAUNCHER_PROJECT": "p"}, "u")
    assert given_ == before
    scribble(document)
    assert given_ == before
