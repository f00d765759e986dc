"""How a run that has ended is judged, from its exit code and the files it left; every runner calls it, so that the
same ending means the same on every resource."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher import canonical, series
from launcher.outcome import Cancelled, Failed, Finished, Outcome, Ran
from launcher.paths import RunPaths
from launcher.terminal import clean_lines

GRACE_SECONDS = 10.0
"""How long a cancelled run may take to end by itself after SIGTERM."""

TAIL_BYTES = 1 << 14
LONGEST_LINE = 200

FRAME = re.compile(r'  File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>.+)')
LIBRARY = re.compile(r"[/\\](site-packages|lib[/\\]python3[.\d]*)[/\\]")
SHEBANG = re.compile(rb"#![ \t]*([^ \t\n]+)")
LINES_AFTER = 6
"""So many lines may follow the exception that a log ends with."""


def judge(exit_code: int, paths: RunPaths, ran: Ran | None = None) -> Outcome:
    """Finished with its result, or Failed with a reason; a negative `exit_code` is the number of a signal."""
    result, packed, problem = _told(paths)
    if exit_code:
        return Failed("run", _reason(exit_code, paths), exit_code, result, packed, ran)
    if problem:
        return Failed("result", problem, exit_code, series=packed, ran=ran)
    return Finished(result, packed, ran)


def stopped(exit_code: int | None, paths: RunPaths, ran: Ran | None = None) -> Cancelled:
    """The end of a run that was stopped, with what it had reported until then."""
    result, packed, _ = _told(paths)
    return Cancelled(f"stopped; it ended with {ended(exit_code)}", result, packed, ran)


def _told(paths: RunPaths) -> tuple[dict[str, Any] | None, bytes | None, str | None]:
    """What a run reported: its result, in which the last values of its series are too; the series; what is wrong."""
    result, problem = read_result(paths)
    points = series.read(paths.series)
    if points and not problem:
        told = result or {}
        result = {**told, **series.last_values(points), **told}  # what was told without a step first
    return result, series.pack(points), problem


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


def until_written(began: float | None, paths: RunPaths) -> Ran | None:
    """When a run ran whose exit code was written down at its end; None where it was not, or nobody noted its start."""
    try:
        return None if began is None else Ran(began, paths.exit_code.stat().st_mtime)
    except OSError:
        return None


def read_result(paths: RunPaths) -> tuple[dict[str, Any] | None, str | None]:
    """What the program reported, and what is wrong with it; (None, None) where it reported nothing, in a folder
    that is there."""
    try:
        text = paths.result.read_text(encoding="utf-8")
    except FileNotFoundError:
        gone = None if paths.folder.is_dir() else f"its folder {paths.folder} is gone, and with it what it reported"
        return None, gone
    except (OSError, UnicodeDecodeError) as error:
        return None, f"the result cannot be read: {error}"
    try:
        result = canonical.finite(json.loads(text))
        canonical.encode(result)  # JSON can hold what no UTF-8 can, and nest deeper than others read
    except (ValueError, TypeError, RecursionError) as error:
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
    lines = last_lines(paths.log)
    told = _exception(lines) or (lines[-1].strip()[:LONGEST_LINE] if lines else "")
    return f"{ended}: {told}" if told else ended


def last_line(log: Path) -> str:
    """The last line of a log that is not empty."""
    lines = last_lines(log)
    return lines[-1].strip()[:LONGEST_LINE] if lines else ""


def last_lines(log: Path) -> list[str]:
    """What stands at the end of a log, without empty lines and without what would command a terminal; nothing where it
    cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in clean_lines(text).split("\n") if line.strip()]


def _exception(lines: Sequence[str]) -> str | None:
    """The exception of a traceback at the end of a log and where it was raised, in the program's own code if it says;
    a few lines may follow it (of a message, of Hydra's advice).

    >>> _exception([
    ...     "Traceback (most recent call last):", '  File "/code/train.py", line 9, in fit', "    raise ValueError(lr)",
    ...     "ValueError: 0.5",
    ... ])
    'ValueError: 0.5 (train.py:9 in fit)'
    """
    frames = [place for place, line in enumerate(lines) if FRAME.fullmatch(line)]
    raised = (
        next((place for place in range(frames[-1] + 1, len(lines)) if lines[place][0] != " "), None) if frames else None
    )
    if raised is None or raised < len(lines) - 1 - LINES_AFTER:
        return None
    first = max((place for place in range(frames[-1]) if lines[place].startswith("Traceback ")), default=-1)
    found = [FRAME.fullmatch(lines[place]) for place in frames if place > first]
    named = [frame for frame in found if frame and not frame["file"].startswith("<")]
    own = [frame for frame in named if not LIBRARY.search(frame["file"])] or named
    where = f" ({Path(own[-1]['file']).name}:{own[-1]['line']} in {own[-1]['function']})" if own else ""
    return f"{lines[raised][:LONGEST_LINE]}{where}"


def why_not(program: str, cwd: str, there: bool, path: str | None, number: int | None, error: str) -> str:  # noqa: PLR0913
    """Why a program cannot be started, for people, from the error of the system with this `number`. `there`: whether
    the folder to run in is; `path`: the PATH it was searched on, None on another machine."""
    if not there:
        return f"the folder to run in, {cwd}, is not there"
    if number == errno.ENOENT:
        if file := _found(program, cwd, path):
            return f"the program {program!r} is there, but {_interpreter(file)} is not; install it, or correct {file}"
        searched = "on PATH of its node" if path is None else f"on PATH ({path})"
        where = "there" if "/" in program else searched
        return f"the program {program!r} is not {where}; install it, or correct the entry point"
    if number == errno.EACCES:
        return f"the program {program!r} may not be executed; chmod +x it, or start it through its interpreter"
    return f"the program {program!r} cannot be started: {os.strerror(number) if number else error}"


def _found(program: str, cwd: str, path: str | None) -> Path | None:
    """The file of a program, as far as it can be seen from here: another machine shares the folder to run in."""
    if "/" not in program:
        found = shutil.which(program, path=path) if path else None
        return Path(found) if found else None
    file = Path(cwd, program)
    return file if file.is_file() and (path is not None or not program.startswith("/")) else None


def _interpreter(file: Path) -> str:
    """What a program that is there needs to start, for people."""
    try:
        with file.open("rb") as opened:
            named = SHEBANG.match(opened.readline(LONGEST_LINE))
    except OSError:
        named = None
    return f"its interpreter {named[1].decode(errors='replace')!r}" if named else "what loads it"
