"""Git sources, with real repositories: what is pinned is one commit, and checking it out gives that commit's files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launcher.errors import SourceError
from launcher.sources import pin as pin_with_changes
from launcher.spec import Source
from tests.sources.repositories import checkout, commit, git

NOWHERE = "0" * 40


def pin(uri: str, version: str | None = None) -> Source:
    """The source of a clean folder or a remote."""
    source, patch = pin_with_changes(uri, version)
    assert patch is None
    return source


def message(action: Callable[[], object]) -> str:
    with pytest.raises(SourceError) as error:
        action()
    return str(error.value)


# -- pinning a folder ----------------------------------------------------------------------------------------------


def test_a_folder_in_git_is_pinned_to_its_commit(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(repo, "rev-parse", "HEAD")
    assert pin(str(repo)) == Source(folder=str(repo), commit=head)
    monkeypatch.chdir(repo)
    assert pin(".") == Source(folder=str(repo), commit=head)


def test_a_folder_outside_of_git_or_without_a_commit_has_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert pin(str(empty)) == Source(folder=str(empty))
    git(empty, "init", "--quiet")
    (empty / "file").write_text("")
    assert pin(str(empty)) == Source(folder=str(empty))


def test_the_repository_of_a_folder_is_its_own_whatever_git_variables_are_set(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    commit(other, "other")
    head = git(repo, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))  # git sets it for the programs that its hooks start
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert pin(str(repo)) == Source(folder=str(repo), commit=head)
    assert (checkout(pin(f"file://{repo}"), cache) / "train.py").read_text() == "first"


@pytest.mark.parametrize("uri", ["nowhere", "file.txt", "http://host/repo", "-x"])
def test_what_is_neither_folder_nor_remote_is_refused(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("")
    assert message(lambda: pin(uri)) == (
        f"uri {uri!r} is neither a folder here nor a git remote (https://, ssh://, file://, user@host:path)"
    )


# -- pinning a remote ----------------------------------------------------------------------------------------------


def test_a_remote_is_pinned_to_its_head_a_branch_a_tag_or_a_commit(repo: Path) -> None:
    uri = f"file://{repo}"
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "tag", "light")
    git(repo, "tag", "-a", "-m", "x", "annotated")
    git(repo, "checkout", "--quiet", "-b", "topic/deep")
    topic = commit(repo, "topic")
    git(repo, "checkout", "--quiet", "main")
    main = commit(repo, "second")
    pinned = {version: pin(uri, version) for version in (None, "main", "topic/deep", "light", "annotated", first)}
    assert pinned == {
        None: Source(repo=uri, commit=main),
        "main": Source(repo=uri, commit=main),
        "topic/deep": Source(repo=uri, commit=topic),
        "light": Source(repo=uri, commit=first),
        "annotated": Source(repo=uri, commit=first),
        first: Source(repo=uri, commit=first),
    }


def test_a_tag_wins_over_a_branch_of_its_name_as_in_git(repo: Path) -> None:
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "tag", "both")
    git(repo, "checkout", "--quiet", "-b", "both")
    commit(repo, "second")
    assert pin(f"file://{repo}", "both").commit == first


def test_a_full_commit_is_taken_without_asking_the_remote(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/nowhere"
    assert pin(uri, "a" * 40) == Source(repo=uri, commit="a" * 40)


def test_an_unknown_version_lists_what_the_remote_has(repo: Path) -> None:
    git(repo, "tag", "-a", "-m", "x", "v1")
    git(repo, "branch", "topic")
    assert message(lambda: pin(f"file://{repo}", "mian")) == (
        f"version 'mian' is not a branch or tag of file://{repo}; it has: HEAD, main, topic, v1"
    )


def test_a_remote_without_a_commit_is_told(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "bare")
    assert message(lambda: pin(f"file://{tmp_path}/bare")) == (
        f"version 'HEAD' is not a branch or tag of file://{tmp_path}/bare; it has: no commit yet"
    )


def test_a_version_that_looks_like_an_option_is_refused(repo: Path) -> None:
    assert message(lambda: pin(f"file://{repo}", "--upload-pack=x")) == (
        "version '--upload-pack=x' is not a branch, tag or commit"
    )


def test_a_remote_that_is_not_there_is_told_with_its_uri_and_gits_reason(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/nowhere"
    told = message(lambda: pin(uri))
    assert uri in told
    assert "does not appear to be a git repository" in told or "does not exist" in told


# -- checking out --------------------------------------------------------------------------------------------------


def test_a_folder_is_used_in_place_and_told_when_it_has_gone(tmp_path: Path, cache: Path) -> None:
    assert checkout(Source(folder=str(tmp_path)), cache) == tmp_path
    assert not cache.exists()
    assert message(lambda: checkout(Source(folder=str(tmp_path / "gone")), cache)) == (
        f"the source folder {tmp_path}/gone is not there (any more) on this machine"
    )


def test_a_checkout_holds_the_files_of_its_commit_however_the_branch_moves_on(repo: Path, cache: Path) -> None:
    source = pin(f"file://{repo}", "main")
    commit(repo, "second")
    tree = checkout(source, cache)
    assert (tree / "train.py").read_text() == "first"
    assert git(tree, "rev-parse", "HEAD") == source.commit
    assert tree.is_relative_to(cache)


def test_a_commit_is_checked_out_once_and_stays_usable_without_the_remote(repo: Path, cache: Path) -> None:
    source = pin(f"file://{repo}")
    tree = checkout(source, cache)
    (tree / "mark").write_text("")
    shutil.rmtree(repo)
    assert checkout(source, cache) == tree
    assert (tree / "mark").exists()


def test_commits_that_came_later_are_fetched_and_each_has_a_folder(repo: Path, cache: Path) -> None:
    uri = f"file://{repo}"
    first = checkout(pin(uri), cache)
    commit(repo, "second")
    second = checkout(pin(uri), cache)
    assert [(tree / "train.py").read_text() for tree in (first, second)] == ["first", "second"]


def test_a_branch_that_was_rewritten_is_fetched_all_the_same(repo: Path, cache: Path) -> None:
    uri = f"file://{repo}"
    checkout(pin(uri), cache)
    git(repo, "commit", "--quiet", "--amend", "-m", "rewritten")
    amended = git(repo, "rev-parse", "HEAD")
    assert git(checkout(pin(uri, "main"), cache), "rev-parse", "HEAD") == amended


def test_remotes_share_the_folder_of_a_commit(repo: Path, tmp_path: Path, cache: Path) -> None:
    git(tmp_path, "clone", "--quiet", f"file://{repo}", "clone")
    one, two = pin(f"file://{repo}"), pin(f"file://{tmp_path}/clone")
    assert one.commit == two.commit
    assert checkout(one, cache) == checkout(two, cache)


def test_a_commit_that_the_remote_has_not_is_told(repo: Path, cache: Path) -> None:
    uri = f"file://{repo}"
    assert message(lambda: checkout(Source(repo=uri, commit=NOWHERE), cache)) == (
        f"commit {NOWHERE} is not in {uri} any more"
    )


def test_a_source_without_code_is_told(cache: Path) -> None:
    assert message(lambda: checkout(Source(), cache)).startswith("the spec names no code to check out: ")


def test_many_at_once_get_the_same_folder(repo: Path, cache: Path) -> None:
    uri = f"file://{repo}"
    first = pin(uri)
    commit(repo, "second")
    second = pin(uri)
    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(lambda source: checkout(source, cache), [first, second] * 4))
    assert len(set(trees)) == 2
    assert [(tree / "train.py").read_text() for tree in trees] == ["first", "second"] * 4
    assert len(list((cache / "trees").glob("*.ready"))) == 2


def test_hooks_of_the_repository_do_not_run(repo: Path, tmp_path: Path, cache: Path) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    hook = hooks / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[core]\n\thooksPath = {hooks}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(config))
        checkout(pin(f"file://{repo}"), cache)
    assert not (tmp_path / "ran").exists()


# -- after something went wrong ------------------------------------------------------------------------------------


def test_a_checkout_whose_folder_was_removed_is_made_again(repo: Path, cache: Path) -> None:
    source = pin(f"file://{repo}")
    tree = checkout(source, cache)
    shutil.rmtree(tree)
    assert (checkout(source, cache) / "train.py").read_text() == "first"


def test_a_clone_that_was_interrupted_is_made_again(repo: Path, cache: Path) -> None:
    source = pin(f"file://{repo}")
    tree = checkout(source, cache)
    [mirror] = (cache / "mirrors").iterdir()
    shutil.rmtree(mirror)
    shutil.rmtree(tree)
    mirror.mkdir()
    assert (checkout(source, cache) / "train.py").read_text() == "first"


def test_an_interrupted_clone_below_another_repository_leaves_that_one_alone(repo: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    git(tmp_path, "clone", "--quiet", f"file://{repo}", "outer")
    git(repo, "branch", "topic")
    git(outer, "branch", "topic")
    commit(outer, "mine")
    git(outer, "branch", "--force", "topic")
    git(outer, "checkout", "--quiet", "--detach")
    before = git(outer, "for-each-ref")
    source, cache = pin(f"file://{repo}", "topic"), outer / ".launcher" / "sources"
    tree = checkout(source, cache)
    [mirror] = (cache / "mirrors").iterdir()
    shutil.rmtree(mirror)
    shutil.rmtree(tree)
    mirror.mkdir()
    commit(repo, "second")
    try:
        checkout(pin(f"file://{repo}", "main"), cache)
    finally:
        assert git(outer, "for-each-ref") == before


@pytest.mark.parametrize("step", ["init", "fetch", "worktree add"])
def test_a_checkout_that_failed_half_way_succeeds_when_asked_again(
    repo: Path, tmp_path: Path, cache: Path, step: str
) -> None:
    real = shutil.which("git")
    programs = tmp_path / "bin"
    programs.mkdir()
    failing = programs / "git"
    failing.write_text(f'#!/bin/sh\n"{real}" "$@"\nstatus=$?\ncase "$*" in *"{step}"*) exit 1;; esac\nexit $status\n')
    failing.chmod(0o755)
    source = pin(f"file://{repo}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        assert message(lambda: checkout(source, cache)).startswith("git ")
    assert (checkout(source, cache) / "train.py").read_text() == "first"


def test_without_git_the_error_says_to_install_it(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert message(lambda: pin(f"file://{repo}")) == "the program 'git' is not on PATH; install git"
