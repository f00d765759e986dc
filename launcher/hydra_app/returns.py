"""The return of a job on its way back: the run leaves it in its folder, whoever waits reads it there, or makes one from
what the store knows."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import LaunchError
from launcher.item import Item, RunState
from launcher.paths import RunPaths

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from launcher.api import QueuedRun

METRIC = "return_value"


def leave_return(paths: RunPaths, job_return: JobReturn) -> None:
    """Write a job's return, whole or not at all; a value that cannot be pickled is an error of its job."""
    from hydra.core.utils import JobStatus

    try:
        content = _dumps(job_return)
    except Exception as error:  # whatever a value's own __reduce__ raises
        value = job_return._return_value
        told = LaunchError(f"the job returned a {type(value).__name__} that cannot be pickled: {error}")
        content = _dumps(replace(job_return, status=JobStatus.FAILED, _return_value=told))
    partial = paths.job_return.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(paths.job_return)


def _dumps(value: Any) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(value)
    content: bytes = cloudpickle.dumps(value)
    return content


def metrics(value: Any) -> Mapping[str, Any]:
    """What a return value adds to the run's result: a number, a text or a list of them as `return_value`."""
    number = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    if isinstance(number, tuple):
        number = list(number)
    plain = isinstance(number, str | int | float)
    listed = isinstance(number, list) and all(isinstance(entry, str | int | float) for entry in number)
    return {METRIC: number} if plain or listed else {}


def return_of(item: Item) -> JobReturn:
    """The return of a run that has ended (or waits for somebody to resume its sweep)."""
    from hydra.core.utils import JobReturn, JobStatus

    left = _left(RunPaths(Path(item.run_dir)) if item.run_dir else None)
    if item.state is RunState.FINISHED:
        made = JobReturn(overrides=list(item.point), status=JobStatus.COMPLETED)
        made.return_value = (item.result or {}).get(METRIC)
        return left or made
    if left is not None and left.status is JobStatus.FAILED:
        return left
    reason = f"{item.stage}: {item.reason}" if item.stage else item.reason or item.hold or "it was stopped"
    how = "was cancelled" if item.state is RunState.CANCELLED else "failed"
    if item.state is RunState.PENDING:
        how = "was not run"
    made = JobReturn(overrides=list(item.point), status=JobStatus.FAILED)
    made.return_value = LaunchError(f"run {item.id} {how} ({reason}); its output: launcher logs {item.id}")
    return made


def queued(run: QueuedRun, overrides: Sequence[str]) -> JobReturn:
    """What stands for the return of a job that nobody waits for: it is COMPLETED, for Hydra's sweepers take anything
    else for an error, and its value is the queued run."""
    from hydra.core.utils import JobReturn, JobStatus

    made = JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
    made.return_value = run
    return made


def _left(paths: RunPaths | None) -> JobReturn | None:
    """What the run left, if it is to be had on this machine."""
    try:
        content = paths.job_return.read_bytes() if paths else None
    except OSError:
        return None
    left: JobReturn | None = pickle.loads(content) if content else None  # noqa: S301 - our own run wrote it
    return left
