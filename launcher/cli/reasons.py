"""Why `launcher wait` and `launcher logs -f` may wait for ever, told once on standard error."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import click

from launcher.cli.status import HOLDS
from launcher.item import TERMINAL, Count, ItemFilter, RunState
from launcher.queues import LEASE_SECONDS, Store
from launcher.terminal import clean

LOOK_SECONDS = 5.0
RESUMED = ("failures", "paused")
"""The holds that somebody must end."""


@dataclass(slots=True)
class Reasons:
    """What keeps the items that `filters` select from ending, as far as somebody has to do something about it; `names`
    are what a command calls them."""

    store: Store
    filters: Sequence[ItemFilter]
    names: Sequence[str]
    _told: set[str] = field(default_factory=set)
    _next: float = 0.0

    def tell(self) -> None:
        """Say each reason once; looks for new ones from time to time, however often it is called."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_SECONDS
        for kind, text in self.now().items():
            if kind not in self._told:
                self._told.add(kind)
                click.echo(clean(f"launcher: {text}"), err=True)

    def now(self) -> Mapping[str, str]:
        """The reasons there are now, by kind."""
        counts = [count for count in self._counts() if count.number and count.state not in TERMINAL]
        held = Counter[str]()
        for count in counts:
            if count.hold in RESUMED:
                held[count.hold] += count.number
        resume = f"launcher resume {shlex.join(self.names)}"
        found = {hold: f"{number} {HOLDS[hold]}; {resume}" for hold, number in sorted(held.items())}
        waiting = Counter[str]()
        for count in counts:
            if count.state is RunState.PENDING and count.hold is None:
                waiting[count.queue] += count.number
        for queue in self.store.queues():
            if queue.paused and waiting[queue.name]:
                told = f"{waiting[queue.name]} in queue {queue.name}, which is paused"
                found[f"queue {queue.name}"] = f"{told}; launcher queue resume {shlex.quote(queue.name)}"
        return found | self._agents(bool(counts), waiting)

    def _agents(self, left: bool, waiting: Mapping[str, int]) -> dict[str, str]:
        now = time.time()
        agents = [each for each in self.store.agents() if not each.detached and now - each.seen_at <= LEASE_SECONDS]
        if left and not agents:
            return {"agents": "no agent is running; start one: launcher agent"}
        return {
            f"of {queue}": f"no agent takes from queue {queue}; start one: launcher agent -q {shlex.quote(queue)}"
            for queue in waiting
            if not any(not each.queues or queue in each.queues for each in agents)
        }

    def _counts(self) -> Iterator[Count]:
        """How many items are in each state, and, counted again, how many are held."""
        sweeps = {which.sweep for which in self.filters if which.sweep}
        if sweeps:
            yield from (count for count in (*self.store.counts(), *self.store.holds()) if count.sweep in sweeps)
        for which in self.filters:
            if which.ids:
                for item in self.store.items(which):
                    yield Count(item.queue, item.sweep, item.state, 1)
                    if item.hold:
                        yield Count(item.queue, item.sweep, item.state, 1, item.hold)
