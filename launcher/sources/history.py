"""What lies between two pinned sources, in git's own words, for people who compare runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import SourceError
from launcher.sources.pinning import COMMIT
from launcher.sources.program import text
from launcher.spec import Source

LONGEST = 20
"""Commits and files that are listed; more are counted."""


@dataclass(frozen=True, slots=True)
class Between:
    """Two commits of one repository: the commits (`<short ID> <subject>`) that only the one or only the other has, at
    most LONGEST each, the newest first, and `git diff --stat` from the one to the other."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    files: tuple[str, ...]


def between(old: Source, new: Source) -> Between | None:
    """What leads from one source's commit to another's; None where no repository here has both."""
    if not (old.commit and new.commit and COMMIT.fullmatch(old.commit) and COMMIT.fullmatch(new.commit)):
        return None
    for folder in dict.fromkeys((new.folder, old.folder)):
        if folder and (Path(folder) / ".git").exists():
            with suppress(SourceError):  # another repository of the two may have both
                return Between(
                    _lines(["-C", folder, "log", f"--max-count={LONGEST}", *LOG, f"{old.commit}..{new.commit}"]),
                    _lines(["-C", folder, "log", f"--max-count={LONGEST}", *LOG, f"{new.commit}..{old.commit}"]),
                    _lines(["-C", folder, "diff", f"--stat-count={LONGEST}", *DIFF, old.commit, new.commit]),
                )
    return None


LOG = ("--format=%h %s", "--no-color", "--no-show-signature")
DIFF = ("--stat", "--no-color", "--no-ext-diff", "--no-textconv")


def _lines(arguments: Sequence[str]) -> tuple[str, ...]:
    return tuple(line.strip() for line in text(arguments).splitlines())
