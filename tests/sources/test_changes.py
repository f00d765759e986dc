"""Uncommitted changes: recorded with the commit they lie over, whole, and brought back exactly."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import SourceError
from launcher.sources import Leavings, Patch, pin, preserve
from launcher.sources.snapshot import LIMIT
from launcher.spec import Source
from tests.sources.repositories import checkout, commit, git, repository


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


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


def message(*arguments: object, **options: object) -> str:
    with pytest.raises(SourceError) as error:
        pin(*arguments, **options)  # type: ignore[arg-type]
    return str(error.value)


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
    plain = pin(str(repo))
    config = tmp_path / "gitconfig"
    config.write_text(
        "[diff]\n\tnoprefix = true\n\tmnemonicPrefix = true\n\texternal = false\n\trenames = copies\n\tcontext = 0\n"
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


# -- what no patch can hold ----------------------------------------------------------------------------------------


def test_large_changes_are_refused_with_the_largest_files(repo: Path) -> None:
    with (repo / "weights.pt").open("wb") as file:
        file.truncate(LIMIT)
    (repo / "small.py").write_text("x")
    told = message(str(repo))
    assert "weights.pt (20.0 MB)" in told
    assert "list data in .gitignore" in told


def test_a_repository_inside_is_refused_by_name(repo: Path) -> None:
    repository(repo / "inner")
    assert "inner/ is a repository of its own; list it in .gitignore" in message(str(repo))


def test_an_unresolved_merge_is_refused(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "-b", "other")
    commit(repo, "theirs")
    git(repo, "checkout", "--quiet", "main")
    commit(repo, "ours")
    with pytest.raises(Exception, match="merge"):
        git(repo, "merge", "--quiet", "other")
    assert "train.py has an unresolved merge" in message(str(repo))


def test_a_changed_submodule_is_refused_and_a_moved_one_recorded(repo: Path, tmp_path: Path, cache: Path) -> None:
    library = repository(tmp_path / "library")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    git(repo, "commit", "--quiet", "-m", "lib")
    (repo / "lib/train.py").write_text("changed")
    assert "submodule lib has uncommitted changes; commit them there" in message(str(repo))
    commit(repo / "lib", "moved")
    git(repo / "lib", "push", "--quiet", "origin", "HEAD:moved")
    source, patch = pin(str(repo))
    assert patch is not None
    assert (checkout(source, cache, patch) / "lib/train.py").read_text() == "moved"


# -- where commits come from ---------------------------------------------------------------------------------------


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


# -- hostile patches -----------------------------------------------------------------------------------------------

OUTSIDE = """\
diff --git a/../outside.py b/../outside.py
new file mode 100644
--- /dev/null
+++ b/../outside.py
@@ -0,0 +1 @@
+x
"""

THROUGH_A_LINK = """\
diff --git a/link b/link
new file mode 120000
--- /dev/null
+++ b/link
@@ -0,0 +1 @@
+/tmp
\\ No newline at end of file
diff --git a/link/launcher-outside b/link/launcher-outside
new file mode 100644
--- /dev/null
+++ b/link/launcher-outside
@@ -0,0 +1 @@
+x
"""

INTO_GIT = OUTSIDE.replace("../outside.py", ".git/hooks/post-checkout")


@pytest.mark.parametrize("content", [OUTSIDE, THROUGH_A_LINK, INTO_GIT, "no patch at all\n"])
def test_a_patch_that_leaves_its_tree_is_refused(repo: Path, cache: Path, content: str) -> None:
    patch = Patch(content.encode(), ())
    source = Source(folder=str(repo), commit=git(repo, "rev-parse", "HEAD"), patch=patch.digest)
    with pytest.raises(SourceError, match="git -C"):
        checkout(source, cache, patch)
    assert not list(cache.rglob("*outside*"))
    assert not Path("/tmp/launcher-outside").exists()  # noqa: S108 - where the patch would have written


def test_a_patch_that_is_not_what_its_digest_says_is_refused(repo: Path, cache: Path) -> None:
    source = Source(folder=str(repo), commit=git(repo, "rev-parse", "HEAD"), patch=hashlib.sha256(b"right").hexdigest())
    with pytest.raises(SourceError, match=r"the stored patch .* is damaged"):
        checkout(source, cache, Patch(b"wrong", ()))


# -- what is left among the code ---------------------------------------------------------------------------------


def write(repo: Path, *names: str) -> None:
    for name in names:
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(name)


def recorded(repo: Path, leavings: Leavings, folder: str = "") -> list[str]:
    _, patch = pin(str(repo / folder), leavings=leavings)
    return sorted(patch.paths) if patch else []


RUN = ("2026/1/.hydra/hydra.yaml", "2026/1/model.ckpt")


def test_hydras_own_folders_of_outputs_are_no_code_where_hydra_wrote_them(repo: Path) -> None:
    write(repo, *(f"outputs/{name}" for name in RUN), "multirun/new.py", "__pycache__/a.pyc", "runs/.hydra/hydra.yaml")
    assert recorded(repo, Leavings()) == ["multirun/new.py", "runs/.hydra/hydra.yaml"]
    assert not pin(str(repo), dirty="ignore", leavings=Leavings(outputs=[repo / "multirun"]))[0].dirty
    assert not pin(str(repo), in_place=True, leavings=Leavings(outputs=[repo / "multirun"]))[0].dirty


def test_whatever_hydra_wrote_for_an_app_is_no_code(repo: Path) -> None:
    write(
        repo, *(f"logs/{name}" for name in RUN), "logs/2026/multirun.yaml", "logs/2026/best.txt", "logs/b.py", "out/a"
    )
    assert recorded(repo, Leavings(outputs=[repo / "out"])) == ["logs/b.py"]


def test_outputs_where_the_code_lies_are_left_out_alone(repo: Path) -> None:
    write(repo, "src/train.py", ".hydra/hydra.yaml", "multirun.yaml", "src/.hydra/hydra.yaml", "src/new/a.py")
    both = Leavings(outputs=[repo, repo / "src"])
    told = [".hydra/hydra.yaml", "multirun.yaml", "src/.hydra/hydra.yaml", "src/new/a.py", "src/train.py"]
    assert recorded(repo, both, "src") == told
    git(repo, "add", "src/train.py")
    assert "src/new/a.py" in recorded(repo, both)  # a folder of code, which an app writes its outputs into too


def test_nothing_that_is_tracked_is_left_out(repo: Path, cache: Path) -> None:
    write(repo, "outputs/.gitkeep", "outputs/keep/.hydra/hydra.yaml", "gone/.hydra/hydra.yaml")
    commit(repo, "second")
    write(repo, "outputs/staged/.hydra/hydra.yaml")
    git(repo, "add", "outputs/staged")
    git(repo, "rm", "-r", "--quiet", "--cached", "gone")
    (repo / "outputs/keep/.hydra/hydra.yaml").write_text("edited")
    write(repo, *(f"outputs/{name}" for name in RUN), "outputs/keep/.hydra/new.yaml")
    source, patch = pin(str(repo), leavings=Leavings(outputs=[repo / "outputs"]))
    assert patch
    assert sorted(patch.paths) == ["gone/.hydra/hydra.yaml", "outputs/keep/.hydra/hydra.yaml",
                                   "outputs/staged/.hydra/hydra.yaml"]  # fmt: skip
    code = checkout(source, cache, patch)
    assert (code / "outputs/keep/.hydra/hydra.yaml").read_text() == "edited"
    assert not (code / "outputs/2026").exists()


def test_checkpoints_among_outputs_do_not_count_for_the_size(repo: Path) -> None:
    write(repo, "multirun/1/.hydra/hydra.yaml", "a.csv")
    with (repo / "multirun/1/model.ckpt").open("wb") as file:
        file.truncate(LIMIT + 1)
    assert recorded(repo, Leavings(files=[repo / "a.csv", repo / "train.py", repo.parent / "b.csv"])) == []
    (repo / "train.py").write_text("edited")
    assert recorded(repo, Leavings(files=[repo / "train.py"])) == ["a.csv", "train.py"]
