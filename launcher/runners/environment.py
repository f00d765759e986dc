"""What a run sees: the environment of the contract, with W&B's names, so that `wandb.init` in the program just works.
Pure; every runner calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from launcher import canonical
from launcher.errors import RunnerError
from launcher.item import Lease
from launcher.paths import RunPaths
from launcher.template import MACRO, MACROS, fill

CHUNK = 32_670
"""Longest value of one variable, in characters: W&B's own limit; longer ones are cut into NAME_0, NAME_1, …"""


def run_environment(lease: Lease, paths: RunPaths) -> dict[str, str]:
    """The variables that a run gets beside those of its agent.

    >>> sorted(name for name in run_environment(lease, paths) if name.startswith("LAUNCHER"))  # doctest: +SKIP
    ['LAUNCHER_ATTEMPT', 'LAUNCHER_CONFIG', 'LAUNCHER_LEASE_TOKEN', 'LAUNCHER_RESULT', 'LAUNCHER_RUN_DIR']
    """
    item, document = lease.item, lease.document
    overrides = document.get("overrides", {})
    job = document.get("job")
    key = document.get("_wandb_api_key")
    resumed = item.attempt > 1 or document.get("_resume_count", 0) > 0
    known = {
        "WANDB_PROJECT": document.get("project", "").lower(),  # as W&B's own agent gives it
        "WANDB_ENTITY": document.get("entity"),
        "WANDB_RUN_ID": item.id,
        "WANDB_NAME": document.get("name"),
        "WANDB_LAUNCH": "True",
        "WANDB_LAUNCH_QUEUE_NAME": item.queue,
        "WANDB_LAUNCH_QUEUE_ENTITY": document.get("queue_entity") or document.get("entity"),
        "WANDB_LAUNCH_TRACE_ID": item.id,
        "WANDB_DOCKER": _image(document),
        "WANDB_USERNAME": None if key else document.get("author"),
        "WANDB_SWEEP_ID": item.sweep,
        "WANDB_RESUME": "allow" if resumed else None,
        "WANDB_ARTIFACTS": json.dumps(({"_wandb_job": job} if job else {}) | (overrides.get("artifacts") or {})),
        "LAUNCHER_RUN_DIR": str(paths.folder),
        "LAUNCHER_CONFIG": str(paths.config),
        "LAUNCHER_RESULT": str(paths.result),
        "LAUNCHER_ATTEMPT": str(item.attempt),
        "LAUNCHER_LEASE_TOKEN": lease.token,
    }
    environment = {name: value for name, value in known.items() if value}
    if hydra := document.get("hydra"):
        environment["LAUNCHER_HYDRA"] = json.dumps(hydra)
    environment.update(chunked("WANDB_CONFIG", overrides.get("run_config") or {}))
    environment.update(chunked("WANDB_LAUNCH_FILE_OVERRIDES", overrides.get("files") or {}))
    return environment


def chunked(name: str, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A variable that holds JSON, or its numbered parts when it is long.

    >>> dict(chunked("WANDB_CONFIG", {"lr": 0.1}))
    {'WANDB_CONFIG': '{"lr": 0.1}'}
    """
    text = json.dumps(value)  # ASCII, so that a part may end anywhere
    if len(text) <= CHUNK:
        yield name, text
        return
    for number, start in enumerate(range(0, len(text), CHUNK)):
        yield f"{name}_{number}", text[start : start + CHUNK]


def macros(lease: Lease) -> dict[str, str | None]:
    """The values of the contract's six macros in one run; None for those that it has no value for."""
    document = lease.document
    values = (
        document.get("project"),
        document.get("entity"),
        lease.item.id,
        lease.item.name,
        _image(document),
        document.get("author"),
    )
    return dict(zip(MACROS, (value or None for value in values), strict=True))


def _image(document: Mapping[str, Any]) -> str | None:
    return document.get("docker", {}).get("docker_image") or document.get("image_uri")


def command(lease: Lease, paths: RunPaths) -> list[str]:
    """Entry point and arguments with `${run_dir}` and `${config_file}` filled."""
    entry_point, args = filled_command(lease, paths)
    return [*entry_point, *args]


def filled_command(lease: Lease, paths: RunPaths) -> tuple[list[str], list[str]]:
    """As `command`, the entry point and the arguments apart: an image has an entry point of its own."""
    overrides = lease.document.get("overrides", {})
    files: dict[str, str | None] = {"run_dir": str(paths.folder), "config_file": str(paths.config)}
    return fill(overrides.get("entry_point") or [], files, {}), fill(overrides.get("args") or [], files, {})


def own_environment(lease: Lease, environ: Mapping[str, str], given: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The `env` of a run's `resource_args` (or `given`), its macros filled from the run and the agent's environment,
    and the API key that the spec refers to.

    Raises RunnerError for a secret that the agent's environment has not.
    """
    document = lease.document
    if given is None:
        given = ((document.get("resource_args") or {}).get(document.get("resource")) or {}).get("env") or {}
    return _own(lease, environ, given, environ)


def references(
    lease: Lease, environ: Mapping[str, str], given: Mapping[str, Any]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """As `own_environment`, with what comes from the agent's environment left as `${NAME}`, for whoever fills it where
    the run starts; and the names that are needed there."""
    own = _own(lease, environ, given, {})
    named = {name for text in own.values() for name in MACRO.findall(text) if name in environ}
    return own, tuple(sorted(named))


def _own(
    lease: Lease, environ: Mapping[str, str], given: Mapping[str, Any], filling: Mapping[str, str]
) -> dict[str, str]:
    document = lease.document
    missing = [name for name in document.get("secrets") or () if name not in environ]
    if missing:
        raise RunnerError(f"the agent's environment has no {', '.join(missing)}; start the agent with it", "prepare")
    key = document.get("_wandb_api_key")
    given = {**given, "WANDB_API_KEY": key} if key else given
    filled: dict[str, Any] = fill(dict(given), macros(lease), filling)
    return {name: value if isinstance(value, str) else canonical.encode(value) for name, value in filled.items()}
