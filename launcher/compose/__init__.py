"""Composing: a config repository and override strings become points, in Hydra's order and equal to Hydra. The
dispatcher and the command line call `Grid`; Python users call `compose_grid`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.compose.grid import Block, Grid, Point, Selection
from launcher.compose.repository import Repository, import_resolvers

__all__ = ["Block", "Grid", "Point", "Repository", "Selection", "compose_grid", "import_resolvers"]


def compose_grid(
    *, config_dir: str | Path, config_name: str, overrides: Sequence[str], version_base: str | None = None
) -> Iterator[Point]:
    """The points of a multirun, composed one after another, in the order of Hydra's BasicSweeper.

    `overrides` are Hydra's own command-line overrides; the sweeps among them (`a=1,2`, `range`, `glob`, …) span the
    grid, as do the `hydra.sweeper.params` of the config. `Point.config` equals
    `OmegaConf.to_container(hydra.compose(…), resolve=True)`; a leaf that only the running app can resolve keeps its
    raw text and is listed in `Point.deferred`.

    Raises ComposeError, before the first point for what is wrong with the overrides, else with the point it is about.

    >>> points = compose_grid(config_dir="conf", config_name="config", overrides=["model=svm,mlp"])
    >>> [point.overrides for point in points]
    [('model=svm',), ('model=mlp',)]
    """
    repository = Repository(config_dir, version_base=version_base)
    return iter(Grid.of(repository, config_name, overrides, multirun=True))
