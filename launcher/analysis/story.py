"""The story of an item, for `launcher show` and its page: what happened when, how long it waited and why, and what a
waiting one waits for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher import waits
from launcher.item import TERMINAL, Attempt, Event, Item, ItemFilter, LogEntry, RunState
from launcher.queues import LEASE_SECONDS, Store
from launcher.runners import RUNNABLE
from launcher.words import duration, moment

PAGE = 1000
FRESH_SECONDS = LEASE_SECONDS / 2
"""An agent tells every third of a lease what keeps it from taking items; what it told so lately still holds."""

LATE_SECONDS = 10.0
"""When a run ended is told where its end was heard of so long afterwards."""

SHOWN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of an item's past: its log, when it waited, and why, in seconds by cause, for each time that it
    did. For a waiting item what it waits for, and how many items are ahead of it."""

    item: Item
    log: Sequence[LogEntry]
    waited: Sequence[tuple[float, float]]
    causes: Sequence[Mapping[str, float]]
    waits_for: str | None
    ahead: int | None

    @property
    def total(self) -> dict[str, float]:
        """The seconds of each cause, over all the times that it waited."""
        total: dict[str, float] = {}
        for parts in self.causes:
            for cause, seconds in parts.items():
                total[cause] = total.get(cause, 0.0) + seconds
        return dict(sorted(total.items(), key=lambda part: -part[1]))

    def plain(self) -> dict[str, Any]:
        """It as JSON values, beside those of the item."""
        waited = {"seconds": sum(self.total.values()), "causes": self.total}
        return {"waited": waited, "waits_for": self.waits_for, "ahead": self.ahead, "events": self.log}


def entries(store: Store, which: ItemFilter, after: int = 0, since: float | None = None) -> Iterator[LogEntry]:
    """The event log about these items, page by page."""
    while page := store.log(which, after=after, since=since, limit=PAGE):
        yield from page
        after = page[-1].seq


def read(store: Store, item: Item) -> Story:
    """The story of an item until now."""
    now = time.time()
    log = list(entries(store, ItemFilter(ids=(item.id,))))
    waited = waits.periods(item, log, now)
    queue = next((queue for queue in store.queues() if queue.name == item.queue), None)
    everything = queue is not None and queue.resource in RUNNABLE
    agents = [agent for agent in store.agents(item.added_at) if agent.queues or everything]
    spans = [
        *waits.hold_spans(log, now),
        *waits.stall_spans(store.stalls(item.id), now, FRESH_SECONDS),
        *waits.agentless(item.queue, agents, waited, LEASE_SECONDS),
    ]
    pending = item.state is RunState.PENDING
    return Story(
        item,
        log,
        waited,
        [waits.divide([period], spans) for period in waited],
        waits.current(spans, now) if pending else None,
        store.ahead(item.id) if pending and item.hold is None else None,
    )


def facts(story: Story) -> list[tuple[str, str]]:
    """What is to be said about an item's waiting, with names."""
    total = story.total
    waited = f"{duration(sum(total.values()))}: {causes(total)}" if total else ""
    now = story.waits_for or ""
    if now and story.item.not_before is not None:
        now += f", until {moment(story.item.not_before)}"
    if story.ahead is not None:
        now += f"; {story.ahead:,} item{'' if story.ahead == 1 else 's'} ahead in its queue"
    return [("waits for", now), ("waited", waited)]


@dataclass(frozen=True, slots=True)
class Step:
    """A moment of a story: when, in words what happened, and the state that the item was in from then on."""

    at: float
    text: str
    state: RunState


def steps(story: Story) -> Iterator[Step]:
    """Each event of an item, oldest first."""
    item = story.item
    yield Step(item.added_at, "added", RunState.PENDING)
    changed = item.added_at
    periods = iter(zip(story.waited, story.causes, strict=True))
    for entry in story.log:
        why = f": {entry.reason}" if entry.reason else ""
        who = f" by {entry.actor}" if entry.actor else ""
        if entry.before is entry.after:
            yield Step(entry.at, held(entry), entry.after)
            continue
        past = f"after {duration(entry.at - changed)} {entry.before.value}"
        if entry.before is RunState.PENDING and (period := next(periods, None)):
            told = causes(period[1])
            past += f" ({told})" if told not in ("", waits.TURN) else ""
        text = f"{entry.after.value}{who}, {past}{why}" + (f"; {held(entry)}" if entry.hold else "")
        yield Step(entry.at, text + (_told_late(item, entry) if entry is story.log[-1] else ""), entry.after)
        changed = entry.at


def _told_late(item: Item, entry: LogEntry) -> str:
    """When a run ended of which somebody heard much later."""
    if entry.after not in TERMINAL or item.finished_at is None or entry.at - item.finished_at < LATE_SECONDS:
        return ""
    return f"; it had ended at {moment(item.finished_at)}, after {duration(item.seconds)}"


def held(entry: LogEntry) -> str:
    """What an entry says about its item's hold."""
    return f"held: {waits.HOLDS[entry.hold]}" if entry.hold else "not held any more"


def causes(parts: Mapping[str, float]) -> str:
    """Causes with their times, without those too short to matter; of a single one the time is the whole."""
    told = {cause: seconds for cause, seconds in parts.items() if seconds >= SHOWN_SECONDS} or dict(
        [*parts.items()][:1]
    )
    if len(told) == 1:
        return next(iter(told))
    return ", ".join(f"{cause} {duration(seconds)}" for cause, seconds in told.items())


def attempts(item: Item, ended: list[Attempt], events: list[Event]) -> list[Attempt]:
    """All starts of an item: those that it was put back or retried after, and the one that it tells of itself."""
    if not item.attempt or item.attempt in {attempt.attempt for attempt in ended}:
        return ended
    own = [event.actor for event in events if event.attempt == item.attempt]
    last = Attempt(
        item.attempt, item.state, item.agent or (own[-1] if own else None), item.run_dir, item.started_at,
        item.finished_at, item.exit_code, item.stage, item.reason,
    )  # fmt: skip
    return [*ended, last]
