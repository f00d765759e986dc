"""What an agent has to tell its store: which runs started, how others ended. It stays here until the store has it, so
trouble with the store loses none."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.agent.runs import AgentEvent, Listen, Run
from launcher.item import Lease, Outcome
from launcher.queues import Store
from launcher.slots import ANY_ROOM, Room


class Reports:
    """Starts and outcomes on their way to `store`; `listen` hears of each that arrived or was refused."""

    def __init__(self, store: Store, listen: Listen) -> None:
        self._store = store
        self._listen = listen
        self._started: list[Run] = []
        self._ended: list[tuple[Lease, Outcome]] = []

    def started(self, run: Run) -> None:
        """A run was submitted."""
        self._started.append(run)

    def ended(self, lease: Lease, outcome: Outcome) -> None:
        """A run, or the attempt to start one, came to its end."""
        self._ended.append((lease, outcome))

    def tokens(self) -> set[str]:
        """The leases whose end the store does not know yet."""
        return {lease.token for lease, _ in self._ended}

    def exchange(self, agent: str, queues: Sequence[str] = (), limit: int = 0, room: Room = ANY_ROOM) -> list[Lease]:
        """Tell the store, and take items, in one transaction: short runs begin and end by the dozen."""
        if not (self._started or self._ended or limit):
            return []
        begun = [(run.lease, run.handle, str(run.handle["dir"])) for run in self._started]
        acked, done, leases = self._store.exchange(agent, begun, self._ended, queues, limit, room)
        for run, ours in zip(self._started, acked, strict=True):
            if ours:
                self._listen(AgentEvent("started", "", run.lease))
        self._started.clear()
        self._told(done)
        return leases

    def _told(self, done: Sequence[bool]) -> None:
        for (lease, outcome), ours in zip(self._ended, done, strict=True):
            kind = "ended" if ours else "refused"
            self._listen(AgentEvent(kind, type(outcome).__name__.lower(), lease, outcome))
        self._ended.clear()
