"""What lies uncommitted over the HEAD of a working tree, as a patch: binary-safe, with the files that git neither
tracks nor ignores. The tree, its index and its objects stay as they are."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import SourceError
from launcher.sources.program import git, text

LIMIT = 20_000_000
"""Bytes that changed files, and the patch of them, may have; larger things are data, which belongs elsewhere."""

SHOWN = 5


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

    Raises SourceError for what no patch can hold: unresolved merges, changes inside submodules, nested repositories.
    """
    return list(_changed(top, apart))


def _changed(top: Path, apart: Collection[Path]) -> dict[str, bool]:
    """These paths, and whether the index lacks what lies there."""
    status = ["status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=all"]
    told = git(["-C", top, *status, "--", *_but(top, apart)])
    paths: dict[str, bool] = {}
    bad = []
    for entry in os.fsdecode(told).split("\0"):
        kind, _, rest = entry.partition(" ")
        if kind == "?":
            paths[rest] = True
            if rest.endswith("/"):
                bad.append(f"{rest} is a repository of its own; list it in .gitignore, or make it a submodule")
        elif kind in ("1", "u"):
            fields = rest.split(" ", 7 if kind == "1" else 9)
            path, submodule = fields[-1], fields[1]
            paths[path] = fields[0][1] != "."
            if kind == "u":
                bad.append(f"{path} has an unresolved merge; resolve it")
            elif submodule.startswith("S") and "M" in submodule[2:3]:
                bad.append(f"submodule {path} has uncommitted changes; commit them there")
    if bad:
        raise SourceError(f"the changes in {top} cannot be recorded: {'; '.join(bad)} (or add with --dirty ignore)")
    return paths


def uncommitted(top: Path, apart: Collection[Path] = ()) -> bool:
    """Whether anything differs, also what no patch can hold."""
    return bool(git(["-C", top, "status", "--porcelain", "--", *_but(top, apart)]))


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
    _check_size(top, {path: _size(top / path) for path in paths})
    with tempfile.TemporaryDirectory(prefix="launcher-") as folder:
        content = _diff(top, Path(folder), [path for path in paths if paths[path]], _but(top, apart))
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


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # deleted, which is a change as well
        return 0


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _diff(top: Path, scratch: Path, paths: Sequence[str], tree: Sequence[str]) -> bytes:
    """A copy of the index takes these paths in, with its new objects beside the repository's; then the tree differs."""
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
    add = ["-c", "advice.addEmbeddedRepo=false", "add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul"]
    these = "\0".join(f":(top,literal){path}" for path in paths)
    if these:
        git(["-C", top, *add], environ=environ, given=os.fsencode(these))
    shape = ["--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color"]
    shape += ["--src-prefix=a/", "--dst-prefix=b/"]
    return git(["-C", top, "diff", "--cached", *shape, "HEAD", "--", *tree], environ=environ)
