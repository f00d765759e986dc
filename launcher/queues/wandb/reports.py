"""What a W&B server hears of a run, through the file stream that W&B's client uses: its console, line by line while it
goes on, and at the end its summary, its history and its exit code."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import canonical
from launcher.outcome import Cancelled, Failed, Finished
from launcher.paths import RunPaths
from launcher.queues.wandb.client import Client
from launcher.queues.wandb.taken import Taken
from launcher.series import to_history

LOG, SUMMARY, HISTORY = "output.log", "wandb-summary.json", "wandb-history.jsonl"
CHUNK = 1 << 19
"""Bytes of a log or a history in one request, at most twice as many: servers take some MiB, and JSON six characters
for some of them."""

LINES = 5_000
Ended = Finished | Failed | Cancelled


@dataclass(frozen=True, slots=True)
class Place:
    """How far a log has been sent: bytes of its file here, lines of its file there."""

    byte: int
    line: int


class Reports:
    """Reports of the runs that agents of this process have; its loop and its heartbeat share one."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._places: dict[str, Place] = {}
        self._lock = threading.Lock()

    def log(self, taken: Taken) -> None:
        """Send what a run printed since the last time, and that it lives."""
        with self._lock:
            for files, place in self._chunks(taken, whole=False):
                self._send(taken, files, place)

    def end(self, taken: Taken, outcome: Ended, *, still: bool = False) -> None:
        """Send the rest of what a run printed, and what it reported; and that it has ended, unless `still` something
        else is to be told before that (`ended` tells it then)."""
        with self._lock:
            chunks = self._chunks(taken, whole=True)
            files, place = next(chunks)
            for following in chunks:
                self._send(taken, files, place)
                files, place = following
            if outcome.result is not None:
                files = {**files, SUMMARY: _lines(0, [canonical.encode(outcome.result)])}
            for offset, lines in _parts(to_history(outcome.series) if outcome.series is not None else []):
                self._post(taken, {HISTORY: _lines(offset, lines)})
            self._send(taken, files, place, {} if still else _ending(outcome))

    def ended(self, taken: Taken, outcome: Ended | None) -> None:
        """Send that a run has ended; without an outcome, that it was preempted."""
        if outcome is None:
            self._post(taken, {}, {"preempting": True})
        self._post(taken, {}, _ending(outcome))

    def forget(self, taken: Taken) -> None:
        """Its lease is over."""
        self._places.pop(taken.token, None)

    def _post(self, taken: Taken, files: Mapping[str, Any], more: Mapping[str, Any] = {}) -> None:
        fence = {"lease": taken.token} if self._client.leases else {}
        self._client.stream(taken.run, {"files": files, **more, **fence})

    def _send(self, taken: Taken, files: Mapping[str, Any], place: Place, more: Mapping[str, Any] = {}) -> None:
        self._post(taken, files, more)
        self._places[taken.token] = place

    def _chunks(self, taken: Taken, *, whole: bool) -> Iterator[tuple[dict[str, Any], Place]]:
        """The files of the next requests, at least of one, and the places after them; `whole`: with a last line that
        has no end."""
        place = start = self._place(taken)
        for end, lines in _read(_log_of(taken), start.byte, whole=whole):
            files, place = {LOG: _lines(place.line, lines)}, Place(end, place.line + len(lines))
            yield files, place
        if place is start:
            yield {LOG: _lines(place.line, [])} if whole else {}, place  # one that printed nothing has a log, too

    def _place(self, taken: Taken) -> Place:
        """Where the log goes on: for a run that another process began with, after the lines that are there already."""
        if taken.token not in self._places:
            place = Place(0, taken.lines)
            sent = max(0, lines_of(self._client, taken.run) - taken.lines)
            for end, lines in _read(_log_of(taken), 0, whole=False, most=sent):
                place = Place(end, place.line + len(lines))
            self._places[taken.token] = place
        return self._places[taken.token]

    def begin(self, taken: Taken) -> None:
        """A run was begun with here, and nothing of it is sent yet."""
        self._places[taken.token] = Place(0, taken.lines)


def lines_of(client: Client, run: tuple[str, str, str]) -> int:
    """How many lines the log of a run has on the server."""
    query = """query Run($entity: String!, $project: String!, $name: String!) { project(name: $project,
    entityName: $entity) { run(name: $name) { logLineCount } } }"""
    data = client.ask(query, **dict(zip(("entity", "project", "name"), run, strict=True)))
    return int(((data.get("project") or {}).get("run") or {}).get("logLineCount") or 0)


def _log_of(taken: Taken) -> Path | None:
    folder = taken.lease.item.run_dir
    return RunPaths(Path(folder)).log if folder else None


def _read(path: Path | None, start: int, *, whole: bool, most: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """The lines of a log from a byte on, some at a time and `most` in all, each time with the byte where they end."""
    if path is None or not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(start)
        while most is None or most > 0:
            room = LINES if most is None else min(LINES, most)
            lines: list[bytes] = []
            size = 0
            while len(lines) < room and size < CHUNK and (line := file.readline(CHUNK)):
                if not line.endswith(b"\n") and len(line) < CHUNK and not whole:
                    break  # it goes on
                lines.append(line)
                size += len(line)
            if not lines:
                return
            start += size
            most = most and most - len(lines)
            yield start, [line.decode(errors="replace").removesuffix("\n").replace("\0", "\ufffd") for line in lines]


def _parts(lines: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """The lines of a file for one request after the other, each with the place of its first."""
    start = size = 0
    for place, line in enumerate(lines):
        if size > CHUNK:
            yield start, lines[start:place]
            start, size = place, 0
        size += len(line)
    if lines:
        yield start, lines[start:]


def _lines(offset: int, lines: Sequence[str]) -> dict[str, Any]:
    return {"offset": offset, "content": list(lines)}


def _ending(outcome: Ended | None) -> dict[str, Any]:
    match outcome:
        case Finished():
            code = 0
        case Failed(exit_code=int(code)) if code:
            pass
        case _:
            code = 1
    return {"complete": True, "exitcode": code}
