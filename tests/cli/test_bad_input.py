"""Bad input gets one clear message that names the thing, its value, what was expected and the next step; exit code 2
for what was called wrongly, 1 for what failed; never a traceback, and nothing half-written."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.queues.sql import migrations
from tests.conftest import Project, Result

Cli = Callable[..., Result]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "-cn", "confg"], "no config named 'confg' in {conf}; did you mean 'config'?"),
        (
            ["add", "model=svn"],
            "no option 'svn' in config group 'model' of {conf}; did you mean 'svm'? known: mlp, svm",
        ),
        (["add", "sede=1"], "no key 'sede' in config 'config' (overrides: sede=1); did you mean 'seed'"),
        (["add", "-cd", "nowhere"], "nowhere does not exist; name it with --config-dir"),
        (["add", "-m", "seed=range(0)"], "seed=range(0): no value, so the grid is empty; give this key at least one"),
        (["add", "seed=1,2"], "seed=1,2: several values for one run; add -m"),
        (["add", "-m", "seed=", "lr=[1"], "override 'lr=[1' does not parse"),
        (
            ["add", "-m", "--sweep", "a b", "seed=1,2", "python", "train.py", "lr=1"],
            "'python' is no override (key=value) and no sweep file (.yaml); the command to run follows --: "
            "launcher add -m --sweep 'a b' seed=1,2 -- python train.py lr=1\n",
        ),
        (
            ["plan", "~seed", "lr"],
            "'lr' is no override (key=value) and no sweep file (.yaml); the command to run follows",
        ),
        (["add", "lr", "--", "true"], "'lr' is no override (key=value) and no sweep file (.yaml)\n"),
        (["add", "conf/config"], "and no sweep file (.yaml); did you mean 'conf/config.yaml'?\n"),
        (["add", "-m", "lr=interval(0,1)"], "lr=interval(0,1): an interval has no points"),
        (["add", "-m", "lr=range(0,1,1e-9)"], "lr=range(0,1,1e-9): 1,000,000,000 values; a range of floats"),
        (["add", "--app", "'train.py"], '--app "\'train.py" is not quoted as a shell would take it: No closing quot'),
        (["add", "nothing.yaml"], "no sweep file nothing.yaml"),
        (["add", "conf/lr=0.1.yaml"], "no sweep file conf/lr=0.1.yaml"),
        (["add", "./lr=0.1/nothing.yaml"], "no sweep file lr=0.1/nothing.yaml"),
        (["add", "sede=x.yaml"], "no key 'sede' in config 'config' (overrides: sede=x.yaml); did you mean 'seed'"),
        (["add", "seed=1", "--priority", "urgent"], "priority 'urgent' is unknown; expected one of 0 (critical)"),
        (["add", "seed=1", "--"], "nothing follows --; expected the command to run"),
        (["add", "--sweeep", "x"], "No such option '--sweeep'"),
        (["ad"], "no command 'ad'; did you mean 'add'?"),
        (["agent", "--max-jobs", "0"], "Invalid value for '--max-jobs'"),
        *(
            (["add", "seed=1", f"--sweep={name}", "--", "true"], f"sweep name {name!r} is none; expected a text on one")
            for name in ("-s", " ", "", "a\nb", "a\x7f", "\x1b[31m")
        ),
        *(
            (["queue", "create", "--", name], f"name: {name!r} is not a name of 1 to 64 characters on one line that")
            for name in ("-q", " ", "a\nb", "a\x7f", "\x1b[31m")
        ),
        (["queue", "create", "x" * 65], "has 65 characters, expected at most 64"),
    ],
)
def test_a_wrong_call_exits_2_and_queues_nothing(cli: Cli, project: Project, arguments: list[str], told: str) -> None:
    result = cli(*arguments)
    assert told.format(conf=project.folder / "conf") in result.err
    assert result.err.startswith("launcher: ")
    assert result.code == 2
    assert result.out == ""
    assert json.loads(cli("status", "--json").out)["sweeps"] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "seed=1"], "entry_point: missing; expected the command to run"),
        (["add", "-m", "seed=1,2", "--queue", "gpu", "--", "true"], "no queue named 'gpu'; known: default"),
        (["status", "digts"], "'digts' is neither a sweep nor an item's ID"),
        (["show", "zzz"], "'zzz' is no item's ID"),
        (["logs", "zzz"], "'zzz' is no item's ID"),
        (["results", "digits"], "no sweep named 'digits'; none is known"),
        (["wait", "digits"], "'digits' is neither a sweep nor an item's ID"),
        (["cancel", "digits"], "'digits' is neither a sweep nor an item's ID"),
        (["retry", "digits"], "'digits' is neither a sweep nor an item's ID"),
        (
            ["agent", "-q", "gpu", "--drain"],
            "no queue named 'gpu'; known: default. Create it: launcher queue create gpu",
        ),
        (["queue", "show", "gpu"], "no queue named 'gpu'; known: default"),
        (["queue", "create", "default"], "queue 'default' exists already"),
        (["status", "--store", "mysql://x"], "store 'mysql://x' is of an unknown kind"),
        (["status", "--store", "sqlite:///"], "names no file; expected sqlite:///PATH"),
    ],
)
def test_what_fails_exits_1_with_a_reason(cli: Cli, arguments: list[str], told: str) -> None:
    result = cli(*arguments)
    assert told in result.err
    assert result.code == 1


def test_all_unknown_fields_of_a_sweep_file_are_told_at_once(cli: Cli, project: Project) -> None:
    project.write("sweep.yaml", "nme: x\ngrid: {seed: []}\nmetric: {name: a, goal: up}\noverrides: seed=1\n")
    result = cli("add", "sweep.yaml")
    assert result.code == 2
    assert "field 'nme' is unknown; did you mean 'name'?" in result.err
    assert "grid.seed has no value, so the grid is empty" in result.err
    assert "metric.goal is 'up', expected one of maximize, minimize" in result.err
    assert "overrides is 'seed=1', expected a list of override strings" in result.err


def test_a_sweep_file_with_a_name_that_is_none_is_refused(cli: Cli, project: Project) -> None:
    project.write("sweep.yaml", "name: '-s'\n")
    result = cli("add", "sweep.yaml", "--", "true")
    assert "sweep file sweep.yaml: sweep name '-s' is none; expected a text on one line" in result.err
    assert result.code == 2


def test_a_config_that_names_another_sweep_is_told_that_it_means_nothing(cli: Cli, project: Project) -> None:
    project.write("conf/config.yaml", "launch: {sweep_id: '-x', entry_point: ['true']}\n")
    result = cli("add", "--sweep", "s")
    assert "launch.sweep_id: '-x' given, but sweep 's' is added; leave it out, and name the sweep there" in result.err
    assert result.code == 1
    assert cli("add", "--sweep=s", "launch.sweep_id=s").code == 0


def test_bad_points_are_told_grouped_by_cause_and_nothing_is_queued(cli: Cli, project: Project) -> None:
    project.write("conf/model/bad.yaml", "name: bad\n")
    project.write("conf/launch/x.yaml", "priority: ${oc.select:model.kernel,2}\nentry_point: ['true']\n")
    project.write("conf/config.yaml", "defaults: [{model: svm}, {launch: x}, _self_]\nseed: 0\n")
    result = cli("add", "-m", "model=svm,bad", "seed=range(3)", "--sweep", "s")
    assert result.code == 1
    assert "6 points, nothing queued: 1 problem" in result.err
    expected = "one of 0 (critical), 1 (high), 2 (medium), 3 (low)"
    first = f"point 1 (model=svm seed=0): 'rbf' is unknown; expected {expected}"
    assert f"\n  priority: expected {expected}: 3 of 6 points, first: {first}\n" in result.err
    assert '"sweeps": []' in cli("status", "--json").out


def test_unknown_names_in_the_launch_node_suggest_the_known_ones(cli: Cli, project: Project) -> None:
    project.write("conf/config.yaml", "launch: {queue_nam: x, entry_point: ['true']}\n")
    result = cli("add")
    assert "launch.queue_nam is not an argument; did you mean 'queue_name'?" in result.err
    assert result.code == 1


def test_a_foreign_database_is_refused_and_left_alone(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    result = cli("status", "--store", f"sqlite:///{path}")
    assert "is an SQLite database of another program, not a launcher store" in result.err
    assert result.code == 1
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but longer than the header of one would be " * 9)
    before = path.read_bytes()
    result = cli("status", "--store", f"sqlite:///{path}")
    assert "is no launcher store" in result.err
    assert result.code == 1
    assert path.read_bytes() == before


def test_a_store_that_cannot_be_written_is_told_with_its_path(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = cli("add", "--store", f"sqlite:///{tmp_path}/file/store.db", "--", "true")
    assert f"the store's folder {tmp_path}/file cannot be made" in result.err
    assert result.code == 1


def test_a_store_of_a_newer_version_is_refused(cli: Cli, project: Project) -> None:
    assert cli("queue", "create", "other").code == 0
    file = sqlite3.connect(project.folder / ".launcher/store.db")
    file.execute("PRAGMA user_version = 99")
    file.close()
    result = cli("status")
    newest = len(migrations("sqlite"))
    assert f"has version 99, this launcher knows versions up to {newest}; upgrade launcher" in result.err
    assert result.code == 1


def test_a_broken_pyproject_is_told(cli: Cli, project: Project) -> None:
    project.write("pyproject.toml", "[tool.launcher]\nconfig_dri = 'conf'\nstore = 3\n")
    result = cli("status")
    assert "tool.launcher.config_dri is unknown; did you mean 'config_dir'?" in result.err
    assert "tool.launcher.store is 3, expected a string" in result.err
    assert result.code == 2


def test_many_points_want_a_yes(cli: Cli) -> None:
    result = cli("plan", "-m", "seed=range(10001)", "--", "true")
    assert "the grid has 10,001 points; add --yes if that is meant" in result.err
    assert result.code == 2


@pytest.mark.parametrize("command", [["--help"], ["status"], ["status", "--json"], ["plan", "seed=1", "--", "true"]])
def test_output_that_cannot_be_written_is_told_once(project: Project, command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "launcher", *command]
        done = subprocess.run(words, cwd=project.folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "launcher: the output, or a file, cannot be written: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("command", [["status"], ["plan", "seed=1", "--", "true"], ["agent", "--drain"]])
def test_a_current_folder_that_is_gone_is_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = cli(*command)
    assert (result.code, result.err) == (1, "launcher: the current folder is gone; change to one that is there\n")


LONG = "x" * 300


@pytest.mark.parametrize(
    "command",
    [
        ["plan", "-cd", LONG, "--", "true"],
        ["agent", "--dir", LONG, "--drain"],
        ["store", "backup", LONG],
        ["plan", "--app", LONG],
        ["add", "--config-repo", LONG, "--", "true"],
        ["status", "--store", f"sqlite:///{LONG}/store.db"],
    ],
)
def test_a_name_too_long_is_told_with_the_name(cli: Cli, command: list[str]) -> None:
    assert cli("queue", "create", "other").code == 0  # so that there is a store
    result = cli(*command)
    assert result.code == 1
    assert LONG in result.err
    assert "File name too long" in result.err
    assert "internal error" not in result.err
    assert result.err.count("\n") == 1
