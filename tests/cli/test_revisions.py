"""`--config-rev` and `--config-repo`: grids compose from the config repository as it was, and run that code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from launcher.item import ItemFilter
from launcher.queues import open_store
from tests.conftest import Project, Result
from tests.sources.repositories import commit, git, repository

Cli = Callable[..., Result]
COMMAND = ("--", "python", "train.py")


@pytest.fixture
def v1(project: Project) -> str:
    """The first commit of the project, with the tag v1; lr is 0.1 there, 0.2 in the second, 0.3 in the working tree."""
    project.write(".gitignore", ".launcher/\n")
    git(project.folder, "init", "--quiet", "--initial-branch=main")
    first = commit(project.folder, "first")
    git(project.folder, "tag", "v1")
    set_rate(project, "0.2")
    project.write("conf/model/new.yaml", "name: new\n")
    commit(project.folder, "second")
    set_rate(project, "0.3")
    return first


def set_rate(project: Project, rate: str) -> None:
    project.write("conf/config.yaml", f"defaults: [{{model: svm}}, _self_]\nlr: {rate}\nname: ${{model.name}}\n")


def planned(cli: Cli, *words: str) -> list[dict[str, Any]]:
    result = cli("plan", "--json", *words, *COMMAND)
    assert result.code == 0, result.err
    return [point["spec"] for point in json.loads(result.out)]


def rates(specs: list[dict[str, Any]]) -> list[float]:
    return [spec["overrides"]["run_config"]["lr"] for spec in specs]


def refusal(cli: Cli, *words: str) -> tuple[int, str]:
    result = cli("plan", *words, *COMMAND)
    return result.code, result.err


@pytest.mark.parametrize("form", ["v1", "main~1", "the commit", "its beginning"])
def test_a_grid_composes_from_a_revision_and_runs_that_commit(cli: Cli, project: Project, v1: str, form: str) -> None:
    revision = {"the commit": v1, "its beginning": v1[:9]}.get(form, form)
    specs = planned(cli, "-m", "model=svm,mlp", "--config-rev", revision)
    assert rates(specs) == [0.1, 0.1]
    assert [spec["overrides"]["run_config"]["name"] for spec in specs] == ["svm-0", "mlp-0"]
    assert {(spec["uri"], spec["git"]["version"]) for spec in specs} == {(str(project.folder), v1)}
    assert "patch" not in specs[0]["git"]
    assert "config" not in specs[0]["provenance"], "the configs are in the code"


def test_planning_leaves_the_tree_the_repository_and_the_store_as_they_are(cli: Cli, project: Project, v1: str) -> None:
    def found() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in project.folder.rglob("*")}

    before = found()
    told = cli("plan", "--config-rev", "v1", *COMMAND).out
    assert found() == before
    assert f"config: {project.folder}/conf at {v1[:12]} without its uncommitted changes\n" in told
    assert f"code: {project.folder} at {v1[:12]}\n" in told


def test_a_linked_worktree_is_the_project_that_lies_there(
    cli: Cli, project: Project, v1: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "idea"
    git(project.folder, "worktree", "add", "--quiet", str(tree), "v1")
    monkeypatch.chdir(tree)
    [spec] = planned(cli, "--config-rev", "main")
    assert rates([spec]) == [0.2]
    assert (spec["uri"], spec["git"]["version"]) == (str(project.folder), git(project.folder, "rev-parse", "main"))
    assert "without its uncommitted changes" not in cli("plan", "--config-rev", "main", *COMMAND).out


def test_adding_keeps_the_commit_and_runs_it(cli: Cli, project: Project, v1: str) -> None:
    assert cli("add", "--sweep", "s", "--config-rev", "v1", *COMMAND).code == 0
    assert git(project.folder, "rev-parse", f"refs/launcher/{v1}") == v1
    with closing(open_store(project.store_url)) as store:
        [item] = store.items(ItemFilter(sweep="s"))
        document = store.document(item.id)
    assert (document["git"]["version"], document["overrides"]["run_config"]["lr"]) == (v1, 0.1)


def test_what_a_revision_lacks_is_missing_and_what_it_had_is_there(cli: Cli, project: Project, v1: str) -> None:
    code, told = refusal(cli, "model=new", "--config-rev", "v1")
    assert code == 2
    assert "no option 'new' in config group 'model'" in told
    shutil.rmtree(project.folder / "conf")
    assert rates(planned(cli, "model=mlp", "--config-rev", "v1")) == [0.1]


def test_an_unknown_revision_is_told_with_those_that_there_are(cli: Cli, project: Project, v1: str) -> None:
    assert refusal(cli, "--config-rev", "v2") == (
        1, f"launcher: version 'v2' is not a branch, tag or commit of {project.folder}; it has: main, v1\n",
    )  # fmt: skip
    assert "is not a branch, tag or commit" in refusal(cli, "--config-rev", "--upload-pack=x")[1]


def test_settings_and_resolvers_are_those_of_the_revision(cli: Cli, project: Project, v1: str) -> None:
    settings = '[tool.launcher]\nstore = "sqlite:///.launcher/store.db"\n'
    names = 'config_dir = "configs"\nconfig_name = "main"\nresolvers = "revision_resolvers"\n'
    project.write("pyproject.toml", settings + names)
    project.write("configs/main.yaml", "lr: ${revised:}\n")
    project.write("revision_resolvers.py", "from omegaconf import OmegaConf as O\n"
                  "O.register_new_resolver('revised', lambda: 7, replace=True)\n")  # fmt: skip
    commit(project.folder, "third")
    git(project.folder, "tag", "v3")
    project.write("pyproject.toml", settings)
    (project.folder / "revision_resolvers.py").unlink()
    assert rates(planned(cli, "--config-rev", "v3")) == [7]
    assert rates(planned(cli, "--config-rev", "v1")) == [0.1]


def test_a_sweep_file_may_pin_a_revision_and_an_option_wins(cli: Cli, project: Project, v1: str) -> None:
    project.write("s.yaml", "config_rev: v1\ngrid: {model: [svm, mlp]}\n")
    assert rates(planned(cli, "s.yaml")) == [0.1, 0.1]
    assert rates(planned(cli, "s.yaml", "--config-rev", "main")) == [0.2, 0.2]
    project.write("s.yaml", "config_rev: 1.2\n")
    assert refusal(cli, "s.yaml") == (2, "launcher: sweep file s.yaml: config_rev is 1.2, expected a string\n")


@pytest.mark.parametrize("form", ["file://{}", "{}"])
def test_another_repository_gives_both_configs_and_code(cli: Cli, v1: str, tmp_path: Path, form: str) -> None:
    other = repository(tmp_path / "other")
    (other / "deep/conf").mkdir(parents=True)
    head = commit(other, "lr: 5\n", "deep/conf/config.yaml")
    (other / "deep/conf/config.yaml").write_text("lr: 6\n")
    uri = form.format(other)
    [spec] = planned(cli, "--config-repo", uri, "--config-dir", "deep/conf")
    assert rates([spec]) == [5]
    assert (spec["uri"], spec["git"]["version"]) == (uri, head)
    assert "config folder conf is not in commit" in refusal(cli, "--config-repo", uri)[1]
    assert "config folder ../conf is outside" in refusal(cli, "--config-repo", uri, "--config-dir", "../conf")[1]
    assert "is absolute" in refusal(cli, "--config-repo", uri, "--config-dir", "/conf")[1]


def test_configs_of_a_neighbour_run_this_projects_code_as_it_is(
    cli: Cli, project: Project, v1: str, tmp_path: Path
) -> None:
    other = repository(tmp_path / "other")
    first = commit(other, "lr: 5\n", "conf/config.yaml")
    commit(other, "lr: 6\n", "conf/config.yaml")
    [spec] = planned(cli, "--config-dir", "../other/conf", "--config-rev", first)
    assert rates([spec]) == [5]
    assert spec["uri"] == str(project.folder)
    assert spec["git"]["patch"], "the working tree, with its changes"
    assert spec["provenance"]["config"] == {"uri": str(other), "git": {"version": first, "subdir": "conf"}}
    [spec] = planned(cli, "--config-dir", "../other/conf")
    assert spec["provenance"]["config"]["git"]["version"] == git(other, "rev-parse", "HEAD")


def test_a_project_below_the_top_stays_there(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = repository(tmp_path / "top")
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/pyproject.toml").write_text('[tool.launcher]\nstore = "sqlite:///.launcher/store.db"\n')
    first = commit(top, "lr: 5\n", "a/b/conf/config.yaml")
    commit(top, "lr: 6\n", "a/b/conf/config.yaml")
    monkeypatch.chdir(top / "a/b/conf")
    [spec] = planned(cli, "--config-rev", first)
    assert rates([spec]) == [5]
    assert (spec["uri"], spec["git"]) == (str(top), {"version": first, "subdir": "a/b"})


@pytest.mark.parametrize(("option", "told"), [("--in-place", "--in-place"), ("--dirty=include", "--dirty include")])
def test_a_revision_has_no_uncommitted_changes(cli: Cli, v1: str, option: str, told: str) -> None:
    message = f"launcher: {told} and a config revision contradict each other; a revision holds what is committed\n"
    assert refusal(cli, "--config-rev", "v1", option) == (2, message)


def test_a_folder_outside_of_git_has_no_revisions(cli: Cli, project: Project) -> None:
    assert "needs git, but" in refusal(cli, "--config-rev", "v1")[1]
    assert "is in no git repository" in refusal(cli, "--config-repo", ".")[1]
