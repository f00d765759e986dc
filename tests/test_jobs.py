"""Jobs by reference: names completed, versions found and pinned, what a spec gets of them and is refused for; what of a
folder or a commit becomes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.compose import Point
from launcher.dispatcher import Dispatcher
from launcher.errors import NotFoundError, SourceError, SpecError, UsageError
from launcher.item import JobVersion, QueueInfo
from launcher.jobs import (
    checked_aliases,
    checked_inputs,
    completed,
    find_version,
    inferred_inputs,
    new_name,
    of_code,
)
from launcher.queues.sqlite import SqliteStore
from launcher.schema import value_problems
from launcher.spec import LaunchArguments
from tests.sources.repositories import commit, git, repository

QUEUES = {"default": QueueInfo("default", "local-process"), "images": QueueInfo("images", "local-container")}
CODE = {"uri": "/code", "git": {"repo": "file:///code", "version": "a" * 40, "subdir": "lib"}}
TRAIN = JobVersion("me/uncategorized/train", "git", CODE, ("python", "train.py"))
IMAGE = JobVersion("me/uncategorized/image", "image", {"docker": {"docker_image": "team/train:3"}})


@pytest.fixture
def dispatcher(store: SqliteStore) -> Dispatcher:
    store.keep_job(TRAIN)
    store.keep_job(IMAGE)
    return Dispatcher(QUEUES, "/nowhere", {}, "me", jobs=store.jobs)


def document(dispatcher: Dispatcher, **arguments: Any) -> Any:
    return dispatcher.spec(LaunchArguments(**arguments)).document


def refusal(dispatcher: Dispatcher, **arguments: Any) -> list[str]:
    with pytest.raises(SpecError) as error:
        dispatcher.spec(LaunchArguments(**arguments))
    return [str(problem) for problem in error.value.problems]


def asking(**config: Any) -> dict[str, Any]:
    return {"config": {"overrides": {"run_config": config}}}


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("train", ("e/p/train", "latest")),
        ("train:best", ("e/p/train", "best")),
        ("q/train:v0", ("e/q/train", "v0")),
        ("f/q/train:v12", ("f/q/train", "v12")),
    ],
)
def test_missing_parts_of_a_reference_are_completed(reference: str, told: tuple[str, str]) -> None:
    assert completed(reference, "e", "p") == told
    assert completed("train", "e", "") == ("e/uncategorized/train", "latest")


@pytest.mark.parametrize("text", ["", "a/b/c/d", "a b", "/a", "a:", "a:b:c", "a\nb", ":v1"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no job; expected entity/project/name:alias"):
        completed(text, "e", "p")


@pytest.mark.parametrize("text", ["train:v1", "a" * 129, "a\0b"])
def test_a_new_job_has_a_name_that_can_be_written(text: str) -> None:
    with pytest.raises(UsageError, match="job name"):
        new_name(text, "e", "p")
    assert new_name("q/train", "e", "p") == "e/q/train"


@pytest.mark.parametrize("alias", ["latest", "v0", "v12", "a/b", "", "a b", "a:b"])
def test_an_alias_is_a_word_that_is_not_given_by_the_store(alias: str) -> None:
    with pytest.raises(UsageError, match="alias"):
        checked_aliases(["best", alias])
    assert checked_aliases(["best", "v1.2"]) == ["best", "v1.2"]


def test_a_version_is_found_by_number_or_alias_and_others_are_told(store: SqliteStore) -> None:
    for name in "abc":
        store.keep_job(
            JobVersion("e/p/train", "image", {"docker": {"docker_image": name}}), ["best"] if name == "b" else []
        )
    versions = store.jobs("e/p/train")

    def number(alias: str) -> int:
        return find_version("e/p/train", alias, versions).number

    assert [number(alias) for alias in ("latest", "best", "v0", "v2")] == [2, 1, 0, 2]
    with pytest.raises(NotFoundError, match=r"'bets'; did you mean 'best'\? known: best, latest, v0, v1, v2"):
        number("bets")
    with pytest.raises(NotFoundError, match="has no version 'v01'"):
        number("v01")
    with pytest.raises(NotFoundError, match=r"no job named 'e/p/trian'; did you mean 'e/p/train'\?"):
        find_version("e/p/trian", "latest", [], ["e/p/train"])


# -- what a spec gets ----------------------------------------------------------------------------------------------


def test_a_spec_of_a_job_has_its_version_its_code_and_its_command(dispatcher: Dispatcher) -> None:
    assert document(dispatcher, job="train", name="n") == {
        "entity": "", "project": "", "author": "me", "resource": "local-process", "docker": {}, "name": "n",
        "job": "me/uncategorized/train:v0", "uri": "/code", "git": CODE["git"],
        "overrides": {"entry_point": ["python", "train.py"]},
    }  # fmt: skip
    assert document(dispatcher, job="train", entry_point=["sh"])["overrides"] == {"entry_point": ["sh"]}
    assert document(dispatcher, config={"job": "train:v0"})["job"] == "me/uncategorized/train:v0"


def test_a_spec_of_an_image_job_has_its_image(dispatcher: Dispatcher) -> None:
    made = document(dispatcher, job="image:latest", queue_name="images", config={"docker": {"user_id": 7}})
    assert (made["job"], made["docker"]) == (
        "me/uncategorized/image:v0",
        {"docker_image": "team/train:3", "user_id": 7},
    )
    assert "uri" not in made
    assert refusal(dispatcher, job="image") == [
        "job: me/uncategorized/image:v0 is an image, which local-process cannot run; name another resource or queue"
    ]


def test_all_that_is_wrong_with_a_spec_of_a_job_is_told_at_once(dispatcher: Dispatcher, store: SqliteStore) -> None:
    inputs = {"type": "object", "properties": {"lr": {"type": "number", "maximum": 1}}, "required": ["seed"]}
    store.keep_job(JobVersion("me/p/strict", "git", CODE, (), inputs))
    assert refusal(dispatcher, job="strict", project="p", version="main", **asking(lr="high")) == [
        "git: version given, but job me/p/strict:v0 has its code pinned; give uri",
        "entry_point: missing, and job me/p/strict:v0 has none; expected the command to run",
        "overrides.run_config: seed missing",
        "overrides.run_config.lr: 'high' is a string, expected a number",
    ]
    assert refusal(dispatcher, job="strict", project="p", entry_point=["sh"]) == ["overrides.run_config: seed missing"]
    assert document(dispatcher, job="strict", project="p", entry_point=["sh"], **asking(lr=0.5, seed=1))


def test_unknown_jobs_are_told_with_the_rest(dispatcher: Dispatcher) -> None:
    assert refusal(dispatcher, job="trian", name="x" * 129) == [
        "job: no job named 'me/uncategorized/trian'; did you mean 'me/uncategorized/train'? known: "
        "me/uncategorized/image, me/uncategorized/train. Create it: launcher job create",
        "name: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… "
        "has 129 characters, expected at most 128",
    ]


def test_a_sweep_runs_one_version_wherever_the_alias_moves_meanwhile(
    dispatcher: Dispatcher, store: SqliteStore
) -> None:
    point = Point(("lr=1",), {"lr": 1, "launch": {"job": "train"}})
    specs = dispatcher.specs([point] * 3, LaunchArguments())
    first = next(specs)
    store.keep_job(JobVersion("me/uncategorized/train", "git", CODE, ("python", "other.py")))
    assert [spec.document["job"] for spec in (first, *specs)] == ["me/uncategorized/train:v0"] * 3
    assert first.command() == ["python", "train.py", "lr=1"]


def test_a_job_of_the_command_line_wins_over_the_source_of_a_config(dispatcher: Dispatcher) -> None:
    point = Point((), {"launch": {"uri": "/elsewhere"}})
    [spec] = dispatcher.specs([point], LaunchArguments(job="train"))
    assert (spec.document["job"], spec.document["uri"]) == ("me/uncategorized/train:v0", "/code")


# -- what becomes a job --------------------------------------------------------------------------------------------


def made(kind: str, uri: Any, version: str | None = None, dirty: str | None = None) -> JobVersion:
    return of_code("e/p/n", kind, str(uri), version=version, dirty=dirty)[0]


def test_a_git_job_is_a_commit_and_a_code_job_has_the_uncommitted_changes(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repo")
    (folder / "train.py").write_text("changed")
    first = made("git", f"file://{folder}", "main")
    assert first.source["git"].keys() == {"repo", "version"}
    with pytest.raises(SourceError, match=r"uncommitted changes \(train.py\)"):
        made("git", folder)
    assert made("git", folder, dirty="ignore").source == {
        "uri": str(folder), "git": {"version": first.source["git"]["version"], "dirty": True},
    }  # fmt: skip
    job, source, patch = of_code("e/p/n", "code", str(folder), version=None, dirty=None)
    assert patch is not None
    assert (job.source["git"]["patch"], source.patch) == (patch.digest, patch.digest)
    commit(folder, "second")
    assert "patch" not in made("code", folder).source["git"]


def test_the_same_commit_of_two_clones_is_one_content(tmp_path: Path) -> None:
    origin = repository(tmp_path / "origin")
    clones = []
    for name in ("a", "b"):
        git(tmp_path, "clone", "--quiet", f"file://{origin}", name)
        clones.append(made("git", tmp_path / name))
    assert clones[0] == clones[1]
    assert clones[0].source["uri"] == f"file://{origin}"


def test_code_outside_of_git_cannot_be_pinned(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is in no git repository with a commit"):
        made("code", tmp_path)
    with pytest.raises(SourceError, match="is a git remote, not a folder"):
        made("code", f"file://{repository(tmp_path / 'repo')}")


# -- inputs --------------------------------------------------------------------------------------------------------


def test_inferred_inputs_take_the_config_they_come_of_and_refuse_other_types() -> None:
    config = {
        "lr": 0.1, "seed": 1, "fast": True, "name": "a", "sizes": [1], "none": None, "todo": "???",
        "model": {"name": "svm", "out": "${name}"},
    }  # fmt: skip
    inputs = inferred_inputs(config)
    assert value_problems(config, inputs, ()) == []
    assert value_problems({"lr": 1, "more": {}, "none": "x", "todo": 3, "model": {"out": 3}}, inputs, ()) == []
    wrong = {"lr": "x", "seed": 0.5, "fast": 1, "name": 1, "sizes": 1, "model": {"name": 1}}
    assert sorted(problem.path for problem in value_problems(wrong, inputs, ())) == [
        "fast", "lr", "model.name", "name", "seed", "sizes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ([1], "holds list, expected a JSON Schema, an object"),
        ({"type": "strng"}, "cannot check anything"),
        ({"pattern": "("}, "cannot check anything"),
        ({"properties": {"a": {"$ref": "http://localhost/x"}}}, "leads to another document"),
        ({"allOf": [{"$ref": "file:///etc/passwd"}]}, "leads to another document"),
    ],
)
def test_a_schema_that_can_check_nothing_is_refused(definition: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        checked_inputs(definition, "inputs.json")
    assert checked_inputs({"$defs": {"a": {}}, "$ref": "#/$defs/a"}, "inputs.json")
