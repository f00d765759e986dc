"""`launcher job`, and runs of jobs from the command line to their end."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Project, Result
from tests.sources.repositories import commit, git

PROGRAM = "import launcher, sys\nlauncher.report(code={code!r}, given=sys.argv[1:])\n"
Cli = Callable[..., Result]


@pytest.fixture(autouse=True)
def _login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_USERNAME", "ann")


@pytest.fixture
def code(project: Project) -> Project:
    """The project, in git."""
    git(project.folder, "init", "--quiet", "--initial-branch=main")
    project.write(".gitignore", ".launcher\n")
    commit(project.folder, PROGRAM.format(code=1))
    return project


def test_runs_of_a_job_execute_the_code_and_command_of_the_version_that_was_meant(code: Project, cli: Cli) -> None:
    result = cli("job", "create", "git", "train", ".", "--alias", "good", "--", "python", "train.py")
    assert result.out.startswith(f"job ann/uncategorized/train:v0 created ({code.folder} at ")
    code.write("train.py", PROGRAM.format(code=2))
    assert "train.py); commit them" in cli("job", "create", "git", "train").err
    assert "train:v1 created" in cli("job", "create", "code", "train", "--", "python", "train.py").out
    code.write("train.py", PROGRAM.format(code=3))
    for number, reference in enumerate(["train:good", "train", "ann/uncategorized/train:v0"]):
        added = cli("add", "-m", "lr=1,2", "--job", reference, "--sweep", f"s{number}")
        assert f"s{number}: 2 added" in added.out
    assert "job: ann/uncategorized/train:v0" in added.out
    assert code.run("agent", "--drain").code == 0
    results = [json.loads(cli("results", f"s{number}", "--json").out) for number in range(3)]
    assert [{row["code"] for row in rows} for rows in results] == [{1}, {2}, {1}]
    assert results[0][0]["given"] == ["lr=1"]


def test_a_job_of_a_config_is_planned_and_checked(code: Project, cli: Cli) -> None:
    code.write("conf/inputs.yaml", "lr: 0.1\nname: a\nmodel: {name: b}\n")
    commit(code.folder, "one")
    cli("job", "create", "git", "train", "--inputs-of", "conf/inputs.yaml", "--", "python", "train.py", "--fast")
    commit(code.folder, "two")
    cli("job", "create", "git", "train", "--", "python", "train.py")
    planned = cli("plan", "-m", "+launch.job=train:v0,train:latest", "lr=1")
    assert planned.out.count("train.py --fast") == 1
    assert planned.out.count("job: ") == 2
    refused = cli("add", "-m", "+launch.job=train:v0,train:latest", "lr=x,1", "++name=3")
    assert refused.code == 1
    assert refused.err.splitlines()[0] == "launcher: 4 points, nothing queued: 2 problems"
    assert "overrides.run_config.lr: expected a number: 1 of 4 points" in refused.err
    assert cli("status", "--json").out.count('"sweep"') == 0


def test_jobs_are_listed_and_shown(code: Project, cli: Cli) -> None:
    cli("job", "create", "image", "team/vision/train", "registry.team/train:3", "--alias", "best")
    schema = code.write("inputs.json", '{"type": "object", "required": ["lr"]}')
    cli("job", "create", "image", "team/vision/train", "registry.team/train:4", "--inputs", str(schema))
    again = cli("job", "create", "image", "vision/train", "registry.team/train:3", "--entity", "team")
    assert again.out == "job team/vision/train:v0 has this content already; it is latest\n"
    cli("job", "create", "image", "test", "registry.team/test:1", "--project", "vision")
    listed = cli("job", "list").out
    assert [line.split()[:3] for line in listed.splitlines()] == [
        ["JOB", "ALIASES", "CODE"],
        ["ann/vision/test:v0", "latest", "registry.team/test:1"],
        ["team/vision/train:v0", "best,", "latest"],
    ]
    versions = json.loads(cli("job", "versions", "team/vision/train", "--json").out)
    assert [(each["job"], each["aliases"]) for each in versions] == [
        ("team/vision/train:v0", ["best", "latest"]),
        ("team/vision/train:v1", []),
    ]
    assert cli("job", "alias", "team/vision/train:v1", "best").out == "job team/vision/train:v1 is best\n"
    shown = cli("job", "show", "team/vision/train:best").out
    assert "docker_image: registry.team/train:4" in shown
    assert "required:" in shown


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["create", "git", "a b"], 2, "'a b' is no job; expected entity/project/name:alias"),
        (["create", "git", "train:v1"], 2, "job name 'train:v1' is none"),
        (["create", "image", "train", "i", "--alias", "v1"], 2, "alias 'v1' is none"),
        (["create", "image", "train", "i", "--inputs", "gone.json"], 2, "gone.json cannot be read"),
        (["create", "image", "train", "i", "--inputs", "a", "--inputs-of", "b"], 2, "exclude each other"),
        (["create", "code", "train", "nowhere"], 1, "uri 'nowhere' is neither a folder here nor a git remote"),
        (["show", "train"], 1, "no job named 'ann/uncategorized/train'; none is known"),
        (["versions", "train"], 1, "no job named 'ann/uncategorized/train'"),
        (["alias", "train", "best"], 1, "no job named 'ann/uncategorized/train'"),
    ],
)
def test_what_is_wrong_with_a_command_is_told(cli: Cli, words: list[str], code: int, told: str) -> None:
    result = cli("job", *words)
    assert result.code == code
    assert told in result.err
    assert cli("job", "list", "--json").out == "[]\n"
