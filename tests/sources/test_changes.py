"""Uncommitted changes: recorded with the commit they lie over, whole, and brought back exactly."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import SourceError
from launcher.sources import pin, preserve
from launcher.sources.snapshot import LIMIT
from launcher.spec import Source
from tests.sources.repositories import checkout, commit, git, library, message, repository


def contents(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Every file below a folder but git's own: whether it is a link or executable, and what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.split("/", maxsplit=1)[0] == ".git" or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink():
            found[name] = ("link", os.fsencode(path.readlink()))
        else:
            executable = bool(path.stat().st_mode & stat.S_IXUSR)
            found[name] = ("program" if executable else "file", path.read_bytes())
    return found


def change_everything(repo: Path) -> None:
    names = ("edited.py", "deleted.py", "removed.py", "back.py", "renamed.py", "staged.py", "script.sh", "data.bin")
    for name in names:
        (repo / name).write_text(f"{name}\n" * 5)
    (repo / "link").symlink_to("edited.py")
    commit(repo, "second")
    (repo / "edited.py").write_text("edited\r\nwithout an end")
    (repo / "deleted.py").unlink()
    (repo / "renamed.py").rename(repo / "with a new name.py")
    (repo / "staged.py").write_text("staged\n")
    for name in ("kept.py", "gone.py"):
        (repo / name).write_text("staged\n")
    git(repo, "add", "staged.py", "kept.py", "gone.py")
    (repo / "staged.py").write_text("and edited again\n")
    (repo / "gone.py").unlink()
    git(repo, "rm", "--quiet", "removed.py", "back.py")
    (repo / "back.py").write_text("there again\n")
    (repo / "script.sh").chmod(0o755)
    (repo / "data.bin").write_bytes(bytes(range(256)) * 20)
    (repo / "link").unlink()
    (repo / "link").symlink_to("/nowhere/else")
    (repo / "new/deep").mkdir(parents=True)
    (repo / "new/deep/ünï 日本\nline.py").write_text("untracked\n")
    (repo / "new/empty.txt").write_text("")
    (repo / "new/-oProxyCommand=x").write_text("x")


def test_every_kind_of_change_is_brought_back_exactly(repo: Path, cache: Path) -> None:
    change_everything(repo)
    source, patch = pin(str(repo))
    assert patch is not None
    assert source == Source(folder=str(repo), commit=git(repo, "rev-parse", "HEAD"), patch=patch.digest)
    tree = checkout(source, cache, patch)
    assert contents(tree) == contents(repo)
    assert git(tree, "rev-parse", "HEAD") == source.commit, "a program that asks git finds the commit"


def test_a_tree_is_read_and_left_as_it_is(repo: Path) -> None:
    change_everything(repo)
    status = git(repo, "status", "--porcelain")
    objects = repo / ".git/objects"

    def found() -> dict[Path, int]:
        """All files and when they changed; git renews the time of an object that it would have written again."""
        return {path: path.is_relative_to(objects) or path.lstat().st_mtime_ns for path in repo.rglob("*")}

    before = found()
    pin(str(repo))
    assert found() == before
    assert git(repo, "status", "--porcelain") == status


@settings(max_examples=15)
@given(st.dictionaries(st.sampled_from(["a", "b/c", "b/d e", "train.py", "ü\t"]), st.binary(max_size=200)), st.data())
def test_any_contents_are_brought_back(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], data: st.DataObject
) -> None:
    repo = repository(tmp_path_factory.mktemp("any") / "repo")
    for name, content in files.items():
        (repo / name).parent.mkdir(exist_ok=True)
        (repo / name).write_bytes(content)
    if data.draw(st.booleans()):
        commit(repo, "second", "other.py")
        for name in files:
            (repo / name).write_bytes(data.draw(st.binary(max_size=100)))
    steps = {"stage": ["add"], "forget": ["rm", "--cached", "--quiet", "--ignore-unmatch", "--force"], "delete": []}
    for name, done in itertools.product(files, data.draw(st.lists(st.sampled_from(sorted(steps)), max_size=2))):
        if done == "delete":
            (repo / name).unlink(missing_ok=True)
        elif (repo / name).exists():
            git(repo, *steps[done], "--", f":(literal){name}")
    source, patch = pin(str(repo))
    assert contents(checkout(source, repo.parent / "cache", patch)) == contents(repo)


def test_an_edit_in_the_second_of_the_commit_is_seen(repo: Path) -> None:
    """Git tells such an edit, of the same size, by the time of its index alone, which a copy must keep."""
    git(repo, "config", "core.trustctime", "false")
    moment = 1_700_000_000
    os.utime(repo / "train.py", (moment, moment))
    git(repo, "update-index", "--refresh")
    (repo / "train.py").write_text("FIRST")
    for path in (repo / "train.py", repo / ".git/index"):
        os.utime(path, (moment, moment))
    source, patch = pin(str(repo))
    assert patch is not None
    assert source.patch == patch.digest


def test_files_apart_are_none_of_the_changes(repo: Path) -> None:
    commit(repo, "second")
    apart = [repo / "sweep [1].yaml", repo / "store", repo.parent / "elsewhere.yaml"]
    (repo / "store").mkdir()
    for path in (repo / "store/store.db", repo / "sweep [1].yaml"):
        path.write_text("one")
    assert pin(str(repo), dirty="refuse", apart=apart) == pin(str(repo), apart=apart) == pin(str(repo), "HEAD")
    assert not pin(str(repo), dirty="ignore", apart=apart)[0].dirty
    assert not pin(str(repo), in_place=True, apart=apart)[0].dirty
    git(repo, "add", "--all")
    (repo / "train.py").write_text("changed")
    _, patch = pin(str(repo), apart=apart)
    assert patch is not None
    assert patch.paths == ("train.py",)
    assert b"sweep" not in patch.content
    assert b"store" not in patch.content


def test_the_same_changes_have_the_same_digest_and_others_another(repo: Path) -> None:
    (repo / "train.py").write_text("one")
    first = pin(str(repo))
    assert pin(str(repo)) == first
    (repo / "train.py").write_text("two")
    assert pin(str(repo))[0].patch != first[0].patch


def test_settings_of_the_user_change_no_patch(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_everything(repo)
    (repo / "long.py").write_text("\n".join(map(str, range(30))))
    commit(repo, "third")
    (repo / "long.py").write_text((repo / "long.py").read_text().replace("\n7", "\nseven").replace("\n17", "\nmore"))
    library(repo, tmp_path)
    commit(repo / "lib", "moved")
    plain = pin(str(repo))
    config = tmp_path / "gitconfig"
    config.write_text(
        "[diff]\n\tnoprefix = true\n\tmnemonicPrefix = true\n\texternal = false\n\trenames = copies\n\tcontext = 0\n"
        '\tinterHunkContext = 9\n\tsubmodule = log\n\tignoreSubmodules = all\n[submodule "lib"]\n\tignore = all\n'
        "[color]\n\tui = always\n\tdiff = always\n[status]\n\trelativePaths = true\n\tshowUntrackedFiles = no\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert pin(str(repo)) == plain


def test_ignored_files_are_no_changes(repo: Path) -> None:
    (repo / ".gitignore").write_text("*.log\ndata/\n")
    commit(repo, "second")
    (repo / "run.log").write_text("")
    (repo / "data").mkdir()
    (repo / "data/large").write_text("x" * 100)
    assert pin(str(repo)) == (Source(folder=str(repo), commit=git(repo, "rev-parse", "HEAD")), None)


def test_a_folder_below_the_top_is_where_the_runs_are(repo: Path, cache: Path) -> None:
    head = commit(repo, "model", "exp/a/model.py")
    (repo / "train.py").write_text("shared code, changed")
    source, patch = pin(str(repo / "exp/a"))
    assert patch is not None
    assert source == Source(folder=str(repo), commit=head, patch=patch.digest, subdir="exp/a")
    code = checkout(source, cache, patch)
    assert (code / "model.py").read_text() == "model"
    assert (code / "../../train.py").read_text() == "shared code, changed"


def test_changes_may_be_refused_or_left_out(repo: Path, cache: Path) -> None:
    assert pin(str(repo), dirty="refuse") == pin(str(repo))
    head = git(repo, "rev-parse", "HEAD")
    (repo / "train.py").write_text("changed")
    (repo / "new.py").write_text("")
    assert message(str(repo), dirty="refuse") == (
        f"{repo} has uncommitted changes (train.py, new.py); commit them, or add with --dirty include"
    )
    source, patch = pin(str(repo), dirty="ignore")
    assert (source, patch) == (Source(folder=str(repo), commit=head, dirty=True), None)
    assert (checkout(source, cache) / "train.py").read_text() == "first"


def test_refusing_changes_holds_in_place_and_where_nothing_is_committed(repo: Path, tmp_path: Path) -> None:
    assert pin(str(repo), dirty="refuse", in_place=True) == pin(str(repo), in_place=True)
    (repo / "train.py").write_text("changed")
    assert message(str(repo), dirty="refuse", in_place=True).startswith(f"{repo} has uncommitted changes (train.py);")
    plain = tmp_path / "plain"
    plain.mkdir()
    for _ in ("outside of git", "without a commit"):
        told = f"the code in {plain} is in no git repository with a commit; git init, and commit it"
        assert message(str(plain), dirty="refuse") == told
        assert message(str(plain), dirty="refuse", in_place=True) == told
        git(plain, "init", "--quiet")


def test_a_version_of_a_folder_is_that_commit_without_changes(repo: Path, cache: Path) -> None:
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "tag", "v1")
    commit(repo, "second")
    (repo / "train.py").write_text("changed")
    source, patch = pin(str(repo), "v1")
    assert (source, patch) == (Source(folder=str(repo), commit=first), None)
    assert (checkout(source, cache) / "train.py").read_text() == "first"
    assert pin(str(repo), first[:8])[0] == source
    assert message(str(repo), "v2") == f"version 'v2' is not a branch, tag or commit of {repo}; it has: main, v1"
    assert message(str(repo), "--all") == "version '--all' is not a branch, tag or commit"


def test_in_place_means_the_folder_as_it_will_be(repo: Path, cache: Path) -> None:
    (repo / "train.py").write_text("changed")
    source, patch = pin(str(repo), in_place=True)
    head = git(repo, "rev-parse", "HEAD")
    assert (source, patch) == (Source(folder=str(repo), commit=head, dirty=True, in_place=True), None)
    assert checkout(source, cache) == repo
    assert "contradict each other" in message(str(repo), "main", in_place=True)
    assert "in_place needs a local folder" in message(f"file://{repo}", in_place=True)


# -- where commits come from ------------------------------------------------------------------------------------------


def test_a_commit_outlives_its_branch(repo: Path, cache: Path) -> None:
    git(repo, "checkout", "--quiet", "-b", "topic")
    commit(repo, "on a branch")
    source, _ = pin(str(repo))
    preserve(source)
    git(repo, "checkout", "--quiet", "main")
    git(repo, "branch", "--quiet", "-D", "topic")
    git(repo, "reflog", "expire", "--expire=now", "--all")
    git(repo, "gc", "--quiet", "--prune=now")
    assert (checkout(source, cache) / "train.py").read_text() == "on a branch"


def test_a_pushed_commit_is_recorded_with_its_remote_and_another_is_not(
    repo: Path, tmp_path: Path, cache: Path
) -> None:
    git(tmp_path, "clone", "--quiet", f"file://{repo}", "clone")
    clone = tmp_path / "clone"
    pushed, _ = pin(str(clone))
    assert pushed.repo == f"file://{repo}"
    commit(clone, "not pushed")
    local, _ = pin(str(clone))
    assert local.repo is None
    shutil.rmtree(clone)
    assert (checkout(pushed, cache) / "train.py").read_text() == "first", "another machine asks the remote"
    with pytest.raises(SourceError, match=r"is to be had on the machine of .*/clone only: .*push it"):
        checkout(local, cache)


def test_a_password_in_the_remotes_address_is_not_recorded(repo: Path) -> None:
    git(repo, "remote", "add", "origin", "https://ann:secret@host.invalid/x.git")
    git(repo, "update-ref", "refs/remotes/origin/main", "HEAD")
    assert pin(str(repo))[0].repo == "https://host.invalid/x.git"


def test_a_folder_that_became_a_link_is_brought_back_as_one(repo: Path, tmp_path: Path, cache: Path) -> None:
    """Its files went to a larger disk, say, and are not recorded from there."""
    for name in ("deep/x.csv", "y.csv", "z.csv"):
        commit(repo, name, f"data/{name}")
    (repo / "data/z.csv").unlink()
    shutil.move(repo / "data", tmp_path / "disk")
    (repo / "data").symlink_to(tmp_path / "disk")
    with (tmp_path / "disk/y.csv").open("ab") as file:
        file.truncate(LIMIT + 1)
    (repo / "train.py").write_text("changed")
    source, patch = pin(str(repo))
    tree = checkout(source, cache, patch)
    assert (tree / "data").readlink() == tmp_path / "disk"
    assert contents(tree) == contents(repo)


def test_a_commit_outlives_the_working_tree_that_it_was_added_from(repo: Path, tmp_path: Path, cache: Path) -> None:
    tree = tmp_path / "idea"
    git(repo, "worktree", "add", "--quiet", str(tree), "-b", "idea")
    head = commit(tree, "idea", "exp/train.py")
    (tree / "new.py").write_text("not committed")
    source, patch = pin(str(tree / "exp"))
    preserve(source)
    assert patch is not None
    assert source == Source(folder=str(repo), commit=head, patch=patch.digest, subdir="exp")
    assert pin(str(tree), in_place=True)[0].folder == str(tree)
    git(repo, "worktree", "remove", "--force", str(tree))
    git(repo, "branch", "--quiet", "-D", "idea")
    git(repo, "gc", "--quiet", "--prune=now")
    code = checkout(source, cache, patch)
    assert ((code / "train.py").read_text(), (code / "../new.py").read_text()) == ("idea", "not committed")
