"""The commands in README.md do what it says: each `sh` block runs in a project like the one it describes, each `python`
block executes, and the two make targets exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from launcher.item import RunState
from tests.conftest import REPOSITORY, Project

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PROGRAM = "import launcher, sys\nlauncher.report(accuracy=0.9, given=sys.argv[1:])\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[list[str]]:
    return [words for line in block.splitlines() if (words := shlex.split(line, comments=True))]


def test_the_shell_blocks_run_one_after_another(project: Project) -> None:
    project.write("train.py", PROGRAM)
    first, following = blocks("sh")
    outputs = {}
    for words in commands(first) + commands(following):
        assert words[0] == "launcher"
        result = project.run(*words[1:])
        assert result.code == 0, (words, result.err)
        outputs[words[1]] = result.out
    assert "2  model=svm seed=1" in outputs["plan"]
    assert "sweep first: 6 added" in outputs["add"]
    assert "6 finished" in outputs["wait"]


def test_the_python_blocks_execute(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("train.py", PROGRAM)
    monkeypatch.chdir(project.folder)
    report, add = blocks("python")
    exec(report, {})  # noqa: S102 - our own README
    with project.start("agent") as agent:
        names: dict[str, object] = {}
        exec(add, names)  # noqa: S102 - our own README
        agent.terminate()
        agent.communicate(timeout=60)
    run = names["run"]
    assert run.state is RunState.FINISHED  # type: ignore[attr-defined]
    assert run.result == {"accuracy": 0.9, "given": ["lr=0.1"]}  # type: ignore[attr-defined]


def test_the_sweep_file_is_the_one_in_the_repository() -> None:
    import yaml

    [shown] = blocks("yaml")
    real = yaml.safe_load((REPOSITORY / "sweeps/digits.yaml").read_text(encoding="utf-8"))
    assert yaml.safe_load(shown).items() <= real.items()


@pytest.mark.parametrize("target", ["run", "test"])
def test_the_two_make_targets_exist(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert {"run": "launcher add sweeps/digits.yaml", "test": "-m pytest"}[target] in done.stdout


def test_every_linked_file_exists() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link.startswith("https://") or (REPOSITORY / link).is_file(), link
    assert sys.version_info >= (3, 11)
