"""What an agent has to tell its store: which runs started, how others ended. It stays here until the store has it, so
trouble with the store loses none."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence, Sized

from launcher.agent.runs import AgentEvent, Listen, Run
from launcher.item import Lease
from launcher.outcome import Finished, Outcome
from launcher.queues import Store
from launcher.slots import ANY_ROOM, Room

TOGETHER_SECONDS = 0.02
"""Starts that follow one another faster than this are told together, or with what ends meanwhile; so are runs that
finish, while others begin in their places without asking the store."""


class Reports:
    """Starts and outcomes of `agent` on their way to `store`; `listen` hears of each that arrived or was refused.
    `ahead` is what waits for the next place."""

    def __init__(self, store: Store, agent: str, ahead: Sized, listen: Listen) -> None:
        self._store = store
        self._agent = agent
        self._ahead = ahead
        self._listen = listen
        self._started: list[Run] = []
        self._ended: list[tuple[Lease, Outcome]] = []
        self._told_at = -math.inf

    def started(self, run: Run) -> None:
        """A run was submitted."""
        self._started.append(run)

    def ended(self, lease: Lease, outcome: Outcome) -> None:
        """A run, or the attempt to start one, came to its end."""
        self._ended.append((lease, outcome))

    def tokens(self) -> set[str]:
        """The leases whose end the store does not know yet."""
        return {lease.token for lease, _ in self._ended}

    def due(self) -> float:
        """Seconds until the store should be told of something; infinite if there is nothing."""
        if not (self._started or self._ended):
            return math.inf
        if not all(self._ahead and isinstance(outcome, Finished) for _, outcome in self._ended):
            return 0.0
        return max(0.0, self._told_at + TOGETHER_SECONDS - time.monotonic())

    def exchange(self, queues: Sequence[str] = (), limit: int = 0, room: Room = ANY_ROOM) -> list[Lease]:
        """Tell the store, and take items, in one transaction: short runs begin and end by the dozen."""
        if limit <= 0 and not (self._started or self._ended):
            return []
        begun = [(run.lease, run.handle, str(run.handle["dir"])) for run in self._started]
        acked, done, leases = self._store.exchange(self._agent, begun, self._ended, queues, limit, room)
        for run, ours in zip(self._started, acked, strict=True):
            if ours:
                self._listen(AgentEvent("started", "", run.lease))
        if begun or done:
            self._told_at = time.monotonic()
        self._started.clear()
        self._tell(done)
        return leases

    def _tell(self, done: Sequence[bool]) -> None:
        for (lease, outcome), ours in zip(self._ended, done, strict=True):
            kind = "ended" if ours else "refused"
            self._listen(AgentEvent(kind, type(outcome).__name__.lower(), lease, outcome))
        self._ended.clear()
