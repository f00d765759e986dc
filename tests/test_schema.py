"""A document against its schema: every kind of problem with its message, all problems at once, nothing else."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher import canonical, schema
from launcher.errors import SpecError
from launcher.spec import LaunchArguments

SMALLEST = {"entity": "", "project": "", "docker": {}, "git": {}, "overrides": {}, "resource": None}
WHOLE = "(the whole document)"
SEGMENTS = st.lists(st.sampled_from(["", "a", "..", ".", "...", "b..", "\n", "..\n", "é c"]), max_size=4).map("/".join)
NAMES = st.text(alphabet="aZ09_.-/\\#?%: é\n", max_size=4)


def told(document: Any, name: str = "launch_spec") -> list[str]:
    return [str(problem) for problem in schema.problems(document, name)]


def spec(**changed: Any) -> dict[str, Any]:
    return {**SMALLEST, **changed}


# -- what is right -------------------------------------------------------------------------------------------------


def test_the_smallest_spec_is_right() -> None:
    assert told(SMALLEST) == []


def test_a_spec_with_everything_is_right_and_unknown_keys_are_kept() -> None:
    document = spec(
        entity="e", project="p", docker={"docker_image": "alpine", "user_id": 0}, resource="slurm", job="e/p/j:v1",
        uri="/code", name="n", run_id="a_B-1.2", sweep_id="s", author="me", resource_args={"slurm": {"x": [1]}},
        git={"version": "a" * 40, "repo": "https://x/y", "dirty": True}, registry={"url": "r"}, queue_entity="q",
        image_uri="i", python_version="3.12", builder={"type": "docker"}, additional_services=[{"config": {}}],
        overrides={
            "args": ["a=1"], "run_config": {"x": {"y": [1, None, 2**70, 1.5]}}, "artifacts": {},
            "files": {"a/b.yaml": {}}, "entry_point": ["python"], "dockerfile": "D", "working_dir": "sub/dir",
        },
        _resume_count=0, unknown={"deep": True},
    )  # fmt: skip
    assert told(document) == []


def test_every_argument_of_launch_add_has_a_type() -> None:
    wrong = {field.name: -1.5 for field in fields(LaunchArguments)}
    assert {problem.path for problem in schema.problems(wrong, "launch_arguments")} == set(wrong)


# -- one kind of problem each --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"entity": 3}, "entity: 3 is an integer, expected a string", id="type"),
        pytest.param({"docker": []}, "docker: [] is a list, expected an object", id="type-object"),
        pytest.param({"resource": True}, "resource: True is a boolean, expected a string or null", id="types"),
        pytest.param({"project": None}, "project: None is null, expected a string", id="type-null"),
        pytest.param(
            {"overrides": {"args": ["a", 0.5]}},
            "overrides.args[1]: 0.5 is a number, expected a string",
            id="type-in-list",
        ),
        pytest.param(
            {"overrides": {"args": "a=1"}}, "overrides.args: 'a=1' is a string, expected a list", id="type-list"
        ),
        pytest.param(
            {"docker": {"user_id": "0"}}, "docker.user_id: '0' is a string, expected an integer", id="type-integer"
        ),
        pytest.param(
            {"resource_args": {"slurm": 3}},
            "resource_args.slurm: 3 is an integer, expected an object",
            id="type-of-any-key",
        ),
        pytest.param(
            {"additional_services": [{"config": {}}, {}]}, "additional_services[1]: config missing", id="required"
        ),
        pytest.param({"project": "a/b"}, "project: 'a/b' is not a project name without / \\ # ? % :", id="pattern"),
        pytest.param(
            {"run_id": "-x"},
            "run_id: '-x' is not 1 to 128 characters of A-Z a-z 0-9 _ . -, a letter or digit first",
            id="pattern-run-id",
        ),
        pytest.param(
            {"overrides": {"files": {"a/../b": {}}}},
            "overrides.files: 'a/../b' is not a relative path without '..'",
            id="pattern-of-keys",
        ),
        pytest.param(
            {"overrides": {"working_dir": "/x"}},
            "overrides.working_dir: '/x' is not a folder below the source's, without '..'",
            id="pattern-working-dir",
        ),
        pytest.param({"sweep_id": ""}, "sweep_id: '' has 0 characters, expected at least 1", id="min-length"),
        pytest.param(
            {"name": "n" * 129}, f"name: '{'n' * 78}… has 129 characters, expected at most 128", id="max-length"
        ),
        pytest.param({"_resume_count": -1}, "_resume_count: -1 is less than the minimum of 0", id="minimum"),
        pytest.param({"x": math.nan}, "x: nan is not a JSON number; expected a finite one", id="nan"),
        pytest.param(
            {"x": [0, {"y": -math.inf}]}, "x[1].y: -inf is not a JSON number; expected a finite one", id="infinity"
        ),
        pytest.param({"x": {3: 1}}, "x.3: key 3 is an integer; JSON keys are strings", id="key-integer"),
        pytest.param({"x": {None: 1}}, "x.None: key None is null; JSON keys are strings", id="key-null"),
        pytest.param({"x": {1, 2}}, "x: {1, 2} is a set, expected a JSON value", id="not-json"),
        pytest.param({"x": [b"y"]}, "x[0]: b'y' is a bytes, expected a JSON value", id="not-json-bytes"),
        pytest.param(
            {"name": "a\0b"}, "name: 'a\\x00b' holds a NUL character, which no command line can carry", id="nul"
        ),
    ],
)
def test_a_problem_of_a_spec_is_told_with_path_value_and_what_was_expected(
    changed: dict[str, Any], message: str
) -> None:
    assert told(spec(**changed)) == [message]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"resource": "gpu"},
            "resource: 'gpu' is unknown; expected one of local-process, local-container, local, slurm, ray, "
            "kubernetes, sagemaker, vertex, gcp-vertex",
        ),
        ({"entry_point": []}, "entry_point: [] should be non-empty"),
        ({"entry_point": "python train.py"}, "entry_point: 'python train.py' is a string, expected a list"),
        ({"queue_name": "q" * 65}, f"queue_name: '{'q' * 65}' has 65 characters, expected at most 64"),
        ({"config": {"docker": 3}}, "config.docker: 3 is an integer, expected an object or null"),
        (
            {"template_variables": {"a": [1]}},
            "template_variables.a: [1] is a list, expected a string or an integer or a number or a boolean",
        ),
    ],
)
def test_a_problem_of_an_argument_is_told_the_same_way(changed: dict[str, Any], message: str) -> None:
    assert told(changed, "launch_arguments") == [message]


@pytest.mark.parametrize("value", ["urgent", 4, -1, True, None, "4"])
def test_a_priority_that_is_none_lists_the_numbers_and_the_names(value: Any) -> None:
    [message] = told({"priority": value}, "launch_arguments")
    assert message.startswith(
        f"priority: {value!r} is unknown; expected one of 0 (critical), 1 (high), 2 (medium), 3 (low)"
    )


@pytest.mark.parametrize("value", [0, 3, "0", "3", "critical", "low"])
def test_a_priority_may_be_a_number_or_a_name(value: Any) -> None:
    assert told({"priority": value}, "launch_arguments") == []


def test_what_is_no_object_at_all_is_told() -> None:
    assert told([]) == [f"{WHOLE}: [] is a list, expected an object"]
    assert told(math.nan) == [f"{WHOLE}: nan is not a JSON number; expected a finite one"]


@pytest.mark.parametrize("missing", [["entity"], ["project", "git"], list(SMALLEST)])
def test_all_missing_keys_are_told_once(missing: list[str]) -> None:
    document = {key: value for key, value in SMALLEST.items() if key not in missing}
    assert told(document) == [f"{WHOLE}: {' and '.join(missing)} missing"]


def test_a_long_value_is_shown_by_its_beginning() -> None:
    [message] = told(spec(entity=list(range(100))))
    path, _, shown = message.partition(": ")
    assert path == "entity"
    assert re.fullmatch(r"\[0, 1, 2, .*… is a list, expected a string", shown)
    assert len(shown) == schema.LONGEST_SHOWN + len(" is a list, expected a string")


# -- all at once ---------------------------------------------------------------------------------------------------


def test_all_problems_are_told_at_once_in_the_order_of_their_paths() -> None:
    document = spec(uri="", resource=3, overrides={"args": [1], "files": {"/x": 1, "ok": 1}}, docker={"user_id": -1})
    assert told(document) == [
        "docker.user_id: -1 is less than the minimum of 0",
        "overrides.args[0]: 1 is an integer, expected a string",
        "overrides.files: '/x' is not a relative path without '..'",
        "resource: 3 is an integer, expected a string or null",
        "uri: '' has 0 characters, expected at least 1",
    ]


def test_problems_of_list_items_come_in_the_order_of_the_list() -> None:
    args = [0 if place in (2, 10) else "a" for place in range(12)]
    assert [problem.path for problem in schema.problems(spec(overrides={"args": args}))] == [
        "overrides.args[2]", "overrides.args[10]",
    ]  # fmt: skip


def test_all_that_is_not_json_is_told_at_once() -> None:
    document = spec(a=math.inf, b={1: math.nan, "c": [object, "\0"]}, name=3)
    assert [problem.path for problem in schema.problems(document)] == ["a", "b.1", "b.c[0]", "b.c[1]"]


def test_an_error_holds_its_problems_and_shows_each_on_a_line() -> None:
    problems = schema.problems(spec(resource=3, uri=""))
    error = SpecError(problems, "point 3")
    assert error.problems == tuple(problems)
    assert str(error) == (
        "point 3: 2 problems\n"
        "  resource: 3 is an integer, expected a string or null\n"
        "  uri: '' has 0 characters, expected at least 1"
    )
    assert str(SpecError(problems[:1])).startswith("launch spec: 1 problem\n")


# -- what patterns let through -------------------------------------------------------------------------------------


@given(NAMES)
@example("abc\n")
@settings(max_examples=200)
def test_a_run_id_is_accepted_exactly_when_it_is_a_safe_name(run_id: str) -> None:
    assert (told(spec(run_id=run_id)) == []) == bool(re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", run_id))


@given(NAMES)
@settings(max_examples=200)
def test_a_project_is_accepted_exactly_when_it_holds_none_of_the_forbidden_characters(project: str) -> None:
    assert (told(spec(project=project)) == []) == (not set(project) & set("/\\#?%:"))


@given(SEGMENTS)
@example("\n/../../etc")
@settings(max_examples=200)
def test_paths_of_files_and_the_working_dir_never_leave_their_folder(path: str) -> None:
    stays = not path.startswith("/") and ".." not in path.split("/")
    files = told(spec(overrides={"files": {path: {}}})) == []
    folder = told(spec(overrides={"working_dir": path})) == []
    if not stays:
        assert (files, folder) == (False, False)
    elif "\n" not in path:  # a line break in a path may be refused
        assert (files, folder) == (path != "", True)


@given(st.text(st.characters(), max_size=4))
@example("\ud800")
@settings(max_examples=100)
def test_text_that_is_accepted_can_be_stored(text: str) -> None:
    document = spec(x=text)
    if told(document) == []:
        assert canonical.encode(document).encode()
        assert canonical.digest(document)
