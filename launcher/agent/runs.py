"""A run of an agent as a value: its lease, what executes it, when its time is up, and how it ended in the end. And what
an agent tells about its runs, and about itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from launcher.errors import NoRoomError, RunnerError
from launcher.item import Lease
from launcher.outcome import Cancelled, Failed, Outcome, Preempted
from launcher.policy import timeout
from launcher.runners import REMOTE, Handle, Request, Runner
from launcher.tracing import RunTraces


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """What an agent tells: `kind` is started, ended, refused, recovered, notified, stopping or trouble; `text` is for
    people."""

    kind: str
    text: str
    lease: Lease | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is ready to be submitted: its lease, who executes it, what it will be asked, and the folder of its code."""

    lease: Lease
    runner: Runner
    request: Request
    code: str

    @property
    def resource(self) -> str:
        """What it will run on."""
        return str(self.lease.document.get("resource"))


Listen = Callable[[AgentEvent], None]


def traced(traces: RunTraces, listen: Listen) -> Listen:
    """Who hears an agent's events after `traces`, which ends its spans by them."""

    def hear(event: AgentEvent) -> None:
        if event.lease and event.kind != "started":  # ended, refused, or its lease was lost
            traces.ended(event.lease, event.outcome)
        listen(event)

    return hear


@dataclass(slots=True)
class Run:
    """A run of ours: its lease, what executes it, since when we have it, when its time is up (both by the monotonic
    clock), and why it is being stopped, if it is.
    `abandoned`: its lease is another's now. `adopted`: another agent started it, so nobody wakes us when it ends."""

    lease: Lease
    runner: Runner
    handle: Handle
    deadline: float = field(init=False)
    begun: float = field(default_factory=time.monotonic)
    stopping: Outcome | None = None
    abandoned: bool = False
    adopted: bool = False

    def __post_init__(self) -> None:
        self.deadline = math.inf if self.remote else deadline(self.lease)

    @property
    def resource(self) -> str:
        """What it runs on."""
        return str(self.lease.document.get("resource"))

    @property
    def remote(self) -> bool:
        """Whether an engine runs it elsewhere, which also keeps its time."""
        return self.resource in REMOTE

    def overdue(self) -> Failed | None:
        """The end of a run whose time is up; None while it is not."""
        if time.monotonic() <= self.deadline:
            return None
        return Failed("timeout", f"ran for longer than its timeout of {timeout(self.lease.document, 'run'):g} s")

    def final(self, outcome: Outcome) -> Outcome:
        """A run that we stopped ends as the reason for it says, however its process took the signal."""
        if not isinstance(outcome, Cancelled) or self.stopping is None:
            return outcome
        if isinstance(self.stopping, Cancelled):
            return outcome
        if isinstance(self.stopping, Failed):
            reason = f"{self.stopping.reason}; {outcome.reason}"
            return replace(self.stopping, reason=reason, result=outcome.result, series=outcome.series, ran=outcome.ran)
        return self.stopping


def deadline(lease: Lease) -> float:
    """When a run's time is up, by the monotonic clock; a run that was taken over began earlier."""
    allowed = timeout(lease.document, "run")
    if allowed is None:
        return math.inf
    ran = time.time() - lease.item.started_at if lease.item.started_at else 0.0
    return time.monotonic() + allowed - max(0.0, ran)


def not_started(error: RunnerError) -> Outcome:
    """The end of a run that its runner could not start: it waits again where only room was lacking."""
    return Preempted(str(error), begun=False) if isinstance(error, NoRoomError) else Failed(error.stage, str(error))
