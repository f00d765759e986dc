"""The agent: pop → prepare → request → submit → ack → poll → finish. It keeps its leases by heartbeat, takes over what
agents that died on this machine left, and stops gracefully."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.errors import LaunchError, RunnerError, StoreError
from launcher.item import AgentInfo, Cancelled, Failed, Lease, Outcome, Preempted
from launcher.paths import RunPaths
from launcher.queues import LEASE_SECONDS, Store
from launcher.runners import RUNNABLE, Handle, Request, Runner, open_runner
from launcher.runners.local_process import process_started
from launcher.sources import checkout
from launcher.spec import Source

STOPPING_SECONDS = 0.2
"""How often a stopping run is looked at, so that its grace time is kept."""


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """What an agent tells: `kind` is started, ended, refused, recovered, stopping or trouble; `text` is for people."""

    kind: str
    text: str
    lease: Lease | None = None
    outcome: Outcome | None = None


@dataclass(slots=True)
class _Run:
    """A run of ours: its lease, what executes it, and why it is being stopped, if it is."""

    lease: Lease
    runner: Runner
    request: Request
    handle: Handle
    stopping: Outcome | None = None
    abandoned: bool = False


class Agent:
    """Takes items from queues and runs up to `max_jobs` of them at a time, until stopped or, with `drain`, until
    nothing waits any more.

    `queues`: names, or None for all of the store that this version can run. `root`: the folder for run folders and
    checkouts. `listen` hears every AgentEvent, in the agent's threads.
    """

    def __init__(  # noqa: PLR0913 - each is one setting of the command
        self,
        store: Store,
        root: Path,
        *,
        queues: Sequence[str] | None = None,
        max_jobs: int = 1,
        drain: bool = False,
        lease_seconds: float = LEASE_SECONDS,
        environ: Mapping[str, str] | None = None,
        listen: Callable[[AgentEvent], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._root = root
        self._queues = queues
        self._max_jobs = max_jobs
        self._drain = drain
        self._lease_seconds = lease_seconds
        self._environ = dict(os.environ if environ is None else environ)
        self._listen = listen
        self._runs: dict[str, _Run] = {}
        self._ended: list[tuple[Lease, Outcome]] = []
        self._runners: dict[str, Runner] = {}
        self._wake = threading.Event()
        self._done = threading.Event()
        self._stops = 0
        self.info = _describe(tuple(queues or ()), max_jobs)

    def run(self) -> None:
        """Work until there is nothing more to do. Runs still there after an error are stopped and put back."""
        self._store.register(self.info)
        self._recover()
        beating = threading.Thread(target=self._beat, daemon=True, name="heartbeat")
        beating.start()
        try:
            while self._step():
                soon = any(run.stopping for run in self._runs.values())
                self._store.wait(self._wake, STOPPING_SECONDS if soon else self._lease_seconds / 3)
        finally:
            self._done.set()
            beating.join()
            self._leave()

    def stop(self) -> None:
        """The first call: take nothing new, wait for what runs. The second: stop what runs, and put it back."""
        self._stops += 1
        self._wake.set()

    # -- one step of the loop -------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Everything there is to do now; False when the agent's work is done."""
        self._wake.clear()
        try:
            self._obey()
            self._collect()
            started = self._fill()
        except StoreError as error:
            self._tell("trouble", f"{error}; trying again")
            self._wake.wait(1.0)
            return not (self._stops and not self._runs)
        if self._runs or started:
            return True
        return not (self._stops or self._drain)

    def _obey(self) -> None:
        """Stop the runs that somebody cancelled, those whose lease is no longer ours, and, when told to leave, all."""
        if not self._runs:
            return
        held = self._store.leases(self.info.id)
        for token, run in self._runs.items():
            if token not in held and not run.abandoned:
                run.abandoned = True
                self._tell("trouble", "lost its lease; its run is stopped, another attempt counts", run.lease)
                self._stop_run(run, Preempted("lease lost"))
            elif held.get(token):
                self._stop_run(run, Cancelled())
            elif self._stops > 1:
                self._stop_run(run, Preempted("its agent was stopped"))

    def _stop_run(self, run: _Run, why: Outcome) -> None:
        run.stopping = run.stopping or why
        run.runner.cancel(run.lease.token, run.handle)

    def _collect(self) -> None:
        """Poll all runs, one call a runner, and report those that have ended."""
        for runner in self._runners.values():
            handles = {token: run.handle for token, run in self._runs.items() if run.runner is runner}
            for token, outcome in runner.poll(handles).items() if handles else ():
                if outcome is not None:
                    run = self._runs.pop(token)
                    if not run.abandoned:
                        self._ended.append((run.lease, _final(run, outcome)))
        self._report()

    def _report(self) -> None:
        """Outcomes stay in `_ended` until the store has them, so trouble with the store loses none."""
        for (lease, outcome), ours in zip(self._ended, self._store.finish(self._ended), strict=True):
            self._tell("ended" if ours else "refused", type(outcome).__name__.lower(), lease, outcome)
        self._ended.clear()

    def _fill(self) -> bool:
        """Take as many items as there are free places, and start them; True if there were any."""
        free = self._max_jobs - len(self._runs)
        if self._stops or free < 1:
            return False
        leases = self._store.pop(self.info.id, self._queue_names(), free)
        prepared = [run for lease in leases if (run := self._prepare(lease))]
        for runner in self._runners.values():
            self._submit(runner, [(lease, request) for lease, request, of in prepared if of is runner])
        self._report()
        return bool(leases)

    def _queue_names(self) -> Sequence[str]:
        if self._queues is not None:
            return self._queues
        return [queue.name for queue in self._store.queues() if queue.resource in RUNNABLE]

    def _prepare(self, lease: Lease) -> tuple[Lease, Request, Runner] | None:
        """Code, folder and request of a run; what goes wrong here is its outcome."""
        try:
            runner = self._runner(str(lease.document.get("resource")))
            code = checkout(Source.of(lease.document), self._root / "sources")
            paths = RunPaths.of(self._root / "runs", lease.item.id, lease.item.attempt)
            paths.create(lease.document.get("overrides", {}).get("run_config") or {})
            return lease, runner.request(lease, paths, str(code), self._environ), runner
        except (LaunchError, OSError) as error:
            self._ended.append((lease, Failed("prepare", str(error))))
            return None

    def _submit(self, runner: Runner, prepared: Sequence[tuple[Lease, Request]]) -> None:
        started: list[_Run] = []
        handles = runner.submit([request for _, request in prepared]) if prepared else []
        for (lease, request), handle in zip(prepared, handles, strict=True):
            if isinstance(handle, RunnerError):
                self._ended.append((lease, Failed(handle.stage, str(handle))))
            else:
                started.append(_Run(lease, runner, request, handle))
        self._runs.update({run.lease.token: run for run in started})
        acked = self._store.ack((run.lease, run.handle, str(Path(run.request.log).parent)) for run in started)
        for run, ours in zip(started, acked, strict=True):
            if ours:
                self._tell("started", " ".join(run.request.argv), run.lease)

    def _runner(self, resource: str) -> Runner:
        if resource not in self._runners:
            self._runners[resource] = open_runner(resource, self._wake.set)
        return self._runners[resource]

    # -- staying alive, and what others left ----------------------------------------------------------------------

    def _beat(self) -> None:
        while not self._done.wait(self._lease_seconds / 3):
            try:
                self._store.heartbeat(self.info.id)
                self._recover()
            except StoreError as error:
                self._tell("trouble", f"heartbeat: {error}")

    def _recover(self) -> None:
        """Put back what silent agents held; at once where an agent of this machine is known to have died."""
        for other in self._store.agents():
            here = other.host == self.info.host and other.id != self.info.id
            if here and process_started(other.pid) != other.process_started:
                tokens = [lease.token for lease in self._store.held(other.id)]
                ended = open_runner("local-process", self._wake.set).reap(tokens)
                count = self._store.release(other.id, f"its agent (pid {other.pid}) died")
                self._tell("recovered", f"agent {other.id} died: {count} items put back, {ended} processes ended")
        if count := self._store.release_lost(self._lease_seconds):
            self._tell("recovered", f"{count} items put back whose agents were silent for {self._lease_seconds:g} s")

    def _leave(self) -> None:
        for run in self._runs.values():
            self._stop_run(run, Preempted("its agent stopped"))
        deadline = time.monotonic() + self._lease_seconds
        while self._runs and time.monotonic() < deadline:
            self._collect()
            self._wake.wait(STOPPING_SECONDS)
        self._store.leave(self.info.id)

    def _tell(self, kind: str, text: str, lease: Lease | None = None, outcome: Outcome | None = None) -> None:
        self._listen(AgentEvent(kind, text, lease, outcome))


def _final(run: _Run, outcome: Outcome) -> Outcome:
    """A run that we stopped ends as the reason for it says, however its process took the signal."""
    if not isinstance(outcome, Cancelled) or run.stopping is None:
        return outcome
    if isinstance(run.stopping, Cancelled):
        return replace(run.stopping, reason=outcome.reason)
    return run.stopping


def _describe(queues: tuple[str, ...], max_jobs: int) -> AgentInfo:
    now = time.time()
    return AgentInfo(
        id=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}",
        host=_machine(),
        pid=os.getpid(),
        process_started=process_started(os.getpid()),
        queues=queues,
        max_jobs=max_jobs,
        started_at=now,
        seen_at=now,
    )


def _machine() -> str:
    """A name that two processes share exactly when they see each other's pids: containers may share a host name."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - a link into the kernel, not a path
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}/{namespace}"
