"""What runs is what was added, with real git and real agents: whatever becomes of the repository in between, each run
executes the code and config of its moment, and can be rebuilt by hand from what `launcher show` prints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from launcher.item import Item, ItemFilter, RunState
from launcher.queues import open_store
from tests.conftest import Project
from tests.sources.repositories import NEUTRAL, commit, git

PROGRAM = """\
import hashlib, os, pathlib, sys
import launcher
from lib.model import NAME

files = ["train.py", "lib/model.py", "conf/config.yaml"]
code = hashlib.sha256(b"".join(pathlib.Path(name).read_bytes() for name in files)).hexdigest()
config = hashlib.sha256(pathlib.Path(os.environ["LAUNCHER_CONFIG"]).read_bytes()).hexdigest()
launcher.report(code=code, config=config, name=NAME, args=sys.argv[1:], lr=os.environ.get("LR"))
"""
FILES = ("train.py", "lib/model.py", "conf/config.yaml")
GRID = ("-m", "model=svm,mlp", "--", "python", "train.py")


@pytest.fixture
def ours(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in git, with one commit on `main`."""
    for name, value in NEUTRAL.items():
        monkeypatch.setenv(name, value)
    project.write("train.py", PROGRAM)
    project.write("lib/model.py", "NAME = 'first'\n")
    project.write(".gitignore", ".launcher/\n__pycache__/\n")
    git(project.folder, "init", "--quiet", "--initial-branch=main")
    commit(project.folder, "first", "README")
    return project


def digest(project: Project) -> str:
    """What a program finds that starts now."""
    return hashlib.sha256(b"".join((project.folder / name).read_bytes() for name in FILES)).hexdigest()


def add(project: Project, *words: str) -> str:
    """Add a sweep, and return the digest of its code."""
    result = project.run("add", *words)
    assert result.code == 0, result.err
    return digest(project)


def items(project: Project, sweep: str) -> list[Item]:
    with closing(open_store(project.store_url)) as store:
        return list(store.items(ItemFilter(sweep=sweep)))


def run_all(project: Project) -> None:
    result = project.run("agent", "--drain", "--max-jobs", "2")
    assert result.code == 0, result.err


def rewrite_history(project: Project) -> None:
    """Commit, edit, rebase, delete the branch, and clear away what nothing refers to any more."""
    commit(project.folder, "NAME = 'cleaned up'\n", "lib/model.py")
    git(project.folder, "checkout", "--quiet", "main")
    (project.folder / "conf/config.yaml").write_text("defaults: [{model: mlp}, _self_]\nlr: 9\n")
    commit(project.folder, "import sys; sys.exit('the working tree runs')\n")
    git(project.folder, "rebase", "--quiet", "-X", "theirs", "main", "idea")
    git(project.folder, "checkout", "--quiet", "main")
    git(project.folder, "branch", "--quiet", "-D", "idea")
    git(project.folder, "reflog", "expire", "--expire=now", "--all")
    git(project.folder, "gc", "--quiet", "--prune=now")
    shutil.rmtree(project.folder / "lib", ignore_errors=True)


def test_every_run_executes_the_code_and_config_of_its_moment(ours: Project) -> None:
    config = ours.folder / "conf/config.yaml"
    expected = {"first": add(ours, "--sweep", "first", *GRID)}
    git(ours.folder, "checkout", "--quiet", "-b", "idea")
    config.write_text(config.read_text().replace("lr: 0.1", "lr: 0.2"))
    commit(ours.folder, "NAME = 'second'\n", "lib/model.py")
    expected["second"] = add(ours, "--sweep", "second", *GRID)
    config.write_text(config.read_text().replace("lr: 0.2", "lr: 0.3"))
    ours.write("lib/model.py", "from lib.names import NAME\n")
    ours.write("lib/names.py", "NAME = 'third, not committed'\n")
    expected["third"] = add(ours, "--sweep", "third", *GRID)
    rewrite_history(ours)
    run_all(ours)
    rates = {"first": "lr: 0.1", "second": "lr: 0.2", "third": "lr: 0.3"}
    for sweep, code in expected.items():
        for item, model in zip(items(ours, sweep), ("svm", "mlp"), strict=True):
            assert (item.state, item.reason) == (RunState.FINISHED, None)
            assert item.result
            assert item.run_dir
            given = Path(item.run_dir, "config.yaml").read_bytes()
            assert rates[sweep] in given.decode()
            assert f"name: {model}-0" in given.decode()
            assert item.result["code"] == code
            assert item.result["config"] == hashlib.sha256(given).hexdigest()
            assert item.result["args"] == [f"model={model}"]
    assert len(set(expected.values())) == 3
    assert [items(ours, sweep)[0].result["name"] for sweep in expected] == [  # type: ignore[index]
        "first", "second", "third, not committed",
    ]  # fmt: skip
    trees = [path for path in (ours.folder / ".launcher/sources/trees").iterdir() if path.is_dir()]
    assert len(trees) == 3


# -- by hand -------------------------------------------------------------------------------------------------------


def rebuilt(project: Project, item: Item, folder: Path, **environ: str) -> dict[str, object]:
    """What a run reports that is rebuilt in an empty folder by the commands that `show` prints, and nothing else."""
    script = project.run("show", item.id, "--reproduce")
    assert script.code == 0, script.err
    return executed(script.out, item, folder, **environ)


