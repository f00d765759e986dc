"""Runs as tasks of a Ray cluster, through Ray's own client (the extra `ray`). A driver in the cluster
(`launcher.runners.ray_driver`) starts them and outlives the agent; what a run leaves in its folder, on a file system
that the nodes share, says with Ray's word how it ended."""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from launcher.canonical import encode
from launcher.errors import NoRoomError, RunnerError
from launcher.item import Lease
from launcher.outcome import Outcome
from launcher.paths import RunPaths
from launcher.resources import Resources
from launcher.runners import Handle, Request, Stray, Told, node
from launcher.runners.engines import (
    Judge,
    NodeRequest,
    Said,
    Waking,
    Word,
    ask_to_stop,
    node_request,
    withdraw,
    write_request,
)

POLL_SECONDS = 1.0
ADMITTED = 2000
"""How many runs a cluster has at a time, waiting or running: each that waits costs its driver memory."""

ANSWER_SECONDS = 60.0
RETRIES = 3
"""How often Ray starts a run again whose node or worker has died."""

DEATH_SECONDS = 30.0

OPTIONS = {
    "entrypoint_num_cpus": "num_cpus", "entrypoint_num_gpus": "num_gpus", "entrypoint_memory": "memory",
    "entrypoint_resources": "resources", "runtime_env": "runtime_env",
}  # fmt: skip
"""The names of Ray's jobs, which W&B takes, and those of its tasks."""


@dataclass(frozen=True, slots=True)
class RayRequest(NodeRequest):
    """A run as a task: the `options` of it, and the `address` of the cluster."""

    options: Mapping[str, Any]
    address: str


