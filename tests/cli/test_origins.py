"""Where an item comes from: what `show` tells of it, and that it makes no other work of it."""

from __future__ import annotations

import json
import platform
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from launcher import launch_add
from launcher.canonical import digest
from launcher.item import Item, ItemFilter
from launcher.provenance import login
from launcher.queues import open_store
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


def items(project: Project) -> list[Item]:
    with closing(open_store(project.store_url)) as store:
        return list(store.items(ItemFilter()))


def test_code_that_was_pushed_or_lies_beside_a_note_is_the_same_work(cli: Cli, project: Project, head: str) -> None:
    add(cli, "s", "-m", "seed=1,2")
    remote = project.folder.parent / "remote.git"
    git(project.folder, "init", "--quiet", "--bare", str(remote))
    git(project.folder, "remote", "add", "origin", str(remote))
    git(project.folder, "push", "--quiet", "origin", "main")
    project.write("notes.txt", "untracked")
    result = cli("add", "--sweep", "s", "-m", "seed=1,2", "--dirty", "ignore", *COMMAND)
    assert result.out.startswith("sweep s: 0 added; 2 are there already: 2 pending")


def test_an_item_knows_where_it_comes_from(cli: Cli, project: Project, head: str) -> None:
    project.write("train.py", "changed")
    item = add(cli, "s", "-m", "model=mlp", "seed=1,2")
    shown = json.loads(cli("show", item, "--json").out)
    patch = cli("show", item, "--patch").out
    assert "+changed" in patch
    assert shown["provenance"] == {
        "remote": None, "folder": str(project.folder), "commit": head, "patch": shown["spec"]["git"]["patch"],
        "overrides": ["model=mlp", "seed=1"], "command": ["python", "train.py", "model=mlp", "seed=1"],
        "config_digest": digest(shown["spec"]["overrides"]["run_config"]), "author": login(), "user": login(),
        "added_at": shown["added_at"], "host": socket.gethostname(), "python": platform.python_version(),
        "launcher": "0.1.0", "hydra": shown["provenance"]["hydra"], "choices": {"model": "mlp"},
        "config_name": "config", "config": None, "image": None,
    }  # fmt: skip
    told = cli("show", item).out
    assert "\nchoices    model=mlp\n" in told
    assert f"by {login()} on {socket.gethostname()}\n" in told
    assert f"Python {platform.python_version()}, launcher 0.1.0, Hydra 1.3" in told