def executed(script: str, item: Item, folder: Path, **environ: str) -> dict[str, object]:
    folder.mkdir()
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | NEUTRAL | environ
    done = subprocess.run(
        ["sh", "-eu"], input=script, cwd=folder, env=known, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (script, done.stderr)
    result: dict[str, object] = json.loads((folder / f"run-{item.id}/result.json").read_text())
    return result


def test_the_printed_commands_rebuild_a_run_with_uncommitted_changes(ours: Project, tmp_path: Path) -> None:
    git(ours.folder, "checkout", "--quiet", "-b", "idea")
    commit(ours.folder, "NAME = 'second'\n", "lib/model.py")
    ours.write("lib/model.py", "NAME = 'it\\'s \"changed\" $HOME'\n")
    ours.write("lib/unknown to git.bin", "\x00\x01")
    strange = "name='a b $HOME `x` \"y\"'"
    add(ours, "--sweep", "s", "seed=3", strange, "--", "python", "train.py", "--to", "${run_dir}/x")
    rewrite_history(ours)
    run_all(ours)
    [item] = items(ours, "s")
    assert item.result
    again = rebuilt(ours, item, tmp_path / "elsewhere")
    target = str(tmp_path / f"elsewhere/run-{item.id}/x")
    assert again == {**item.result, "args": ["--to", target, "seed=3", strange]}
    assert item.result["args"][1] == f"{item.run_dir}/x"
    assert (tmp_path / f"elsewhere/run-{item.id}/code/lib/unknown to git.bin").read_text() == "\x00\x01"


def test_a_commit_that_only_this_machine_has_is_said_first(ours: Project) -> None:
    head = git(ours.folder, "rev-parse", "HEAD")
    add(ours, "--sweep", "s", "--", "python", "train.py")
    script = ours.run("show", items(ours, "s")[0].id, "--reproduce").out
    assert script.splitlines()[0].startswith(f"# Commit {head} was in no remote when it was added: these commands work")
    assert f"push origin {head}:refs/heads/NAME" in script.splitlines()[1]


def test_a_pushed_commit_is_rebuilt_without_the_repository_it_was_added_from(ours: Project, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(ours.folder), str(remote))
    git(ours.folder, "remote", "add", "origin", f"file://{remote}")
    git(ours.folder, "fetch", "--quiet", "origin")
    add(ours, "--sweep", "s", "--", "python", "train.py")
    run_all(ours)
    [item] = items(ours, "s")
    script = ours.run("show", item.id, "--reproduce").out
    assert "no remote" not in script
    shutil.rmtree(ours.folder)
    assert executed(script, item, tmp_path / "elsewhere") == item.result


def test_secrets_stay_references_to_the_environment(ours: Project, tmp_path: Path) -> None:
    ours.write("queues.yaml", "- {name: q, resource: local-process, resource_args: {local-process: {env: "
               "{LR: '${OUR_RATE}/{{token}}'}}}, variables: {token: {type: string, format: secret, "
               "default: '${OUR_WORD}'}}}\n")  # fmt: skip
    assert ours.run("queue", "apply", "queues.yaml").code == 0
    add(ours, "--sweep", "s", "-q", "q", "--", "python", "train.py")
    [item] = items(ours, "s")
    result = rebuilt(ours, item, tmp_path / "elsewhere", OUR_RATE="it's 5", OUR_WORD="hunter2")
    assert result["lr"] == "it's 5/hunter2"
    assert "hunter2" not in ours.run("show", item.id, "--reproduce").out


def test_a_run_in_place_says_that_its_code_is_not_recorded(ours: Project, tmp_path: Path) -> None:
    ours.write("lib/model.py", "NAME = 'in place'\n")
    add(ours, "--sweep", "s", "--in-place", "--", "python", "train.py")
    [item] = items(ours, "s")
    script = ours.run("show", item.id, "--reproduce").out
    assert script.startswith(f"# Its code was not recorded: it ran in place in {ours.folder} on ")
    assert executed(script, item, tmp_path / "elsewhere")["name"] == "in place"


def test_no_text_of_a_spec_becomes_a_command(ours: Project, tmp_path: Path) -> None:
    hostile = tmp_path / "a\ntouch HOSTILE;$(touch HOSTILE)'"
    ours.folder.rename(hostile)
    moved = Project(hostile)
    moved.write("conf/config.yaml", "lr: 1\nnote: \"END_OF_CONFIG\\ntouch HOSTILE\"\n"
                "text: |\n  END_OF_CONFIG\n  touch HOSTILE\nlaunch: {project: 'x;touch HOSTILE', resource_args: "
                "{local-process: {env: {B: '$(touch HOSTILE)`touch HOSTILE`\"'}}}}\n")  # fmt: skip
    add(moved, "--sweep", "s", "+x='\ntouch HOSTILE\n'", "--", "python", "train.py", "$(touch HOSTILE)", "'")
    [item] = items(moved, "s")
    result = rebuilt(moved, item, tmp_path / "elsewhere")
    assert result["args"] == ["$(touch HOSTILE)", "'", "+x='\ntouch HOSTILE\n'"]
    assert not list(tmp_path.rglob("HOSTILE*"))
