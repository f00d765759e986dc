"""What runners would start for specs that are not queued yet, as text: `launcher plan --show-request`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from launcher.item import Item, Lease, RunState
from launcher.paths import RunPaths
from launcher.policy import MAX_ATTEMPTS
from launcher.runners import Request, Runner, open_runner
from launcher.spec import LaunchSpec


def shown_requests(specs: Iterable[LaunchSpec], folder: Path) -> Iterator[str]:
    """The requests of these specs, of each runner together, as an agent with this `folder` would make them. Items are
    called ITEM1, ITEM2, …, their code lies in CODE, an image to be built is IMAGE, for none of these is there yet; what
    they take from an agent's environment need not be in ours."""
    root = folder / "runs"
    requests: dict[str, list[Request]] = {}
    runners: dict[str, Runner] = {}
    for number, spec in enumerate(specs, 1):
        resource = str(spec.document.get("resource"))
        if resource not in runners:
            runners[resource] = open_runner(resource, lambda: None)
            requests[resource] = []
        lease = _lease(spec, f"ITEM{number}")
        paths = RunPaths.of(root, lease.item.id, 1)
        code = "CODE" if spec.document.get("uri") else ""
        requests[resource].append(runners[resource].request(lease, paths, code, _environ(spec)))
    try:
        for resource, runner in runners.items():
            yield from runner.show(requests[resource], root)
    finally:
        for runner in runners.values():
            runner.close()


def _environ(spec: LaunchSpec) -> dict[str, str]:
    """Our environment, and in it, as `${NAME}`, what the run takes from its agent's and ours has not."""
    document = spec.document
    arguments = (document.get("resource_args") or {}).get(document.get("resource")) or {}
    env = arguments.get("env")
    listed = [env] if isinstance(env, str) else env if isinstance(env, list) else []
    names = [*(document.get("secrets") or ()), *(str(entry) for entry in listed if "=" not in str(entry))]
    return {name: f"${{{name}}}" for name in names} | dict(os.environ)


def _lease(spec: LaunchSpec, name: str) -> Lease:
    document = spec.document
    item = Item(
        name, spec.queue_name, document.get("sweep_id"), RunState.LEASED, spec.priority, document.get("name"),
        spec.point, 1, MAX_ATTEMPTS, 0.0, 0.0,
    )  # fmt: skip
    return Lease(item, "TOKEN", document)
