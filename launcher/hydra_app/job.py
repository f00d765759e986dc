"""The program of a queued job: `python -m launcher.hydra_app.job train.py lr=0.1` runs the Hydra app train.py as job of
the multirun that it was queued by, doing for this one job what Hydra's own launcher does."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.hydra_app.master import VARIABLE, Job, Master
from launcher.paths import RunPaths

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext
    from omegaconf import DictConfig


def main() -> None:
    """Run what the arguments name: an app's script, `-m` and a module, or `--task` and the file of a pickled task."""
    program, *words = sys.argv[1:] or [""]
    if VARIABLE not in os.environ or not program:
        sys.exit(
            "launcher.hydra_app.job runs inside of a queued run only; to queue some: python train.py -m "
            "hydra/launcher=launch_queue, or launcher add --app train.py"
        )
    if program == "--task":
        _run_task(Path(words[0]), words[1:])
    else:
        _run_app(program, words)


def _run_task(file: Path, point: Sequence[str]) -> None:
    """A task function that was pickled when it was queued."""
    from hydra.types import HydraContext

    from launcher.hydra_app.task import kept_task

    loader, callbacks, task, config = kept_task(file)
    job = Job.of_environment(os.environ)
    run(job, HydraContext(loader, callbacks), config, task, point, enter(job.master))


def _run_app(program: str, words: list[str]) -> None:
    """The app as its user runs it, except for what Hydra's two entries to a run do."""
    from hydra._internal.hydra import Hydra
    from hydra.types import RunMode

    Hydra.get_mode = lambda *_, **__: RunMode.RUN  # type: ignore[method-assign]
    Hydra.run = _run_job  # type: ignore[method-assign, assignment]
    if program == "-m":
        name, *words = words
        sys.argv = [name, *words]
        _look_first_in(str(Path.cwd()))
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        script = Path(program).absolute()
        sys.argv = [program, *words]
        _look_first_in(str(script.parent))
        runpy.run_path(str(script), run_name="__main__")


def _look_first_in(folder: str) -> None:
    """Modules are looked for as when the app is started by hand: there, in place of what `-m` put first."""
    if not sys.flags.safe_path:
        del sys.path[0]
    sys.path.insert(0, folder)


def _run_job(hydra: Any, config_name: str | None, task_function: Any, overrides: list[str], **_: Any) -> JobReturn:
    """In place of `Hydra.run`: called by the app's main function, whose configs Hydra has found."""
    from hydra._internal.callbacks import Callbacks
    from hydra.types import HydraContext, RunMode
    from omegaconf import OmegaConf, open_dict

    job = Job.of_environment(os.environ)
    code = enter(job.master)
    about = {"overrides": {"hydra": list(job.master.overrides)}, "job": {"config_name": config_name}}
    master = OmegaConf.create({"hydra": about})
    if job.master.callbacks:
        with chdir(code):
            master = hydra.compose_config(config_name, [*job.master.overrides, *job.master.task], RunMode.MULTIRUN)
        with open_dict(master):
            master.hydra.runtime.cwd = str(Path.cwd())
    OmegaConf.set_cache(master, job.resolver_cache())
    return run(job, HydraContext(hydra.config_loader, Callbacks(master)), master, task_function, overrides, code)


def enter(master: Master) -> Path:
    """Be where the multirun was started, if that is on this machine, with the variables that were copied from there.

    Returns the folder that the relative paths of configs lead from: that folder as it was then, if it is in the code.
    """
    code = Path.cwd()
    if Path(master.cwd).is_dir():
        os.chdir(master.cwd)
    os.environ.update(master.env)
    return Path.cwd() if master.apart else code


def run(  # noqa: PLR0913 - what Hydra hands to a launcher, and the folder of its configs
    job: Job, context: HydraContext, master: DictConfig, task_function: Any, point: Sequence[str], code: Path,
) -> JobReturn:  # fmt: skip
    """What Hydra's own launcher does for one job, whose configs are those of the folder `code`.

    Raises what the task function raised, when its return is kept.
    """
    from hydra.core.utils import run_job
    from omegaconf import open_dict

    import launcher
    from launcher.hydra_app.returns import leave_return, metrics

    with chdir(code):
        config = context.config_loader.load_sweep_config(master, list(point))
    with open_dict(config):
        config.hydra.runtime.cwd = str(Path.cwd())
        config.hydra.job.id = os.environ.get("WANDB_RUN_ID", str(job.num))
        config.hydra.job.num = job.num
        config.hydra.sweep.dir = job.master.sweep_dir
    made = run_job(
        hydra_context=context,
        task_function=task_function, config=config,
        job_dir_key="hydra.sweep.dir", job_subdir_key="hydra.sweep.subdir",
    )  # fmt: skip
    if job.master.wait and (folder := os.environ.get("LAUNCHER_RUN_DIR")):
        leave_return(RunPaths(Path(folder)), made)
    launcher.report(**metrics(made.return_value))
    return made


if __name__ == "__main__":
    main()
