"""What became of a spec: an item's states and their transitions, and the values that stores hand out. Frozen values, no
I/O; stores produce them, the agent and the command line read them. How a run can end is in `launcher.outcome`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple


class RunState(Enum):
    """The stored states of an item."""

    PENDING = "pending"
    """Waits in its queue. Set when it is added, when a lease is lost, when a run is put back or retried."""

    LEASED = "leased"
    """An agent has taken it and prepares its run; nobody else may start it while the lease holds."""

    RUNNING = "running"
    """Its run was submitted; the handle to find it again is stored."""

    FINISHED = "finished"
    """Ended well: the program exited with 0 and its result, if it wrote one, was read. Final."""

    FAILED = "failed"
    """Ended badly, or waited too long: `stage` and `reason` say where and why. Final, until it is retried."""

    CANCELLED = "cancelled"
    """Somebody stopped it, waiting or running. Final, until it is retried."""


TRANSITIONS: Mapping[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset({RunState.LEASED, RunState.FAILED, RunState.CANCELLED}),
    RunState.LEASED: frozenset(
        {RunState.PENDING, RunState.RUNNING, RunState.FINISHED, RunState.FAILED, RunState.CANCELLED}
    ),
    RunState.RUNNING: frozenset({RunState.PENDING, RunState.FINISHED, RunState.FAILED, RunState.CANCELLED}),
    RunState.FINISHED: frozenset(),
    RunState.FAILED: frozenset({RunState.PENDING}),
    RunState.CANCELLED: frozenset({RunState.PENDING}),
}
"""Which state may follow which. Every store statement that sets a state is guarded by one of these rows."""

TERMINAL = frozenset({RunState.FINISHED, RunState.FAILED, RunState.CANCELLED})
HELD = frozenset({RunState.LEASED, RunState.RUNNING})
"""The states in which an agent holds the item's lease."""


@dataclass(frozen=True, slots=True)
class Item:
    """A spec in a queue. Times are seconds since the epoch (UTC), None before they happened."""

    id: str
    queue: str
    sweep: str | None
    state: RunState
    priority: int
    name: str | None
    point: tuple[str, ...]
    attempt: int
    max_attempts: int
    added_at: float
    changed_at: float
    started_at: float | None = None
    finished_at: float | None = None
    agent: str | None = None
    run_dir: str | None = None
    handle: Mapping[str, Any] | None = None
    exit_code: int | None = None
    stage: str | None = None
    reason: str | None = None
    result: Mapping[str, Any] | None = None
    stop_requested: bool = False
    hold: str | None = None
    """Why a waiting item may not be taken now: backoff (until `not_before`), failures (its sweep's), paused."""
    not_before: float | None = None
    expires_at: float | None = None  # then it will have waited for too long

    @property
    def seconds(self) -> float | None:
        """How long its last run took, in seconds; None while it has not ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at


class RunRecord(NamedTuple):
    """A row of tables over many items: its JSON still text, `state` a RunState's value, `seq` counted by the store."""

    seq: int
    id: str
    sweep: str | None
    queue: str
    state: str
    point: str
    result: str | None
    attempt: int
    added_at: float
    started_at: float | None
    finished_at: float | None
    agent: str | None
    run_dir: str | None
    exit_code: int | None
    stage: str | None
    reason: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run `item` once: what it runs, and the token that every write about it must carry."""

    item: Item
    token: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One transition of an item: a row of the append-only event log."""

    at: float
    before: RunState
    after: RunState
    attempt: int
    actor: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A row of the event log, with what it is about: a transition, or, where `before` is `after`, another `hold` (why
    it may not be taken from then on; None if it may)."""

    seq: int
    at: float
    item: str
    sweep: str | None
    queue: str
    before: RunState
    after: RunState
    attempt: int
    actor: str | None
    reason: str | None
    hold: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one start of an item ended, for all of them but its last, which the item itself tells of."""

    attempt: int
    state: RunState
    agent: str | None
    run_dir: str | None
    started_at: float | None
    finished_at: float | None
    exit_code: int | None
    stage: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items a verb is about: all the given conditions hold. Without any, every item."""

    ids: tuple[str, ...] | None = None
    sweep: str | None = None
    queue: str | None = None
    states: frozenset[RunState] | None = None
    points: tuple[str, ...] = ()
    """Override strings that the items' points have, all of them."""

    ended_before: float | None = None
    """Only items that have ended, before this time (seconds since the epoch)."""


