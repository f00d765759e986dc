"""When each run of a sweep ran, and where; how many waited meanwhile, and for what. Read from a store's event log."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from launcher import waits
from launcher.item import ItemFilter, LogEntry, RunState
from launcher.queues import LEASE_SECONDS, Store
from launcher.runners import RUNNABLE

PAGE = 5000
SAMPLE = 500
"""Of so many items at most it is looked up what each waited for."""

BINS = 240
PUT_BACK = "put back"


@dataclass(frozen=True, slots=True)
class Bar:
    """One execution: from `since` to `until` (seconds since the epoch) in a place of an agent, and how it ended."""

    item: str
    agent: str
    place: int
    since: float
    until: float
    ended: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The executions of a sweep, and how many items waited for each cause, as means over bins of `width` seconds, the
    first of which begins at `since`. `sampled`: how many of its `items` these were counted from."""

    bars: Sequence[Bar]
    since: float
    width: float
    waiting: Mapping[str, Sequence[float]]
    items: int
    sampled: int


def timeline(store: Store, sweep: str, ids: Collection[str], now: float | None = None) -> Timeline:
    """The timeline of those of a sweep's items that have one of these IDs, until now."""
    now = time.time() if now is None else now
    chosen = frozenset(ids)
    records = [record for record in store.run_records(ItemFilter(sweep=sweep)) if record.id in chosen]
    logs: dict[str, list[LogEntry]] = {}
    for entry in entries(store, ItemFilter(sweep=sweep)):
        if entry.item in chosen:
            logs.setdefault(entry.item, []).append(entry)
    executed = sorted((bar for log in logs.values() for bar in _executions(log, now)), key=lambda bar: bar.since)
    begin = min((record.added_at for record in records), default=now)
    open_ = any(record.finished_at is None and record.state not in ("failed", "cancelled") for record in records)
    end = now if open_ else max((entry.at for log in logs.values() for entry in log), default=now)
    width = max(end - begin, 1e-3) / BINS
    sample = [record.id for record in records[:: -(-len(records) // SAMPLE) or 1]]
    waiting: dict[str, list[float]] = {}
    for part in _waits(store, sample, logs, begin, now):
        _add(waiting.setdefault(part.cause, [0.0] * BINS), part, begin, width)
    scale = len(records) / len(sample) if sample else 1.0
    counts = {cause: [number * scale for number in numbers] for cause, numbers in waiting.items()}
    return Timeline(_placed(executed), begin, width, counts, len(records), len(sample))


def entries(store: Store, which: ItemFilter) -> Iterator[LogEntry]:
    """The whole event log about these items, oldest first."""
    after = 0
    while page := store.log(which, after=after, limit=PAGE):
        yield from page
        after = page[-1].seq


def _executions(log: Sequence[LogEntry], now: float) -> Iterator[Bar]:
    begun: LogEntry | None = None
    for entry in log:
        if entry.after is RunState.RUNNING:
            begun = entry
        elif begun and entry.before is RunState.RUNNING:
            ended = PUT_BACK if entry.after is RunState.PENDING else entry.after.value
            yield Bar(entry.item, begun.actor or "", 0, begun.at, entry.at, ended)
            begun = None
    if begun:
        yield Bar(begun.item, begun.actor or "", 0, begun.at, now, RunState.RUNNING.value)


def _placed(bars: Sequence[Bar]) -> list[Bar]:
    """Each bar in the first place of its agent that is free when it begins."""
    free: dict[str, list[float]] = {}
    placed = []
    for bar in bars:
        places = free.setdefault(bar.agent, [])
        place = next((number for number, until in enumerate(places) if until <= bar.since), len(places))
        places[place : place + 1] = [bar.until]
        placed.append(replace(bar, place=place))
    return placed


def _waits(
    store: Store, ids: Sequence[str], logs: Mapping[str, Sequence[LogEntry]], begin: float, now: float
) -> Iterator[waits.Span]:
    """The pieces of time in which these items waited, each with what for."""
    resources = {queue.name: queue.resource for queue in store.queues()}
    known = store.agents(begin)
    for first in range(0, len(ids), 100):
        for item in store.items(ItemFilter(ids=tuple(ids[first : first + 100]))):
            log = logs.get(item.id, [])
            waited = waits.periods(item, log, now)
            agents = [agent for agent in known if agent.queues or resources.get(item.queue) in RUNNABLE]
            spans = [
                *waits.hold_spans(log, now),
                *waits.stall_spans(store.stalls(item.id), now, LEASE_SECONDS / 2),
                *waits.agentless(item.queue, agents, waited, LEASE_SECONDS),
            ]
            yield from waits.segments(waited, spans)


def _add(bins: list[float], part: waits.Span, begin: float, width: float) -> None:
    """Add the share of each bin that a piece of time covers."""
    low, high = (min(max((at - begin) / width, 0.0), float(BINS)) for at in (part.since, part.until))
    for number in range(int(low), min(int(high) + 1, BINS)):
        bins[number] += max(0.0, min(high, number + 1) - max(low, number))
