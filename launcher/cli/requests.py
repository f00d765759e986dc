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
    called ITEM1, ITEM2, …, their code lies in CODE, an image to be built is IMAGE, for none of these is there yet."""
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
        requests[resource].append(runners[resource].request(lease, paths, code, os.environ))
    try:
        for resource, runner in runners.items():
            yield from runner.show(requests[resource], root)
    finally:
        for runner in runners.values():
            runner.close()


def _lease(spec: LaunchSpec, name: str) -> Lease:
    document = spec.document
    item = Item(
        name, spec.queue_name, document.get("sweep_id"), RunState.LEASED, spec.priority, document.get("name"),
        spec.point, 1, MAX_ATTEMPTS, 0.0, 0.0,
    )  # fmt: skip
    return Lease(item, "TOKEN", document)
