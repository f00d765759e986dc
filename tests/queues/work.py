"""What the model (model.py) is made of: work with its policies, an item with its story, and what outcomes and filters
mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.item import Attempt, Event, Item, ItemFilter, RunState
from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted
from launcher.spec import LaunchSpec

FINISHED, FAILED, CANCELLED = RunState.FINISHED, RunState.FAILED, RunState.CANCELLED


@dataclass(frozen=True)
class Policy:
    """When work is tried again, in the words of a spec (`retry`) and in the model's: after which `causes`, at most how
    many `attempts`, after how many seconds (`pauses`, the last one for all that follow)."""

    retry: Mapping[str, Any] | None
    attempts: int
    causes: frozenset[str | int]
    pauses: tuple[float, ...] = (0.0,)


ANY_CAUSE = frozenset({"failed", "lost", "preempted", "timeout"})
POLICIES = (
    Policy(None, 3, frozenset({"lost", "preempted"})),
    Policy({"max_attempts": 1}, 1, ANY_CAUSE),
    Policy(
        {"max_attempts": 4, "backoff": {"initial": 10, "factor": 3, "max": "20s", "jitter": 0}},
        4,
        ANY_CAUSE,
        (10.0, 20.0),
    ),
    Policy({"max_attempts": 2, "on": [75, "timeout"]}, 2, frozenset({75, "timeout"})),
)


@dataclass(frozen=True)
class Work:
    """What a spec is made of; two of the same seed and queue are the same work."""

    seed: int
    queue: str
    priority: int
    policy: Policy
    wait_at_most: float | None
    run_id: str | None

    @property
    def point(self) -> tuple[str, ...]:
        return (f"seed={self.seed}", f"even={self.seed % 2 == 0}")

    def document(self) -> dict[str, Any]:
        whole: dict[str, Any] = {"resource": "local-process", "overrides": {"run_config": {"seed": self.seed}}}
        if self.policy.retry is not None:
            whole["retry"] = self.policy.retry
        if self.wait_at_most is not None:
            whole["timeout"] = {"queue": self.wait_at_most}
        if self.run_id:
            whole["run_id"] = self.run_id
        return whole

    def spec(self) -> LaunchSpec:
        return LaunchSpec(self.document(), self.queue, self.priority, self.point)


@dataclass
class Entry:
    """An item as it should be, its story, and what only the model needs to know."""

    item: Item
    work: Work
    token: str | None = None
    events: list[Event] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    def move(self, now: float, after: RunState, actor: str | None, reason: str | None, **changes: Any) -> None:
        before = self.item.state
        self.item = replace(self.item, state=after, changed_at=now, reason=reason, **changes)
        self.events.append(Event(now, before, after, self.item.attempt, actor, reason))

    def close_attempt(self, state: RunState, agent: str | None) -> None:
        """Keep how the last start ended; once."""
        item = self.item
        if item.attempt and item.attempt not in [kept.attempt for kept in self.attempts]:
            self.attempts.append(
                Attempt(
                    item.attempt, state, agent, item.run_dir, item.started_at, item.finished_at, item.exit_code,
                    item.stage, item.reason,
                )
            )  # fmt: skip


def told(outcome: Outcome) -> tuple[set[str | int | None], RunState, dict[str, Any]]:
    """What a policy may call an outcome, the state it leads to by itself, and what the item keeps of it."""
    ending: dict[str, Any] = {"exit_code": None, "stage": None, "result": None}
    match outcome:
        case Finished(result):
            return set(), FINISHED, ending | {"exit_code": 0, "result": result}
        case Cancelled():
            return set(), CANCELLED, ending
        case Failed("timeout", _, code, result):
            return {"timeout", code}, FAILED, ending | {"stage": "timeout", "exit_code": code, "result": result}
        case Failed(stage, _, code, result):
            return {"failed", code}, FAILED, ending | {"stage": stage, "exit_code": code, "result": result}
        case Preempted():
            return {"preempted"}, FAILED, ending | {"stage": "preempted"}
        case Lost():
            return {"lost"}, FAILED, ending | {"stage": "lost"}


def selects(which: ItemFilter, item: Item) -> bool:
    return (
        (which.ids is None or item.id in which.ids)
        and which.sweep in (None, item.sweep)
        and which.queue in (None, item.queue)
        and (which.states is None or item.state in which.states)
        and set(which.points) <= set(item.point)
    )
