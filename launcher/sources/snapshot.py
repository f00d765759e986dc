"""What lies uncommitted over the HEAD of a working tree, as a patch: binary-safe, with the files that git neither
tracks nor ignores. The tree, its index and its objects stay as they are."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import SourceError
from launcher.sources.leavings import CACHE
from launcher.sources.program import git, text

LIMIT = 20_000_000
"""Bytes that changed files, and the patch of them, may have; larger things are data, which belongs elsewhere."""

SHOWN = 5
FIELDS = {"?": 1, "1": 8, "u": 10}
"""The kinds of lines that git's status has for what differs, and how many fields each has."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Uncommitted changes: what `git diff --binary` says, its SHA-256, and the paths that it touches."""

    content: bytes
    paths: tuple[str, ...]

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name the content."""
        return hashlib.sha256(self.content).hexdigest()


def changed(top: Path, apart: Collection[Path] = ()) -> list[str]:
    """The paths below the working tree `top` that differ from HEAD, untracked ones included, ignored ones and those
    `apart` not.

    Raises SourceError for what no patch can hold: unresolved merges, changes and new files inside submodules, nested
    repositories.
    """
    return list(_changed(top, apart))


def _changed(top: Path, apart: Collection[Path]) -> dict[str, bool]:
    """These paths, and whether the index lacks what lies there."""
    paths, bad = _status(top, _but(top, apart))
    if bad:
        raise SourceError(f"the changes in {top} cannot be recorded: {'; '.join(bad)} (or add with --dirty ignore)")
    return paths


def _status(top: Path, tree: Sequence[str]) -> tuple[dict[str, bool], list[str]]:
    """The paths that differ and whether the index lacks what lies there; and, in words, what no patch can hold."""
    paths: dict[str, bool] = {}
    bad = []
    for kind, fields in _entries(top, tree):
        path, submodule = fields[-1], fields[1] if len(fields) > 1 else ""
        if kind == "u":
            bad.append(f"{path} has an unresolved merge; resolve it")
        elif kind == "?" and path.endswith("/"):
            bad.append(f"{path} is a repository of its own; list it in .gitignore, or make it a submodule")
        elif submodule[2:3] == "M":
            bad.append(f"submodule {path} has uncommitted changes; commit them there")
        elif submodule[3:] == "U" and (new := _untracked(top / path)):
            more = f" and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
            told = f"{', '.join(new[:SHOWN])}{more}"
            bad.append(f"submodule {path} has files that are not committed: {told}; commit or ignore them there")
        elif submodule[1:] == "..U" and fields[0] == ".M":
            continue  # nothing but caches lies in it
        paths[path] = kind == "?" or fields[0][1] != "."
    return paths, bad


def _entries(top: Path, tree: Sequence[str] = (":/",)) -> Iterator[tuple[str, list[str]]]:
    """What git tells of each path that differs, whatever the user has it ignore in submodules: the kind of line, and
    its fields, of which the path is the last. Submodules look with the same settings."""
    settings = ["-c", "status.showUntrackedFiles=normal"]
    options = ["--porcelain=v2", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=none"]
    for entry in os.fsdecode(git(["-C", top, *settings, "status", *options, "--", *tree])).split("\0"):
        kind, _, rest = entry.partition(" ")
        if kind in FIELDS:
            yield kind, rest.split(" ", FIELDS[kind] - 1)


def _untracked(submodule: Path) -> list[str]:
    """The files that a submodule, or one inside of it, neither tracks nor ignores, but for Python's caches."""
    found = []
    for kind, fields in _entries(submodule):
        if kind == "?" and CACHE not in fields[-1].split("/"):
            found.append(fields[-1])
        elif kind == "1" and fields[1][3:] == "U":
            found += [f"{fields[-1]}/{path}" for path in _untracked(submodule / fields[-1])]
    return found


def uncommitted(top: Path, apart: Collection[Path] = ()) -> bool:
    """Whether anything differs, also what no patch can hold."""
    return any(_status(top, _but(top, apart)))


def _but(top: Path, apart: Collection[Path]) -> list[str]:
    """The whole tree but for these, as git's pathspecs."""
    below = [path.resolve().relative_to(top) for path in apart if path.resolve().is_relative_to(top)]
    return [":/", *(f":(top,exclude,literal){path.as_posix()}" for path in below)]


def record(top: Path, apart: Collection[Path] = ()) -> Patch | None:
    """The patch that leads from HEAD to the working tree `top`, but for the files `apart`; None where there is nothing
    to record.

    Raises SourceError as `changed` does, and for more than LIMIT bytes.
    """
    paths = _changed(top, apart)
    if not paths:
        return None
    gone = _beyond_links(top, paths)
    _check_size(top, {path: 0 if path in gone else _size(top / path) for path in paths})
    with tempfile.TemporaryDirectory(prefix="launcher-") as folder:
        there = [path for path in paths if paths[path] and path not in gone]
        content = _diff(top, Path(folder), there, gone, _but(top, apart))
    if len(content) > LIMIT:
        raise SourceError(f"the uncommitted changes in {top} make a patch of {_megabytes(len(content))}; {ADVICE}")
    return Patch(content, tuple(paths)) if content else None


ADVICE = (
    f"at most {LIMIT / 1e6:.0f} MB are recorded: list data in .gitignore, commit what belongs to the code, or leave "
    "the changes out with --dirty ignore"
)


def _check_size(top: Path, sizes: dict[str, int]) -> None:
    total = sum(sizes.values())
    if total > LIMIT:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:SHOWN]
        told = ", ".join(f"{path} ({_megabytes(sizes[path])})" for path in largest)
        raise SourceError(f"the uncommitted files in {top} have {_megabytes(total)}: {told}; {ADVICE}")


def _beyond_links(top: Path, paths: Iterable[str]) -> set[str]:
    """Those of which a folder is a link now: what the link leads to is not theirs, and git adds nothing there."""
    above = {path: str((top / path).parent) for path in paths}
    linked = {folder for folder in set(above.values()) if os.path.realpath(folder) != folder}
    return {path for path, folder in above.items() if folder in linked}


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # deleted, which is a change as well
        return 0


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _diff(top: Path, scratch: Path, paths: Sequence[str], gone: Collection[str], tree: Sequence[str]) -> bytes:
    """A copy of the index takes these paths in, with its new objects beside the repository's, and forgets those
    that are gone; then the tree differs."""
    index = Path(text(["-C", top, "rev-parse", "--path-format=absolute", "--git-path", "index"]))
    objects = text(["-C", top, "rev-parse", "--path-format=absolute", "--git-path", "objects"])
    environ = {
        "GIT_INDEX_FILE": str(scratch / "index"),
        "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
    }
    (scratch / "objects").mkdir()
    if index.is_file():
        shutil.copy2(index, scratch / "index")  # it knows by its time which files need no second look
    if gone:
        forget = ["update-index", "--force-remove", "-z", "--stdin"]
        git(["-C", top, *forget], environ=environ, given=os.fsencode("\0".join(gone)))
    add = ["-c", "advice.addEmbeddedRepo=false", "add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul"]
    these = "\0".join(f":(top,literal){path}" for path in paths)
    if these:
        git(["-C", top, *add], environ=environ, given=os.fsencode(these))
    shape = ["--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color"]
    shape += ["--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--inter-hunk-context=0"]
    shape += ["--submodule=short", "--ignore-submodules=none"]
    return git(["-C", top, "diff", "--cached", *shape, "HEAD", "--", *tree], environ=environ)
