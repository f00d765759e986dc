"""How runs are executed: one runner per resource. `Runner` is the protocol (one contract suite runs over all of them);
the agent makes a request, which is a printable value, and only then submits it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from launcher.errors import RunnerError, suggest
from launcher.item import Lease
from launcher.outcome import Outcome
from launcher.paths import RunPaths

Handle = Mapping[str, Any]
"""What finds a submitted run again, also from another process: a JSON object, stored with the item."""

PROGRAMS = ("docker", "podman")
"""What runs containers, the one that is tried first before."""

RESOURCES = ("local-process", "local-container", "slurm", "ray", "kubernetes")
FOREIGN = ("sagemaker", "gcp-vertex", "vertex")
"""Resources that only W&B's agents run; queues for these are made through `launcher serve`."""

_RUNNERS = {
    "local-process": "launcher.runners.local_process:LocalProcess",
    "local-container": "launcher.runners.local_container:LocalContainer",
    "slurm": "launcher.runners.slurm:Slurm",
    "ray": "launcher.runners.ray:Ray",
    "kubernetes": "launcher.runners.kubernetes.runner:Kubernetes",
}
RUNNABLE = tuple(_RUNNERS)
"""The resources that our agents run; items for FOREIGN ones are checked, queued, and wait for W&B's."""


REMOTE = frozenset({"slurm", "ray", "kubernetes"})
"""The resources whose engines schedule runs on other machines; these go on without an agent."""

CLIENTS = ("ray", "kubernetes")
"""The resources whose engines are talked to through a package of their name, which is an extra."""

NEEDED = {
    "local-container": f"none of {', '.join(PROGRAMS)} is on PATH here; install one of them",
    "slurm": "sbatch is not on PATH here; start the agent on a login node of the cluster",
    "ray": "ray is not installed here; pip install 'launcher[ray]'",
    "kubernetes": "kubernetes is not installed here (pip install 'launcher[kubernetes]'), or no cluster is configured "
    "(KUBECONFIG)",
}
"""Why an agent cannot run a resource here, for people."""


def runnable_here(resource: str) -> bool:
    """Whether an agent on this machine can run it: containers and engines need programs that start them."""
    if resource == "local-container":
        return any(map(shutil.which, PROGRAMS))
    if resource == "slurm":
        return shutil.which("sbatch") is not None
    if resource == "kubernetes" and not _cluster_is_configured():
        return False
    return resource in RUNNABLE and (resource not in CLIENTS or find_spec(resource) is not None)


def _cluster_is_configured() -> bool:
    named = os.environ.get("KUBECONFIG") or os.environ.get("KUBERNETES_SERVICE_HOST")
    return bool(named) or Path("~/.kube/config").expanduser().exists()


@dataclass(frozen=True, slots=True)
class Request:
    """What a runner will start: a program with its arguments, its environment beside the agent's, and its folder."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    log: str
    token: str


@dataclass(frozen=True, slots=True)
class Stray:
    """What somebody started for the run of an item, with the lease of this token: a process (`id` is its pid), a
    container or a file (a text that its runner understands)."""

    id: int | str
    item: str
    token: str


Told = Callable[[str, Handle | RunnerError], None]
"""Who hears what became of the start of the run with this token."""


class Runner(Protocol):
    """Executes runs on one resource. Tokens are the leases' and name a run within an agent. A handle is enough to poll
    and cancel: also for what another agent submitted, that died. Those of REMOTE resources go on without any agent."""

    def request(self, lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str]) -> Request:
        """The request for a run whose code lies in the folder `code`: pure. RunnerError for a spec it cannot run."""

    def show(self, requests: Sequence[Request], root: Path) -> Iterator[str]:
        """What would be started for these, whose folders lie below `root`, as text for people: command lines, or what
        an engine is handed. RunnerError if the engine can be asked, and says that it never could run them."""

    def room(self) -> int:
        """How many runs it would take now."""

    def submit(self, requests: Sequence[Request], tell: Told) -> None:
        """Start runs, the only call that does. `tell` hears of each, once, by its token: its handle, or why it could
        not be started; in this call (as from engines), or later, in another thread, when a start takes its time."""

    def hurry(self) -> None:
        """The agent leaves: starts that still wait for something to be fetched give up, with a NoRoomError. May be
        called again."""

    def poll(self, handles: Mapping[str, Handle]) -> dict[str, Outcome | None]:
        """How the runs with these tokens ended; None for those that go on. One call for all."""

    def cancel(self, token: str, handle: Handle) -> None:
        """Ask a run to end, and end it after the grace time; may be called again."""

    def strays(self, root: Path) -> Sequence[Stray]:
        """What is there on this machine of runs below `root`: processes, containers."""

    def submitted(self, token: str, root: Path) -> Handle | None:
        """The handle of a run that was submitted with this lease although nobody heard so; None if it was not.
        RunnerError while that cannot be said."""

    def end(self, strays: Sequence[Stray]) -> None:
        """End these at once."""

    def close(self) -> None:
        """Nothing more will be submitted."""


def open_runner(resource: str, wake: Callable[[], None], options: Mapping[str, Any] | None = None) -> Runner:
    """The runner for a resource, imported on first use; it calls `wake` when a run has ended. `options`: its own.

    Raises RunnerError for a resource that is unknown.
    """
    if resource not in _RUNNERS:
        raise RunnerError(f"resource {resource!r} is unknown; {suggest(resource, RESOURCES)}")
    module, _, name = _RUNNERS[resource].partition(":")
    return cast(Runner, getattr(import_module(module), name)(wake, **(options or {})))


class Runners:
    """The runners that somebody uses, by their resources, each opened at its first use; `options` by resource."""

    def __init__(self, wake: Callable[[], None], options: Mapping[str, Mapping[str, Any]]) -> None:
        self._wake = wake
        self._options = options
        self._opened: dict[str, Runner] = {}

    def of(self, resource: str) -> Runner:
        """The runner for a resource; RunnerError for one that is unknown."""
        if resource not in self._opened:
            self._opened[resource] = open_runner(resource, self._wake, self._options.get(resource))
        return self._opened[resource]

    def opened(self) -> list[Runner]:
        """Those that were used."""
        return list(self._opened.values())

    def hurry(self) -> None:
        """See `Runner.hurry`."""
        for runner in self.opened():
            runner.hurry()

    def close(self) -> None:
        """See `Runner.close`."""
        for runner in self.opened():
            runner.close()
