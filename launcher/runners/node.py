"""What an engine starts on a node: a small program of its own (standard library only) that runs the commands of an
allocation, some at once, and writes down by rename how each ended, so that no engine has to be believed alone.

`python -I -S node.py TASKS INDEX AT_ONCE`: line INDEX (from 0) of the file TASKS names the folders of the runs, which
hold a request each; `python -I -S node.py -- FOLDER` runs one. `launcher.runners.engines` writes requests and reads
outcomes."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:  # its import costs as much as starting a run
    from typing import Any

REQUEST = "request.json"
OUTCOME = "outcome.json"
STOP = "stop"
TICK_SECONDS = 1.0
"""How often the files are looked for that stop one run of several."""

AGAIN = 75
"""EX_TEMPFAIL: a program that was warned, and exits so, has saved its state and wants to be started again."""

LATE_SECONDS = 0.2
"""How much later than its program the node may hear that both are being ended."""

REFERENCE = re.compile(r"\$\{(\w+)\}")
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT)


class Run:
    """A run of this allocation: what is asked, in `request`, and its process."""

    def __init__(self, folder: str, request: dict[str, Any], slot: int) -> None:
        self.folder = folder
        self.request = request
        self.slot = slot
        self.pid = 0
        self.began = time.time()
        self.stopped = False
        self.timed_out = False
        self.kill_at: float | None = None
        self.deadline = time.monotonic() + request["timeout"] if request.get("timeout") else None

    def start(self, shares: list[dict[str, Any]]) -> None:
        """OSError, LookupError: why it cannot be started."""
        request = self.request
        environment = {**os.environ, **shares[self.slot]["environment"], **request["env"]}
        if missing := [name for name in request["needed"] if name not in os.environ]:
            raise LookupError(f"its engine does not hand on {', '.join(missing)} from the agent's environment")
        environment.update((name, _filled(text)) for name, text in request["references"].items())
        environment["LAUNCHER_RESTARTS"] = os.environ.get("SLURM_RESTART_COUNT", "0")
        os.chdir(request["cwd"])
        if shares[self.slot]["cpus"]:
            os.sched_setaffinity(0, shares[self.slot]["cpus"])
        os.environ["PATH"] = environment.get("PATH", os.defpath)  # where the program is searched
        writing = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.pid = os.posix_spawnp(
            request["argv"][0], request["argv"], environment, setpgroup=0,
            setsigmask=(), setsigdef=(signal.SIGTERM, *WARNINGS, signal.SIGPIPE, signal.SIGCHLD),
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, request["log"], writing, 0o666),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ),
        )  # fmt: skip

    def stop(self) -> None:
        """SIGTERM to all of it, SIGKILL after the grace time."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + self.request["grace"]
            self.signal(signal.SIGTERM)

    def look(self, now: float) -> None:
        """Stop it if its time is up or somebody asks for it; end it if it does not stop."""
        if self.deadline is not None and now > self.deadline and self.kill_at is None:
            self.timed_out = True
            self.stop()
        if self.kill_at is None and os.path.exists(os.path.join(self.folder, STOP)):  # noqa: PTH110, PTH118
            self.stopped = True
            self.stop()
        if self.kill_at is not None and now > self.kill_at:
            self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """To all of its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def write(self, **outcome: Any) -> None:
        """How it ended; whoever reads it sees nothing or all of it."""
        told = {"token": self.request["token"], "stopped": self.stopped, "timed_out": self.timed_out, **outcome}
        path = os.path.join(self.folder, OUTCOME)  # noqa: PTH118 - pathlib costs start
        with open(f"{path}.partial", "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(told, file)
        os.replace(f"{path}.partial", path)  # noqa: PTH105


class Allocation:
    """The runs of one allocation, in their order, `at_once` at a time, each with its part of the CPUs and GPUs."""

    def __init__(self, folders: list[str], at_once: int, watched: int = 0) -> None:
        self._waiting = folders[::-1]
        self._shares = _shares(at_once)
        self._free = list(range(at_once))[::-1]
        self._running: dict[int, Run] = {}
        self._stopping = False
        self._warned = False
        self._again = False
        self._watched = watched

    def run(self) -> int:
        """Work until all have ended; the exit code is theirs if it is one for all, else 1."""
        watched = {signal.SIGCHLD, signal.SIGTERM, *WARNINGS}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        codes = {0}
        while self._running or (self._waiting and not self._stopping):
            while self._waiting and self._free and not self._stopping:
                codes.add(self._start(self._waiting.pop()))
            if self._running:
                told = signal.sigtimedwait(watched, TICK_SECONDS)
                self._hear(told.si_signo if told else 0)
                codes |= self._reaped()
                if self._watched and os.getppid() != self._watched:  # who started us was killed
                    self._hear(signal.SIGTERM)
                now = time.monotonic()
                for run in self._running.values():
                    run.look(now)
        if self._again and not _requeue():
            codes.add(AGAIN)
        return max(codes) if len(codes) == 2 and all(0 <= code < 256 for code in codes) else int(codes != {0})

    def _start(self, folder: str) -> int:
        request = _read(folder, REQUEST)
        before = _read(folder, OUTCOME)
        if request is None or (before and before["token"] == request["token"] and not before["stopped"]):
            return 0  # withdrawn, or done before the allocation was requeued
        run = Run(folder, request, self._free[-1])
        if os.path.exists(os.path.join(folder, STOP)):  # noqa: PTH110, PTH118
            run.stopped = True
            run.write(exit_code=None)
            return 0
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, OUTCOME))  # noqa: PTH108, PTH118
        try:
            run.start(self._shares)
        except (OSError, LookupError) as error:
            number = error.errno if isinstance(error, OSError) else None
            cwd = request["cwd"]
            there = os.path.isdir(cwd)  # noqa: PTH112
            run.write(exit_code=None, errno=number, error=str(error), there=there, cwd=cwd, program=request["argv"][0])
            return 1
        self._running[run.pid] = run
        self._free.pop()
        return 0

    def _hear(self, number: int) -> None:
        if number == signal.SIGTERM:
            self._stopping = True
            for run in self._running.values():
                run.stopped = True
                run.stop()
        elif number in WARNINGS:
            self._warned = True
            for run in self._running.values():
                with suppress(ProcessLookupError):
                    os.kill(run.pid, number)  # alone: what it has started may know nothing of such a signal

    def _reaped(self) -> set[int]:
        codes = set()
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                run = self._running.pop(ended[0], None)
                if run:
                    self._free.append(run.slot)
                    run.signal(signal.SIGKILL)  # what it started and left behind
                    code = os.waitstatus_to_exitcode(ended[1])
                    if code and not self._stopping and signal.sigtimedwait({signal.SIGTERM}, LATE_SECONDS):
                        self._hear(signal.SIGTERM)  # engines signal all processes: it may have died of that first
                        run.stopped = True
                    if code == AGAIN and self._warned and not run.stopped:
                        self._again = run.stopped = True
                    run.write(exit_code=code, again=self._again, ran=[run.began, time.time()])
                    codes.add(code)
        return codes


def _shares(at_once: int) -> list[dict[str, Any]]:
    """For each place its CPUs, if there are enough, and the variable that names its GPUs, if there are any."""
    cpus = sorted(os.sched_getaffinity(0))
    gpus = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if at_once == 1:
        return [{"cpus": [], "environment": {}}]
    pinned = len(cpus) >= at_once
    return [
        {
            "cpus": _part(cpus, place, at_once) if pinned else [],
            "environment": {"CUDA_VISIBLE_DEVICES": ",".join(_part(gpus, place, at_once))} if gpus else {},
        }
        for place in range(at_once)
    ]


def _part(names: list[Any], place: int, parts: int) -> list[Any]:
    """Parts of equal size, neighbours together; where there are fewer names than parts, one that is shared."""
    if len(names) < parts:
        return [names[place % len(names)]]
    return names[place * len(names) // parts : (place + 1) * len(names) // parts]


def _filled(text: str) -> str:
    return REFERENCE.sub(lambda match: os.environ.get(match[1], match[0]), text)


def _read(folder: str, name: str) -> dict[str, Any] | None:
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            found: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    return found


def _requeue() -> bool:
    """Ask Slurm to start this job again, as the same one."""
    job = os.environ.get("SLURM_JOB_ID")
    return bool(job) and os.spawnlp(os.P_WAIT, "scontrol", "scontrol", "requeue", str(job)) == 0  # noqa: S606 - argv


def main(tasks: str, index: int, at_once: int) -> int:
    """Run what a line of the file `tasks` names; nothing where the file is gone, for then nobody wants it any more."""
    try:
        with open(tasks, encoding="utf-8") as file:  # noqa: PTH123
            line = next(line for number, line in enumerate(file) if number == index)
    except FileNotFoundError:
        return 0
    return Allocation(line.rstrip("\n").split("\t"), at_once).run()


def apart(folder: str) -> int:
    """Run one below a process in between: an engine that kills its children at once, without a word to what these have
    started, kills that one, and the run is stopped as it should be."""
    starter, between = os.getppid(), os.getpid()
    if (child := os.fork()) == 0:
        os.setsid()
        return Allocation([folder], 1, watched=between).run()
    heard = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        told = signal.sigtimedwait(heard, TICK_SECONDS)
        if (told and told.si_signo == signal.SIGTERM) or os.getppid() != starter:
            os.kill(child, signal.SIGTERM)
    return abs(os.waitstatus_to_exitcode(ended[1]))


if __name__ == "__main__":
    code = apart(sys.argv[2]) if sys.argv[1] == "--" else main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    os._exit(code)  # nothing is left to tidy up, and that takes as long as starting a run
