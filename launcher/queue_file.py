"""Queues from their settings, by name or from a YAML file: checked whole, and changed only where they differ. The
Python API and `launcher queue` call it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from launcher import canonical, schema
from launcher.checks import policy_problems
from launcher.errors import NotFoundError, Problem, UsageError, suggest
from launcher.item import QueueInfo
from launcher.queues import Store
from launcher.runners import RESOURCES
from launcher.spec import policies
from launcher.variables import queue_problems
from launcher.yaml_text import read_yaml

DEFAULT_RESOURCE = "local-process"


@dataclass(frozen=True, slots=True)
class Change:
    """What applying a queue does: `before` is None for a new one. Without `lines` there is nothing to do."""

    before: QueueInfo | None
    after: QueueInfo
    lines: tuple[str, ...]


def queue_info(settings: Mapping[str, Any]) -> tuple[QueueInfo | None, list[Problem]]:
    """The queue that `settings` describe (the fields of schemas/queue.json), or everything that is wrong with them.

    >>> queue_info({"name": "gpu", "resource": "slurm", "max_running": 0})[1][0].path
    'max_running'
    """
    found = schema.problems(dict(settings), "queue")
    if found:
        return None, found
    found = list(policy_problems(settings))
    if found:
        return None, found
    queue = QueueInfo(**{"resource": DEFAULT_RESOURCE, **settings})
    found = list(queue_problems(queue))
    others = [key for key in queue.resource_args if key != queue.resource]
    if others:
        found.append(
            Problem(
                "resource_args", f"has {', '.join(others)}, but the resource is {queue.resource}; expected its name"
            )
        )
    if not found and queue.resource in RESOURCES and queue.resource in queue.resource_args:
        name = f"resource_args/{queue.resource}"
        found += schema.problems(
            queue.resource_args[queue.resource], name, path=("resource_args", queue.resource), filled=False
        )
    return (None, found) if found else (queue, [])


def create_queue(store: Store, name: str, settings: Mapping[str, Any]) -> QueueInfo:
    """Create a queue. UsageError for all that is wrong with its settings, LaunchError for a name that is taken."""
    store.create_queue(_checked({**settings, "name": name}))
    return found_queue(store, name)


def update_queue(store: Store, name: str, settings: Mapping[str, Any]) -> QueueInfo:
    """Change the named settings of a queue; the others stay, and so do the items that are in it already."""
    before = {key: value for key, value in asdict(found_queue(store, name)).items() if key != "created_at"}
    wanted = _checked({**before, **settings, "name": name})
    store.update_queue(wanted)
    if "paused" in settings:
        store.pause_queue(name, paused=wanted.paused)
    return found_queue(store, name)


def found_queue(store: Store, name: str) -> QueueInfo:
    """The queue of this name; NotFoundError with the nearest names when there is none."""
    queues = {known.name: known for known in store.queues()}
    if name not in queues:
        raise NotFoundError(f"no queue named {name!r}; {suggest(name, queues)}")
    return queues[name]


def _checked(settings: Mapping[str, Any]) -> QueueInfo:
    queue, problems = queue_info(settings)
    if queue is None:
        raise UsageError("\n".join(f"queue {settings['name']!r}: {problem}" for problem in problems))
    return queue


def read_queues(path: Path) -> list[dict[str, Any]]:
    """The settings of the queues of a file, a list or one queue's. UsageError lists everything that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"queue file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"queue file {path} is not YAML: {error}") from error
    content = read_yaml(text, f"queue file {path}")
    entries = content if isinstance(content, list) and content else [content]
    queues: list[dict[str, Any]] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, Mapping):
            problems.append(f"queue {number} is {entry!r}, expected a mapping with name, resource, …")
            continue
        settings = {str(key): value for key, value in entry.items()} | policies(entry)
        queue, found = queue_info(settings)
        if queue:
            queues.append(settings)
        problems.extend(f"queue {number} ({entry.get('name')!r}): {problem}" for problem in found)
    names = [queue["name"] for queue in queues]
    problems.extend(f"queue {name!r} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1)
    if problems:
        raise UsageError("\n".join(f"queue file {path}: {problem}" for problem in problems))
    return queues


def plan_changes(store: Store, wanted: Sequence[Mapping[str, Any]]) -> list[Change]:
    """What it takes to make the store's queues as these settings say; queues that are not named stay as they are, and
    one that somebody paused stays paused unless its settings say otherwise."""
    known = {queue.name: queue for queue in store.queues()}
    return [_change(known.get(settings["name"]), settings) for settings in wanted]


def apply_changes(store: Store, changes: Sequence[Change]) -> None:
    """Do what `plan_changes` found."""
    for change in changes:
        if change.before is None:
            store.create_queue(change.after)
        elif change.lines:
            store.update_queue(change.after)
            if change.after.paused != change.before.paused:
                store.pause_queue(change.after.name, paused=change.after.paused)


def _change(before: QueueInfo | None, settings: Mapping[str, Any]) -> Change:
    if before is None:
        after = _checked(settings)
        return Change(None, after, tuple(_lines({}, _settings(after))))
    after = _checked({"paused": before.paused, **settings})
    return Change(before, after, tuple(_lines(_settings(before), _settings(after))))


def _settings(queue: QueueInfo) -> dict[str, Any]:
    empty = asdict(replace(QueueInfo("", ""), name=queue.name))
    return {name: value for name, value in asdict(queue).items() if value != empty[name] and name != "created_at"}


def _lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            if name in before:
                yield f"- {name}: {canonical.encode(before[name])}"
            if name in after:
                yield f"+ {name}: {canonical.encode(after[name])}"
