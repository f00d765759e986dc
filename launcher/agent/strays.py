"""What is left on this machine of runs that no agent has a lease for: it is found, and ended, before their items start
again beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from pathlib import Path

from launcher.agent.runs import AgentEvent, Listen
from launcher.item import ItemFilter
from launcher.queues import Store
from launcher.runners import Runner


class Strays:
    """What `runner`s (by their resources) find of runs below `folder` that are none of `ours` (tokens of leases)."""

    def __init__(
        self, store: Store, runner: Callable[[str], Runner], folder: Path, ours: Callable[[], Collection[str]],
        listen: Listen,
    ) -> None:  # fmt: skip
        self._store = store
        self._runner = runner
        self._folder = folder
        self._ours = ours
        self._listen = listen
        self._ended = -math.inf

    def end(self, resources: Collection[str], doomed: Collection[str] = ()) -> None:
        """End those of these resources, and what runs for the `doomed`, whose leases are about to end."""
        ours = self._ours()
        for resource in resources if self._folder.is_dir() else ():  # else nothing was ever started
            if count := end_strays(self._store, self._runner(resource), self._folder, ours, doomed):
                text = f"{resource}: ended {count} left-overs of runs that no agent had a lease for"
                self._listen(AgentEvent("recovered", text))
        self._ended = time.monotonic()

    def since(self) -> float:
        """Seconds since they were last ended."""
        return time.monotonic() - self._ended


def end_strays(store: Store, runner: Runner, root: Path, ours: Collection[str], doomed: Collection[str] = ()) -> int:
    """End what is left of runs below `root` for which nobody has a lease any more, `ours` by their tokens apart, and of
    the `doomed`, whose leases are about to end: what agents left that were killed, or lost their leases. Runs of
    other stores may lie below `root` too; they are left alone. Returns how many processes or containers were ended."""
    strays = [stray for stray in runner.strays(root) if stray.token in doomed or stray.token not in ours]
    if not strays:
        return 0
    known = {item.id for item in store.items(ItemFilter(ids=tuple({stray.item for stray in strays})))}
    valid = store.valid({stray.token for stray in strays}) - set(doomed)
    ended = [stray for stray in strays if stray.item in known and stray.token not in valid]
    if ended:
        runner.end(ended)
    return len(ended)
