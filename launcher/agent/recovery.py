"""What an agent does with the runs that others left, or that it has without knowing: it goes on with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.agent.neighbours import Neighbours, of_engine
from launcher.agent.reports import Reports
from launcher.agent.runs import Run
from launcher.agent.strays import Strays
from launcher.errors import RunnerError
from launcher.item import Lease
from launcher.outcome import Lost, Outcome
from launcher.runners import Runner
from launcher.slots import Needs, Slots
from launcher.sources import Checkouts


@dataclass(frozen=True, slots=True)
class Recovery:
    """Takes runs over, whose folders lie below `folder`, into `runs`, with their `slots` and `checkouts`; of a lease
    without a run the `end` is told."""

    neighbours: Neighbours
    strays: Strays
    runner: Callable[[str], Runner]
    folder: Path
    runs: dict[str, Run]
    reports: Reports
    slots: Slots
    checkouts: Checkouts
    end: Callable[[Lease, Outcome], None]

    def look(self, queues: Sequence[str], resources: Collection[str], lease_seconds: float) -> None:
        """Go on with the runs that agents of these queues left that died; what they had not started is put back."""
        left = self.neighbours.look(queues, time.monotonic())
        if left:  # before their leases end, so that nobody starts them beside what still runs
            doomed = {lease.token for _, lease in left if lease.item.handle is None and not of_engine(lease)}
            self.strays.end(resources, doomed)
        for dead, lease in left:
            self.take_over(lease, Lost(f"its agent (pid {dead.pid}) died before it was started"))
        if self.strays.since() > lease_seconds:
            self.strays.end(["local-container"])  # what a killed agent asked Docker for may come up later

    def take_over(self, lease: Lease, unless_started: Outcome) -> None:
        """A lease that we have from now on, and the run that goes with it, if there is one."""
        runner = self.runner(str(lease.document.get("resource")))
        try:
            handle = lease.item.handle or runner.submitted(lease.token, self.folder)
        except RunnerError:
            return  # we have the lease, and look again
        if handle is None:
            self.end(lease, unless_started)
            return
        run = self.runs[lease.token] = Run(lease, runner, handle, adopted=True)
        if lease.item.handle is None:
            self.reports.started(run)
        self.slots.take(lease.token, Needs.of(lease.document), handle.get("gpus", ()))
        self.checkouts.hold(str(handle.get("code", "")))
