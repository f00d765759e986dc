"""Git repositories for tests, made by git itself as a user would, without anybody's settings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from launcher.errors import SourceError
from launcher.sources import Checkouts, Patch, pin
from launcher.spec import Source

NEUTRAL = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
"""An environment in which git has nobody's settings, and an identity."""


def git(folder: Path, *arguments: str) -> str:
    environ = {"PATH": os.environ["PATH"], **NEUTRAL}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, content: str, name: str = "train.py") -> str:
    """The ID of a commit of everything, in which the file `name` has this content."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content, encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", content)
    return git(folder, "rev-parse", "HEAD")


def repository(folder: Path) -> Path:
    """A repository with one commit on `main`."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "first")
    return folder


def checkout(source: Source, cache: Path, patch: Patch | None = None) -> Path:
    """As an agent of this moment would that has this patch."""
    checkouts = Checkouts(cache, lambda _: patch.content if patch else b"")
    try:
        return checkouts.of(source)
    finally:
        checkouts.close()


def message(*arguments: object, **options: object) -> str:
    """Why nothing can be pinned."""
    with pytest.raises(SourceError) as error:
        pin(*arguments, **options)  # type: ignore[arg-type]
    return str(error.value)


def library(repo: Path, tmp_path: Path) -> Path:
    """The submodule `lib` of a repository, committed there."""
    origin = repository(tmp_path / "library")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(origin), "lib")
    git(repo, "commit", "--quiet", "-m", "lib")
    return repo / "lib"
