"""Hydra itself, as the oracle of grids: BasicSweeper splits the overrides, `hydra.compose` composes each job, and what
ours gives is compared with that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import (
    InterpolationResolutionError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    UnsupportedInterpolationType,
)

from launcher.compose import Grid, Point, Repository

Composed = tuple[tuple[str, ...], DictConfig]


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def by_hydra(folder: Path, config_name: str, overrides: Sequence[str]) -> list[Composed]:
    """The jobs of Hydra's own multirun: their overrides, hydra.* settings first, and what Hydra composes of them."""
    with initialize_config_dir(str(folder), version_base=None):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration(config_name, list(overrides), run_mode=RunMode.MULTIRUN)
        params = [f"{key}={value}" for key, value in (master.hydra.sweeper.params or {}).items()]
        parser = OverridesParser.create(config_loader=loader)
        given_ = OmegaConf.to_container(master.hydra.overrides, resolve=False)
        parsed = parser.parse_overrides([*params, *given_["task"]])
        jobs = [[*given_["hydra"], *job] for job in BasicSweeper.split_arguments(parsed, None)[0]]
        return [(tuple(own), compose(config_name, own)) for own in jobs]


def resolved(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=True)


def leaf_by_leaf(node: DictConfig | ListConfig, path: str = "") -> tuple[Any, list[str]]:
    """The same leaf by leaf: what only the running app can resolve as it is written, and the paths of those leaves."""
    deferred: list[str] = []

    def value(key: Any) -> Any:
        try:
            found = node[key]
        except (MissingMandatoryValue, InterpolationToMissingValueError, UnsupportedInterpolationType):
            deferred.append(f"{path}{key}")
        except InterpolationResolutionError as error:
            if "HydraConfig was not set" not in str(error):
                raise
            deferred.append(f"{path}{key}")
        else:
            if not isinstance(found, DictConfig | ListConfig):
                return found
            plain, below = leaf_by_leaf(found, f"{path}{key}.")
            deferred.extend(below)
            return plain
        return OmegaConf.to_container(node, resolve=False)[key]  # type: ignore[call-overload]

    if isinstance(node, ListConfig):
        return [value(index) for index in range(len(node))], deferred
    return {key: value(key) for key in node}, deferred


def described(points: Iterable[Point]) -> list[tuple[tuple[str, ...], str, list[str]]]:
    """What the points are, with configs as text: 1, 1.0 and True differ there, and the order of keys counts."""
    return [(point.overrides, repr(point.config), sorted(point.deferred)) for point in points]


def described_by_hydra(
    folder: Path, config_name: str, overrides: Sequence[str]
) -> list[tuple[tuple[str, ...], str, list[str]]]:
    jobs = ((own, *leaf_by_leaf(config)) for own, config in by_hydra(folder, config_name, overrides))
    return [(own, repr(plain), sorted(deferred)) for own, plain, deferred in jobs]


def assert_same_as_hydra(folder: Path, config_name: str, overrides: Sequence[str]) -> int:
    grid = Grid.of(Repository(folder), config_name, overrides, multirun=True)
    jobs = by_hydra(folder, config_name, overrides)
    assert described(grid) == [(own, repr(resolved(config)), []) for own, config in jobs]
    assert list(grid.combinations()) == [own for own, _ in jobs]
    assert len(grid) == len(jobs)
    return len(jobs)