GOALS = ("maximize", "minimize")


@dataclass(frozen=True, slots=True)
class Sweep:
    """A named set of items. `metric` and `goal` (maximize or minimize) say how its results are ranked; after
    `stop_after_failures` failed items the rest of it waits for somebody to resume it. `notify`: whom to tell of what,
    as `launcher.notices.parsed` gives it."""

    name: str
    metric: str | None = None
    goal: str = "maximize"
    created_at: float = 0.0
    stop_after_failures: int | None = None
    notify: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue: which resource its runs use, and what it makes of the specs that are added to it.

    `resource_args`: the default arguments of its resource, in which any value may hold `{{variables}}`; `variables`: a
    JSON Schema for each of them. `max_running`: how many of its items may be held at a time, over all agents, None for
    any number. `allow_overrides`: whether a spec may bring `resource_args` of its own. `links`: names to addresses.
    `retry` and `timeout`: what specs that say nothing about these get (launcher.policy).
    """

    name: str
    resource: str
    prioritization: str = "V0"
    paused: bool = False
    entity: str = ""
    resource_args: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    max_running: int | None = None
    allow_overrides: bool = True
    links: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    created_at: float = 0.0
    retry: Mapping[str, Any] = field(default_factory=dict)
    timeout: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobVersion:
    """One version of a job: code or an image (`kind`: git, code or image), the command in it, and what it takes.

    `name` is entity/project/name. `source`: the fields of a launch spec that record it (`uri` and `git`, or `docker`).
    `inputs`: a JSON Schema of the run_config of its runs; {} takes any. `number` and `aliases` are the store's to give.
    """

    name: str
    kind: str
    source: Mapping[str, Any]
    entry_point: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    author: str = ""
    number: int = 0
    aliases: tuple[str, ...] = ()
    created_at: float = 0.0

    @property
    def reference(self) -> str:
        """What names this version for ever: entity/project/name:vN."""
        return f"{self.name}:v{self.number}"


@dataclass(frozen=True, slots=True)
class Count:
    """`number` items of this queue and sweep are in this state, held because of `hold` if that is asked for."""

    queue: str
    sweep: str | None
    state: RunState
    number: int
    hold: str | None = None


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """A process that takes items. `process_started` tells its pid from a later process with the same number; `beats`
    grows while it lives, so that whoever watches it needs no clock but his own."""

    id: str
    host: str
    pid: int
    process_started: float
    queues: tuple[str, ...]
    max_jobs: int
    started_at: float
    seen_at: float
    state: str = "alive"
    beats: int = 0
    room: Mapping[str, float] = field(default_factory=dict)
    """What it has in all: cpus, memory in bytes, gpus; nothing where it does not say."""
    detached: bool = False
    """It ended, and left its runs to the engine that executes them: nobody watches them until another takes over."""


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON object that a store keeps under a key; `revision` counts its changes, from 1."""

    key: str
    value: Mapping[str, Any]
    revision: int
    changed_at: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a push did: `added` new items in `sweep`; `present` specs that the sweep had already; `retried` ones that it
    had too, but had failed, and that wait again.
    `ids` holds the new items' IDs for small pushes (at most 100), so that a receipt stays small for any grid;
    `present_states` says in which states those are that were present.
    """

    sweep: str | None
    added: int
    present: int = 0
    ids: tuple[str, ...] = ()
    retried: int = 0
    present_states: Mapping[RunState, int] = field(default_factory=dict)
