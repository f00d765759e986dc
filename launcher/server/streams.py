"""What a run streams while it goes on: lines of its history and its console, its summary, and at the end its exit code.
W&B's client posts them every few seconds, again where a reply was lost: lines come with their place in the file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from launcher import canonical
from launcher.errors import ConflictError, NotFoundError, UsageError
from launcher.server.desk import Ask
from launcher.server.runs import KIND, key_of, settle
from launcher.server.storage import writing

SUMMARY = "wandb-summary.json"
LOCKS = [Lock() for _ in range(64)]
"""A run's files are written by one request at a time, from reading how many lines there are to noting how many
there are then: a client that gave up waiting says all of it once more."""

BLOCK = 1 << 20


def receive(ask: Ask, entity: str, project: str, name: str, body: Any) -> dict[str, Any]:
    """Take in what a run streamed; returns what the client is told."""
    ask.entity(entity, "member")
    key = key_of(entity, project, name)
    files = body.get("files") or {} if isinstance(body, dict) else None
    if not isinstance(files, dict):
        raise UsageError("expected an object with files, each with an offset and a content of lines")
    chunks = {file: _chunk(file, chunk) for file, chunk in files.items()}
    with LOCKS[hash(key) % len(LOCKS)]:
        value = _kept(ask, key, body, chunks)
    if value and value["ended"]:
        settle(ask.desk, value, body.get("lease"))
    return {"exitcode": None, "limits": {}}


def _kept(ask: Ask, key: str, body: Mapping[str, Any], chunks: Mapping[str, tuple[int, Sequence[str]]]) -> Any:
    """Write what came to the run's files and to its record; returns the record's value."""
    record = ask.desk.store.record(KIND, key)
    if record is None:
        raise NotFoundError(f"no run {key!r}; upsertBucket makes one")
    token = body.get("lease")
    if token is not None and token != record.value.get("lease"):
        raise ConflictError(f"run {key!r} is another agent's by now; nothing was written")
    entity, project, name = key.split("/")
    storage = ask.desk.storage
    counts: dict[str, int] = {}
    for file, (offset, lines) in chunks.items():
        if file != SUMMARY:
            path = storage.path(storage.run_file(entity, project, name, file))
            with writing(file):
                counts[file] = _write(path, offset, lines, int(record.value["lines"].get(file, 0)))

    def change(before: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if before is None:
            return None
        summary = _summary(chunks[SUMMARY][1]) if SUMMARY in chunks else None
        more = {} if summary is None else {"summary": summary}
        return {
            **before, **more, **_ending(before, body), "seen_at": time.time(), "lines": {**before["lines"], **counts},
        }  # fmt: skip

    return ask.desk.change(KIND, key, change)


def _chunk(file: str, chunk: Any) -> tuple[int, Sequence[str]]:
    offset, lines = (chunk.get("offset", 0), chunk.get("content", ())) if isinstance(chunk, dict) else (None, None)
    if isinstance(lines, str):
        lines = [lines]
    if not isinstance(offset, int) or not isinstance(lines, list | tuple) or not all(isinstance(e, str) for e in lines):
        raise UsageError(f"{file!r}: expected an object with a whole number as offset and texts as content")
    return max(0, offset), lines


def _write(path: Path, offset: int, lines: Sequence[str], there: int) -> int:
    """Put lines at their place; returns how many the file has then. Most are new ones at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [line.removesuffix("\n").replace("\n", " ").encode(errors="replace") for line in lines]
    if offset >= there:
        with path.open("ab" if there else "wb") as file:  # W&B's client may have uploaded it as a whole before
            file.writelines(text + b"\n" for text in texts)
        return there + len(texts)
    path.touch()
    with path.open("r+b") as file:
        start = _pass(file, offset)
        _pass(file, len(texts))
        rest = file.read()
        file.seek(start)
        file.writelines([*(text + b"\n" for text in texts), rest])
        file.truncate()
    return max(there, offset + len(texts))


def _pass(file: BinaryIO, number: int) -> int:
    """Go on behind so many lines of a file, however long it is; returns the place."""
    place = file.tell()
    while number and (block := file.read(BLOCK)):
        found = block.count(b"\n")
        if found < number:
            number, place = number - found, place + len(block)
            continue
        end = 0
        for _ in range(number):
            end = block.index(b"\n", end) + 1
        number, place = 0, place + end
    return file.seek(place)


def _summary(lines: Sequence[str]) -> Any:
    with suppress(ValueError, RecursionError):
        value = canonical.decode(lines[-1]) if lines else None
        if isinstance(value, dict):
            return canonical.finite(value)
    return None


def _ending(before: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """What a run says about its end, if it does."""
    code = body.get("exitcode")
    if body.get("preempting"):
        return {"state": "preempting"}
    if not body.get("complete") or not isinstance(code, int):
        return {"state": "running", "ended": before["ended"]}
    preempted = before.get("state") == "preempting"
    ended = "finished" if code == 0 else "preempted" if preempted else "killed" if before.get("stop") else "failed"
    return {"state": ended, "ended": ended, "exit_code": code, "ended_by": body.get("lease")}
