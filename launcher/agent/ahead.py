"""What an agent takes and prepares before it has a place for it: between two runs that take less than a second, a place
would stand empty for as long as it takes to tell the store of one and to make ready the next."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping

from launcher.agent.runs import Prepared, Run
from launcher.outcome import Finished, Outcome
from launcher.runners import REMOTE

QUICK_SECONDS = 0.5
"""What takes less is quick."""

FOR_A_PLACE = 2
"""So many may wait for each place: then some come at a time, with one word to the store, before none is there."""

LONGEST_SECONDS = FOR_A_PLACE * QUICK_SECONDS
"""Whatever waits here for so long goes back: another agent may have a place."""

IN_A_ROW = 4
"""So many runs must have finished quickly, one after the other, before something is taken ahead. After one that failed
nothing is begun before the store has heard of it: it may hold the rest of its sweep."""


class Ahead:
    """What waits here for one of so many `places`, the first that came first."""

    def __init__(self, places: int) -> None:
        self._most = FOR_A_PLACE * places
        self._quick = 0
        self._waiting: dict[str, tuple[float, Prepared]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Prepared]:
        return (each for _, each in self._waiting.values())

    def ended(self, run: Run, outcome: Outcome) -> None:
        """How a run ended."""
        if run.remote:
            return
        quick = isinstance(outcome, Finished) and time.monotonic() < run.begun + QUICK_SECONDS
        self._quick = self._quick + 1 if quick else 0

    def wanted(self) -> int:
        """How many more shall be taken; none while half of them are there, so that several come at a time."""
        return self._most - len(self) if self._quick >= IN_A_ROW and 2 * len(self) <= self._most else 0

    def keep(self, prepared: Collection[Prepared]) -> list[Prepared]:
        """Those of this machine wait for a place from now on; returns the others."""
        now = time.monotonic()
        self._waiting |= {each.lease.token: (now, each) for each in prepared if each.resource not in REMOTE}
        return [each for each in prepared if each.resource in REMOTE]

    def take(self, places: int) -> list[Prepared]:
        """Those for which there are places now."""
        return [self._waiting.pop(token)[1] for token in list(self._waiting)[: max(places, 0)]]

    def refused(self, held: Mapping[str, bool]) -> list[Prepared]:
        """Those whose leases are others' now, or that are cancelled, by the leases that are `held` (Store.leases)."""
        return [self._waiting.pop(token)[1] for token in list(self._waiting) if held.get(token, True)]

    def given_back(self, *, every: bool) -> list[Prepared]:
        """Those that have waited for too long, or nobody should wait for any more; all of them if `every`."""
        before = math.inf if every or self._quick == 0 else time.monotonic() - LONGEST_SECONDS
        late = [token for token, (since, _) in self._waiting.items() if since < before]
        if late:
            self._quick = 0  # runs take longer now
        return [self._waiting.pop(token)[1] for token in late]

    def due(self) -> float:
        """Seconds until the first has waited for too long; infinite if none waits."""
        first = min((since for since, _ in self._waiting.values()), default=math.inf)
        return first + LONGEST_SECONDS - time.monotonic()
