"""What keeps an agent from taking items although they wait: it looks now and then, remembers since when, and tells the
store what lasted, so that `launcher show` can say later why an item waited."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from launcher.queues import Store
from launcher.slots import Needs, Room
from launcher.waits import AHEAD, ALL_NEEDS, LIMIT, NO_FREE, NO_PLACE, NO_ROOM, QUEUE_LIMIT, Blocker, Stall

SHORT_SECONDS = 1.0
"""What lasts for less is not worth a record; also how often the store is looked at, at most."""

Place = tuple[str, int]
"""A queue, and what its items ask for (Stall.needs)."""


def causes(blockers: Iterable[Blocker], room: Room) -> dict[Place, str]:
    """Why an agent with this room took none of the waiting items that `blockers` describe, in the order in which they
    would be taken; nothing for those that it could take now."""
    found: dict[Place, str] = {}
    lacking = None  # by the first that could be taken but for it: it is not passed by others
    for blocker in blockers:
        if blocker.max_running is not None and blocker.busy >= blocker.max_running:
            found[blocker.queue, ALL_NEEDS] = QUEUE_LIMIT
            continue
        asked = blocker.asked
        needs = Needs(asked.get("cpus", 0.0), asked.get("memory", 0.0), asked.get("gpus", 0.0))
        cause: str | None
        if needs.cpus > room.cpus or needs.memory > room.memory or needs.gpus > room.gpus:
            cause = NO_ROOM
        elif blocker.full_limit is not None:
            cause = f"{LIMIT}{blocker.full_limit}"
        else:
            lacks = _lacks(needs, room)
            cause = lacks or (lacking and f"{lacking}{AHEAD}")
            lacking = lacking or lacks
        if cause:
            found[blocker.queue, blocker.needs] = cause
    return found


def _lacks(needs: Needs, room: Room) -> str | None:
    """What is not free, as pop_fitting judges it."""
    if needs.gpus > (room.free_part if needs.gpus < 1 else room.free_gpus):
        return f"{NO_FREE}GPU"
    if needs.memory > room.free_memory:
        return f"{NO_FREE}memory"
    return f"{NO_FREE}CPU" if needs.cpus > room.free_cpus else None


class Stalls:
    """The stalls of `agent`, told to `store` once they lasted for a second, and then whenever it looks and
    `beat` seconds have passed.

    Its times are the wall clock's, as the store's are; a jump of it costs an account of the past, nothing else.
    """

    def __init__(self, store: Store, agent: str, beat: float) -> None:
        self._store = store
        self._agent = agent
        self._beat = beat
        self._open: dict[tuple[Place, str], float] = {}
        self._looked = -math.inf
        self._told = -math.inf
        self._full_since: float | None = None

    def look(self, queues: Callable[[], Sequence[str]], room: Room | None, now: float) -> None:
        """The agent of these queues has taken what it could, and has this `room`, or None when all of its places are
        taken. That costs a statement a second at most, or one a beat while its places are taken."""
        if room is None:
            self._full_since = now if self._full_since is None else self._full_since
            if now < self._full_since + SHORT_SECONDS or self._looked > max(self._full_since, now - self._beat):
                return
            places = {blocker.queue for blocker in self._store.blockers(queues())}
            self._note({(queue, ALL_NEEDS): NO_PLACE for queue in places}, self._full_since, now)
        elif self._full_since is not None or not 0 <= now - self._looked < SHORT_SECONDS:
            self._full_since = None
            self._note(causes(self._store.blockers(queues()), room), now, now)

    def due(self, now: float) -> float:
        """Seconds until it should look again, if nothing else happens: infinite where that is of no use."""
        begun = [*self._open.values()] + ([] if self._full_since is None else [self._full_since])
        seconds = [since + SHORT_SECONDS - now for since in begun if since + SHORT_SECONDS > self._looked]
        return max(0.0, min(seconds, default=math.inf))

    def close(self, now: float) -> None:
        """The agent leaves."""
        self._note({}, now, now)

    def _note(self, found: dict[Place, str], since: float, now: float) -> None:
        before, self._open = self._open, {}
        for key in found.items():
            self._open[key] = min(before.pop(key, since), now)
        # What was seen once and is gone a look later came and went: only what had lasted at the last look counts.
        lasted = self._looked - SHORT_SECONDS
        ended = [self._stall(key, begun, now) for key, begun in before.items() if begun <= lasted]
        lasting = [self._stall(key, begun, now) for key, begun in self._open.items() if now - begun >= SHORT_SECONDS]
        fresh = any(stall.since + SHORT_SECONDS > self._told for stall in lasting)
        if ended or fresh or (lasting and not 0 <= now - self._told < self._beat):
            self._store.stalled([*ended, *lasting])
            self._told = now
        self._looked = now

    def _stall(self, key: tuple[Place, str], since: float, until: float) -> Stall:
        (queue, needs), cause = key
        return Stall(queue, needs, self._agent, cause, since, until)
