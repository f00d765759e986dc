"""`launcher.report`: how a program tells its result. It writes the file that the agent reads when the run ends, and
does nothing outside of a run, so the same program works by hand."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

from launcher import canonical
from launcher.errors import LaunchError
from launcher.paths import RunPaths, write_atomically
from launcher.series import STEP, SeriesFile

_FILES: dict[Path, SeriesFile] = {}
_WRITING = threading.Lock()


def report(**metrics: Any) -> dict[str, Any]:
    """Add `metrics` to this run's result, and return the whole result so far.

    Values are JSON values, or numbers that convert to one (NumPy scalars, zero-dimensional tensors); NaN and
    infinity are kept as the strings "NaN", "Infinity" and "-Infinity". A later call replaces a metric of the same name.
    Raises LaunchError for a value that is neither.

    With a `step`, a number, the metrics are a point of a series instead, and returned as they are: about 10,000 points
    of a run are kept, evenly over its steps. The last value of each metric is part of the run's result too, unless a
    call without a step says otherwise. One process of a run reports points.

    >>> report(accuracy=0.97, epochs=20)
    {'accuracy': 0.97, 'epochs': 20}
    >>> report(step=100, loss=0.5)
    {'step': 100, 'loss': 0.5}
    """
    plain = {name: _plain(name, value) for name, value in metrics.items()}
    target = os.environ.get("LAUNCHER_RESULT")
    if STEP in plain:
        return _report_point(plain, Path(target) if target else None)
    if not target:
        return plain
    path = Path(target)
    with _WRITING:
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            before = {}
        except ValueError:
            before = {}  # the file was not ours: what was there cannot be kept
        result = {**(before if isinstance(before, dict) else {}), **plain}
        _leave(path, canonical.encode(result))
    return result


def _leave(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        path.write_text(text, encoding="utf-8")  # a mount, as a pod's termination message: no file takes its place


def _report_point(point: dict[str, Any], result: Path | None) -> dict[str, Any]:
    step = point[STEP]
    if not isinstance(step, int | float) or isinstance(step, bool):
        raise LaunchError(f"report: step is {step!r}, expected a finite number")
    if result:
        path = RunPaths(result.parent).series
        with _WRITING:
            if path not in _FILES:
                _FILES[path] = SeriesFile(path)
            _FILES[path].append(point)
    return point


def _plain(name: str, value: Any) -> Any:
    try:
        number = canonical.finite(value.item() if hasattr(value, "item") and not isinstance(value, dict) else value)
        canonical.encode({name: number})
    except (TypeError, ValueError) as error:
        kind = type(value).__name__
        raise LaunchError(f"report: {name} is a {kind}, expected a JSON value (number, text, list, dict)") from error
    return number
