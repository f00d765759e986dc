"""`--config-rev` and `--config-repo`: the config repository as it was at a revision, checked out into the user's cache,
so that grids compose from it while the working tree stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from launcher.errors import SourceError, UsageError
from launcher.settings import Settings, settings_of
from launcher.sources import Checkouts, pin, working_tree
from launcher.sources.program import text
from launcher.spec import Source, redacted


@dataclass(frozen=True, slots=True)
class Revision:
    """A project at a revision: its `settings` and the `folder` of its configs, both in a checkout; the commit, as a
    `source`; and what runs when nothing else is given, a `uri` at a `version`."""

    settings: Settings
    folder: Path
    source: Source
    uri: str
    version: str | None


def of_here(rev: str, config_dir: str | None, settings: Settings) -> Revision:
    """The config repository of this project at `rev`, a branch, tag or commit. The code is this project's at the same
    commit, or, if the configs are in another repository, as it is now.

    Raises SourceError for an unknown revision, with those that there are.
    """
    configs = (
        Path(config_dir).expanduser() if config_dir else settings.root / (settings.config_dir or "conf")
    ).absolute()
    there = next(folder for folder in (configs, *configs.parents) if folder.is_dir())  # it may be gone since
    source, _ = pin(str(there), rev)
    top, root = working_tree(there), settings.root.resolve()
    assert top
    shared = root.is_relative_to(top)
    return _checked_out(
        _beside(source, there),
        project=root.relative_to(top).as_posix() if shared else "",
        config_dir=Path(source.subdir, configs.relative_to(there)) if config_dir else None,
        uri=str(root),
        version=source.commit if shared else None,
    )


def of_repository(repo: str, rev: str | None, config_dir: str | None) -> Revision:
    """The project in the repository `repo`, a git remote or a local folder, at `rev` (default: its HEAD): both its
    configs and its code. `config_dir` is relative to it."""
    source, _ = pin(repo, rev, dirty="ignore")
    if not source.commit:
        raise SourceError(f"--config-repo {repo!r} is in no git repository with a commit")
    if config_dir and Path(config_dir).is_absolute():
        raise UsageError(
            f"--config-dir {config_dir!r} is absolute; with --config-repo it is relative to that repository"
        )
    uri = str(Path(source.folder, source.subdir)) if source.folder else str(source.repo)
    inside = Path(source.subdir, config_dir) if config_dir else None
    return _checked_out(_beside(source, Path(repo).expanduser()), source.subdir, inside, uri, source.commit)


def _checked_out(source: Source, project: str, config_dir: Path | None, uri: str, version: str | None) -> Revision:
    """`project` and `config_dir` are relative to the top of the repository."""
    cache = Path(platformdirs.user_cache_path("launcher")) / "sources"
    checkouts = Checkouts(cache, lambda _: b"")  # a revision has no patch
    tree = checkouts.of(replace(source, subdir="")).resolve()  # held while this process composes: never closed
    settings = settings_of(tree / project)
    told = config_dir or Path(project, settings.config_dir or "conf")
    folder = (tree / told).resolve()
    if not folder.is_relative_to(tree):
        raise UsageError(f"config folder {told} is outside of the repository, so no revision of it holds it")
    if not folder.is_dir():
        where = redacted(source.folder or source.repo or "")
        raise UsageError(f"config folder {told} is not in commit {str(source.commit)[:12]} of {where}")
    return Revision(settings, folder, source, uri, version)


def _beside(source: Source, folder: str | Path) -> Source:
    """A commit, which says whether other changes lie in the working tree that it was found from."""
    return replace(source, dirty=bool(source.folder and text(["-C", folder, "status", "--porcelain"])))
