"""Task functions that no script leads to (a notebook's, a test's): pickled when they are queued, with all that Hydra
knows then, and run by `launcher.hydra_app.job`."""

from __future__ import annotations

import hashlib
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import LaunchError
from launcher.hydra_app.master import Master

if TYPE_CHECKING:
    from hydra._internal.callbacks import Callbacks
    from hydra.core.config_loader import ConfigLoader
    from hydra.types import TaskFunction
    from omegaconf import DictConfig

    from launcher.hydra_app.program import App


def keep_task(
    master: Master, loader: ConfigLoader, callbacks: Callbacks, task: TaskFunction, config: DictConfig
) -> App:
    """Pickle a task function into the multirun's folder; the app that runs it. LaunchError where it cannot be."""
    from hydra.core.singleton import Singleton

    from launcher.hydra_app.program import App

    try:
        import cloudpickle
    except ImportError as error:
        raise LaunchError(
            "the task function is not that of a script or module that this process runs, so it must be pickled, and "
            "cloudpickle is not installed: pip install 'launcher[hydra]'"
        ) from error
    try:
        # Two pickles: the second one's classes are found by the first one's sys.path.
        content = pickle.dumps(sys.path) + cloudpickle.dumps((Singleton.get_state(), loader, callbacks, task, config))
    except Exception as error:  # whatever an object's own __reduce__ raises
        raise LaunchError(f"the task function cannot be pickled: {error}") from error
    digest = hashlib.sha256(content).hexdigest()[:16]
    file = Path(master.sweep_dir) / ".launcher" / f"task-{digest}.pickle"
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(file)
    return App(str(Path.cwd()), ("--task", str(file)))


def kept_task(file: Path) -> tuple[ConfigLoader, Callbacks, TaskFunction, DictConfig]:
    """What `keep_task` was given, with Hydra in this process as it was there."""
    from hydra.core.singleton import Singleton
    from hydra.core.utils import setup_globals

    with file.open("rb") as content:
        sys.path[:] = pickle.load(content)  # noqa: S301 - written by keep_task
        state, loader, callbacks, task, config = pickle.load(content)  # noqa: S301
    Singleton.set_state(state)
    setup_globals()
    return loader, callbacks, task, config
