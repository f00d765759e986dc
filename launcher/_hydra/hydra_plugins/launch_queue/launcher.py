"""`hydra/launcher=launch_queue`: its config, whose fields are launch_add's arguments by name and a few of a sweep's,
and the class that Hydra calls. The work is done by `launcher.hydra_app`, imported when there is some."""

# No `from __future__ import annotations`: Hydra executes plugins before they are in sys.modules, and dataclasses would
# look for their annotations' names there.

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class LaunchQueueConf:
    """The config group `hydra/launcher=launch_queue`."""

    _target_: str = "hydra_plugins.launch_queue.launcher.LaunchQueue"

    wait: bool = False
    """Whether to stay until all runs have ended, and hand their return values to the sweeper."""

    store: str | None = None
    sweep: str | None = None
    """The sweep's name; default: the job's name and a digest of the command, so that the same command continues it."""
    again: bool = False
    metric: str | None = None
    goal: str = "maximize"
    stop_after_failures: int | None = None

    queue_name: str | None = None
    priority: Any = None
    resource: str | None = None
    resource_args: dict[str, Any] = field(default_factory=dict)
    template_variables: dict[str, Any] = field(default_factory=dict)
    docker_image: str | None = None
    build: bool = False
    uri: str | None = None
    version: str | None = None
    entry_point: list[str] | None = None
    """The Python of the runs; default: this one."""
    project: str | None = None
    entity: str | None = None
    name: str | None = None
    author: str | None = None
    config: dict[str, Any] = field(default_factory=dict)

    retry: dict[str, Any] = field(default_factory=dict)
    timeout: dict[str, Any] = field(default_factory=dict)
    limits: Any = None
    resources: dict[str, Any] = field(default_factory=dict)
    fingerprint: dict[str, Any] = field(default_factory=dict)
    dirty: str | None = None
    in_place: bool = False


ConfigStore.instance().store(group="hydra/launcher", name="launch_queue", node=LaunchQueueConf, provider="launcher")


class LaunchQueue(Launcher):
    """Queues the jobs of a multirun; with `wait`, returns when they have ended."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.waits = bool(options["wait"])
        self._options = options
        self._multirun: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what to launch; called by Hydra, before anything is composed."""
        self._given = (hydra_context.config_loader, hydra_context.callbacks, task_function, config)
        hydra_context.config_loader = _Unhurried(hydra_context.config_loader)  # type: ignore[assignment]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Queue these jobs: their returns in order, or queued runs in place of return values."""
        jobs: Sequence[JobReturn] = self.multirun().launch(job_overrides, initial_job_idx)
        return jobs

    def multirun(self) -> Any:
        """The multirun that all launches of this launcher belong to."""
        if self._multirun is None:
            from launcher.hydra_app.launching import Multirun

            self._multirun = Multirun.of(self._options, *self._given)
        return self._multirun


class _Unhurried:
    """The app's config loader, but for one call: sweepers compose every job before they launch, only to find errors,
    at 60 ms each. All of them are composed by the launcher, at once and before any is queued, and it tells the same."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # while it is copied, before it has one
            raise AttributeError(name)
        return getattr(self._loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> Any:
        if sys._getframe(1).f_code.co_name == "validate_batch_is_legal":
            return master_config  # it is thrown away
        return self._loader.load_sweep_config(master_config, sweep_overrides)
