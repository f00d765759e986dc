"""Why items wait: what stores and agents record of it, and the division of an item's waiting into its causes. Pure; the
command line tells it, agents (`launcher.agent.stalls`) and stores write what it is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from launcher.item import AgentInfo, Item, LogEntry, RunState

HOLDS = {"paused": "paused by hand", "failures": "too many failures in its sweep", "backoff": "backoff after a failure"}
QUEUE_PAUSED = "queue paused"
NO_AGENT = "no agent"
QUEUE_LIMIT = "queue limit"
LIMIT = "limit "
NO_FREE = "no free "
NO_PLACE = f"{NO_FREE}place"
AHEAD = " for an item ahead"
NO_ROOM = "no agent with room for it"
TURN = "its turn had not come"

ALL_NEEDS = -1
"""A stall with these needs is about every item of its queue; 0 is for those that ask for nothing."""

_RANKS = (*HOLDS.values(), QUEUE_PAUSED, NO_AGENT, QUEUE_LIMIT, LIMIT, NO_FREE, NO_ROOM)


@dataclass(frozen=True, slots=True)
class Stall:
    """From `since` to `until` (None: still) items of a queue that ask for `needs` were not taken, by an agent, or by
    anybody where `agent` is empty. Times are seconds since the epoch."""

    queue: str
    needs: int
    agent: str
    cause: str
    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class Blocker:
    """The first of a queue's waiting items that ask for the same; which of the things outside of it are full."""

    queue: str
    needs: int
    asked: Mapping[str, float]
    max_running: int | None
    busy: int
    full_limit: str | None


@dataclass(frozen=True, slots=True)
class Span:
    """A cause from one time to another, in seconds since the epoch."""

    cause: str
    since: float
    until: float


def divide(waited: Sequence[tuple[float, float]], spans: Iterable[Span]) -> dict[str, float]:
    """The seconds of each cause within `waited` (from, to; one after the other), the longest first. The rest is TURN;
    at a time with several causes that one counts which would hold the item even without the others.

    >>> divide([(0, 10)], [Span("queue limit", 2, 9), Span("no free GPU", 8, 20)])
    {'queue limit': 7, 'its turn had not come': 2, 'no free GPU': 1}
    """
    parts: dict[str, float] = {}
    for part in segments(waited, spans):
        parts[part.cause] = parts.get(part.cause, 0) + part.until - part.since
    return dict(sorted(parts.items(), key=lambda part: -part[1]))


def segments(waited: Sequence[tuple[float, float]], spans: Iterable[Span]) -> Iterator[Span]:
    """The pieces of `waited`, each with the cause that `divide` counts it for, in order.

    >>> [(part.cause, part.since, part.until) for part in segments([(0, 10)], [Span("queue limit", 2, 9)])]
    [('its turn had not come', 0, 2), ('queue limit', 2, 9), ('its turn had not come', 9, 10)]
    """
    spans = [span for span in spans if span.since < span.until]
    changes = sorted(
        [(span.since, 1, span.cause) for span in spans]
        + [(span.until, -1, span.cause) for span in spans]
        + [(at, 0, "") for period in waited for at in period]
    )
    active: dict[str, int] = {}
    periods = iter(waited)
    period = next(periods, None)
    before = -math.inf
    for at, change, cause in changes:
        while period and period[1] <= before:
            period = next(periods, None)
        if period and period[0] <= before < at:
            yield Span(min(active, key=_rank, default=TURN), before, at)
        if change:
            active[cause] = active.get(cause, 0) + change
            if not active[cause]:
                del active[cause]
        before = at


def _rank(cause: str) -> tuple[int, str]:
    return next((rank for rank, known in enumerate(_RANKS) if cause.startswith(known)), len(_RANKS)), cause


def periods(item: Item, log: Iterable[LogEntry], now: float) -> list[tuple[float, float]]:
    """When an item waited, from its log, oldest first; the last period ends `now` if it still waits."""
    found = []
    since: float | None = item.added_at
    for entry in log:
        if entry.after is not RunState.PENDING and since is not None:
            found.append((since, max(since, entry.at)))
            since = None
        elif entry.before is not entry.after and entry.after is RunState.PENDING:
            since = entry.at
    return found if since is None else [*found, (since, max(since, now))]


def hold_spans(log: Iterable[LogEntry], now: float) -> list[Span]:
    """When an item was held, from its log, oldest first."""
    found = []
    held: tuple[str, float] | None = None
    for entry in log:
        if held:
            found.append(Span(*held, entry.at))
        held = (HOLDS[entry.hold], entry.at) if entry.hold else None
    return [*found, Span(*held, now)] if held else found


def stall_spans(stalls: Iterable[Stall], now: float, fresh: float) -> list[Span]:
    """What was recorded; a stall that was written within the last `fresh` seconds still goes on."""
    return [
        Span(stall.cause, stall.since, now if stall.until is None or stall.until > now - fresh else stall.until)
        for stall in stalls
    ]


def agentless(
    queue: str, agents: Iterable[AgentInfo], waited: Sequence[tuple[float, float]], fresh: float
) -> list[Span]:
    """When no agent took from `queue`; one that is alive was there until now if it beat within `fresh` seconds."""
    found = []
    lives = sorted(
        (agent.started_at, _last_seen(agent, fresh)) for agent in agents if queue in (agent.queues or (queue,))
    )
    for since, until in waited:
        at = since
        for began, ended in lives:
            if began > at:
                found.append(Span(NO_AGENT, at, min(began, until)))
            at = max(at, ended)
            if at >= until:
                break
        if at < until:
            found.append(Span(NO_AGENT, at, until))
    return found


def _last_seen(agent: AgentInfo, fresh: float) -> float:
    return agent.seen_at + (fresh if agent.state == "alive" else 0.0)


def current(spans: Iterable[Span], now: float) -> str:
    """What an item waits for now."""
    return min((span.cause for span in spans if span.since <= now <= span.until), key=_rank, default=TURN)
