"""Submodules: what they hold is recorded with the repository, or refused, and comes back from where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.sources import covers, pin
from tests.sources.repositories import checkout, commit, git, library, message, repository


def test_a_folder_covers_the_files_of_its_own_repository_and_of_its_submodules(repo: Path, tmp_path: Path) -> None:
    lib = library(repo, tmp_path)
    plain, other = tmp_path / "plain", repository(repo / "other")
    (plain / "deep").mkdir(parents=True)
    (repo / "deep").mkdir()
    folders = (repo, repo / "deep", lib, plain, plain / "deep", other, tmp_path)
    covered = {folder for folder in folders if covers(repo, folder / "train.py")}
    assert covered == {repo, repo / "deep", lib}
    assert covers(plain, plain / "deep/train.py")
    assert not covers(tmp_path, repo / "train.py")


@pytest.mark.parametrize("ignored", ["none", "untracked", "dirty", "all"])
def test_a_changed_submodule_is_refused_and_a_moved_one_recorded(
    repo: Path, tmp_path: Path, cache: Path, ignored: str
) -> None:
    lib = library(repo, tmp_path)
    git(repo, "config", "--file", ".gitmodules", "submodule.lib.ignore", ignored)
    git(repo, "commit", "--quiet", "--all", "-m", "settings")
    (lib / "train.py").write_text("changed")
    assert "submodule lib has uncommitted changes; commit them there" in message(str(repo))
    assert pin(str(repo), dirty="ignore")[0].dirty
    commit(lib, "moved")
    git(lib, "push", "--quiet", "origin", "HEAD:moved")
    source, patch = pin(str(repo))
    assert patch is not None
    assert (checkout(source, cache, patch) / "lib/train.py").read_text() == "moved"


def test_new_files_in_a_submodule_are_refused_and_caches_are_nothing(repo: Path, tmp_path: Path) -> None:
    lib = library(repo, tmp_path)
    inner = library(lib, tmp_path / "inner")
    git(lib, "push", "--quiet", "origin", "HEAD:inner")
    git(repo, "commit", "--quiet", "--all", "-m", "inner")
    plain = pin(str(repo))
    (inner / "__pycache__").mkdir()
    (inner / "__pycache__/train.pyc").write_text("")
    exclude = Path(git(lib, "rev-parse", "--path-format=absolute", "--git-path", "info/exclude"))
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text("*.log\n")
    (lib / "run.log").write_text("")
    assert pin(str(repo)) == pin(str(repo), dirty="refuse") == pin(str(repo), dirty="ignore") == plain
    (inner / "new.py").write_text("")
    told = "submodule lib has files that are not committed: lib/new.py; commit or ignore them there"
    assert told in message(str(repo))
    assert pin(str(repo), dirty="ignore")[0].dirty


def test_a_submodule_is_pinned_as_the_repository_that_it_is(repo: Path, tmp_path: Path) -> None:
    lib = library(repo, tmp_path)
    assert pin(str(lib))[0].folder == str(lib)


@pytest.mark.parametrize("pushed", [False, True])
def test_relative_addresses_of_submodules_lead_from_the_remote(tmp_path: Path, cache: Path, *, pushed: bool) -> None:
    for name in ("lib", "main"):
        repository(tmp_path / "srv" / name)
    git(tmp_path / "srv/main", "config", "receive.denyCurrentBranch", "ignore")
    git(tmp_path, "clone", "--quiet", str(tmp_path / "srv/main"), "work/clone")
    clone = tmp_path / "work/clone"
    commit(clone, "before the submodule")
    checkout(pin(str(clone))[0], cache)
    git(clone, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../lib", "lib")
    commit(clone, "with it")
    if pushed:
        git(clone, "push", "--quiet", "origin", "main")
    git(clone, "submodule", "--quiet", "deinit", "--force", "lib")
    assert (checkout(pin(str(clone))[0], cache) / "lib/train.py").read_text() == "first"


def test_a_submodule_that_moved_to_another_address_is_fetched_from_there(
    repo: Path, tmp_path: Path, cache: Path
) -> None:
    library(repo, tmp_path)
    assert (checkout(pin(str(repo))[0], cache) / "lib/train.py").read_text() == "first"
    (tmp_path / "library").rename(tmp_path / "moved")
    git(repo, "config", "--file", ".gitmodules", "submodule.lib.url", str(tmp_path / "moved"))
    commit(repo, "moved")
    git(repo, "submodule", "--quiet", "deinit", "--force", "lib")
    assert (checkout(pin(str(repo))[0], cache) / "lib/train.py").read_text() == "first"


def test_commits_of_submodules_that_are_in_no_remote_come_from_the_folder(
    repo: Path, tmp_path: Path, cache: Path
) -> None:
    lib = library(repo, tmp_path)
    inner = library(lib, tmp_path / "inner")
    commit(inner, "inner, not pushed")
    commit(lib, "not pushed")
    commit(repo, "top")
    tree = checkout(pin(str(repo))[0], cache)
    assert (tree / "lib/train.py").read_text() == "not pushed"
    assert (tree / "lib/lib/train.py").read_text() == "inner, not pushed"
    assert git(tree / "lib", "remote", "get-url", "origin") == str(tmp_path / "library")
