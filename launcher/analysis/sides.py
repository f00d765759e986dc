"""What items have alike and what differently, by part: config, code, command, environment, resources, versions. Here
`launcher diff` compares two items or sweeps, and an item's page the item with its sweep."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.canonical import encode, leaves
from launcher.item import Item
from launcher.spec import PRIORITY_NAMES, Source

VARIES = "(varies)"
PARTS = ("config", "code", "command", "environment", "resource", "versions")

Leaves = dict[str, Any]
"""Dotted paths to values."""


@dataclass(slots=True)
class Side:
    """What is compared: by part, what an item has, or what all items of a sweep have alike, the others being VARIES."""

    name: str
    count: int = 0
    total: int = 0
    parts: dict[str, Leaves] = field(default_factory=dict)
    source: Source | None = None
    swept: dict[str, set[str]] = field(default_factory=dict)

    def add(self, item: Item, document: Mapping[str, Any]) -> None:
        """Take in one more item."""
        parts = dict(zip(PARTS, parts_of(item, document), strict=True))
        source = Source.of(document)
        if self.count == 0:
            self.parts, self.source = parts, source
        else:
            self.parts = {name: _shared(self.parts[name], found) for name, found in parts.items()}
            self.source = source if source == self.source else None
        self.count += 1

    def sweep(self, item: Item) -> None:
        """Take in an item's swept values."""
        self.total += 1
        for override in item.point:
            key, _, value = override.partition("=")
            self.swept.setdefault(key, set()).add(value)


def parts_of(item: Item, document: Mapping[str, Any]) -> Iterator[Leaves]:
    """The parts of an item that are compared, in the order of PARTS."""
    resource = document.get("resource")
    arguments = dict((document.get("resource_args") or {}).get(resource) or {})
    environment = variables(arguments)
    provenance = document.get("provenance") or {}
    overrides = document["overrides"]
    code = {
        "uri": document.get("uri"), "job": document.get("job"), **(document.get("docker") or {}),
        **{"commit" if name == "version" else name: value for name, value in (document.get("git") or {}).items()},
    }  # fmt: skip
    command = {name: shlex.join(overrides[name]) for name in ("entry_point", "args") if overrides.get(name)}
    yield dict(leaves(overrides.get("run_config") or {}))
    yield {name: value for name, value in code.items() if value}
    yield command | ({"working_dir": overrides["working_dir"]} if overrides.get("working_dir") else {})
    yield environment
    needs = {"resource": resource, "queue": item.queue, "priority": PRIORITY_NAMES[item.priority]}
    yield {**needs, **dict(leaves({name: value for name, value in arguments.items() if name not in ("env", "e")}))}
    yield {name: provenance[name] for name in ("python", "launcher", "hydra") if name in provenance}


def _shared(known: Leaves, more: Leaves) -> Leaves:
    return {
        name: known[name] if name in known and name in more and _same(known[name], more[name]) else VARIES
        for name in {**known, **more}
    }


def _same(old: Any, new: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true differ."""
    return encode(old, sort=True) == encode(new, sort=True)


def swept_values(side: Side) -> Leaves:
    """The swept keys with their values, in order; of a single item there are none."""
    if side.total < 2:
        return {}
    return {key: sorted(values, key=_natural) for key, values in side.swept.items() if len(values) > 1}


def _natural(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def changes(old: Leaves, new: Leaves) -> Iterator[dict[str, Any]]:
    """What differs: each path (`key`) with its `old` and its `new` value, as far as it has them."""
    for name in {**old, **new}:
        sides = {word: leaves[name] for word, leaves in (("old", old), ("new", new)) if name in leaves}
        if len(sides) < 2 or not _same(sides["old"], sides["new"]):
            yield {"key": name, **sides}


def variables(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that a resource's arguments give to a run, of whatever form: an object, or NAME=VALUE, one or a
    list; a NAME alone refers to the agent's own.

    >>> variables({"env": ["A=1", "B"]})
    {'A': '1', 'B': '${B}'}
    """
    given = arguments.get("env", arguments.get("e")) or {}
    if isinstance(given, Mapping):
        return dict(given)
    parts = (str(entry).partition("=") for entry in ([given] if isinstance(given, str) else given))
    return {name: value if equals else f"${{{name}}}" for name, equals, value in parts}
