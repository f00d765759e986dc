"""From points to checked specs: launch nodes, arguments that win over them, and what is wrong, told by its cause."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.causes import SHOWN_CAUSES
from launcher.compose import Point
from launcher.dispatcher import Dispatcher
from launcher.errors import SpecError, UsageError
from launcher.spec import LaunchArguments
from tests.dispatcher.conftest import COMMAND


def points(*configs: dict[str, Any]) -> list[Point]:
    return [Point((f"n={number}",), config) for number, config in enumerate(configs)]


def test_a_points_launch_node_holds_its_arguments(dispatcher: Dispatcher, folder: Path) -> None:
    node = {
        "entry_point": COMMAND, "args": ["--x", "${overrides}"], "priority": "high", "queue_name": "gpu",
        "name": "r-${run_id}", "project": None, "config": {"extra": 1}, "uri": str(folder),
        "resource_args": {"slurm": {"a": "${run_id}"}},
    }  # fmt: skip
    [spec] = dispatcher.specs(points({"seed": 1, "launch": node}), LaunchArguments())
    assert (spec.queue_name, spec.priority, spec.point) == ("gpu", 1, ("n=0",))
    assert spec.document == {
        "entity": "", "project": "", "author": "me", "resource": "slurm", "docker": {}, "git": {}, "uri": str(folder),
        "name": "r-${run_id}", "extra": 1, "resource_args": {"slurm": {"a": "${run_id}"}},
        "overrides": {"entry_point": COMMAND, "args": ["--x", "n=0"], "run_config": {"seed": 1}},
    }  # fmt: skip


def test_arguments_of_the_command_win_over_the_launch_node(dispatcher: Dispatcher, folder: Path) -> None:
    node = {"entry_point": ["node"], "priority": "high", "queue_name": "nowhere", "name": "kept"}
    overlay = LaunchArguments(entry_point=COMMAND, priority=0, queue_name="gpu", sweep_id="s")
    [spec] = dispatcher.specs(points({"launch": node}), overlay)
    assert (spec.queue_name, spec.priority) == ("gpu", 0)
    assert spec.document["overrides"]["entry_point"] == COMMAND
    assert (spec.document["name"], spec.document["sweep_id"]) == ("kept", "s")


def test_points_that_name_no_source_run_the_projects_folder(dispatcher: Dispatcher, folder: Path) -> None:
    specs = dispatcher.specs(
        points({}, {"launch": None}, {"launch": {"uri": ""}}), LaunchArguments(entry_point=COMMAND)
    )
    assert [spec.document["uri"] for spec in specs] == [str(folder)] * 3


def test_a_source_of_the_command_replaces_any_of_the_launch_node(
    dispatcher: Dispatcher, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    nodes = points(
        {"launch": {"uri": str(folder)}}, {"launch": {"job": "j:v1"}}, {"launch": {"docker_image": "alpine"}}
    )
    specs = dispatcher.specs(nodes, LaunchArguments(uri=str(other), entry_point=COMMAND))
    assert [spec.document["uri"] for spec in specs] == [str(other)] * 3


def test_specs_come_lazily_in_the_order_of_the_points_with_a_step_of_progress_each(dispatcher: Dispatcher) -> None:
    asked: list[int] = []
    steps: list[int] = []

    def endless() -> Iterator[Point]:
        for number in itertools.count():
            asked.append(number)
            yield Point((f"n={number}",), {"n": number})

    specs = dispatcher.specs(endless(), LaunchArguments(entry_point=COMMAND), lambda: steps.append(len(asked)))
    assert [spec.point for spec in itertools.islice(specs, 3)] == [("n=0",), ("n=1",), ("n=2",)]
    assert asked == [0, 1, 2]
    assert steps == [1, 2]


def test_points_are_left_as_they_are(dispatcher: Dispatcher) -> None:
    given = points({"a": {"b": [1]}, "launch": {"entry_point": COMMAND, "config": {"x": {}}}})
    before = copy.deepcopy(given)
    list(dispatcher.specs(given, LaunchArguments(project="p")))
    assert given == before


def test_bad_points_are_told_at_the_end_grouped_by_cause_most_frequent_first(dispatcher: Dispatcher) -> None:
    good = {"launch": {"entry_point": COMMAND}}
    bad_type = {"launch": {"entry_point": COMMAND, "name": 3}}
    no_json = {"x": 1j, **good}
    no_queue = {"launch": {"entry_point": COMMAND, "queue_name": "gpus"}}
    specs = dispatcher.specs(points(good, bad_type, no_json, good, no_json, no_queue), LaunchArguments())
    assert [next(specs).point, next(specs).point] == [("n=0",), ("n=3",)]
    with pytest.raises(SpecError) as error:
        next(specs)
    assert str(error.value).splitlines() == [
        "6 points, nothing queued: 3 problems",
        "  overrides.run_config.x: 1j is a complex, expected a JSON value: 2 of 6 points, first: point 3 (n=2)",
        "  name: expected a string: 1 of 6 points, first: point 2 (n=1): 3 is an integer, expected a string",
        "  no queue named 'gpus'; did you mean 'gpu'? known: default, gpu, plain. "
        "Create it: launcher queue create gpus: 1 of 6 points, first: point 6 (n=5)",
    ]


def test_several_problems_of_one_point_are_causes_of_their_own(dispatcher: Dispatcher) -> None:
    with pytest.raises(SpecError) as error:
        list(dispatcher.specs(points({"launch": {"name": 3, "project": 4}}), LaunchArguments()))
    assert [problem.path for problem in error.value.problems] == ["name", "project"]


def test_causes_beyond_the_shown_ones_are_counted(dispatcher: Dispatcher) -> None:
    many = points(*({"launch": {"entry_point": COMMAND, f"name_{number}": 1}} for number in range(SHOWN_CAUSES + 3)))
    with pytest.raises(SpecError) as error:
        list(dispatcher.specs(many, LaunchArguments()))
    assert len(error.value.problems) == SHOWN_CAUSES + 1
    assert str(error.value.problems[-1]) == "3 more causes: not shown"


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (3, "launch: 3 is no mapping; expected launch_add's arguments by name, and args"),
        (["a"], "launch: ['a'] is no mapping; expected launch_add's arguments by name, and args"),
        ({"args": "a=1"}, "launch.args: 'a=1' is no list of strings"),
        ({"args": ["a", 1]}, "launch.args: ['a', 1] is no list of strings"),
        ({"queue_nam": "x"}, "launch.queue_nam is not an argument; did you mean 'queue_name'? known: author, "),
        ({3: "x"}, "launch.3 is not an argument; known: author, "),
        ({"entry_point": [1]}, "entry_point[0]: 1 is an integer, expected a string"),
    ],
)
def test_a_launch_node_of_a_wrong_shape_is_told(dispatcher: Dispatcher, node: Any, told: str) -> None:
    with pytest.raises(SpecError) as error:
        list(dispatcher.specs(points({"launch": node}), LaunchArguments(project="p")))
    assert any(str(problem).startswith(told) for problem in error.value.problems)


def test_an_error_that_is_not_about_a_point_passes_through(dispatcher: Dispatcher) -> None:
    def composing() -> Iterator[Point]:
        yield Point((), {})
        raise UsageError("does not compose")

    specs = dispatcher.specs(composing(), LaunchArguments(entry_point=COMMAND))
    assert next(specs).point == ()
    with pytest.raises(UsageError, match=r"^does not compose$"):
        next(specs)
