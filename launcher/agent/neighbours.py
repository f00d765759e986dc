"""What an agent does about the others of its store, now and then: it takes over what agents of this machine left that
have died, puts back what silent ones held, and ends what none of them could ever run or did in time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from launcher.agent.host import died_here
from launcher.agent.runs import AgentEvent, Listen
from launcher.agent.watch import Watch
from launcher.item import AgentInfo, Lease
from launcher.outcome import Lost
from launcher.paths import RunPaths
from launcher.queues import Store
from launcher.runners import REMOTE
from launcher.runners.verdict import written
from launcher.words import duration

UNFIT_SECONDS = 60.0
"""How long an agent that stays waits for another one with more room, before what only that one could run fails."""

BACK_SECONDS = 7 * 86_400.0
"""An agent that has ended may be there again after a weekend, or a repair: what it could run waits for it so long."""


class Neighbours:
    """The other agents, as `info` sees them, looked at six times in the `lease_seconds` of a lease, so that a
    silent one is noticed soon after its lease ends. `patience`: how many seconds what fits no agent may wait."""

    def __init__(
        self, store: Store, info: AgentInfo, lease_seconds: float, listen: Listen, patience: float = UNFIT_SECONDS
    ) -> None:
        self._store = store
        self._patience = patience
        self._info = info
        self._lease_seconds = lease_seconds
        self._listen = listen
        self._watch = Watch(lease_seconds)
        self._looked = -math.inf
        self._waited_for: set[str] = set()
        self.unsure = False
        """Whether something of our queues may be left by an agent that was not heard for long, and may live still."""

    def look(self, queues: Sequence[str], now: float) -> list[tuple[AgentInfo, Lease]]:
        """What is ours from now on, with the agent that held it; `now` is the monotonic clock's time."""
        if now < self._looked + self._lease_seconds / 6:
            return []
        self._store.expire()  # all places may be taken for long
        since = time.time() - BACK_SECONDS
        known = [other for other in self._store.agents(since) if other.id != self._info.id]
        others = [other for other in known if other.state == "alive"]
        left = [(other, lease) for other in others if self._is_left(other, queues) for lease in self._adopt(other)]
        others = [other for other in others if not other.detached]
        self._fail_unfit([other for other in known if not other.detached], queues)
        silent = self._watch.silent(others, now)
        for other in silent:
            reason = f"its agent was silent for more than {self._lease_seconds:g} s"
            held = self._store.held(other.id)
            engines = _engines(held)
            if engines or any(map(_has_ended_here, held)):
                if engines <= set(queues):  # else somebody who serves them goes on with them
                    left += self._adopt_known(other, reason)
            elif count := self._store.release(other.id, reason, beats=other.beats):
                self._listen(AgentEvent("recovered", f"agent {other.id} is silent: {count} items put back"))
        self.unsure = bool([other for other in others if other not in silent and self._may_live(other, queues)])
        self._looked = now
        return left

    def _is_left(self, other: AgentInfo, queues: Sequence[str]) -> bool:
        """Whether somebody must go on with what this agent held, and we can: an engine's runs go on where it is."""
        if other.detached:
            return set(other.queues) <= set(queues)
        return died_here(other) and _engines(self._store.held(other.id)) <= set(queues)

    def _adopt_known(self, silent: AgentInfo, reason: str) -> list[tuple[AgentInfo, Lease]]:
        """An engine's runs are there although their agent is not heard, and of what ended the exit code may lie here;
        its others are lost to us."""
        adopted = self._adopt(silent, "is silent", silent.beats)
        known = [lease for lease in adopted if of_engine(lease) or _has_ended_here(lease)]
        self._store.finish([(lease, Lost(reason)) for lease in adopted if lease not in known])
        return [(silent, lease) for lease in known]

    def _may_live(self, other: AgentInfo, queues: Sequence[str]) -> bool:
        """Whether we have to watch on before we know about what it holds of these queues. Its own clock's time only
        says that it is worth that."""
        ago = time.time() - other.seen_at
        if ago < self._lease_seconds or self._watch.heard(other):
            return False
        count = sum(lease.item.queue in queues for lease in self._store.held(other.id))
        if count and other.id not in self._waited_for:
            self._waited_for.add(other.id)
            told = f"agent {other.id}, last heard {duration(ago)} ago, holds {count} items: if it stays silent for"
            self._listen(AgentEvent("trouble", f"{told} {self._lease_seconds:g} s, we go on with them"))
        return bool(count)

    def _adopt(self, gone: AgentInfo, how: str = "died", beats: int | None = None) -> list[Lease]:
        how = "left" if gone.detached else how
        adopted = self._store.adopt(gone.id, self._info.id, beats=beats)
        if adopted:
            self._listen(AgentEvent("recovered", f"agent {gone.id} {how}: {len(adopted)} items taken over"))
        return adopted

    def _fail_unfit(self, others: Sequence[AgentInfo], queues: Sequence[str]) -> None:
        """End what asks for more than any of the agents has or had that are known."""
        for name in queues:
            rooms = [other.room for other in (self._info, *others) if name in (other.queues or (name,))]
            if not all(rooms):
                continue  # one does not say what it has
            most = {key: max(room[key] for room in rooms) for key in ("cpus", "memory", "gpus")}
            reason = (
                f"asks for more than any agent of queue {name!r} has: at most {most['cpus']:g} CPUs, "
                f"{most['memory'] / 1e9:.3g} GB of memory, {most['gpus']:g} GPUs"
            )
            if count := self._store.fail_unfit(name, rooms, reason, seconds=self._patience):
                self._listen(AgentEvent("trouble", f"{count} items failed: each {reason}"))


def _engines(held: Iterable[Lease]) -> set[str]:
    """The queues of what engines run of this."""
    return {lease.item.queue for lease in held if of_engine(lease)}


def _has_ended_here(lease: Lease) -> bool:
    """Whether the exit code of a run of a machine lies in its folder, and that here: it need not run again."""
    folder = lease.item.run_dir
    return folder is not None and not of_engine(lease) and written(RunPaths(Path(folder))) is not None


def of_engine(lease: Lease) -> bool:
    """Whether an engine runs it, whatever becomes of agents."""
    return lease.document.get("resource") in REMOTE
