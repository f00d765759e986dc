"""What a `uri` means now: a git remote, or a local folder, pinned to one commit and a patch of what is uncommitted. The
dispatcher calls `pin` when a spec is added, and `preserve` once it is sure to be."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from launcher.errors import SourceError
from launcher.sources.leavings import Leavings
from launcher.sources.program import REMOTE, git, passwordless, text
from launcher.sources.snapshot import Patch, changed, record, uncommitted
from launcher.spec import Source, redacted

COMMIT = re.compile(r"[0-9a-f]{40}")
SUSPICIOUS = re.compile(r"[\x00-\x20\x7f]|://-|@-|::|:-")
DIRTY = ("include", "refuse", "ignore")
"""What becomes of uncommitted changes: they are part of the code, an error, or left out."""

SHOWN = 5
NOTHING_NAMED = Leavings()


def pin(  # noqa: PLR0913 - what is asked of a source, by name
    uri: str, version: str | None = None, *, dirty: str = "include", in_place: bool = False,
    apart: Collection[Path] = (), leavings: Leavings = NOTHING_NAMED,
) -> tuple[Source, Patch | None]:  # fmt: skip
    """The source that `uri` means now, and the uncommitted changes that belong to it. Nothing is written.

    A git remote is pinned to the commit of `version` (branch, tag or commit; default: its HEAD), a local folder to that
    of its repository, with the changes over its HEAD unless a version is named; `dirty` is one of DIRTY, and changes of
    the files `apart` are none of the code, nor are those `leavings` that git does not track. A folder outside of git,
    and any with `in_place`, is used as it is when a run starts; `refuse` takes no folder outside of git, and in place
    none that has changes now.
    Raises SourceError for what is not there, for unknown versions, and for changes that cannot be recorded.
    """
    if REMOTE.match(uri):
        _check_remote(uri)
        if in_place:
            raise SourceError(f"in_place needs a local folder, but uri is {redacted(uri)!r}")
        return Source(repo=uri, commit=_remote_commit(uri, version)), None
    folder = Path(uri).expanduser()
    if "\0" in uri or not folder.is_dir():
        raise SourceError(
            f"uri {redacted(uri)!r} is neither a folder here nor a git remote "
            "(https://, ssh://, file://, user@host:path)"
        )
    folder = folder.resolve()
    top = working_tree(folder)
    if top is None:
        if version:
            raise SourceError(f"version {version!r} needs git, but {str(folder)!r} is in no repository with a commit")
        if dirty == "refuse":
            raise SourceError(f"the code in {folder} is in no git repository with a commit; git init, and commit it")
        return Source(folder=str(folder)), None
    if not version:
        apart = [*apart, *leavings.found(top, folder)]
    if in_place:
        if version:
            raise SourceError(f"version {version!r} and in_place contradict each other; give one of them")
        if dirty == "refuse":
            _refuse_changes(top, apart)
        there = bool(changed(top, apart))
        return Source(folder=str(folder), commit=_commit(top, "HEAD"), dirty=there, in_place=True), None
    return _pin_folder(folder, top, version, dirty, apart)


def working_tree(folder: Path) -> Path | None:
    """The working tree that a folder is in; None outside of git, and in a repository without a commit."""
    try:
        top = Path(text(["-C", folder, "rev-parse", "--show-toplevel"]))
        git(["-C", folder, "rev-parse", "--quiet", "--verify", "HEAD"])
    except SourceError as error:
        if "is not on PATH" in str(error) or "dubious ownership" in str(error):
            raise
        return None
    return top


def covers(folder: Path, file: Path) -> bool:
    """Whether the code that `folder` is pinned with holds this file below it: both are in no repository, or in the same
    one, whose submodules count as parts of it."""
    if not file.is_relative_to(folder):
        return False
    top, inner = working_tree(folder), working_tree(file.parent)
    if top is None:
        return inner is None
    while inner and inner != top:
        above = text(["-C", inner, "rev-parse", "--show-superproject-working-tree"])
        inner = Path(above) if above else None
    return inner == top


def _pin_folder(
    folder: Path, top: Path, version: str | None, dirty: str, apart: Collection[Path]
) -> tuple[Source, Patch | None]:
    commit = _commit(top, version or "HEAD")
    patch = None
    if not version and dirty == "refuse":
        _refuse_changes(top, apart)
    if not version and dirty == "include":
        patch = record(top, apart)
    left_out = not version and dirty == "ignore" and uncommitted(top, apart)
    subdir = folder.relative_to(top).as_posix()
    return Source(
        folder=str(_lasting(top)), repo=_origin(top, commit), commit=commit, patch=patch.digest if patch else None,
        subdir="" if subdir == "." else subdir, dirty=left_out,
    ), patch  # fmt: skip


def _lasting(top: Path) -> Path:
    """Where the commits of a working tree stay: for one of several of a repository, the folder of the repository
    itself, which is there still when that tree is removed."""
    if (top / ".git").is_file():
        common = Path(text(["-C", top, "rev-parse", "--path-format=absolute", "--git-common-dir"]))
        if common.name == ".git":  # that of a submodule has the submodule's name
            return common.parent
    return top


def _refuse_changes(top: Path, apart: Collection[Path]) -> None:
    if paths := changed(top, apart):
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        raise SourceError(
            f"{top} has uncommitted changes ({', '.join(paths[:SHOWN])}{more}); commit them, or add with "
            "--dirty include"
        )


def preserve(source: Source) -> None:
    """Keep a local commit, whatever becomes of its branch: by a ref of our own in its repository, if we may write
    there."""
    if source.folder and source.commit and not source.in_place:
        with suppress(SourceError):
            git(["-C", source.folder, "update-ref", f"refs/launcher/{source.commit}", source.commit])


def _check_remote(uri: str) -> None:
    if SUSPICIOUS.search(uri):
        raise SourceError(
            f"uri {redacted(uri)!r} is no address of a git remote; expected https://, ssh://, file:// or "
            "user@host:path, without spaces, control characters, options or git's own helpers"
        )
    if "://" in uri and urlsplit(uri).password is not None:
        raise SourceError(
            f"uri {redacted(uri)!r} was given with a password, which would be stored with each run; leave it out, and "
            "let git ask its credential helper"
        )


def _remote_commit(uri: str, version: str | None) -> str:
    if version and COMMIT.fullmatch(version):
        return version  # a full commit needs no look-up; whether the remote has it shows at checkout
    wanted = version or "HEAD"
    if wanted.startswith("-"):
        raise SourceError(f"version {version!r} is not a branch, tag or commit")
    lines = text(["ls-remote", "--quiet", "--", uri]).splitlines()
    refs = {name: commit for commit, _, name in (line.partition("\t") for line in lines)}
    for name in (f"refs/tags/{wanted}^{{}}", f"refs/tags/{wanted}", f"refs/heads/{wanted}", wanted):
        if name in refs:
            return refs[name]
    raise SourceError(f"version {wanted!r} is not a branch or tag of {redacted(uri)}; it has: {_names(refs)}")


def _names(refs: Mapping[str, str]) -> str:
    named = [name for name in refs if "^" not in name and not name.startswith("refs/launcher/")]
    short = sorted(name.removeprefix("refs/heads/").removeprefix("refs/tags/") for name in named)
    return ", ".join(short) or "no commit yet"


def _commit(top: Path, version: str) -> str:
    if version.startswith("-"):
        raise SourceError(f"version {version!r} is not a branch, tag or commit")
    try:
        return text(["-C", top, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{version}^{{commit}}"])
    except SourceError as error:
        refs = text(["-C", top, "for-each-ref", "--format=%(refname)\t-", "refs/heads", "refs/tags"])
        known = _names(dict(line.split("\t") for line in refs.splitlines()))
        raise SourceError(f"version {version!r} is not a branch, tag or commit of {top}; it has: {known}") from error


def _origin(top: Path, commit: str) -> str | None:
    """The remote that has this commit too, so that agents of other machines can have it; None where none has."""
    try:
        if not text(["-C", top, "for-each-ref", "--count=1", "--contains", commit, "refs/remotes/origin"]):
            return None
        url = text(["-C", top, "remote", "get-url", "origin"])
    except SourceError:
        return None
    if url.startswith("/"):
        url = f"file://{url}"
    if not REMOTE.match(url) or SUSPICIOUS.search(url):
        return None
    return passwordless(url)
