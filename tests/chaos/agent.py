"""An agent for chaos: `python -m tests.chaos.agent URL ROOT LEASE_SECONDS JOBS`. SIGTERM stops it as Ctrl-C does;
SIGUSR1 and SIGUSR2 set its wall clock an hour forth and back. CHAOS_MACHINE makes it think it is on another machine.
CHAOS_DIES as `before ack 3` kills it at its third call of the store's verb that does something, before or after it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from launcher.agent import Agent, AgentEvent, host
from launcher.queues import Store, open_store

HOUR = 3600.0

_now = time.time
_offset = 0.0


def jump(seconds: float) -> None:
    global _offset  # noqa: PLW0603 - a clock is global
    _offset += seconds


def tell(event: AgentEvent) -> None:
    item = event.lease.item if event.lease else None
    about = f"{item.id}/{item.attempt} {event.outcome or ''}" if item else ""
    sys.stdout.write(f"{_now():.3f} {event.kind} {event.text} {about}\n")


EXCHANGED = ("ack", "finish", "pop")


def dies(store: Store, when: str, verb: str, number: str) -> None:
    """Let this process be killed in the middle of its work, at the exact place where somebody might pull the plug. An
    exchange acks, finishes and pops: it counts as `verb` if it does that, or is asked to."""
    numbers = count(1)
    part = EXCHANGED.index(verb)

    def dying(name: str) -> Callable[..., Any]:
        call = getattr(store, name)

        def wrapped(*arguments: Any) -> Any:
            arguments = tuple(list(given) if hasattr(given, "__next__") else given for given in arguments)
            given = arguments[part + 1] if name == "exchange" else arguments[0]
            if verb != "pop" and not given:
                return call(*arguments)
            result = None if when == "before" else call(*arguments)
            did = result and (result[part] if name == "exchange" else True)
            if (when == "before" or did) and next(numbers) == int(number):
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments) if when == "before" else result

        return wrapped

    for name in (verb, "exchange"):
        setattr(store, name, dying(name))


def main() -> None:
    url, root, lease_seconds, jobs = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if machine := os.environ.get("CHAOS_MACHINE"):
        host._machine = lambda: machine
    time.time = lambda: _now() + _offset
    store = open_store(url)
    if plan := os.environ.get("CHAOS_DIES"):
        dies(store, *plan.split())
    soon = {"slurm": {"poll_seconds": 0.2}}
    worker = Agent(
        store, Path(root), max_jobs=int(jobs), lease_seconds=float(lease_seconds), listen=tell, runner_options=soon
    )
    print(worker.info.id)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    signal.signal(signal.SIGUSR1, lambda *_: jump(HOUR))
    signal.signal(signal.SIGUSR2, lambda *_: jump(-HOUR))
    worker.run()
    threads = [thread.name for thread in threading.enumerate() if not thread.daemon]
    assert threads == ["MainThread"], threads


if __name__ == "__main__":
    main()
