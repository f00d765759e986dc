"""What a spec says about its runs' ends: when to try again, how long to wait first, how long a run may take. Pure; the
dispatcher checks and settles policies when items are added, stores and agents ask them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted
from launcher.resources import seconds

MAX_ATTEMPTS = 3
"""How often an item is started when nobody says otherwise; then only runs that were lost are tried again."""

CAUSES = ("failed", "lost", "preempted", "timeout")


@dataclass(frozen=True, slots=True)
class Retry:
    """When an item is tried again: after which `causes` (of CAUSES, or exit codes), up to how many attempts in all, and
    after how many seconds: `initial`, times `factor` for each attempt more, at most `longest`, plus or minus a random
    part of up to `jitter` of it."""

    max_attempts: int = MAX_ATTEMPTS
    causes: frozenset[str | int] = frozenset({"lost", "preempted"})
    initial: float = 0.0
    factor: float = 2.0
    longest: float = 3600.0
    jitter: float = 0.1

    @staticmethod
    def of(document: Mapping[str, Any]) -> Retry:
        """The policy of a launch spec: its `retry`, as schemas/launch_spec.json describes it.

        >>> Retry.of({"retry": {"max_attempts": 5, "on": ["failed", 75], "backoff": {"initial": "10s"}}}).initial
        10.0
        """
        told = document.get("retry")
        if not told:
            return Retry()
        backoff = told.get("backoff") or {}
        return Retry(
            max_attempts=told.get("max_attempts", MAX_ATTEMPTS),
            causes=frozenset(told.get("on", CAUSES)),
            initial=seconds(backoff.get("initial", 0)),
            factor=float(backoff.get("factor", 2)),
            longest=seconds(backoff.get("max", "1h")),
            jitter=float(backoff.get("jitter", 0.1)),
        )

    def covers(self, outcome: Outcome) -> bool:
        """Whether a run that ended so is tried again, as long as there are attempts left."""
        match outcome:
            case Failed(stage, _, exit_code):
                return ("timeout" if stage == "timeout" else "failed") in self.causes or exit_code in self.causes
            case Lost():
                return "lost" in self.causes
            case Preempted(_, begun):
                return not begun or "preempted" in self.causes
            case Finished() | Cancelled():
                return False

    def delay(self, attempt: int, draw: Callable[[], float] = random.random) -> float:
        """Seconds to wait after this attempt (1 for the first); `draw` gives a number from 0 to 1.

        >>> Retry(initial=10, jitter=0).delay(3)
        40.0
        """
        exact = min(self.initial * self.factor ** min(attempt - 1, 64), self.longest)
        return float(max(0.0, exact * (1 + self.jitter * (2 * draw() - 1))))


def timeout(document: Mapping[str, Any], which: str) -> float | None:
    """The seconds that a spec's `timeout` allows for `run`, `start` (from taken to running) or `queue` (waiting), if
    it says; `run` is the `time` of its `resources` where it does not.

    >>> timeout({"timeout": {"run": "2h"}}, "run")
    7200.0
    """
    told = (document.get("timeout") or {}).get(which)
    if told is None and which == "run":
        told = (document.get("resources") or {}).get("time")
    return None if told is None else seconds(told)
