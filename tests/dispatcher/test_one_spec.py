"""From arguments to a checked spec: what is in it, what it is refused for, all of it at once, and how its source is
pinned."""

from __future__ import annotations

import copy
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from launcher.compose import Point
from launcher.dispatcher import Dispatcher
from launcher.errors import LaunchError, NotFoundError, SourceError, SpecError
from launcher.sources import pin
from launcher.spec import LaunchArguments, LaunchSpec, Source
from tests.dispatcher.conftest import COMMAND, QUEUES


def commit(folder: Path, content: str) -> str:
    """A commit of `folder`, which becomes a git repository if it is none."""

    def git(*arguments: str) -> str:
        environ = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        identity = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env={**environ, **identity}, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    if not (folder / ".git").exists():
        git("init", "--quiet", "--initial-branch=main")
    (folder / "train.py").write_text(content)
    git("add", "-A")
    git("commit", "--quiet", "-m", content)
    return git("rev-parse", "HEAD")


def refusal(dispatcher: Dispatcher, **arguments: Any) -> list[str]:
    """The problems that a single spec is refused for."""
    with pytest.raises(SpecError) as error:
        dispatcher.spec(LaunchArguments(**arguments))
    return [str(problem) for problem in error.value.problems]


# -- what is in it ----------------------------------------------------------------------------------------------------


def test_the_smallest_spec_holds_the_folder_the_queues_resource_and_nothing_else(
    dispatcher: Dispatcher, folder: Path
) -> None:
    assert dispatcher.spec(LaunchArguments(uri=str(folder), entry_point=COMMAND)) == LaunchSpec(
        {
            "entity": "", "project": "", "author": "me", "resource": "local-process", "docker": {}, "git": {},
            "uri": str(folder), "overrides": {"entry_point": COMMAND},
        },
        queue_name="default",
        priority=2,
        point=(),
    )  # fmt: skip


def test_the_resource_is_the_arguments_else_the_configs_else_the_queues(dispatcher: Dispatcher, folder: Path) -> None:
    def resource(**arguments: Any) -> Any:
        spec = dispatcher.spec(LaunchArguments(uri=str(folder), queue_name="gpu", entry_point=COMMAND, **arguments))
        return spec.document["resource"]

    assert resource() == "slurm"
    assert resource(config={"resource": "ray"}) == "ray"
    assert resource(config={"resource": "ray"}, resource="kubernetes") == "kubernetes"


def test_a_points_config_becomes_the_run_config_without_its_launch_node(dispatcher: Dispatcher, folder: Path) -> None:
    point = Point(("lr=1", "seed=2"), {"lr": 1, "deep": {"a": [1]}, "launch": {"priority": 0}})
    spec = dispatcher.spec(LaunchArguments(uri=str(folder), entry_point=COMMAND), point=point)
    assert spec.document["overrides"] == {
        "entry_point": COMMAND, "args": ["lr=1", "seed=2"], "run_config": {"lr": 1, "deep": {"a": [1]}},
    }  # fmt: skip
    assert (spec.point, spec.priority) == (("lr=1", "seed=2"), 2)
    assert spec.command() == ["python", "train.py", "lr=1", "seed=2"]


