"""What lives in a Ray cluster: one long-lived driver for all runs of an agent's folder, an actor that costs no CPU, and
a task a run that starts the node's program. It is sent by value, so the nodes need no launcher installed, only its
file system. `ray` talks to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

WORDS = {
    "WorkerCrashedError": "BROKEN", "NodeDiedError": "BROKEN", "LocalRayletDiedError": "BROKEN",
    "OwnerDiedError": "BROKEN", "ActorDiedError": "BROKEN", "ObjectLostError": "BROKEN", "RaySystemError": "BROKEN",
    "OutOfMemoryError": "OUT_OF_MEMORY", "TaskCancelledError": "CANCELLED", "RuntimeEnvSetupError": "FAILED",
    "RayTaskError": "FAILED", "TaskUnschedulableError": "FAILED", "TaskPlacementGroupRemoved": "FAILED",
}  # fmt: skip
"""Ray's errors, and what each says of a run (launcher.runners.engines.Word)."""

KEPT = 20_000
"""How many runs that have ended are remembered, for whoever asks later."""

Said = tuple[str, str, str]
"""A word, Ray's own, and a reason."""


def start(python: str, program: str, folder: str, environ: Mapping[str, str]) -> int:
    """Run what the folder asks for; the task that a worker of Ray executes. The node's program ends what it started
    when this worker dies."""
    kept = {name: value for name, value in os.environ.items() if name.endswith("_VISIBLE_DEVICES")}
    environment = {**os.environ, **environ, **kept}
    node = subprocess.Popen([python or sys.executable, "-I", "-S", program, "--", folder], env=environment)
    while True:
        try:
            return node.wait()
        except KeyboardInterrupt:  # Ray cancels it: its node stops it, and writes that down
            node.terminate()


class Driver:
    """Starts runs, and knows how each is: `name` to its reference, or what was said at its end."""

    def __init__(self) -> None:
        import ray

        self._ray = ray
        self._start = ray.remote(start)
        self._running: dict[str, Any] = {}
        self._folders: dict[str, str] = {}
        self._ended: dict[str, Said] = {}

    def submit(self, runs: Sequence[Mapping[str, Any]], python: str, program: str, environ: Mapping[str, str]) -> None:
        """Start these (`token`, `folder`, `options` of the task), each once however often it is asked for."""
        handed: Any = self._ray.put(dict(environ))
        for run in runs:
            if run["token"] not in self._running and run["token"] not in self._ended:
                task = self._start.options(**run["options"])
                self._running[run["token"]] = task.remote(python, program, run["folder"], handed)
                self._folders[run["token"]] = run["folder"]

    def said(self, tokens: Sequence[str]) -> dict[str, Said]:
        """How these are; those that it never heard of are left out."""
        self._collect()
        going = ("GOES_ON", "", "")
        return {
            token: self._ended.get(token, going) for token in tokens if token in self._ended or token in self._running
        }

    def cancel(self, tokens: Sequence[str]) -> None:
        """Those that wait do not start; the others are stopped by their nodes."""
        for token in tokens:
            if token in self._running:
                self._ray.cancel(self._running[token], force=False)

    def running(self) -> dict[str, str]:
        """The folders of the runs that have not ended, by their tokens."""
        self._collect()
        return {token: self._folders[token] for token in self._running}

    def folder(self, token: str) -> str | None:
        """The folder of a run that was submitted, also if it has ended; None of one that it never heard of."""
        return self._folders.get(token)

    def _collect(self) -> None:
        references = list(self._running.values())
        ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0) if references else ([], [])
        done = set(ready)
        for token in [token for token, reference in self._running.items() if reference in done]:
            self._ended[token] = self._how(self._running.pop(token))
        for token in list(self._ended)[:-KEPT]:
            del self._ended[token], self._folders[token]

    def _how(self, reference: Any) -> Said:
        try:
            code = self._ray.get(reference)
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in WORDS]
            word = WORDS[kinds[0]] if kinds else "FAILED"
            return word, kinds[0] if kinds else type(error).__name__, str(error).splitlines()[0]
        return "FAILED" if code else "ENDED", f"exit code {code}", ""
