"""`launcher diff`: two items, or two sweeps by what all their items have."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Project, Result
from tests.sources.repositories import commit, git

Cli = Callable[..., Result]
COMMAND = ("--", "python", "train.py")


@pytest.fixture
def head(project: Project) -> str:
    project.write(".gitignore", ".launcher/\n")
    git(project.folder, "init", "--quiet", "--initial-branch=main")
    return commit(project.folder, "first")


def add(cli: Cli, sweep: str, *words: str) -> str:
    """The ID of the first item of a sweep that is added."""
    result = cli("add", "--json", "--sweep", sweep, *words, *(() if "--" in words else COMMAND))
    assert result.code == 0, result.err
    return str(json.loads(result.out)["ids"][0])


def difference(cli: Cli, *names: str) -> dict[str, Any]:
    result = cli("diff", *names, "--json")
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_two_items_differ_in_config_code_command_environment_and_resources(
    cli: Cli, project: Project, head: str
) -> None:
    first = add(cli, "a", "lr=1", "+launch.resource_args.local-process.env={A: x, B: y}", "-p", "high")
    second_commit = commit(project.folder, "second")
    project.write("conf/model/mlp.yaml", "name: mlp\nhidden: [9]\n")
    second = add(cli, "b", "lr=1.0", "model=mlp", "+launch.resource_args.local-process={env: {A: z}, cpus: 2}",
                 "--", "python", "train.py", "--fast")  # fmt: skip
    found = difference(cli, first, second)
    args = found["command"].pop("args")
    assert args["old"].startswith("lr=1 ")
    assert found.pop("code") == {
        "commit": {"old": head, "new": second_commit}, "patch": {"new": found_patch(cli, second)},
    }  # fmt: skip
    assert found.pop("history")["added"][0].endswith(" second")
    assert found == {
        "same": False,
        "config": {
            "lr": {"old": 1, "new": 1.0}, "name": {"old": "svm-0", "new": "mlp-0"},
            "model.name": {"old": "svm", "new": "mlp"}, "model.kernel": {"old": "rbf"}, "model.hidden": {"new": [9]},
        },
        "command": {"entry_point": {"old": "python train.py", "new": "python train.py --fast"}},
        "environment": {"A": {"old": "x", "new": "z"}, "B": {"old": "y"}},
        "resource": {"priority": {"old": "high", "new": "medium"}, "cpus": {"new": 2}},
    }  # fmt: skip


def found_patch(cli: Cli, item: str) -> str:
    shown = json.loads(cli("show", item, "--json").out)
    return str(shown["provenance"]["patch"])


def test_differences_are_printed_for_people(cli: Cli, project: Project, head: str) -> None:
    add(cli, "a", "lr=1")
    commit(project.folder, "second")
    add(cli, "b", "lr=2", "model=mlp")
    new = git(project.folder, "rev-parse", "--short", "HEAD")
    whole = git(project.folder, "rev-parse", "HEAD")
    assert cli("diff", "a", "b").out == (
        "config\n"
        "  model.name    svm -> mlp\n"
        "  model.kernel  rbf -> (none)\n"
        "  lr            1 -> 2\n"
        "  name          svm-0 -> mlp-0\n"
        "  model.hidden  (none) -> [8,8]\n"
        "code\n"
        f"  commit  {head[:12]} -> {whole[:12]}\n"
        f"  + {new} second\n"
        "    train.py | 2 +-\n"
        "    1 file changed, 1 insertion(+), 1 deletion(-)\n"
        "command\n"
        "  args  lr=1 -> lr=2 model=mlp\n"
    )
    assert cli("diff", "b", "a").out.count(f"  - {new} second\n") == 1


def test_sweeps_are_compared_by_what_all_their_items_have_and_by_what_they_sweep(
    cli: Cli, project: Project, head: str
) -> None:
    add(cli, "a", "-m", "model=svm,mlp", "seed=10,9,1")
    add(cli, "b", "-m", "model=svm,mlp", "seed=1,2", "lr=3")
    assert difference(cli, "a", "b") == {
        "same": False,
        "swept": {"seed": {"old": ["1", "9", "10"], "new": ["1", "2"]}},
        "config": {"lr": {"old": 0.1, "new": 3}},
    }
    assert difference(cli, "a", "a") == {"same": True}


def test_a_large_sweep_is_compared_by_some_of_its_items_and_says_so(
    cli: Cli, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launcher.cli import diff

    monkeypatch.setattr(diff, "LARGEST", 3)
    add(cli, "a", "-m", "seed=range(10)")
    add(cli, "b", "-m", "seed=range(3)")
    result = cli("diff", "a", "b")
    assert result.err == "of a, 3 of 10 items are compared\n"
    assert result.out == 'swept\n  seed  ["0","1","2","3","4","5","6","7","8","9"] -> ["0","1","2"]\n'


def test_the_exit_code_tells_of_differences_only_when_asked(cli: Cli, head: str) -> None:
    add(cli, "a")
    add(cli, "b", "lr=2")
    assert cli("diff", "a", "b").code == 0
    assert cli("diff", "a", "b", "--exit-code").code == 1
    same = cli("diff", "a", "a", "--exit-code")
    assert (same.code, same.out) == (0, "a and a run the same\n")
    assert cli("diff", "a", "nothing").code == 1
