"""Checkouts: read-only files, submodules, a bound on the cache; and what hostile addresses are answered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.errors import SourceError
from launcher.sources import Checkouts, pin
from launcher.spec import Source
from tests.sources.repositories import checkout, commit, git, repository


def test_files_of_a_checkout_cannot_be_written_and_programs_may_add_theirs(repo: Path, cache: Path) -> None:
    tree = checkout(pin(str(repo))[0], cache)
    assert not (tree / "train.py").stat().st_mode & 0o222
    (tree / "outputs").mkdir()


def test_a_checkout_of_which_half_was_made_is_made_again(repo: Path, cache: Path) -> None:
    source, _ = pin(str(repo))
    tree = checkout(source, cache)
    (tree / "train.py").unlink()
    tree.with_name(f"{tree.name}.ready").unlink()
    assert (checkout(source, cache) / "train.py").read_text() == "first"


def sources(repo: Path, number: int) -> list[Source]:
    found = []
    for count in range(number):
        commit(repo, f"{count}" * 1000)
        found.append(pin(str(repo))[0])
    return found


def age(cache: Path, seconds: float) -> None:
    """As if all that is there was asked for so long ago, in the order in which it was."""
    for place, marker in enumerate(sorted(cache.glob("trees/*.ready"), key=lambda path: path.stat().st_mtime_ns)):
        when = time.time() - seconds + place
        os.utime(marker, (when, when))


def test_the_cache_keeps_what_was_asked_for_last(repo: Path, cache: Path) -> None:
    first, second, third = sources(repo, 3)
    checkouts = Checkouts(cache, lambda _: b"", limit=2500)
    trees = [checkouts.of(source) for source in (first, second)]
    age(cache, 7200)
    assert checkouts.of(first) == trees[0]
    newest = checkouts.of(third)
    assert [tree.is_dir() for tree in (*trees, newest)] == [True, False, True]
    assert (checkouts.of(second) / "train.py").read_text() == "1" * 1000
    checkouts.close()


def test_what_runs_use_stays_however_full_the_cache_is(repo: Path, cache: Path) -> None:
    first, second, third = sources(repo, 3)
    used: list[str] = []
    checkouts = Checkouts(cache, lambda _: b"", in_use=lambda: used, limit=1)
    used.append(str(checkouts.of(first)))
    other = Checkouts(cache, lambda _: b"", in_use=lambda: [str(cache / "trees" / str(second.commit))], limit=1)
    other.of(second)
    age(cache, 7200)
    checkouts.of(third)
    assert sorted(path.name.removesuffix(".ready") for path in cache.glob("trees/*.ready")) == sorted(
        str(source.commit) for source in (first, second, third)
    )
    other.close()
    used.clear()
    checkouts.trim()
    assert [path.name for path in cache.glob("trees/*.ready")] == [f"{third.commit}.ready"]
    checkouts.close()


def test_what_a_killed_agent_used_is_held_by_who_took_its_runs_over(repo: Path, cache: Path) -> None:
    source, other = sources(repo, 2)
    code = str(checkout(source, cache))
    age(cache, 7200)
    checkouts = Checkouts(cache, lambda _: b"", in_use=lambda: [code], limit=1)
    checkouts.hold(code)
    stranger = Checkouts(cache, lambda _: b"", limit=1)
    stranger.of(other)
    assert Path(code).is_dir()
    for each in (checkouts, stranger):
        each.close()


def test_many_processes_make_one_checkout(repo: Path, cache: Path) -> None:
    source, _ = pin(str(repo))
    program = (
        "import sys; from pathlib import Path\n"
        "from launcher.sources import Checkouts; from launcher.spec import Source\n"
        "tree = Checkouts(Path(sys.argv[1]), lambda _: b'').of(Source(folder=sys.argv[2], commit=sys.argv[3]))\n"
        "print((tree / 'train.py').read_text())"
    )
    command = [sys.executable, "-c", program, str(cache), str(repo), str(source.commit)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0] for process in running] == ["first\n"] * 4


# -- submodules ----------------------------------------------------------------------------------------------------


@pytest.fixture
def with_submodule(repo: Path, tmp_path: Path) -> Path:
    library = repository(tmp_path / "library")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    git(repo, "commit", "--quiet", "-m", "lib")
    return repo


def test_submodules_are_checked_out_at_their_commit(with_submodule: Path, tmp_path: Path, cache: Path) -> None:
    source, _ = pin(str(with_submodule))
    commit(tmp_path / "library", "later")
    tree = checkout(source, cache)
    assert (tree / "lib/train.py").read_text() == "first"
    assert git(tree / "lib", "status", "--porcelain") == ""


def test_a_remotes_submodules_reach_no_folder_of_this_machine(with_submodule: Path, cache: Path) -> None:
    source, _ = pin(f"file://{with_submodule}")
    with pytest.raises(SourceError, match="transport 'file' not allowed"):
        checkout(source, cache)


@pytest.mark.parametrize("url", ["ext::sh -c touch% ran", "--upload-pack=touch ran", "../../library", "file:///etc"])
def test_a_submodule_that_points_elsewhere_is_refused(
    with_submodule: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    git(with_submodule, "config", "--file", ".gitmodules", "submodule.lib.url", url)
    git(with_submodule, "commit", "--quiet", "-am", "hostile")
    with pytest.raises(SourceError):
        checkout(pin(f"file://{with_submodule}")[0], cache)
    assert not list(tmp_path.rglob("ran"))


# -- hostile addresses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "ext::sh -c touch% ran",
        "--upload-pack=touch ran",
        "-oProxyCommand=touch ran",
        "ssh://-oProxyCommand=touch/x",
        "git@-oProxyCommand:x",
        "https://host.invalid/a b.git",
        "https://host.invalid/a\nb.git",
        "https://ann:secret@host.invalid/x.git",
        "https::https://host.invalid/x.git",
        "git://host.invalid/x.git",
        "http://host.invalid/x.git",
        "file:///etc",
        "file:///etc/../etc/passwd",
        "\0",
    ],
)
def test_a_hostile_address_is_refused_and_runs_nothing(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as error:
        pin(uri)
    assert "secret" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_credentials_are_in_no_error(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(SourceError) as error:
        checkout(Source(repo="https://ann:secret@127.0.0.1:1/x.git", commit="a" * 40), cache)
    assert "127.0.0.1:1/x.git" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_folder_with_any_name_may_be_a_source(tmp_path: Path, cache: Path) -> None:
    repo = repository(tmp_path / "-x ü\n'\";$(touch ran)")
    source, _ = pin(str(repo))
    tree = checkout(source, cache)
    shutil.rmtree(repo)
    assert (tree / "train.py").read_text() == "first"
    assert not list(tmp_path.rglob("ran"))


def test_a_checkout_that_another_process_removes_meanwhile_is_no_error(
    repo: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = checkout(pin(str(repo))[0], cache)
    glob = Path.glob

    def removed_now(folder: Path, pattern: str) -> list[Path]:
        found = list(glob(folder, pattern))
        tree.with_name(f"{tree.name}.ready").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "glob", removed_now)
    Checkouts(cache, lambda _: b"", limit=1).trim()
    assert not tree.with_name(f"{tree.name}.ready").exists()


def test_a_checkout_whose_runs_an_engine_has_stays_without_an_agent(repo: Path, cache: Path) -> None:
    tree = checkout(pin(str(repo))[0], cache)
    first = Checkouts(cache, lambda _: b"", limit=1)
    first.lend(str(tree))
    first.trim()
    assert tree.is_dir()
    os.utime(tree.with_name(f"{tree.name}.ready"), (0, 0))
    first.trim()
    assert not tree.is_dir()
