"""How a run can end: what runners tell the agent, and the agent its store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple


class Ran(NamedTuple):
    """When a program ran, in seconds since the epoch, by the clock of its machine: maybe long before somebody looked.
    Outcomes are equal whenever their runs ran."""

    began: float
    ended: float

    @staticmethod
    def told(began: Any, ended: Any) -> Ran | None:
        """What an engine tells, in ISO 8601; None if it does not, or it never ran (the year 1).

        >>> Ran.told("2026-11-29T10:00:00Z", "2026-11-29T10:00:02.500000000Z")
        Ran(began=1795946400.0, ended=1795946402.5)
        """
        try:
            ran = Ran(*(datetime.fromisoformat(text).timestamp() for text in (began, ended)))
        except (TypeError, ValueError):
            return None
        return ran if ran.began > 0 else None


@dataclass(frozen=True, slots=True)
class Finished:
    """The run exited with 0, and reported `result`, and `series` with steps, packed by launcher.series."""

    result: Mapping[str, Any] | None = None
    series: bytes | None = None
    ran: Ran | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The run ended badly. `stage`: prepare, submit, run or result; `exit_code` is negative for a signal."""

    stage: str
    reason: str
    exit_code: int | None = None
    result: Mapping[str, Any] | None = None
    series: bytes | None = None
    ran: Ran | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run was stopped because somebody asked for it."""

    reason: str = "cancelled while running"
    result: Mapping[str, Any] | None = None
    series: bytes | None = None
    ran: Ran | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Preempted:
    """The run was stopped although nobody cancelled it (its agent left), or never `begun` (no place was free): it goes
    back to its queue, and the attempt does not count."""

    reason: str
    begun: bool = True


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody can say how the run ended: it goes back to its queue while attempts are left, else it failed."""

    reason: str


Outcome = Finished | Failed | Cancelled | Preempted | Lost
