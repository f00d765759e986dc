"""The grid of the sweeper `launch_grid`: a sweep file's fields in the app's config, and the command line, become
points. The plugin calls it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from launcher import canonical
from launcher.compose import Grid, Point, Repository
from launcher.compose.sweepfile import parse_sweep
from launcher.hydra_app.master import written

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig


def grid_points(
    fields: Mapping[str, Any], arguments: Sequence[str], loader: ConfigLoader, config: DictConfig
) -> Iterator[Point]:
    """The points of the grid, as they are asked for. `fields` are those of a sweep file; `arguments`, the overrides of
    the command line, hold for all of its blocks. Raises UsageError for what is wrong with either."""
    from omegaconf import OmegaConf

    plain = {
        name: canonical.plain(OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value)
        for name, value in fields.items()
    }
    file = parse_sweep({name: value for name, value in plain.items() if value}, "", "hydra.sweeper")
    common = written(config.hydra.overrides.hydra)
    blocks = [replace(block, overrides=(*common, *block.overrides, *arguments)) for block in file.blocks]
    grid = Grid.of_blocks(
        Repository.of_loader(loader), config.hydra.job.config_name, blocks, multirun=True, selection=file.selection
    )
    return (replace(point, overrides=point.overrides[len(common) :]) for point in grid)
