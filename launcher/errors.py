"""Every error that launcher raises on purpose, one tree. A message names the thing, its value, what was expected and
the next step; the library raises, only the command line prints and exits (with `exit_code`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class LaunchError(Exception):
    """Base of all of launcher's errors, and what `launch_add` raises.

    >>> raise LaunchError("no queue named 'gpu'")
    Traceback (most recent call last):
    ...
    launcher.errors.LaunchError: no queue named 'gpu'
    """

    exit_code = 1


class UsageError(LaunchError):
    """What was asked for cannot be understood: a malformed argument, an unknown option, field or file format."""

    exit_code = 2


class ComposeError(UsageError):
    """The config repository and the overrides do not compose."""


class NotFoundError(LaunchError):
    """No item, sweep, queue or job of that name."""


class StoreError(LaunchError):
    """The store cannot be opened, read or written."""


class StoreFullError(StoreError):
    """The disk of the store is full: nothing was written, and the same may be tried again when there is room."""


class StoreGoneError(StoreError):
    """Another store lies, or none does, where this one was: nothing that is written to it can be found again."""


class DeadlockError(StoreError):
    """A transaction was undone, because it and another one waited for each other."""


class TakenError(StoreError):
    """A transaction was undone, because another item has an ID that was drawn for one of its own."""


class ConflictError(StoreError):
    """What shall be added is there already, or what shall go is still in use."""


class AccessError(LaunchError):
    """The server refuses: the key is none of its users', or its user lacks the role for it."""


class SourceError(LaunchError):
    """The code to run cannot be found, pinned or checked out."""


class BuildError(LaunchError):
    """An image cannot be built or pushed; the message has the last lines of the log, and its path."""


class RunnerError(LaunchError):
    """A run cannot be started; `stage` is where it stopped (`prepare` or `submit`)."""

    def __init__(self, message: str, stage: str = "submit") -> None:
        super().__init__(message)
        self.stage = stage


class NoRoomError(RunnerError):
    """An engine takes no more runs just now; this one may be tried again later."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a launch spec: `path` (dotted, `[i]` for list items), what it is, what was expected.

    `cause` says the same without the value, so that many specs that are wrong in one way can be told in one line.
    """

    path: str
    message: str
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SpecError(LaunchError):
    """A launch spec breaks the contract; `problems` holds everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem], where: str = "launch spec") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = f"{where}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


def suggest(name: str, known: Iterable[str], where: str = "") -> str:
    """The tail of an "unknown name" message: the nearest known name, then all of them; `where` none is, if none is.

    >>> suggest("svn", ["svm", "mlp"])
    "did you mean 'svm'? known: mlp, svm"
    >>> suggest("x", [])
    'none is known'
    """
    import difflib  # only a command that fails needs it

    names = sorted(known)
    if not names:
        return f"none is known in {where}" if where else "none is known"
    listed = "known: " + ", ".join(names)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}? {listed}" if near else listed
