"""This machine, as its agents see it: who an agent is here, which of them have died, and whether its disk can be
written."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from launcher.item import AgentInfo
from launcher.runners.keeper import process_lives, process_started


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
    """A name that two processes share exactly when they see each other's pids: machines may share a host name, and so
    may the containers of one."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - a link into the kernel, not a path
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}/{boot}/{namespace}"


def died_here(agent: AgentInfo) -> bool:
    """Whether this agent ran on this machine, and its process is no more, or a zombie that nobody waits for."""
    return agent.host == _machine() and not process_lives(agent.pid, agent.process_started)


ROOM_BYTES = 1_000_000
"""Free space below which a disk counts as full."""


def unusable(folder: Path) -> str | None:
    """Why nothing can be written below this folder of ours, if so: a full disk, say. No item is to blame for that."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(4096))
        probe.unlink()
        if shutil.disk_usage(folder).free < ROOM_BYTES:
            return f"{folder} cannot be written: its disk is full"
    except OSError as error:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return f"{folder} cannot be written: {'its disk is full' if full else os.strerror(error.errno or 0)}"
    return None
