"""The keeper of an agent's processes: a small program of its own (standard library only) that starts runs, writes down
how each ended, also after its agent was killed, so that no outcome is lost, and ends what they left behind.
`local_process` starts one and talks to it over pipes, a JSON object a line; it ends when its agent has gone and its
last run has ended."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any, NamedTuple

BLOCK = 1 << 16

SETTLED_SECONDS = 0.001
"""How long after its start a process is asked when it began: while it still loads its program, the kernel lets whoever
asks wait for milliseconds, in which nothing else would be started here."""


def process_lives(pid: int, started: float) -> bool:
    """Whether this process is there, and is no zombie, which has ended and waits for its parent."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:  # noqa: PTH123 - pathlib costs start
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return False
    return float(fields[19]) == started and fields[0] != "Z"


def process_started(pid: int) -> float:
    """When a process began, in the kernel's ticks since boot: tells a pid from a later process that got its number.

    0 where the system does not say, or the process is gone.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:  # noqa: PTH123 - pathlib costs start
            return float(stat.read().rpartition(")")[2].split()[19])
    except OSError:
        return 0.0


class Running(NamedTuple):
    """A run: its token, the file for its exit code, its process, and when that began, in seconds since the epoch."""

    token: str
    exit: str
    process: subprocess.Popen[bytes]
    began: float


class Keeper:
    """Starts what it reads from `requests` while its agent lives (`agent`, a pid); tells `replies` that it started or
    why not, and its exit code at its end.

    A request has argv, env, cwd, log, token, and `exit`, the file that gets the exit code.
    """

    def __init__(self, agent: int, requests: int, replies: int) -> None:
        self._agent = agent
        self._requests = requests
        self._replies = replies
        self._unread = b""
        self._running: dict[int, Running] = {}
        self._untold: dict[int, float] = {}

    def run(self) -> None:
        """Work until the agent has gone and nothing runs any more."""
        selector = selectors.DefaultSelector()
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector.register(woken, selectors.EVENT_READ)
        selector.register(self._requests, selectors.EVENT_READ)
        open_ = True
        while open_ or self._running:
            for key, _ in selector.select(SETTLED_SECONDS if self._untold else None):
                if key.fd == woken:
                    os.read(woken, BLOCK)
                elif not self._read():
                    selector.unregister(self._requests)
                    open_ = False
            self._reap()
            self._tell_settled()

    def _read(self) -> bool:
        block = os.read(self._requests, BLOCK)
        *lines, self._unread = (self._unread + block).split(b"\n")
        for line in lines:
            self._start(json.loads(line))
        return bool(block)

    def _start(self, request: dict[str, Any]) -> None:
        token, began = request["token"], time.time()
        if os.getppid() != self._agent:
            return  # it can tell nobody of this run, so the next agent starts it again
        try:
            with open(request["log"], "ab") as log:  # noqa: PTH123 - pathlib costs start
                process = subprocess.Popen(
                    request["argv"], env=request["env"], cwd=request["cwd"], stdin=subprocess.DEVNULL,
                    stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
        except (OSError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else None
            self._tell({"token": token, "errno": number, "error": str(error)})
            return
        self._running[process.pid] = Running(token, request["exit"], process, began)
        if os.getppid() != self._agent:  # killed meanwhile: it did not hear of this run
            os.killpg(process.pid, signal.SIGKILL)
        self._untold[process.pid] = time.monotonic() + SETTLED_SECONDS

    def _tell_settled(self) -> None:
        now = time.monotonic()
        for pid in [pid for pid, settled in self._untold.items() if settled <= now]:
            self._tell_started(pid, self._running[pid], process_started(pid))

    def _tell_started(self, pid: int, run: Running, started: float) -> None:
        del self._untold[pid]
        self._tell({"token": run.token, "pid": pid, "started": started, "began": run.began})

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid in self._running:
                    run = self._running.pop(pid)
                    run.process.returncode = code = os.waitstatus_to_exitcode(status)
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(pid, signal.SIGKILL)  # what it left behind would go on beside the next run
                    if pid in self._untold:
                        self._tell_started(pid, run, 0.0)  # the pid may be another's already
                    self._write(run.exit, code)
                    self._tell({"token": run.token, "exit_code": code})

    def _write(self, path: str, code: int) -> None:
        """By rename: whoever reads it after a crash sees nothing or all of it."""
        with suppress(OSError):  # a folder that is gone; the agent hears of it, if it lives
            with open(f"{path}.partial", "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs start
                file.write(f"{code}\n")
            os.replace(f"{path}.partial", path)  # noqa: PTH105 - pathlib costs start

    def _tell(self, reply: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the agent was killed; the exit file tells the next one
            os.write(self._replies, json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, lambda *_: None)  # not SIG_IGN, which the runs would inherit
    Keeper(int(sys.argv[1]), sys.stdin.fileno(), sys.stdout.fileno()).run()
