"""What a run streamed and uploaded, as fields of a GraphQL Run: history, events, console lines, files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher import canonical
from launcher.server.desk import Ask, file_node, page, parsed
from launcher.server.runs import EVENTS, HISTORY, LOG
from launcher.server.storage import last_line, lines_of

MOST_LINES = 10_000
"""Lines of a file that one answer holds."""


def _lines(run: Mapping[str, Any], info: Any, name: str) -> list[str]:
    if _forgotten(run, name):
        return []
    storage = info.context.desk.storage
    return [line.decode(errors="replace") for line in lines_of(storage.path(storage.run_file(*run["where"], name)))]


def _forgotten(run: Mapping[str, Any], name: str) -> bool:
    """Whether a file is of an earlier attempt, and nothing of it counts any more."""
    return bool(run["lines"].get(name) == 0)


def history(
    run: Mapping[str, Any],
    info: Any,
    samples: int | None = None,
    minStep: int = 0,
    maxStep: int | None = None,
) -> list[str]:
    """Run.history: the rows of these steps (the last one not among them) as JSON texts, `samples` at most, evenly
    chosen."""
    lines = _lines(run, info, HISTORY)
    if minStep or maxStep is not None:
        end = math.inf if maxStep is None else maxStep
        lines = [line for line in lines if (row := _row(line)) and minStep <= _step(row) < end]
    return _thinned(lines, samples)


def _step(row: Mapping[str, Any]) -> float:
    step = row.get("_step", 0)
    return step if isinstance(step, int | float) else 0


def events(run: Mapping[str, Any], info: Any, samples: int | None = None) -> list[str]:
    """Run.events: what the client measured of the machine."""
    return _thinned(_lines(run, info, EVENTS), samples)


def sampled_history(run: Mapping[str, Any], info: Any, specs: list[str]) -> list[list[Any]]:
    """Run.sampledHistory: for each spec, the rows that have all its keys, cut down to these. A spec without keys asks
    for nothing: so W&B's scheduler looks every few seconds whether its sweep goes on."""
    found = []
    asked = [parsed(text, "specs") or {} for text in specs]
    wanted = any(spec.get("keys") for spec in asked)
    rows = [row for row in map(_row, _lines(run, info, HISTORY)) if row is not None] if wanted else []
    for spec in asked:
        keys = spec.get("keys")
        keys = [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
        chosen = [{key: row[key] for key in keys} for row in rows if all(key in row for key in keys)] if keys else []
        found.append(_thinned(chosen, spec.get("samples") if isinstance(spec.get("samples"), int) else None))
    return found


def _row(line: str) -> Mapping[str, Any] | None:
    with suppress(ValueError, RecursionError):
        value = canonical.decode(line)
        return canonical.finite(value) if isinstance(value, dict) else None
    return None


def _thinned(rows: list[Any], samples: int | None) -> list[Any]:
    most = min(MOST_LINES if samples is None else max(samples, 1), MOST_LINES)
    if len(rows) <= most:
        return rows
    return [rows[place * len(rows) // most] for place in range(most)]


def tail(name: str) -> Any:
    """The resolver of the last line of a streamed file, as a JSON list of JSON texts."""

    def last(run: Mapping[str, Any], info: Any) -> str:
        storage = info.context.desk.storage
        path = storage.path(storage.run_file(*run["where"], name))
        line = b"" if _forgotten(run, name) else last_line(path)
        return canonical.encode([line.decode(errors="replace")] if line else [])

    return last


def run_files(
    run: Mapping[str, Any],
    info: Any,
    names: list[str] | None = None,
    pattern: str | None = None,
    after: str | None = None,
    first: int | None = None,
) -> dict[str, Any]:
    """Run.files: those that it uploaded, or these names, there or not: their addresses serve to upload them, too."""
    from fnmatch import fnmatch

    ask: Ask = info.context
    storage = ask.desk.storage
    entity, project, run_name = run["where"]
    if not names:
        names = sorted(_uploaded(storage.path(storage.run_file(entity, project, run_name, LOG)).parent))
    chosen = [name for name in names if name and (pattern is None or fnmatch(name, pattern))]
    nodes = [file_node(ask, entity, name, storage.run_file(entity, project, run_name, name)) for name in chosen]
    return page(nodes, after, first, lambda file: str(file["name"])) | {"uploadHeaders": []}


def _uploaded(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.is_file() and not path.name.endswith(".partial"):
            yield path.relative_to(folder).as_posix()


def log_lines(
    run: Mapping[str, Any],
    info: Any,
    first: int | None = None,
    last: int | None = None,
    after: str | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Run.logLines: what the run printed, as the client told it: a time, maybe ERROR before it, and a line."""
    lines = _lines(run, info, LOG)
    nodes = [_log_line(number, line) for number, line in enumerate(lines)]
    if last is not None:
        nodes = nodes[-max(last, 0) :] if last else []
    most = MOST_LINES if first is None else min(first, MOST_LINES)
    return page(nodes, after, most, lambda node: str(node["number"]))


def _log_line(number: int, line: str) -> dict[str, Any]:
    level, rest = ("error", line.removeprefix("ERROR ")) if line.startswith("ERROR ") else ("info", line)
    at, _, text = rest.partition(" ")
    timed = at[:1].isdigit() and "T" in at
    return {"number": number, "level": level, "line": text if timed else rest, "timestamp": at if timed else None}
