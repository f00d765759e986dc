"""Runs as processes of this machine, each in its own process group, with one log file for what it prints."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from launcher.errors import RunnerError
from launcher.item import Cancelled, Lease, Lost, Outcome
from launcher.paths import RunPaths
from launcher.runners import Handle, Request
from launcher.runners.environment import command, own_environment, run_environment
from launcher.runners.verdict import judge

GRACE_SECONDS = 10.0
"""How long a cancelled run may take to end by itself after SIGTERM."""


class LocalProcess:
    """The runner for `local-process`; see `launcher.runners.Runner` for its verbs."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping: dict[str, float] = {}

    def request(self, lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str]) -> Request:
        """See `Runner.request`."""
        if lease.document.get("docker", {}).get("docker_image"):
            raise RunnerError("local-process cannot run a docker_image; use the resource local-container", "prepare")
        argv = command(lease, paths)
        if not argv:
            raise RunnerError("the spec has no entry_point, so there is nothing to start", "prepare")
        env = {**environ, **own_environment(lease, environ), **run_environment(lease, paths)}
        cwd = os.path.join(code, lease.document.get("overrides", {}).get("working_dir") or "")  # noqa: PTH118 - pure text
        return Request(tuple(argv), env, cwd, str(paths.log), lease.token)

    def submit(self, requests: Sequence[Request]) -> list[Handle | RunnerError]:
        """See `Runner.submit`."""
        return [self._start(request) for request in requests]

    def poll(self, handles: Mapping[str, Handle]) -> dict[str, Outcome | None]:
        """See `Runner.poll`."""
        return {token: self._look(token, handle) for token, handle in handles.items()}

    def cancel(self, token: str, handle: Handle) -> None:  # noqa: ARG002 - other runners need it
        """See `Runner.cancel`: SIGTERM to the whole group now, SIGKILL after the grace time (by a later poll)."""
        process = self._processes.get(token)
        if process is None or token in self._stopping:
            return
        self._stopping[token] = time.monotonic() + GRACE_SECONDS
        _signal_group(process.pid, signal.SIGTERM)

    def reap(self, tokens: Sequence[str]) -> int:
        """See `Runner.reap`: every process with one of the lease tokens in its environment."""
        marks = {f"LAUNCHER_LEASE_TOKEN={token}".encode() for token in tokens}
        found = [pid for pid in _pids() if marks.intersection(_environment(pid))] if marks else []
        for pid in found:
            _signal(pid, signal.SIGKILL)
        return len(found)

    def _start(self, request: Request) -> Handle | RunnerError:
        try:
            with open(request.log, "ab") as log:  # noqa: PTH123 - the request is plain text
                process = subprocess.Popen(
                    request.argv, env=dict(request.env), cwd=request.cwd, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            return RunnerError(_why_not(request, error))
        self._processes[request.token] = process
        threading.Thread(target=self._watch, args=(process,), daemon=True, name=f"run-{process.pid}").start()
        return {"pid": process.pid, "started": process_started(process.pid), "dir": str(Path(request.log).parent)}

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._wake()

    def _look(self, token: str, handle: Handle) -> Outcome | None:
        process = self._processes.get(token)
        if process is None:
            return Lost("its process belonged to another agent")
        exit_code = process.poll()
        deadline = self._stopping.get(token)
        if exit_code is None:
            if deadline is not None and time.monotonic() > deadline:
                _signal_group(process.pid, signal.SIGKILL)
            return None
        del self._processes[token]
        paths = RunPaths(Path(handle["dir"]))
        if deadline is None:
            return judge(exit_code, paths)
        del self._stopping[token]
        _signal_group(process.pid, signal.SIGKILL)  # what the run started and left behind
        return Cancelled(f"stopped; it ended with {_ended(exit_code)}")


def process_started(pid: int) -> float:
    """When a process began, in the kernel's ticks since boot: tells a pid from a later process that got its number.

    0 where the system does not say, or the process is gone.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    return float(text.rpartition(")")[2].split()[19])


def _ended(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"


def _why_not(request: Request, error: OSError) -> str:
    program = request.argv[0]
    if not Path(request.cwd).is_dir():
        return f"the folder to run in, {request.cwd}, is not there"
    if isinstance(error, FileNotFoundError):
        where = "there" if "/" in program else f"on PATH ({request.env.get('PATH', '')})"
        return f"the program {program!r} is not {where}; install it, or correct the entry point"
    if isinstance(error, PermissionError):
        return f"the program {program!r} may not be executed; chmod +x it, or start it through its interpreter"
    return f"the program {program!r} cannot be started: {error.strerror or error}"


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended, which is what was wanted
        os.killpg(pid, number)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _pids() -> list[int]:
    proc = Path("/proc")
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()] if proc.is_dir() else []


def _environment(pid: int) -> set[bytes]:
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return set()
