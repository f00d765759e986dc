"""Every file in conf/ and sweeps/ composes and gives valid specs."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.compose import Grid, Repository
from launcher.compose.sweepfile import read_sweep_file
from launcher.dispatcher import Dispatcher
from launcher.item import QueueInfo
from launcher.spec import LaunchArguments
from tests.conftest import REPOSITORY

CONF = REPOSITORY / "conf"
OPTIONS = sorted(path for path in CONF.rglob("*.yaml") if path.parent != CONF)
SWEEPS = sorted((REPOSITORY / "sweeps").glob("*.yaml"))


def specs(grid: Grid) -> int:
    queues = {"default": "local-process", "slurm": "slurm", "ray": "ray", "kubernetes": "kubernetes"}
    dispatcher = Dispatcher({name: QueueInfo(name, queues[name]) for name in queues}, str(REPOSITORY))
    return sum(1 for _ in dispatcher.specs(grid, LaunchArguments()))


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_option_of_conf_composes_and_validates(path: Path) -> None:
    option = f"{path.parent.name}={path.stem}"
    more = ["launch.repository=registry.lab/digits"] if option == "launch=kubernetes" else []  # nobody else knows it
    assert specs(Grid.of(Repository(CONF), "config", [option, *more], multirun=False)) == 1


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_primary_config_composes_and_validates(path: Path) -> None:
    assert specs(Grid.of(Repository(CONF), path.stem, [], multirun=False)) == 1


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_file_composes_and_validates(path: Path) -> None:
    sweep = read_sweep_file(path)
    grid = Grid.of_blocks(
        Repository(CONF), sweep.config_name or "config", sweep.blocks, multirun=True, selection=sweep.selection
    )
    assert 6 <= specs(grid) == len(grid) - grid.removed.total()


def test_the_digits_sweep_is_large_enough_to_be_one() -> None:
    sweep = read_sweep_file(REPOSITORY / "sweeps/digits.yaml")
    assert len(Grid.of_blocks(Repository(CONF), "config", sweep.blocks, multirun=True)) >= 24
