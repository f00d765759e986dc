"""What programs, and launcher itself, leave among code without being any of it: outputs of Hydra apps, pictures and
tables of sweeps, Python's caches. `pin` leaves it out of a patch, but for what git tracks."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from launcher.sources.program import git

DEFAULTS = ("outputs", "multirun")
"""Hydra's own names for its folders of outputs."""

CACHE = "__pycache__"
NO_CODE = (".", "README")
"""How names begin of files that are tracked to keep a folder of outputs."""

Below = PurePosixPath
"""A path below the top of the working tree."""


@dataclass(frozen=True, slots=True)
class Leavings:
    """What may lie among the code: `files` that launcher wrote, and the folders that a Hydra app writes its `outputs`
    into; None for a program that may be no Hydra app."""

    files: Collection[Path] = ()
    outputs: Collection[Path] | None = None

    def found(self, top: Path, folder: Path) -> list[Path]:
        """What lies in the working tree `top`, whose code is in `folder`; none of it, or of what is below, is
        tracked."""
        told = git(["-C", top, "ls-files", "--others", "--exclude-standard", "-z"])
        untracked = [Below(name) for name in os.fsdecode(told).split("\0") if name]
        if not untracked:
            return []
        homes = {*_below(top, [folder, Path.cwd(), top])}
        within = {home for start in homes for home in (start, *start.parents)}
        made = {place for path in untracked for place in _made_by_hydra(path)} - within
        named = {*_below(top, self.outputs or ())} - within
        if self.outputs is None:  # a program that may take what lies elsewhere for its data
            named = {home / name for home in homes for name in DEFAULTS}
            made = {root for root in named if any(place.is_relative_to(root) for place in made)}
            named = set()
        caches = {place for path in untracked for place in _caches(path)}
        candidates = made | named | caches | {*_below(top, self.files)}
        kept = _tracked(top, candidates)
        candidates -= {root for root in named if any(_is_code(path) for path in kept if path.is_relative_to(root))}
        needed = {*kept, *(parent for path in kept for parent in path.parents)}
        return [top / path for path in sorted(_outermost(untracked, candidates, needed))]


def _below(top: Path, paths: Iterable[Path]) -> Iterator[Below]:
    for path in paths:
        real = path.resolve()
        if real.is_relative_to(top):
            yield Below(real.relative_to(top).as_posix())


def _made_by_hydra(path: Below) -> Iterator[Below]:
    """The folder of a run of Hydra's, or of a multirun, that this file tells of."""
    if ".hydra" in path.parts:
        yield Below(*path.parts[: path.parts.index(".hydra")])
    if path.name == "multirun.yaml":
        yield path.parent


def _caches(path: Below) -> Iterator[Below]:
    if CACHE in path.parts:
        yield Below(*path.parts[: path.parts.index(CACHE) + 1])


def _tracked(top: Path, candidates: Collection[Below]) -> list[Below]:
    """What git tracks below these, also what only HEAD has."""
    if not candidates:
        return []
    these = [f":(top,literal){path}" for path in candidates]
    told = git(["-C", top, "ls-files", "--with-tree=HEAD", "-z", "--", *these])
    return [Below(name) for name in os.fsdecode(told).split("\0") if name]


def _is_code(path: Below) -> bool:
    return not path.name.startswith(NO_CODE)


def _outermost(untracked: Sequence[Below], candidates: Collection[Below], needed: Collection[Below]) -> set[Below]:
    """The untracked paths below the candidates, as the largest folders that hold nothing tracked."""
    found = set()
    for path in untracked:
        way = [*reversed(path.parents), path]
        start = next((place for place, folder in enumerate(way) if folder in candidates), len(way))
        found.update([folder for folder in way[start:] if folder not in needed][:1])
    return found