def test_an_override_that_the_agent_would_change_is_refused_where_the_command_gets_it(
    dispatcher: Dispatcher, folder: Path
) -> None:
    point = Point(("launch.args=['${run_dir}']", "to=${run_dir}/x", "key=${oc.select:run_dir}"), {})
    arguments = LaunchArguments(uri=str(folder), entry_point=COMMAND)
    for args in (None, ["--all=${overrides}"]):
        with pytest.raises(SpecError) as error:
            dispatcher.spec(arguments, point=point, args=args)
        assert [str(problem) for problem in error.value.problems] == [
            "to=${run_dir}/x: the agent would fill ${run_dir} in it, whatever was composed; for the config's key write "
            "${oc.select:run_dir}, for the run's own path name it in launch.args"
        ]
    assert dispatcher.spec(arguments, point=point, args=["${run_dir}"]).document["overrides"]["args"] == ["${run_dir}"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], []),
        (["--fast"], ["--fast"]),
        (["--fast", "${overrides}"], ["--fast", "a=1", "b='x y'"]),
        (["--all=${overrides}", "${run_dir}"], ["--all=a=1 b='x y'", "${run_dir}"]),
    ],
)
def test_the_overrides_of_a_point_are_filled_into_the_arguments_and_other_macros_wait(
    dispatcher: Dispatcher, folder: Path, args: list[str], expected: list[str]
) -> None:
    point = Point(("a=1", "b='x y'"), {})
    spec = dispatcher.spec(LaunchArguments(uri=str(folder), entry_point=COMMAND), point=point, args=args)
    assert spec.document["overrides"]["args"] == expected


@pytest.mark.parametrize(("priority", "number"), [(None, 2), (0, 0), ("critical", 0), ("low", 3), ("1", 1), (3, 3)])
def test_a_priority_is_kept_as_a_number(dispatcher: Dispatcher, folder: Path, priority: Any, number: int) -> None:
    spec = dispatcher.spec(LaunchArguments(uri=str(folder), entry_point=COMMAND, priority=priority))
    assert spec.priority == number
    assert "priority" not in spec.document


def test_the_callers_arguments_are_not_changed(dispatcher: Dispatcher, folder: Path) -> None:
    config = {"docker": None, "overrides": {"args": ["a"]}, "unknown": {"deep": [1]}}
    before = copy.deepcopy(config)
    spec = dispatcher.spec(LaunchArguments(uri=str(folder), entry_point=COMMAND, config=config))
    assert config == before
    assert spec.document["unknown"] == {"deep": [1]}


# -- what it is refused for -------------------------------------------------------------------------------------------


def test_all_arguments_of_a_wrong_type_are_told_at_once(dispatcher: Dispatcher) -> None:
    assert refusal(dispatcher, uri=3, entry_point="train", queue_name=["q"], resource="gpu", name="n") == [
        "entry_point: 'train' is a string, expected a list",
        "queue_name: ['q'] is a list, expected a string",
        "resource: 'gpu' is unknown; expected one of local-process, local-container, local, slurm, ray, kubernetes, "
        "sagemaker, vertex, gcp-vertex",
        "uri: 3 is an integer, expected a string",
    ]


def test_all_that_is_wrong_with_the_spec_is_told_at_once(dispatcher: Dispatcher) -> None:
    config = {"overrides": {"args": [1], "files": {"../x": 1}}, "name": float("nan")}
    missing = "missing; expected the command to run, as ['python', 'train.py'] (or after -- on the command line)"
    assert refusal(dispatcher, config={**config, "name": 3}) == [
        "source: exactly one of uri, job or docker_image must be given; got none",
        f"entry_point: {missing}",
        "name: 3 is an integer, expected a string",
        "overrides.args[0]: 1 is an integer, expected a string",
        "overrides.files: '../x' is not a relative path without '..'",
    ]
    assert refusal(dispatcher, config=config) == ["config.name: nan is not a JSON number; expected a finite one"]


def test_a_config_of_a_point_that_is_not_json_is_told_with_its_path(dispatcher: Dispatcher, folder: Path) -> None:
    point = Point((), {"a": {"b": [1j], 3: 1, "3": 2}})
    with pytest.raises(SpecError) as error:
        dispatcher.spec(LaunchArguments(uri=str(folder), entry_point=COMMAND), point=point)
    assert [str(problem) for problem in error.value.problems] == [
        "overrides.run_config.a.b[0]: 1j is a complex, expected a JSON value",
        "overrides.run_config.a.3: key 3 is an integer; JSON keys are strings",
    ]


