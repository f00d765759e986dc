"""What goes wrong around an agent and is no fault of its items, told once and not each time it is met again: a store
that cannot be reached, a folder that cannot be written. It also says how long to leave either in peace."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from launcher.agent.host import unusable
from launcher.agent.runs import AgentEvent, Listen
from launcher.outcome import Failed, Outcome, Preempted

LONGEST_PAUSE = 10.0
"""Seconds between two tries while the store cannot be reached, or no folder for a run can be made."""

FILES = ("prepare", "submit", "result")
"""The stages at which an agent's own files may be at fault, not the item."""


class Troubles:
    """The troubles of an agent whose runs lie below `folder`; its loop and its heartbeat share one. It pauses for a
    third of a lease at most."""

    def __init__(self, folder: Path, lease_seconds: float, listen: Listen) -> None:
        self._folder = folder
        self._pause = min(LONGEST_PAUSE, lease_seconds / 3)
        self._listen = listen
        self._told: type[Exception] | None = None
        self._failures = 0
        self._lock = threading.Lock()
        self._unusable: str | None = None
        self._look_at = 0.0

    def store_fails(self, error: Exception) -> float:
        """The store could not be used; returns the seconds to wait before the next try, longer each time."""
        with self._lock:
            self._failures += 1
            news, self._told = type(error) is not self._told, type(error)
            pause = min(self._pause, 0.1 * 2.0 ** min(self._failures, 10))
        if news:
            self._listen(AgentEvent("trouble", f"{error}; trying again"))
        return random.uniform(0.5, 1.0) * pause  # noqa: S311 - jitter

    def store_works(self) -> None:
        """The store took what it was given."""
        with self._lock:
            self._failures, self._told = 0, None

    def judge(self, outcome: Outcome) -> Outcome:
        """How a run ends: put back, if it failed for our folder, which cannot be written."""
        if isinstance(outcome, Failed) and outcome.stage in FILES and (why := self._look()):
            return Preempted(why, begun=outcome.stage == "result")
        return outcome

    @property
    def folder_fails(self) -> bool:
        """Whether our folder could not be written when it was last looked at."""
        return self._unusable is not None

    def may_start(self) -> bool:
        """Whether runs can be given their folders; one that could not be written is looked at now and then."""
        if self.folder_fails and time.monotonic() >= self._look_at and not self._look():
            self._listen(AgentEvent("trouble", f"{self._folder} can be written again"))
        return not self.folder_fails

    def _look(self) -> str | None:
        before, self._unusable = self._unusable, unusable(self._folder)
        self._look_at = time.monotonic() + self._pause
        if self._unusable and not before:
            self._listen(AgentEvent("trouble", f"{self._unusable}; nothing is taken until it can"))
        return self._unusable