class Ray:
    """The runner for `ray`; see `launcher.runners.Runner` for its verbs."""

    def __init__(self, wake: Callable[[], None], poll_seconds: float = POLL_SECONDS) -> None:
        self._waking = Waking(wake, poll_seconds)
        self._poll_seconds = poll_seconds
        self._asked = -math.inf
        self._stopping: set[str] = set()
        self._to_cancel: dict[str, Handle] = {}
        self._links: dict[str, subprocess.Popen[bytes]] = {}
        self._held = 0
        self._refused = 0.0

    def request(self, lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str]) -> RayRequest:
        """See `Runner.request`."""
        given = (lease.document.get("resource_args") or {}).get("ray") or {}
        general = node_request(lease, paths, code, environ, given)
        asked = Resources.of(lease.document)
        options = {
            "name": f"launcher:{lease.item.id}", "num_cpus": asked.cpus, "num_gpus": asked.gpus,
            "memory": asked.memory and math.ceil(asked.memory), "accelerator_type": asked.gpu_type,
            "max_retries": RETRIES,
        }  # fmt: skip
        options |= {OPTIONS[name]: value for name, value in given.items() if name in OPTIONS}
        values = {field.name: getattr(general, field.name) for field in fields(NodeRequest)}
        address = given.get("address") or environ.get("RAY_ADDRESS") or "auto"
        return RayRequest(
            **values, options={name: value for name, value in options.items() if value is not None}, address=address
        )

    def show(self, requests: Sequence[Request], root: Path) -> Iterator[str]:  # noqa: ARG002 - the protocol's
        """See `Runner.show`: the options of each task, and its command."""
        for request in cast(Sequence[RayRequest], requests):
            yield f"ray task at {request.address}: {encode(dict(request.options))}\n{' '.join(request.argv)}\n"

    def room(self) -> int:
        """See `Runner.room`."""
        return 0 if time.monotonic() < self._refused else max(0, ADMITTED - self._held)

    def submit(self, requests: Sequence[Request], tell: Told) -> None:
        """See `Runner.submit`: one call of the driver for all."""
        asked = cast(Sequence[RayRequest], requests)
        if find_spec("ray") is None:
            for each in asked:
                tell(each.token, RunnerError("ray is not installed here; pip install 'launcher[ray]'", "prepare"))
            return
        for address, root in {(request.address, RunPaths(request.folder).root) for request in asked}:
            some = [each for each in asked if (each.address, RunPaths(each.folder).root) == (address, root)]
            known = {"address": address, "root": str(root)}
            refused = self._submit(address, root, some)
            for each in some:
                tell(each.token, refused or {**known, "dir": str(each.folder)})
        self._waking.wanted = True

    def _submit(self, address: str, root: Path, asked: Sequence[RayRequest]) -> RunnerError | None:
        """Why these cannot be started, which go to one driver."""
        for each in asked:
            write_request(each)
        runs = [{"token": each.token, "folder": str(each.folder), "options": dict(each.options)} for each in asked]
        try:
            self._call(address, root, "submit", runs, "", node.__file__, dict(asked[0].environ))
        except RunnerError as error:
            self._refused = time.monotonic() + self._poll_seconds
            for each in asked:  # should Ray have it after all, it finds nothing to do
                withdraw(each.folder)
            return NoRoomError(str(error))
        self._held += len(asked)
        return None

    def hurry(self) -> None:
        """See `Runner.hurry`: what is submitted is answered at once."""

    def poll(self, handles: Mapping[str, Handle]) -> dict[str, Outcome | None]:
        """See `Runner.poll`: one call of the driver; between two, nothing is known of any."""
        self._waking.wanted = bool(handles)
        known: dict[str, Outcome | None] = dict.fromkeys(handles)
        if time.monotonic() < self._asked + self._poll_seconds:
            return known
        self._asked = time.monotonic()
        self._flush()
        for address, root in {_driver_of(handle) for handle in handles.values()}:
            some = [token for token, handle in handles.items() if _driver_of(handle) == (address, root)]
            with suppress(RunnerError):  # it is asked again
                said = self._call(address, Path(root), "said", some)
                for token in some:
                    word, native, reason = said.get(token, ("GONE", "", ""))
                    told = Said(Word[word], native, reason)
                    folder = Path(handles[token]["dir"])
                    known[token] = Judge("Ray").outcome(told, token, folder, token in self._stopping)
        self._held = sum(outcome is None for outcome in known.values())
        return known

    def cancel(self, token: str, handle: Handle) -> None:
        """See `Runner.cancel`: its node stops it; what waits is taken from Ray at the next poll."""
        if token not in self._stopping:
            self._stopping.add(token)
            ask_to_stop(Path(handle["dir"]))
            self._to_cancel[token] = handle
            self._asked = -math.inf

    def strays(self, root: Path) -> list[Stray]:
        """See `Runner.strays`: what the driver of this folder runs. No cluster is asked that this agent has not used
        before, or that RAY_ADDRESS does not name."""
        with suppress(RunnerError):
            return self._all(root)
        return []

    def submitted(self, token: str, root: Path) -> Handle | None:
        """See `Runner.submitted`."""
        for address in self._addresses(root):
            if folder := self._call(address, root, "folder", token):
                return {"address": address, "root": str(root), "dir": folder}
        return None

    def end(self, strays: Sequence[Stray]) -> None:
        """See `Runner.end`: stopped by their nodes, and waited for, since their items may start again at once."""
        doomed: dict[tuple[str, Path], set[str]] = {}
        for stray in strays:
            address, _, folder = str(stray.id).partition("|")
            withdraw(Path(folder))
            ask_to_stop(Path(folder))
            doomed.setdefault((address, RunPaths(Path(folder)).root), set()).add(stray.token)
        deadline = time.monotonic() + DEATH_SECONDS
        for (address, root), tokens in doomed.items():
            with suppress(RunnerError):
                self._call(address, root, "cancel", sorted(tokens))
                while tokens & self._call(address, root, "running").keys() and time.monotonic() < deadline:
                    self._waking.closed.wait(0.2)

    def close(self) -> None:
        """See `Runner.close`: the driver and its runs go on."""
        with suppress(RunnerError):
            self._flush()
        self._waking.closed.set()
        while self._links:
            _end(self._links.popitem()[1])

    def _addresses(self, root: Path) -> set[str]:
        """The clusters that may have runs of this folder."""
        named = os.environ.get("RAY_ADDRESS")
        return set(self._links) | ({named} if named and root.is_dir() else set())

    def _all(self, root: Path) -> list[Stray]:
        return [
            Stray(f"{address}|{folder}", Path(folder).parent.name, token)
            for address in self._addresses(root)
            for token, folder in self._call(address, root, "running").items()
        ]

    # -- the driver -----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        for address, root in {(handle["address"], handle["root"]) for handle in self._to_cancel.values()}:
            tokens = [
                token for token, each in self._to_cancel.items() if (each["address"], each["root"]) == (address, root)
            ]
            with suppress(RunnerError):
                self._call(address, Path(root), "cancel", tokens)
                for token in tokens:
                    del self._to_cancel[token]

    def _call(self, address: str, root: Path | str, verb: str, *arguments: Any) -> Any:
        """Ask the driver of this folder of runs; RunnerError while the cluster does not answer."""
        link = self._links.get(address)
        if link is None or link.poll() is not None:
            command = [sys.executable, "-m", "launcher.runners.ray_link", address]
            link = self._links[address] = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        assert link.stdin is not None
        assert link.stdout is not None
        told = b""
        with suppress(BrokenPipeError):
            link.stdin.write(encode([str(root), verb, arguments]).encode() + b"\n")
            link.stdin.flush()
            if select.select([link.stdout], [], [], ANSWER_SECONDS)[0]:
                told = link.stdout.readline()
        if not told:
            _end(self._links.pop(address))
            raise RunnerError(f"Ray at {address} does not answer")
        answer = json.loads(told)
        if "error" in answer:
            raise RunnerError(f"Ray at {address} does not answer: {answer['error']}")
        return answer["answer"]


def _driver_of(handle: Handle) -> tuple[str, str]:
    return handle["address"], handle["root"]


def _end(link: subprocess.Popen[bytes]) -> None:
    link.kill()
    for pipe in (link.stdin, link.stdout):
        with suppress(BrokenPipeError):
            if pipe:
                pipe.close()
    link.wait()