def test_two_sources_are_refused_with_the_one_too_many(dispatcher: Dispatcher, folder: Path) -> None:
    given = {"uri": str(folder), "entry_point": COMMAND, "config": {"docker": {"docker_image": "alpine"}}}
    with pytest.raises(LaunchError, match="docker_image='alpine'"):
        dispatcher.spec(LaunchArguments(**given))


def test_a_process_needs_a_command_other_resources_may_do_without(dispatcher: Dispatcher, folder: Path) -> None:
    assert refusal(dispatcher, uri=str(folder)) == [
        "entry_point: missing; expected the command to run, as ['python', 'train.py'] (or after -- on the command line)"
    ]
    assert dispatcher.spec(LaunchArguments(uri=str(folder), queue_name="gpu")).command() == []


def test_an_unknown_queue_is_told_with_the_known_ones_and_how_to_create_it(dispatcher: Dispatcher) -> None:
    with pytest.raises(NotFoundError) as error:
        dispatcher.spec(LaunchArguments(uri=".", entry_point=COMMAND, queue_name="gpus"))
    assert str(error.value) == (
        "no queue named 'gpus'; did you mean 'gpu'? known: default, gpu, plain. Create it: launcher queue create gpus"
    )


@pytest.mark.parametrize("priority", [0, "low", 2])
def test_a_priority_on_a_queue_without_priorities_is_refused(
    dispatcher: Dispatcher, folder: Path, priority: Any
) -> None:
    arguments = {"uri": str(folder), "entry_point": COMMAND, "queue_name": "plain"}
    assert refusal(dispatcher, **arguments, priority=priority) == [
        f"priority: {priority!r} given, but queue 'plain' has its prioritization disabled"
    ]
    assert dispatcher.spec(LaunchArguments(**arguments)).priority == 2


def test_a_source_that_is_not_there_is_told(dispatcher: Dispatcher, folder: Path) -> None:
    with pytest.raises(SourceError, match="is neither a folder here nor a git remote"):
        dispatcher.spec(LaunchArguments(uri=str(folder / "gone"), entry_point=COMMAND))


# -- pinning ----------------------------------------------------------------------------------------------------------


def test_a_folder_in_git_is_recorded_with_its_commit_and_changes(dispatcher: Dispatcher, folder: Path) -> None:
    head = commit(folder, "first")
    (folder / "train.py").write_text("changed")
    document = dispatcher.spec(LaunchArguments(uri=str(folder), entry_point=COMMAND)).document
    _, patch = pin(str(folder))
    assert patch is not None
    assert (document["uri"], document["git"]) == (str(folder), {"version": head, "patch": patch.digest})


def test_a_remote_is_pinned_to_the_commit_of_the_version(dispatcher: Dispatcher, folder: Path) -> None:
    head = commit(folder, "first")
    arguments = LaunchArguments(uri=f"file://{folder}", version="main", entry_point=COMMAND)
    document = dispatcher.spec(arguments).document
    assert (document["uri"], document["git"]) == (f"file://{folder}", {"repo": f"file://{folder}", "version": head})


def test_one_sweep_runs_one_version_of_its_code(dispatcher: Dispatcher, folder: Path) -> None:
    first = commit(folder, "first")
    arguments = LaunchArguments(uri=f"file://{folder}", entry_point=COMMAND)
    one = dispatcher.spec(arguments)
    second = commit(folder, "second")
    again = dispatcher.spec(arguments)
    later = Dispatcher(QUEUES, str(folder), {}).spec(arguments)
    assert [spec.document["git"]["version"] for spec in (one, again, later)] == [first, first, second]


def test_the_source_that_a_spec_records_is_the_one_that_was_given_whatever_the_config_says(
    dispatcher: Dispatcher, folder: Path
) -> None:
    commit(folder, "first")
    config = {"git": {"repo": "https://host/other", "dirty": True}}
    spec = dispatcher.spec(LaunchArguments(uri=str(folder), entry_point=COMMAND, config=config))
    assert (Source.of(spec.document), None) == pin(str(folder))
