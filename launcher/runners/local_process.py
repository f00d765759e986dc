"""Runs as processes of this machine, each in its own process group, with one log file for what it prints. A keeper
(`launcher.runners.keeper`) starts them and outlives the agent; runs that others left are taken over by handle."""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.errors import RunnerError
from launcher.item import Lease
from launcher.outcome import Lost, Outcome
from launcher.paths import RunPaths
from launcher.runners import Handle, Request, Stray, Told, keeper
from launcher.runners.environment import command, own_environment, run_environment
from launcher.runners.keeper import process_lives
from launcher.runners.verdict import GRACE_SECONDS, judge, stopped, until_written, why_not, written

DEATH_SECONDS = 2.0
"""How long processes that are killed may take to be gone, before others take their place anyway."""

GONE_SECONDS = 2.0
"""How long the keeper of another agent may take to write the exit code of a process that is gone."""


class LocalProcess:
    """The runner for `local-process`; see `launcher.runners.Runner` for its verbs."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._keeper: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._awaited: dict[str, tuple[Request, Told]] = {}
        self._exits: dict[str, Any] = {}
        self._kept: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping: dict[str, float] = {}
        self._gone: dict[str, float] = {}

    def request(self, lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str]) -> Request:
        """See `Runner.request`."""
        if lease.document.get("docker", {}).get("docker_image"):
            raise RunnerError("local-process cannot run a docker_image; use the resource local-container", "prepare")
        argv = command(lease, paths)
        if not argv:
            raise RunnerError("the spec has no entry_point, so there is nothing to start", "prepare")
        env = {**environ, **own_environment(lease, environ), **run_environment(lease, paths)}
        cwd = os.path.join(code or paths.folder, lease.document.get("overrides", {}).get("working_dir") or "")  # noqa: PTH118 - pure text
        return Request(tuple(argv), env, cwd, str(paths.log), lease.token)

    def show(self, requests: Sequence[Request], root: Path) -> Iterator[str]:  # noqa: ARG002 - the protocol's
        """See `Runner.show`."""
        for request in requests:
            yield f"cd {shlex.quote(request.cwd)}\n{shlex.join(request.argv)}\n"

    def room(self) -> int:
        """See `Runner.room`: the agent counts."""
        return sys.maxsize

    def submit(self, requests: Sequence[Request], tell: Told) -> None:
        """See `Runner.submit`: the keeper answers one after the other."""
        with self._lock:
            running = self._running_keeper()
            self._awaited |= {request.token: (request, tell) for request in requests}
        assert running.stdin is not None
        with suppress(BrokenPipeError):  # then what is awaited hears of it
            running.stdin.write(b"".join(_line(request) for request in requests))
            running.stdin.flush()

    def hurry(self) -> None:
        """See `Runner.hurry`: a program is here already."""

    def poll(self, handles: Mapping[str, Handle]) -> dict[str, Outcome | None]:
        """See `Runner.poll`."""
        return {token: self._look(token, handle) for token, handle in handles.items()}

    def cancel(self, token: str, handle: Handle) -> None:
        """See `Runner.cancel`: SIGTERM to the whole group now, SIGKILL after the grace time (by a later poll)."""
        if token not in self._stopping and _lives(handle):
            self._stopping[token] = time.monotonic() + GRACE_SECONDS
            _signal_group(handle["pid"], signal.SIGTERM)

    def strays(self, root: Path) -> list[Stray]:
        """See `Runner.strays`: by the environment that each run's processes have."""
        found = []
        for pid in _pids():
            environment = dict(entry.partition("=")[::2] for entry in _environment(pid))
            folder = environment.get("LAUNCHER_RUN_DIR", "")
            if folder.startswith(f"{root}{os.sep}"):
                found.append(Stray(pid, Path(folder).parent.name, environment.get("LAUNCHER_LEASE_TOKEN", "")))
        return found

    def submitted(self, token: str, root: Path) -> Handle | None:  # noqa: ARG002 - the protocol's
        """See `Runner.submitted`: such a run is a stray here, and is started again."""
        return None

    def end(self, strays: Sequence[Stray]) -> None:
        """See `Runner.end`: killed, and waited for, since their items may start again at once."""
        handles = []
        for stray in strays:
            with suppress(ProcessLookupError, PermissionError):
                handles.append(os.pidfd_open(int(stray.id)))
                signal.pidfd_send_signal(handles[-1], signal.SIGKILL)
        deadline = time.monotonic() + DEATH_SECONDS
        for handle in handles:
            select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
            os.close(handle)

    def close(self) -> None:
        """See `Runner.close`: the keeper ends with its last run."""
        with self._lock:
            running = self._keeper  # it is forgotten once it has ended, which may be while this waits
        if running and running.stdin:
            with suppress(BrokenPipeError):
                running.stdin.close()
            with suppress(subprocess.TimeoutExpired):  # it may have a run that we did not hear of
                running.wait(0 if self._kept else GRACE_SECONDS)

    # -- the keeper -----------------------------------------------------------------------------------------------

    def _running_keeper(self) -> subprocess.Popen[bytes]:
        if self._keeper is None:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, str(os.getpid())], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/",
            )  # fmt: skip
            threading.Thread(target=self._listen, args=(self._keeper,), daemon=True, name="keeper").start()
        return self._keeper

    def _listen(self, running: subprocess.Popen[bytes]) -> None:
        """Hear a keeper until it ends, and answer for what it leaves then."""
        assert running.stdout is not None
        with running.stdout:
            for line in running.stdout:
                reply = json.loads(line)
                if "exit_code" in reply:
                    self._exits[reply["token"]] = reply["exit_code"]
                    self._wake()
                else:
                    self._started(running, reply)
        running.wait()
        with self._lock:
            self._keeper = None
            left, self._awaited = self._awaited, {}
        for token, (_, tell) in left.items():
            tell(token, RunnerError("the process that starts runs was killed; the run may be added again"))
        self._wake()

    def _started(self, running: subprocess.Popen[bytes], reply: Mapping[str, Any]) -> None:
        with self._lock:
            request, tell = self._awaited.pop(reply["token"])
        if "pid" in reply:
            self._kept[request.token] = running
            handle = {name: reply[name] for name in ("pid", "started", "began")}
            tell(request.token, {**handle, "dir": str(Path(request.log).parent)})
            return
        there = Path(request.cwd).is_dir()
        path = request.env.get("PATH", "")
        why = why_not(request.argv[0], request.cwd, there, path, reply["errno"], reply["error"])
        tell(request.token, RunnerError(why))

    # -- how runs end ---------------------------------------------------------------------------------------------

    def _look(self, token: str, handle: Handle) -> Outcome | None:
        deadline = self._stopping.get(token)
        exit_code = self._exits.get(token)
        if exit_code is None and deadline is None and self._is_kept(token):
            return None
        paths = RunPaths(Path(handle["dir"]))
        if exit_code is None:
            if _lives(handle):
                if deadline is not None and time.monotonic() > deadline:
                    _signal_group(handle["pid"], signal.SIGKILL)
                return None
            exit_code = written(paths)
            if exit_code is None and self._may_still_be_told(token):
                return None
        for known in (self._exits, self._kept, self._stopping, self._gone):
            known.pop(token, None)
        ran = until_written(handle.get("began"), paths)
        if deadline is not None:
            return stopped(exit_code, paths, ran)
        if exit_code is None:
            return Lost("its process ended while nobody watched, so its exit code is unknown")
        return judge(exit_code, paths, ran)

    def _is_kept(self, token: str) -> bool:
        """Whether our keeper lives and will tell how it ends."""
        kept = self._kept.get(token)
        return kept is not None and kept.poll() is None

    def _may_still_be_told(self, token: str) -> bool:
        """Of a process that is gone: our keeper tells for sure, another agent's may be about to write."""
        if self._is_kept(token):
            return True
        return time.monotonic() < self._gone.setdefault(token, time.monotonic() + GONE_SECONDS)


def _line(request: Request) -> bytes:
    exit_file = RunPaths(Path(request.log).parent).exit_code
    told = {
        "argv": request.argv, "env": dict(request.env), "cwd": request.cwd, "log": request.log,
        "token": request.token, "exit": str(exit_file),
    }  # fmt: skip
    return json.dumps(told).encode() + b"\n"


def _lives(handle: Handle) -> bool:
    return process_lives(handle["pid"], handle["started"])


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended, which is what was wanted
        os.killpg(pid, number)


def _pids() -> list[int]:
    proc = Path("/proc")
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()] if proc.is_dir() else []


def _environment(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="surrogateescape").split("\0")
    except OSError:
        return []
