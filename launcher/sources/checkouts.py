"""The folders that runs find their code in: one bare mirror per repository, one worktree per commit and patch, shared
by all runs of them, and a bound on what they take together. The agent asks for them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from launcher.errors import SourceError
from launcher.sources.program import NETWORK, PROTOCOLS, REMOTE, git, passwordless, text
from launcher.spec import Source, redacted

CACHE_BYTES = 20e9
RESTING_SECONDS = 3600.0
"""A worktree that was asked for within this time stays, however full the cache is."""

LENT_SECONDS = 30 * 86400.0
"""How long one stays whose runs an engine has, and no agent."""


@dataclass(slots=True)
class Checkouts:
    """Checkouts below the folder `cache`, at most about `limit` bytes of worktrees that nobody uses.

    `patch_of` gives the content of a patch by its digest. `in_use` tells which folders runs of ours have now; other
    agents on this machine hold a lock on theirs.
    """

    cache: Path
    patch_of: Callable[[str], bytes]
    in_use: Callable[[], Collection[str]] = tuple
    limit: float = CACHE_BYTES
    _held: dict[Path, int] = field(default_factory=dict)

    def of(self, source: Source, *, added_here: bool = False) -> Path:
        """The folder that holds `source`'s code: its own if it is used in place, else a worktree that is made once.
        `added_here`: its folder was one of this machine's.

        Raises SourceError when it is not to be had (any more).
        """
        if source.in_place or not source.commit:
            if not source.folder:
                raise SourceError(f"the spec names no code to check out: {source.fields()}")
            folder = Path(source.folder)
            if not folder.is_dir():
                raise SourceError(f"the source folder {folder} is not there (any more) on this machine")
            return folder
        name = f"{source.commit}-{source.patch[:16]}" if source.patch else source.commit
        tree = self.cache / "trees" / name
        if not self._hold(tree):
            with exclusive(self.cache / "locks" / name):
                if not self._hold(tree):
                    self._make(source, tree, added_here)
                    self._hold(tree)
            self.trim()
        code = tree / source.subdir
        if not code.is_dir():
            raise SourceError(f"the folder {source.subdir} is not in commit {source.commit[:12]}")
        return code

    def hold(self, code: str) -> None:
        """Keep the worktree of a run that was taken over from another agent."""
        trees = self.cache / "trees"
        if Path(code).is_relative_to(trees) and Path(code) != trees:
            self._hold(trees / Path(code).relative_to(trees).parts[0])

    def lend(self, code: str) -> None:
        """Leave the worktree of a run to the engine that goes on with it while no agent holds it."""
        trees = self.cache / "trees"
        if Path(code).is_relative_to(trees) and Path(code) != trees:
            until = time.time() + LENT_SECONDS
            with suppress(OSError):
                os.utime(_marker(trees / Path(code).relative_to(trees).parts[0]), (until, until))

    def trim(self) -> None:
        """Remove the worktrees that were not asked for longest, down to the limit."""
        needed = {Path(code) for code in self.in_use()}
        for tree in list(self._held):
            if _rested(_marker(tree)) and not any(code.is_relative_to(tree) for code in needed):
                os.close(self._held.pop(tree))
        markers = sorted(self.cache.glob("trees/*.ready"), key=_used_at)
        total = sum(_noted(marker) for marker in markers)
        for marker in markers:
            if total <= self.limit or not _rested(marker):
                return
            total -= _remove(marker)

    def close(self) -> None:
        """Let go of all worktrees."""
        while self._held:
            os.close(self._held.popitem()[1])

    def _hold(self, tree: Path) -> bool:
        """Whether the worktree is there, whole; if so it is marked as used, and stays while we hold it."""
        marker = _marker(tree)
        try:
            file = self._held.get(tree)
            if file is None:
                file = os.open(marker, os.O_RDWR)
                fcntl.flock(file, fcntl.LOCK_SH)
            self._held[tree] = file
            os.utime(marker)
        except OSError:
            if tree in self._held:
                os.close(self._held.pop(tree))
            return False
        return tree.is_dir()

    def _make(self, source: Source, tree: Path, added_here: bool) -> None:
        assert source.commit
        patch = self._patch(source.patch) if source.patch else b""
        problems = []
        for origin in _origins(source):
            mirror = self.cache / "mirrors" / hashlib.sha256(origin.encode()).hexdigest()[:16]
            try:
                with exclusive(self.cache / "locks" / mirror.name):
                    _fetch(mirror, origin, source.commit)
                    _grow(mirror, source.commit, tree, patch, origin)
                return
            except SourceError as error:
                problems.append(str(error))
        if not problems and added_here:
            moved = "is not here any more (moved?); put it back and launcher retry, or push and add with --again"
            problems = [f"the folder {source.folder}, which has commit {source.commit[:12]}, {moved}"]
        elif not problems:
            pushed = "it was in no remote when it was added; push it, and add with --again"
            problems = [f"commit {source.commit} is to be had on the machine of {source.folder} only: {pushed}"]
        raise SourceError("; ".join(problems))

    def _patch(self, digest: str) -> bytes:
        content = self.patch_of(digest)
        if hashlib.sha256(content).hexdigest() != digest:
            raise SourceError(f"the stored patch {digest} is damaged")
        return content


def _origins(source: Source) -> Iterator[str]:
    """Where a commit may be: first the repository it was added from, which needs no network, if it is on this machine,
    then its remote."""
    if source.folder and (Path(source.folder) / ".git").exists():
        yield source.folder
    if source.repo:
        yield source.repo


def _is_remote(origin: str) -> bool:
    return not origin.startswith("/")


def _named(origin: str) -> str:
    """What the relative URLs of submodules lead from: for a folder of this machine its own remote, if it has one."""
    if _is_remote(origin):
        return origin
    with suppress(SourceError):
        url = passwordless(text(["-C", origin, "config", "--get", "remote.origin.url"]))
        return url if REMOTE.match(url) else os.path.normpath(Path(origin, url))
    return origin


def _fetch(mirror: Path, origin: str, commit: str) -> None:
    """Bring a commit and its history into the mirror, which calls its remote what it is called by now."""
    if not (mirror / "config").is_file() or not (mirror / "HEAD").is_file():
        shutil.rmtree(mirror, ignore_errors=True)
        git(["init", "--bare", "--quiet", mirror])
    git([f"--git-dir={mirror}", "config", "remote.origin.url", _named(origin)])
    if _has(mirror, commit):
        return
    fetch = [f"--git-dir={mirror}", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", origin]
    try:
        git([*fetch, f"+{commit}:refs/launcher/{commit}"])
    except SourceError:  # an older server gives whole branches only
        git([*fetch, "+refs/*:refs/remotes/origin/*"])
    if not _has(mirror, commit):
        raise SourceError(f"commit {commit} is not in {redacted(origin)} any more")


def _has(git_folder: Path, commit: str) -> bool:
    try:
        git([f"--git-dir={git_folder}", "cat-file", "-e", f"{commit}^{{commit}}"])
    except SourceError:
        return False
    return True


def _grow(mirror: Path, commit: str, tree: Path, patch: bytes, origin: str) -> None:
    """A worktree with its patch and its submodules; its marker comes last, so that half of one is no worktree."""
    _marker(tree).unlink(missing_ok=True)
    shutil.rmtree(tree, ignore_errors=True)
    tree.parent.mkdir(parents=True, exist_ok=True)
    git([f"--git-dir={mirror}", "worktree", "prune"])
    git([f"--git-dir={mirror}", "worktree", "add", "--force", "--detach", "--quiet", tree, commit])
    if patch:
        git(["-C", tree, "apply", "--index", "--binary", "--whitespace=nowarn", "-"], given=patch)
    if (tree / ".gitmodules").is_file():
        if not _is_remote(origin):
            _borrow(tree, Path(origin))
        for step in (["init"], ["sync"], ["update", "--init", "--recursive"]):  # the mirror has URLs of another time
            protocols = NETWORK if _is_remote(origin) else PROTOCOLS
            git(["-C", tree, "submodule", "--quiet", *step], protocols=protocols)
    partial = tree.with_name(f"{tree.name}.partial")
    partial.write_text(f"{_settle(tree)}\n", encoding="utf-8")
    partial.replace(_marker(tree))


def _borrow(tree: Path, folder: Path) -> None:
    """Bring the submodules from those of the folder that a commit was added from, where they have what is asked for: it
    may be in no remote yet."""
    modules = tree / ".gitmodules"
    if not modules.is_file():
        return
    entries = git(["-C", tree, "ls-files", "--stage", "-z"]).split(b"\0")
    commits = {os.fsdecode(entry[50:]): entry[7:47].decode() for entry in entries if entry.startswith(b"160000 ")}
    with suppress(SourceError):  # of a submodule that fails here, the update of all says why
        told = git(["config", "--file", modules, "--null", "--get-regexp", r"^submodule\..*\.path$"])
        for name, path in (entry.split("\n", 1) for entry in os.fsdecode(told).split("\0") if entry):
            there = folder / path
            if path in commits and _has(there / ".git", commits[path]):
                key = f"{name.removesuffix('.path')}.url"  # not as an option: a name may hold a `=`
                url = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": str(there)}
                git(["-C", tree, "submodule", "--quiet", "update", "--init", "--", path], environ=url)
                git(["-C", tree, "submodule", "--quiet", "sync", "--", path])
                _borrow(tree / path, there)


def _settle(tree: Path) -> int:
    """Take away the right to write its files, which all runs share; returns their bytes. Folders stay writable, for
    what programs put beside their code (`outputs/`, `__pycache__`)."""
    total = 0
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            status = path.lstat()
            total += status.st_size
            if stat.S_ISREG(status.st_mode):
                path.chmod(status.st_mode & ~0o222)
    return total


def _marker(tree: Path) -> Path:
    return tree.with_name(f"{tree.name}.ready")


def _rested(marker: Path) -> bool:
    return time.time() - _used_at(marker) > RESTING_SECONDS


def _noted(marker: Path) -> int:
    try:
        return int(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


def _used_at(marker: Path) -> float:
    """When a worktree was last asked for; for ever ago if another process has removed it just now."""
    try:
        return marker.stat().st_mtime
    except OSError:
        return 0.0


def _remove(marker: Path) -> int:
    """Remove a worktree unless somebody holds it; returns the bytes that this frees."""
    try:
        file = os.open(marker, os.O_RDWR)
    except OSError:
        return 0
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        size = _noted(marker)
        marker.unlink()
        shutil.rmtree(marker.with_name(marker.name.removesuffix(".ready")), ignore_errors=True)
    except OSError:
        return 0
    finally:
        os.close(file)
    return size


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """One process at a time makes a mirror, a worktree or an image; the lock is gone with the process that held it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
