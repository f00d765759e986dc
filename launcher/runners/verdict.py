"""How a run that has ended is judged, from its exit code and the files it left; every runner calls it, so that the
same ending means the same on every resource."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

from launcher import canonical
from launcher.item import Failed, Finished, Outcome
from launcher.paths import RunPaths

GRACE_SECONDS = 10.0
"""How long a cancelled run may take to end by itself after SIGTERM."""

TAIL_BYTES = 4096
LONGEST_LINE = 200


def judge(exit_code: int, paths: RunPaths) -> Outcome:
    """Finished with its result, or Failed with a reason; a negative `exit_code` is the number of a signal."""
    result, problem = read_result(paths)
    if exit_code:
        return Failed("run", _reason(exit_code, paths), exit_code, result)
    if problem:
        return Failed("result", problem, exit_code)
    return Finished(result)


def ended(exit_code: int | None) -> str:
    """How a run that was stopped ended, for people."""
    if exit_code is None:
        return "an unknown exit code"
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"


def written(paths: RunPaths) -> int | None:
    """The exit code that was written down in the run's folder, for whoever comes later; None if there is none."""
    try:
        return int(paths.exit_code.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_result(paths: RunPaths) -> tuple[dict[str, Any] | None, str | None]:
    """What the program reported, and what is wrong with it; (None, None) where it reported nothing."""
    try:
        text = paths.result.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, None
    except (OSError, UnicodeDecodeError) as error:
        return None, f"the result cannot be read: {error}"
    try:
        result = canonical.finite(json.loads(text))
    except (ValueError, RecursionError) as error:
        return None, f"the result is not JSON ({error}): {text[:LONGEST_LINE]!r} in {paths.result}"
    if not isinstance(result, dict):
        return None, f"the result is {text[:LONGEST_LINE]!r}, expected a JSON object of metrics, in {paths.result}"
    return result, None


def _reason(exit_code: int, paths: RunPaths) -> str:
    if exit_code < 0:
        try:
            ended = f"killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            ended = f"killed by signal {-exit_code}"
    else:
        ended = f"exit code {exit_code}"
    last = last_line(paths.log)
    return f"{ended}: {last}" if last else ended


def last_line(path: Path) -> str:
    """The last line of the log that is not empty: for a Python program, its exception."""
    try:
        with path.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    told = [line.strip() for line in lines if line.strip()]
    return told[-1][:LONGEST_LINE] if told else ""


def why_not(program: str, cwd: str, there: bool, path: str | None, number: int | None, error: str) -> str:  # noqa: PLR0913
    """Why a program cannot be started, for people, from the error of the system with this `number`. `there`: whether
    the folder to run in is; `path`: the PATH it was searched on, None on another machine."""
    if not there:
        return f"the folder to run in, {cwd}, is not there"
    if number == errno.ENOENT:
        searched = "on PATH of its node" if path is None else f"on PATH ({path})"
        where = "there" if "/" in program else searched
        return f"the program {program!r} is not {where}; install it, or correct the entry point"
    if number == errno.EACCES:
        return f"the program {program!r} may not be executed; chmod +x it, or start it through its interpreter"
    return f"the program {program!r} cannot be started: {os.strerror(number) if number else error}"
