"""The agent: pop → prepare → request → submit → ack → poll → finish. It keeps its leases by heartbeat, takes over what
agents that died on this machine left, and stops gracefully."""

from __future__ import annotations

import math
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.errors import LaunchError, RunnerError, StoreError
from launcher.host import describe, died_here, end_strays
from launcher.item import AgentInfo, Cancelled, Failed, Lease, Lost, Outcome, Preempted
from launcher.paths import RunPaths
from launcher.policy import timeout
from launcher.queues import LEASE_SECONDS, Store
from launcher.runners import RUNNABLE, Handle, Request, Runner, open_runner
from launcher.sources import checkout
from launcher.spec import Source
from launcher.watch import Watch

SOON_SECONDS = 0.2
"""How often a run is looked at that is being stopped, so that its grace time is kept, or that was taken over."""

LONGEST_PAUSE = 10.0
"""Seconds between two tries while the store cannot be reached."""


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """What an agent tells: `kind` is started, ended, refused, recovered, stopping or trouble; `text` is for people."""

    kind: str
    text: str
    lease: Lease | None = None
    outcome: Outcome | None = None


@dataclass(slots=True)
class _Run:
    """A run of ours: its lease, what executes it, when its time is up, and why it is being stopped, if it is.
    `adopted`: another agent started it, so nobody wakes us when it ends."""

    lease: Lease
    runner: Runner
    handle: Handle
    deadline: float = math.inf
    stopping: Outcome | None = None
    abandoned: bool = False
    adopted: bool = False


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
        self._started: list[_Run] = []
        self._ended: list[tuple[Lease, Outcome]] = []
        self._runners: dict[str, Runner] = {}
        self._watch = Watch(lease_seconds)
        self._looked = -math.inf
        self._wake = threading.Event()
        self._done = threading.Event()
        self._stops = 0
        self._troubles = 0
        self.info = describe(tuple(queues or ()), max_jobs)

    def run(self) -> None:
        """Work until there is nothing more to do. Runs still there after an error are stopped and put back."""
        self._store.register(self.info)
        beating = threading.Thread(target=self._beat, daemon=True, name="heartbeat")
        beating.start()
        try:
            self._end_strays()
            while self._step():
                self._store.wait(self._wake, self._idle_seconds())
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
            self._recover()
            self._obey()
            self._collect()
            took = self._fill()
            waits = bool(self._runs) or took or (self._drain and self._store.next_due(self._queue_names()) is not None)
        except StoreError as error:
            self._tell("trouble", f"{error}; trying again")
            self._troubles += 1
            self._wake.wait(random.uniform(0.5, 1.0) * min(LONGEST_PAUSE, 0.1 * 2**self._troubles))  # noqa: S311 - jitter
            return not (self._stops and not self._runs)
        self._troubles = 0
        return waits or not (self._stops or self._drain)

    def _idle_seconds(self) -> float:
        """How long to wait for a sign, at most."""
        if any(run.stopping or run.adopted for run in self._runs.values()):
            return SOON_SECONDS
        until = [self._lease_seconds / 3, *(run.deadline - time.monotonic() for run in self._runs.values())]
        if len(self._runs) < self._max_jobs:
            with suppress(StoreError):
                until.append(self._store.next_due(self._queue_names()) or math.inf)
        return max(min(until), 0.0)

    def _obey(self) -> None:
        """Stop the runs that somebody cancelled, those whose lease is no longer ours, and, when told to leave, all."""
        held = self._store.leases(self.info.id)
        known = {*self._runs, *(lease.token for lease, _ in self._ended)}
        if held.keys() - known:
            self._put_back_unknown(known)
        for token, run in self._runs.items():
            if token not in held and not run.abandoned:
                run.abandoned = True
                self._tell("trouble", "lost its lease; its run is stopped, another attempt counts", run.lease)
                self._stop_run(run, Preempted("lease lost"))
            elif held.get(token):
                self._stop_run(run, Cancelled())
            elif self._stops > 1:
                self._stop_run(run, Preempted("its agent was stopped"))
            elif time.monotonic() > run.deadline:
                allowed = timeout(run.lease.document, "run")
                self._stop_run(run, Failed("timeout", f"ran for longer than its timeout of {allowed:g} s"))

    def _put_back_unknown(self, known: Collection[str]) -> None:
        """Leases whose grant never reached us: the store's answer was lost on its way."""
        for lease in self._store.held(self.info.id):
            if lease.token not in known:
                self._ended.append((lease, Preempted("the store's answer did not reach its agent")))

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
        """Starts and outcomes stay in our lists until the store has them, so trouble with the store loses none."""
        started = [run for run in self._started if run.lease.token in self._runs]
        acked = self._store.ack((run.lease, run.handle, str(run.handle["dir"])) for run in started)
        self._started.clear()
        for run, ours in zip(started, acked, strict=True):
            if ours:
                self._tell("started", "", run.lease)
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
        handles = runner.submit([request for _, request in prepared]) if prepared else []
        for (lease, _), handle in zip(prepared, handles, strict=True):
            if isinstance(handle, RunnerError):
                self._ended.append((lease, Failed(handle.stage, str(handle))))
            else:
                run = self._runs[lease.token] = _Run(lease, runner, handle, _deadline(lease))
                self._started.append(run)

    def _runner(self, resource: str) -> Runner:
        if resource not in self._runners:
            self._runners[resource] = open_runner(resource, self._wake.set)
        return self._runners[resource]

    # -- staying alive, and what others left ----------------------------------------------------------------------

    def _beat(self) -> None:
        while not self._done.wait(self._lease_seconds / 3):
            try:
                self._store.heartbeat(self.info.id)
            except StoreError as error:
                self._tell("trouble", f"heartbeat: {error}")

    def _recover(self) -> None:
        """Now and then: take over what agents of this machine left that have died, and put back what others held that
        are silent."""
        now = time.monotonic()
        if now < self._looked + self._lease_seconds / 3 or self._stops:
            return
        others = [other for other in self._store.agents() if other.id != self.info.id]
        for other in others:
            if died_here(other):
                self._adopt(other)
        for other in self._watch.silent(others, now):
            reason = f"its agent was silent for more than {self._lease_seconds:g} s"
            if count := self._store.release(other.id, reason, beats=other.beats):
                self._tell("recovered", f"agent {other.id} is silent: {count} items put back")
        self._looked = now

    def _adopt(self, dead: AgentInfo) -> None:
        """Go on with the runs of an agent that died; what it had not started yet is put back."""
        adopted = self._store.adopt(dead.id, self.info.id)
        for lease in adopted:
            handle = lease.item.handle
            if handle is None:
                self._ended.append((lease, Lost(f"its agent (pid {dead.pid}) died before it was started")))
            else:
                runner = self._runner(str(lease.document.get("resource")))
                self._runs[lease.token] = _Run(lease, runner, handle, _deadline(lease), adopted=True)
        if adopted:
            self._tell("recovered", f"agent {dead.id} died: {len(adopted)} items taken over")
            self._end_strays()

    def _end_strays(self) -> None:
        if count := end_strays(self._store, self._runner("local-process"), self._root / "runs", self._runs):
            self._tell("recovered", f"{count} processes ended that no agent had a lease for")

    def _leave(self) -> None:
        for run in self._runs.values():
            self._stop_run(run, Preempted("its agent stopped"))
        deadline = time.monotonic() + self._lease_seconds
        while self._runs and time.monotonic() < deadline:
            self._collect()
            self._wake.wait(SOON_SECONDS)
        for runner in self._runners.values():
            runner.close()
        self._store.leave(self.info.id)

    def _tell(self, kind: str, text: str, lease: Lease | None = None, outcome: Outcome | None = None) -> None:
        self._listen(AgentEvent(kind, text, lease, outcome))


def _final(run: _Run, outcome: Outcome) -> Outcome:
    """A run that we stopped ends as the reason for it says, however its process took the signal."""
    if not isinstance(outcome, Cancelled) or run.stopping is None:
        return outcome
    if isinstance(run.stopping, Cancelled):
        return replace(run.stopping, reason=outcome.reason)
    if isinstance(run.stopping, Failed):
        return replace(run.stopping, reason=f"{run.stopping.reason}; {outcome.reason}")
    return run.stopping


def _deadline(lease: Lease) -> float:
    """When a run's time is up, by the monotonic clock; a run that was taken over began earlier."""
    allowed = timeout(lease.document, "run")
    if allowed is None:
        return math.inf
    ran = time.time() - lease.item.started_at if lease.item.started_at else 0.0
    return time.monotonic() + allowed - max(0.0, ran)