def test_the_same_work_added_from_elsewhere_is_the_same_work(
    cli: Cli, project: Project, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launcher import provenance

    add(cli, "s", "-m", "model=svm,mlp")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(socket, "gethostname", lambda: "elsewhere")
        provenance._surroundings.cache_clear()
        again = json.loads(cli("add", "--json", "--sweep", "s", "-m", "model=svm,mlp", *COMMAND).out)
        assert "on elsewhere\n" in cli("show", add(cli, "t")).out
    provenance._surroundings.cache_clear()
    assert (again["added"], again["present"]) == (0, 2)


def test_a_run_of_the_python_api_knows_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    run = launch_add(uri=".", entry_point=["true"], config={"provenance": {"user": "mallory"}})
    with closing(open_store(project.store_url)) as store:
        kept = store.document(run.id)["provenance"]
    assert (kept["user"], kept["host"]) == (login(), socket.gethostname())
    assert "choices" not in kept


def test_the_specs_of_a_sweep_share_what_they_say(cli: Cli, project: Project, head: str) -> None:
    import sqlite3

    assert cli("add", "--sweep", "s", "-m", "seed=range(300)", *COMMAND).code == 0
    with closing(sqlite3.connect(project.folder / ".launcher/store.db")) as file:
        leaves = [row[0] for row in file.execute("SELECT leaves FROM items")]
    assert len(leaves) == 300
    assert not any(json.dumps(socket.gethostname()) in text or "config_name" in text for text in leaves)


def test_an_item_without_changes_has_no_patch_and_an_image_no_commands(cli: Cli, project: Project, head: str) -> None:
    result = cli("show", add(cli, "s"), "--patch")
    assert result.code == 1
    assert "has no uncommitted changes" in result.err
    run = launch_add(docker_image="alpine", entry_point=["true"], resource="local-container")
    result = cli("show", run.id, "--reproduce")
    assert result.code == 2
    assert "runs 'alpine', which no git commands rebuild" in result.err


def test_a_run_in_a_container_is_told_with_its_variables_of_any_form(cli: Cli, project: Project, head: str) -> None:
    arguments = {"local-container": {"env": ["A=it's $HOME", "TOKEN"]}}
    run = launch_add(uri=".", entry_point=["true"], resource="local-container", resource_args=arguments,
                     config={"image_uri": "alpine"})  # fmt: skip
    told = cli("show", run.id, "--reproduce").out
    assert "# It ran in a container of alpine; these commands run it outside" in told
    assert """export A='it'"'"'s $HOME'\nexport TOKEN="${TOKEN}"\n""" in told


def test_a_sweep_file_that_is_edited_makes_no_other_work_of_its_points(cli: Cli, project: Project, head: str) -> None:
    project.write("s.yaml", "grid: {seed: [1, 2]}\n")
    assert cli("add", "s.yaml", *COMMAND).out.startswith("sweep s: 2 added\n")
    project.write("s.yaml", "grid: {seed: [1, 2, 3]}\n")
    again = cli("add", "s.yaml", *COMMAND)
    assert again.out.startswith("sweep s: 1 added; 2 are there already: 2 pending (--again")
    assert again.err == ""
    assert "uncommitted" not in again.out


def test_points_that_are_added_once_more_for_edited_code_are_told_of(cli: Cli, project: Project, head: str) -> None:
    project.write("s.yaml", "grid: {seed: [1, 2]}\n")
    cli("add", "s.yaml", *COMMAND)
    project.write("train.py", "print('mended')\n")
    again = cli("add", "s.yaml", *COMMAND)
    assert again.out.startswith("sweep s: 2 added\n")
    assert again.err == (
        "the sweep had these points already, with other code: train.py; with fingerprint: "
        "{ignore: [git]} in the sweep file they would count as the same (docs/attempts.md)\n"
    )
    assert cli("add", "s.yaml", "--again", *COMMAND).err == "", "as was asked for"
    assert cli("queue", "create", "other").code == 0
    moved = cli("add", "s.yaml", "-q", "other", *COMMAND)
    assert moved.err == "the sweep had these points already, in queue default\n"
    other = cli("add", "s.yaml", "--", "python", "other.py")
    assert "with other code: train.py, command; with fingerprint: {ignore: [git, overrides.entry_point]}" in other.err
    project.write("s.yaml", "grid: {seed: [1, 2]}\nfingerprint: {ignore: [git]}\n")
    assert cli("add", "s.yaml", *COMMAND).out.startswith("sweep s: 2 added\n"), "what is ignored now was not before"
    project.write("train.py", "print('mended again')\n")
    assert cli("add", "s.yaml", *COMMAND).out.startswith("sweep s: 0 added; 2 are there already")


def test_a_folder_that_was_moved_is_told_as_such(
    cli: Cli, project: Project, head: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere/store.db"
    monkeypatch.setenv("LAUNCHER_STORE", url)
    item = add(cli, "s", "seed=1")
    monkeypatch.chdir(tmp_path)
    project.folder.rename(tmp_path / "moved")
    assert cli("agent", "--drain").code == 0
    told = cli("show", item).out
    assert f"the folder {project.folder}, which has commit {head[:12]}, is not here any more (moved?)" in told
    assert "put it back and launcher retry, or push and add with --again" in told


def test_files_that_launcher_writes_among_the_code_are_none_of_it(cli: Cli, project: Project, head: str) -> None:
    assert cli("add", "--sweep", "s", "-m", "seed=1,2", *COMMAND).code == 0
    for words in (
        ("results", "s", "-o", "s.csv"), ("results", "s", "--format", "table", "-o", "s.txt"), ("plot", "s", "--kind",
        "timeline", "-o", "s.json"), ("store", "backup", "copy.db"),
    ):  # fmt: skip
        assert cli(*words).code == 0, words
    again = cli("add", "--sweep", "s", "-m", "seed=1,2", *COMMAND)
    assert again.out.startswith("sweep s: 0 added; 2 are there already"), again
    project.write("s.csv", "of somebody else")
    again = cli("add", "--sweep", "s", "-m", "seed=1,2", *COMMAND)
    assert "with other code: s.csv (untracked); with" in again.err
    project.write("s.csv", "of somebody else, edited")
    commit(project.folder, "edited")
    again = cli("add", "--sweep", "s", "-m", "seed=1,2", *COMMAND)
    assert "with other code; with" in again.err, "another commit"


def test_points_that_are_added_once_more_for_other_reasons_are_told_of(cli: Cli, project: Project) -> None:
    told = []
    for name in "AB":
        project.write("conf/launch/asks.yaml", f"project: {name}\n")
        told.append(cli("add", "--sweep", "s", "+launch=asks", *COMMAND).err)
    assert told == ["", "the sweep had these points already, for other work\n"]


def test_a_store_within_the_code_is_no_part_of_it(cli: Cli, project: Project) -> None:
    git(project.folder, "init", "--quiet", "--initial-branch=main")
    commit(project.folder, "first")
    for store in ("sqlite:///.here/store.db", "sqlite:///own.db"):
        for _ in range(2):
            added = cli("add", "--store", store, "--sweep", "s", "--", "true")
            assert added.code == 0, added.err
            assert cli("agent", "--store", store, "--drain").code == 0
        assert "1 is there already" in added.out
        assert "uncommitted" not in added.out


def test_code_in_folders_that_are_called_as_ours_is_recorded_beside_a_store(cli: Cli, project: Project) -> None:
    git(project.folder, "init", "--quiet", "--initial-branch=main")
    commit(project.folder, "first")
    project.write("server/app.py", "serve()\n")
    project.write("sources/read.py", "read()\n")
    added = cli("add", "--json", "--store", "sqlite:///own.db", "--sweep", "s", "--", "true")
    patch = cli("show", json.loads(added.out)["ids"][0], "--patch", "--store", "sqlite:///own.db").out
    assert "+serve()" in patch
    assert "+read()" in patch
