"""One report of all that is wrong with a sweep: many specs, grouped by cause, the most frequent first. It keeps a
count and the first case of each cause, so it stays small for any number of specs."""

from __future__ import annotations

from dataclasses import dataclass, field

from launcher.errors import LaunchError, Problem, SpecError

SHOWN_CAUSES = 20


@dataclass(slots=True)
class _Cause:
    problem: Problem
    first: str
    count: int = 0


@dataclass(slots=True)
class Causes:
    """Counts good and bad specs; `what` is the word for one of them.

    >>> causes = Causes("spec")
    >>> causes.good()
    >>> causes.bad(SpecError([Problem("gpus", "'a' is a string, expected an integer", "expected an integer")]), "lr=1")
    >>> causes.close()
    Traceback (most recent call last):
    ...
    launcher.errors.SpecError: 2 specs, nothing queued: 1 problem
      gpus: expected an integer: 1 of 2 specs, first: spec 2 (lr=1): 'a' is a string, expected an integer
    """

    what: str
    total: int = 0
    _found: dict[tuple[str, str], _Cause] = field(default_factory=dict)

    def good(self) -> None:
        """The next spec is right."""
        self.total += 1

    def bad(self, error: LaunchError, where: str) -> None:
        """The next spec is wrong; `where` describes it."""
        self.total += 1
        found = error.problems if isinstance(error, SpecError) else [Problem("", str(error))]
        for problem in found:
            key = (problem.path, problem.cause or problem.message)
            first = f"{self.what} {self.total:,} ({where})" if where else f"{self.what} {self.total:,}"
            self._found.setdefault(key, _Cause(problem, first)).count += 1

    def close(self) -> None:
        """Raise one SpecError for all that was wrong; nothing if there was nothing."""
        if not self._found:
            return
        ranked = sorted(self._found.values(), key=lambda cause: -cause.count)
        shown = [self._told(cause) for cause in ranked[:SHOWN_CAUSES]]
        if len(ranked) > SHOWN_CAUSES:
            shown.append(Problem(f"{len(ranked) - SHOWN_CAUSES} more causes", "not shown"))
        raise SpecError(shown, f"{self._total()}, nothing queued")

    def _told(self, cause: _Cause) -> Problem:
        problem = cause.problem
        if self.total == 1:
            return problem
        share = f"{cause.count:,} of {self._total()}, first: {cause.first}"
        detail = f": {problem.message}" if problem.cause and problem.cause != problem.message else ""
        return Problem(problem.path, f"{problem.cause or problem.message}: {share}{detail}")

    def _total(self) -> str:
        return f"{self.total:,} {self.what}{'s' if self.total != 1 else ''}"
