"""`hydra/sweeper=launch_grid`: grids beyond Hydra's grammar. Its config has the fields of launcher's sweep files."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.launch_queue.launcher import LaunchQueue
from omegaconf import DictConfig, OmegaConf


@dataclass
class LaunchGridConf:
    """The config group `hydra/sweeper=launch_grid`; each field means what it does in a sweep file."""

    _target_: str = "hydra_plugins.launch_queue.sweeper.LaunchGrid"
    params: dict[str, Any] = field(default_factory=dict)
    """As of Hydra's basic sweeper."""
    overrides: list[str] | None = None
    grid: dict[str, Any] = field(default_factory=dict)
    zip: Any = None
    repeat: dict[str, Any] = field(default_factory=dict)
    exclude: Any = None
    require: Any = None
    blocks: Any = None
    sample: dict[str, Any] = field(default_factory=dict)
    order: str | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="launch_grid", node=LaunchGridConf, provider="launcher")


class LaunchGrid(Sweeper):
    """Makes the whole grid in one go; with `launch_queue` that does not wait, points are queued as they come."""

    def __init__(self, params: Any, **fields: Any) -> None:  # noqa: ARG002 - read from the config
        super().__init__()
        self._fields = fields

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher; called by Hydra."""
        self._config = config
        self._loader = hydra_context.config_loader
        self._launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        """Launch every point: what the launcher returns, or the receipt of what was queued."""
        from launcher.hydra_app.launching import as_hydra_tells

        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, folder / "multirun.yaml")
        if isinstance(self._launcher, LaunchQueue) and not self._launcher.waits:
            return self._launcher.multirun().launch_points(self._points(arguments))
        with as_hydra_tells():
            rows = [list(point.overrides) for point in self._points(arguments)]
        returns = self._launcher.launch(rows, initial_job_idx=0)
        for job in returns:
            _ = job.return_value  # raises what the job raised
        return [returns]

    def _points(self, arguments: list[str]) -> Iterator[Any]:
        from launcher.hydra_app.grids import grid_points

        yield from grid_points(self._fields, arguments, self._loader, self._config)
