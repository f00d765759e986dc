"""`launcher queue` and `launcher priority`: queues by flags and from files, and what waits in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from launcher import LaunchError, Queues
from tests.conftest import Project, Result

Cli = Callable[..., Result]

FILE = """
- name: gpu
  resource: slurm
  description: the big machines
  max_running: 4
  resource_args: {slurm: {gpus: "{{gpus}}", partition: a100}}
  variables:
    gpus: {type: integer, enum: [1, 2, 4], default: 1, description: GPUs of a run}
  links: {wiki: https://wiki.invalid/gpu}
- name: slow
  prioritization: DISABLED
  paused: true
"""


def shown(cli: Cli, name: str) -> dict[str, Any]:
    queue: dict[str, Any] = json.loads(cli("queue", "show", name, "--json").out)["queue"]
    return queue


def test_a_file_is_applied_once_after_its_differences_are_shown(cli: Cli, project: Project) -> None:
    file = str(project.write("queues.yaml", FILE))
    first = cli("queue", "apply", file)
    assert first.code == 0
    assert "queue gpu (new)\n" in first.out
    assert "  + max_running: 4\n" in first.out
    assert first.out.endswith("2 queues changed\n")
    assert shown(cli, "gpu")["variables"]["gpus"]["enum"] == [1, 2, 4]
    assert shown(cli, "slow")["paused"] is True
    assert cli("queue", "apply", file).out == "nothing to change\n"
    project.write(
        "queues.yaml", FILE.replace("max_running: 4", "max_running: 8").replace("paused: true", "paused: false")
    )
    dry = cli("queue", "apply", "--dry-run", file)
    assert dry.out == (
        "queue gpu\n  - max_running: 4\n  + max_running: 8\nqueue slow\n  - paused: true\n"
        "nothing is changed (--dry-run)\n"
    )
    assert shown(cli, "gpu")["max_running"] == 4
    cli("queue", "apply", file)
    assert (shown(cli, "gpu")["max_running"], shown(cli, "slow")["paused"]) == (8, False)


def test_a_queue_that_somebody_paused_stays_so_unless_the_file_says_otherwise(cli: Cli, project: Project) -> None:
    silent = str(project.write("queues.yaml", "name: q\nmax_running: 4\n"))
    cli("queue", "apply", silent)
    cli("queue", "pause", "q")
    assert cli("queue", "apply", silent).out == "nothing to change\n"
    project.write("queues.yaml", "name: q\nmax_running: 8\n")
    assert cli("queue", "apply", silent).out == "queue q\n  - max_running: 4\n  + max_running: 8\n1 queue changed\n"
    assert (shown(cli, "q")["paused"], shown(cli, "q")["max_running"]) == (True, 8)
    project.write("queues.yaml", "name: q\nmax_running: 8\npaused: false\n")
    assert cli("queue", "apply", silent).out == "queue q\n  - paused: true\n1 queue changed\n"
    assert shown(cli, "q")["paused"] is False


def test_what_is_shown_can_be_applied(cli: Cli, project: Project) -> None:
    cli("queue", "apply", str(project.write("queues.yaml", FILE)))
    file = str(project.write("again.yaml", cli("queue", "show", "gpu").out))
    assert cli("queue", "apply", file).out == "nothing to change\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[", "is not YAML"),
        ("", "queue 1 is None, expected a mapping"),
        ("- name: a\n- 3\n- name: a\n", "queue 2 is 3, expected a mapping"),
        ("- name: a\n- name: a\n", "queue 'a' is there twice"),
        ("resource: slurm\n", "queue 1 (None): (the whole document): name missing"),
        ("name: a\nresource: slrum\n", "resource: 'slrum' is unknown; expected one of local-process"),
        ("name: a\nmax_runing: 1\n", "'max_runing' unknown; did you mean 'max_running'?"),
        ("name: a\nmax_running: 0\n", "max_running: 0 is less than the minimum of 1"),
        ("name: a\nresource: slurm\nresource_args: {ray: {}}\n", "has ray, but the resource is slurm"),
        (
            "name: a\nresource_args: {local-process: {gpu: 1}}\n",
            "resource_args.local-process: 'gpu' unknown; did you mean",
        ),
        (
            "name: a\nresource: slurm\nresource_args: {slurm: {ntasks: few}}\n",
            "resource_args.slurm.ntasks: 'few' is a str",
        ),
        ("name: a\nresource: slurm\nresource_args: {slurm: 3}\n", "resource_args.slurm: 3 is an integer, expected"),
        ("name: a\nresource_args: {local-process: {env: {A: '{{x}}'}}}\n", "'{{x}}' has no schema in variables"),
        ("name: a\nresource_args: {local-process: {env: {A: '{{x y}}'}}}\n", "'{{x y}}' is no variable"),
        ("name: a\nvariables: {x: {type: integer, default: a}}\n", "variables.x.default: 'a' is a string"),
        ("name: a\nvariables: {x: {type: string, pattern: '['}}\n", "variables.x: cannot check anything"),
        ("name: a\nvariables: {x: {type: float}}\n", "'float' is unknown; expected one of string, integer"),
    ],
)
def test_a_file_that_is_wrong_is_told_and_changes_nothing(cli: Cli, project: Project, content: str, told: str) -> None:
    before = cli("queue", "list").out
    result = cli("queue", "apply", str(project.write("queues.yaml", content)))
    assert (result.code, result.out) == (2, "")
    assert told in result.err
    assert cli("queue", "list").out == before


def test_a_file_that_is_not_there_is_told(cli: Cli) -> None:
    result = cli("queue", "apply", "gone.yaml")
    assert (result.code, result.err) == (
        2,
        "launcher: queue file gone.yaml cannot be read: No such file or directory\n",
    )


def test_a_queue_is_created_changed_paused_and_deleted_by_flags(cli: Cli) -> None:
    cli("queue", "create", "q", "--max-running", "2", "--link", "wiki=https://wiki.invalid/?a=b", "--description", "d")
    assert shown(cli, "q")["links"] == {"wiki": "https://wiki.invalid/?a=b"}
    cli("queue", "update", "q", "--max-running", "0", "--no-overrides")
    changed = shown(cli, "q")
    assert (changed["max_running"], changed["allow_overrides"], changed["description"]) == (None, False, "d")
    assert "launcher queue resume q" in cli("queue", "pause", "q").out
    assert shown(cli, "q")["paused"] is True
    cli("queue", "resume", "q")
    assert shown(cli, "q")["paused"] is False
    assert cli("queue", "delete", "q").out == "queue q deleted\n"
    assert cli("queue", "show", "q").code == 1


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["create", "default"], 1, "default"),
        (["create", "q", "--link", "wiki"], 2, "--link 'wiki' has no address"),
        (["create", "q", "--variables", "["], 2, "--variables is not YAML"),
        (["create", "q", "--variables", "3"], 2, "variables: 3 is an integer, expected an object"),
        (["create", "x" * 65], 2, "has 65 characters, expected at most 64"),
        (["create", "q", "--resource-args", "{local-process: {gpu: 1}}"], 2, "'gpu' unknown; did you mean 'gpus'?"),
        (
            ["update", "default", "--resource-args", "{local-process: {cpus: -1}}"],
            2,
            "resource_args.local-process.cpus",
        ),
        (["update", "defalt", "--max-running", "1"], 1, "no queue named 'defalt'; did you mean 'default'?"),
        (["pause", "defalt"], 1, "defalt"),
        (["resume", "defalt"], 1, "defalt"),
        (["delete", "defalt"], 1, "defalt"),
    ],
)
def test_a_wrong_command_is_told(cli: Cli, words: list[str], code: int, told: str) -> None:
    result = cli("queue", *words)
    assert result.code == code, result.err
    assert told in result.err
    assert result.out == ""


def test_what_variables_will_fill_is_not_checked_before(cli: Cli) -> None:
    held = "{local-process: {gpus: '{{n}}', memory: '{{n}}GB', env: {A: '{{n}}'}}}"
    words = ["create", "q", "--resource-args", held, "--variables", "{n: {type: integer, default: 1}}"]
    assert cli("queue", *words).code == 0
    wrong = cli("queue", "update", "q", "--resource-args", "{local-process: {gpus: '{{n}}', cpus: many}}")
    assert (wrong.code, wrong.err) == (
        2,
        "launcher: queue 'q': resource_args.local-process.cpus: 'many' is a string, expected a number\n",
    )


def test_a_queue_with_waiting_items_is_not_deleted(cli: Cli) -> None:
    cli("queue", "create", "q")
    cli("add", "-q", "q", "--", "true")
    refused = cli("queue", "delete", "q")
    assert refused.code == 1
    assert shown(cli, "q")["name"] == "q"


def test_the_python_api_does_the_same(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    queues = Queues()
    made = queues.create("gpu", resource="slurm", max_running=4)
    assert (made.name, made.resource, made.max_running) == ("gpu", "slurm", 4)
    assert queues.update("gpu", max_running=None, paused=True).paused
    queues.resume("gpu")
    assert not queues.show("gpu").paused
    queues.pause("gpu")
    assert [(queue.name, queue.paused) for queue in queues.list()] == [("default", False), ("gpu", True)]
    queues.delete("gpu")
    with pytest.raises(LaunchError, match="no queue named 'gpu'"):
        queues.show("gpu")
    with pytest.raises(LaunchError, match="max_running: 'a' is a string"):
        queues.create("gpu", max_running="a")


def test_waiting_items_get_another_priority(cli: Cli) -> None:
    cli("add", "-m", "seed=1,2", "--sweep", "s", "--", "true")
    assert cli("priority", "s", "high").out == "2 waiting items now high\n"
    assert json.loads(cli("priority", "s", "0", "--json").out) == {"changed": 2, "priority": 0}
    wrong = cli("priority", "s", "urgent")
    assert (wrong.code, wrong.out) == (2, "")
    assert "expected one of 0 (critical), 1 (high), 2 (medium), 3 (low)" in wrong.err
    nothing = cli("priority", "high")
    assert nothing.code == 2
    assert "expected sweeps or IDs" in nothing.err


def test_what_no_agent_of_ours_runs_waits_instead_of_failing(cli: Cli, project: Project) -> None:
    project.write("train.py", "")
    project.write("queues.yaml", "{name: gpu, resource: sagemaker}")
    assert cli("queue", "apply", "queues.yaml").code == 0
    assert cli("add", "--queue", "gpu", "--sweep", "s", "-m", "seed=1", "--", "python", "train.py").code == 0
    assert cli("agent", "--drain").code == 0
    assert [item["state"] for item in json.loads(cli("status", "s", "--json").out)] == ["pending"]
    refused = cli("agent", "--queue", "gpu")
    assert (
        refused.code,
        "queue 'gpu' is for sagemaker, which our agents do not run" in refused.err,
    ) == (
        2,
        True,
    )


def test_what_waits_for_a_cluster_that_is_not_configured_here_waits_on(
    cli: Cli, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(project.folder))
    assert cli("queue", "create", "gpu", "--resource", "kubernetes").code == 0
    assert cli("add", "--queue", "gpu", "--sweep", "s", "-m", "seed=1", "--", "python", "train.py").code == 0
    assert cli("agent", "--drain").code == 0
    assert [item["state"] for item in json.loads(cli("status", "s", "--json").out)] == ["pending"]
    refused = cli("agent", "--queue", "gpu")
    assert refused.code == 1
    assert "or no cluster is configured (KUBECONFIG)" in refused.err


def test_only_what_engines_run_can_be_left_to_them(cli: Cli) -> None:
    none = cli("sync")
    assert none.code == 1
    assert "no queue is for an engine; create one: launcher queue create slurm --resource slurm" in none.err
    cli("queue", "create", "here", "--resource", "local-process")
    local = cli("agent", "--submit-only", "--queue", "here")
    assert local.code == 2
    assert (
        "queue 'here' is for local-process, which needs an agent that stays; expected one for kubernetes, ray, slurm"
        in local.err
    )
