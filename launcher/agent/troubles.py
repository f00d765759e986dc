"""What goes wrong around an agent, told once and not each time it is met again: a store that cannot be reached, a disk
that is full. It also says how long to leave the store in peace, and whether there is room for new runs."""

from __future__ import annotations

import errno
import random
import shutil
import threading
from pathlib import Path

from launcher.agent.runs import AgentEvent, Listen

LONGEST_PAUSE = 10.0
"""Seconds between two tries while the store cannot be reached."""

ROOM_BYTES = 1_000_000
"""Free space below which a disk that was full is full still."""


class Troubles:
    """The troubles of an agent whose runs lie below `root`; its loop and its heartbeat share one."""

    def __init__(self, root: Path, listen: Listen) -> None:
        self._root = root
        self._listen = listen
        self._told: type[Exception] | None = None
        self._failures = 0
        self._lock = threading.Lock()
        self.disk_full = False

    def store_fails(self, error: Exception) -> float:
        """The store could not be used; returns the seconds to wait before the next try, longer each time."""
        with self._lock:
            self._failures += 1
            news, self._told = type(error) is not self._told, type(error)
            pause = min(LONGEST_PAUSE, 0.1 * 2.0 ** min(self._failures, 10))
        if news:
            self._listen(AgentEvent("trouble", f"{error}; trying again"))
        return random.uniform(0.5, 1.0) * pause  # noqa: S311 - jitter

    def store_works(self) -> None:
        """The store took what it was given."""
        with self._lock:
            self._failures, self._told = 0, None

    def is_full(self, error: Exception) -> bool:
        """Whether an error means that the disk of the runs is full, which is remembered."""
        if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return False
        if not self.disk_full:
            self.disk_full = True
            told = f"the disk is full: {self._root} has no room for a run, so none is started until it has"
            self._listen(AgentEvent("trouble", told))
        return True

    def has_room(self) -> bool:
        """Whether a run can be given a folder, as far as is known."""
        if self.disk_full and _free_bytes(self._root) >= ROOM_BYTES:
            self.disk_full = False
            self._listen(AgentEvent("trouble", f"{self._root} has room again"))
        return not self.disk_full


def _free_bytes(folder: Path) -> int:
    """The free space of a folder's disk, also where the folder itself could not be made."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free
