"""What `launcher watch` shows of a store at one moment: read with few statements, whose cost does not grow with what
has ended, but for those that are asked for seldom then."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from launcher.item import Item, ItemFilter, Lease, RunRecord, RunState
from launcher.paths import RunPaths
from launcher.queues import Progress, Store
from launcher.runners.verdict import last_line
from launcher.slots import Needs
from launcher.terminal import clean

LATELY_SECONDS = 60.0
SHOWN = 200
"""Items of a kind that are looked up at most: what a tall terminal shows."""

LOOKED_THROUGH = 1000
"""Of so many waiting items those are shown that come first."""

LEAST_SECONDS = 1.0
SHARE = 0.05
"""The share of its time that the watcher may spend on what costs more in larger stores."""


@dataclass(frozen=True, slots=True)
class Running:
    """What runs: the item, since when, the places it takes, and the last line of its log."""

    item: Item
    slots: str
    line: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a store, or of a sweep in it, at a moment (`at`, seconds since the epoch)."""

    at: float
    states: Mapping[RunState, int]
    held: int
    agents: int
    places: int
    progress: Progress
    running: Sequence[Running]
    failed: Sequence[RunRecord]
    waiting: Sequence[Item]

    @property
    def total(self) -> int:
        """How many items there are."""
        return sum(self.states.values())

    @property
    def per_minute(self) -> float:
        """How many runs ended in the last minute."""
        return self.progress.lately * 60 / LATELY_SECONDS

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take if it takes as long as what has ended, as many at a time as run now; None where
        nobody can say."""
        at_once = self.states.get(RunState.RUNNING, 0) + self.states.get(RunState.LEASED, 0)
        rest = self.states.get(RunState.PENDING, 0)
        if self.progress.seconds is None or not at_once:
            return None
        begun = (
            max(0.0, self.progress.seconds - (self.at - (each.item.started_at or self.at))) for each in self.running
        )
        unseen = max(0, at_once - len(self.running)) * self.progress.seconds
        return (rest * self.progress.seconds + sum(begun) + unseen) / at_once


class Reader:
    """Takes snapshots of a store. Progress, failures and what waits are asked for again only when that is a small share
    of the watcher's time."""

    def __init__(self, store: Store, sweep: str | None) -> None:
        self._store = store
        self._sweep = sweep
        self._due = 0.0
        self._progress = Progress(0, None, 0)
        self._failed: list[RunRecord] = []
        self._waiting: list[Item] = []

    def look(self, *, anew: bool = False) -> Snapshot:
        """The state now; `anew`: everything, because somebody just changed it."""
        now = time.time()
        if anew or time.monotonic() >= self._due:
            self._look_closely(now)
        counts = [count for count in self._store.counts() if self._sweep is None or count.sweep == self._sweep]
        holds = [count for count in self._store.holds() if self._sweep is None or count.sweep == self._sweep]
        states: Counter[RunState] = Counter()
        for count in counts:
            states[count.state] += count.number
        agents = self._store.agents()
        leases = [lease for agent in agents for lease in self._store.held(agent.id)]
        ours = [lease for lease in leases if self._sweep is None or lease.item.sweep == self._sweep]
        ours.sort(key=lambda lease: lease.item.started_at or now)
        running = [_running(lease) for lease in ours[:SHOWN]]
        return Snapshot(
            now, states, sum(count.number for count in holds), len(agents), sum(agent.max_jobs for agent in agents),
            self._progress, running, self._failed, self._waiting,
        )  # fmt: skip

    def _look_closely(self, now: float) -> None:
        began = time.monotonic()
        within = ItemFilter(sweep=self._sweep)
        self._progress = self._store.progress(within, now - LATELY_SECONDS)
        self._failed = self._store.newest(ItemFilter(sweep=self._sweep, states=frozenset({RunState.FAILED})), SHOWN)
        pending = self._store.items(ItemFilter(sweep=self._sweep, states=frozenset({RunState.PENDING})))
        first = islice(pending, LOOKED_THROUGH)
        self._waiting = sorted(first, key=lambda item: (item.hold is not None, item.priority))[:SHOWN]
        took = time.monotonic() - began
        self._due = time.monotonic() + max(LEAST_SECONDS, took / SHARE)


def _running(lease: Lease) -> Running:
    folder = lease.item.run_dir
    line = last_line(RunPaths(Path(folder)).log) if folder else ""
    return Running(lease.item, _slots(lease), clean(line.expandtabs(4)))


def _slots(lease: Lease) -> str:
    """The places that a run takes: its GPUs by name, its CPUs, its memory."""
    needs = Needs.of(lease.document)
    devices = (lease.item.handle or {}).get("gpus") or ()
    gpus = f"gpu {','.join(map(str, devices))}" if devices else (f"{needs.gpus:g} gpu" if needs.gpus else "")
    cpus = f"{needs.cpus:g} cpu" if needs.cpus else ""
    memory = f"{needs.memory / 2**30:.3g}G" if needs.memory else ""
    return " ".join(filter(None, (gpus, cpus, memory)))
