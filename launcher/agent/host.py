"""This machine, as its agents see it: who an agent is here, which of them have died, and which processes are left of
runs that nobody has a lease for."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from launcher.item import AgentInfo
from launcher.queues import Store
from launcher.runners import Runner
from launcher.runners.keeper import process_started


def describe(queues: tuple[str, ...], max_jobs: int, room: Mapping[str, float]) -> AgentInfo:
    """A new agent, which this process is."""
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
        room=room,
    )


def _machine() -> str:
    """A name that two processes share exactly when they see each other's pids: containers may share a host name."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - a link into the kernel, not a path
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}/{namespace}"


def died_here(agent: AgentInfo) -> bool:
    """Whether this agent ran on this machine, and its process is there no more."""
    return agent.host == _machine() and process_started(agent.pid) != agent.process_started


def end_strays(store: Store, runner: Runner, root: Path, ours: Collection[str]) -> int:
    """Kill the processes of runs below `root` for which nobody has a lease any more, `ours` by their tokens apart: what
    agents left that were killed, or lost their leases. Returns how many those were."""
    strays = runner.strays(root)
    valid = store.valid(set(strays) - set(ours)).union(ours)
    doomed = [pid for token, pids in strays.items() if token not in valid for pid in pids]
    for pid in doomed:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return len(doomed)
