"""Git and local-folder sources, through the git program (argument lists only). `pin` is called by the dispatcher when
a spec is added, `checkout` by the agent before a run."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from launcher.errors import SourceError
from launcher.spec import Source

COMMIT = re.compile(r"[0-9a-f]{40}")
REMOTE = re.compile(r"(https|ssh|file)://|[\w.-]+@[\w.-]+:")
PROTOCOLS = "https:ssh:file"
TIMEOUT_SECONDS = 600
ELSEWHERE = frozenset({
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX",
})  # fmt: skip
"""Variables that git sets in its hooks, and that would lead our git to another repository than the one named."""


def pin(uri: str, version: str | None = None) -> Source:
    """The source that `uri` means now, at one commit.

    A local folder stays in place: its commit, and whether uncommitted changes lie over it, are noted. A git remote is
    pinned to the commit of `version` (branch, tag or commit; default: its HEAD). Raises SourceError for a folder or
    remote that is not there, and for a version that it does not have.
    """
    if REMOTE.match(uri):
        return Source(repo=uri, commit=_remote_commit(uri, version))
    folder = Path(uri).expanduser()
    if not folder.is_dir():
        raise SourceError(
            f"uri {uri!r} is neither a folder here nor a git remote (https://, ssh://, file://, user@host:path)"
        )
    if version:
        raise SourceError(
            f"version {version!r} needs a git remote; {uri!r} is a folder, used as it is. "
            f"To pin a commit of it, give uri='file://{folder.resolve()}'"
        )
    folder = folder.resolve()
    commit, dirty = _head(folder)
    return Source(folder=str(folder), commit=commit, dirty=dirty)


def checkout(source: Source, cache: Path) -> Path:
    """The folder that holds `source`'s code: its own, or a worktree of its commit below `cache`, made once."""
    if source.folder:
        folder = Path(source.folder)
        if not folder.is_dir():
            raise SourceError(f"the source folder {folder} is not there (any more) on this machine")
        return folder
    if not source.repo or not source.commit:
        raise SourceError(f"the spec names no code to check out: {source.fields()}")
    mirror = cache / "mirrors" / hashlib.sha256(source.repo.encode()).hexdigest()[:16]
    tree = cache / "trees" / f"{mirror.name}-{source.commit}"
    if tree.is_dir():
        return tree
    with _exclusive(cache / f"{mirror.name}.lock"):
        if not (mirror / "HEAD").is_file():
            _clone(source.repo, mirror)
        if not _has(mirror, source.commit):
            _git([f"--git-dir={mirror}", "fetch", "--quiet", "origin", "+refs/*:refs/*"])
        if not _has(mirror, source.commit):
            raise SourceError(f"commit {source.commit} is not in {source.repo} any more")
        if not tree.is_dir():
            _grow(mirror, source.commit, tree)
    return tree


def _clone(repo: str, mirror: Path) -> None:
    """A bare mirror that appears whole: what an interrupted clone left is thrown away."""
    partial = mirror.with_name(f"{mirror.name}.partial")
    for remains in (partial, mirror):
        shutil.rmtree(remains, ignore_errors=True)
    _git(["clone", "--bare", "--quiet", "--", repo, str(partial)])
    partial.rename(mirror)


def _grow(mirror: Path, commit: str, tree: Path) -> None:
    """A worktree that appears whole."""
    partial = tree.with_name(f"{tree.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _git([f"--git-dir={mirror}", "worktree", "prune"])
    _git([f"--git-dir={mirror}", "worktree", "add", "--detach", "--quiet", str(partial), commit])
    partial.rename(tree)
    _git([f"--git-dir={mirror}", "worktree", "repair", str(tree)])


def _remote_commit(uri: str, version: str | None) -> str:
    if version and COMMIT.fullmatch(version):
        return version  # a full commit needs no look-up; whether the remote has it shows at checkout
    wanted = version or "HEAD"
    if wanted.startswith("-"):
        raise SourceError(f"version {version!r} is not a branch, tag or commit")
    lines = _git(["ls-remote", "--quiet", "--", uri]).splitlines()
    refs = {name: commit for commit, _, name in (line.partition("\t") for line in lines)}
    for name in (f"refs/tags/{wanted}^{{}}", f"refs/tags/{wanted}", f"refs/heads/{wanted}", wanted):
        if name in refs:
            return refs[name]
    short = sorted(name.removeprefix("refs/heads/").removeprefix("refs/tags/") for name in refs if "^" not in name)
    raise SourceError(
        f"version {wanted!r} is not a branch or tag of {uri}; it has: {', '.join(short) or 'no commit yet'}"
    )


def _head(folder: Path) -> tuple[str | None, bool]:
    """The commit that a folder is at and whether it was changed since; (None, False) outside of git."""
    try:
        commit = _git(["-C", str(folder), "rev-parse", "--quiet", "--verify", "HEAD"]).strip()
        dirty = bool(_git(["-C", str(folder), "status", "--porcelain", "--", "."]).strip())
    except SourceError:
        return None, False
    return commit, dirty


def _has(mirror: Path, commit: str) -> bool:
    try:
        _git([f"--git-dir={mirror}", "cat-file", "-e", f"{commit}^{{commit}}"])
    except SourceError:
        return False
    return True


@contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """One process at a time makes a mirror or a worktree; the lock is gone with the process that held it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    (lock.parent / "trees").mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _git(arguments: Sequence[str]) -> str:
    environ = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    environ |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": PROTOCOLS, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    command = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        done = subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=TIMEOUT_SECONDS, errors="replace",
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SourceError("the program 'git' is not on PATH; install git") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"git {arguments[0]} did not end within {TIMEOUT_SECONDS} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        told = next((line for line in lines if line.startswith("fatal:")), lines[-1])
        raise SourceError(f"git {' '.join(arguments)}: {told}")
    return done.stdout
