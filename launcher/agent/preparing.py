"""Before a run starts: its code, its folder with its config, and the request to its runner. What goes wrong here is the
run's outcome."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.agent.runs import Prepared
from launcher.errors import LaunchError, StoreError
from launcher.item import Lease
from launcher.outcome import Failed, Outcome, Preempted
from launcher.paths import RunPaths
from launcher.policy import timeout
from launcher.runners import Runner
from launcher.slots import Slots
from launcher.sources import Checkouts
from launcher.spec import Source, composed
from launcher.tracing import RunTraces


@dataclass(frozen=True, slots=True)
class Preparing:
    """Prepares the runs of an agent: their folders lie below `root`/runs, they get its `environ`, and what `slots`
    says of their CPUs and GPUs."""

    root: Path
    checkouts: Checkouts
    environ: Mapping[str, str]
    slots: Slots
    traces: RunTraces
    runner: Callable[[str], Runner]

    def prepared(self, lease: Lease, taken: float) -> Prepared | Outcome:
        """What is ready to be submitted, or how the run ends without that; `taken` when it was leased, by the monotonic
        clock."""
        try:
            runner = self.runner(str(lease.document.get("resource")))
            source = Source.of(lease.document) if lease.document.get("uri") else None  # an image has its own code
            here = (lease.document.get("provenance") or {}).get("host") == socket.gethostname()
            code = str(self.checkouts.of(source, added_here=here)) if source and (source.folder or source.repo) else ""
            paths = RunPaths.of(self.root / "runs", lease.item.id, lease.item.attempt)
            paths.create(composed(lease.document))
            environ = {**self.environ, **self.slots.environment(lease.token), **self.traces.running(lease)}
            request = runner.request(lease, paths, code, environ)
        except StoreError as error:
            return Preempted(f"its code could not be read: {error}", begun=False)
        except (LaunchError, OSError) as error:
            return Failed("prepare", str(error))
        except Exception as error:  # whatever a spec brings ends its own run, not the others of this agent
            return Failed("prepare", f"internal error, please report it: {error!r}")
        return late(lease, taken) or Prepared(lease, runner, request, code)


def late(lease: Lease, taken: float) -> Failed | None:
    """The end of an item that was `taken` (by the monotonic clock) for so long that its `timeout.start` is over."""
    allowed = timeout(lease.document, "start")
    if allowed is None or time.monotonic() <= taken + allowed:
        return None
    return Failed("timeout", f"was not started within its timeout of {allowed:g} s")
