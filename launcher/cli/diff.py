"""`launcher diff`: what two items, or what all items of two sweeps, have differently: config, code, command,
environment and resources."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from launcher.canonical import encode
from launcher.cli.origin import variables
from launcher.cli.printing import echo_json
from launcher.cli.targets import json_option, opened, selected, store_option
from launcher.item import Item
from launcher.queues import Store
from launcher.sources.history import Between, between
from launcher.spec import PRIORITY_NAMES, Source

LARGEST = 1000
"""Items of a sweep whose specs are compared; of larger ones this many, spread evenly."""

DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A commit or the digest of a patch, whose beginning says enough."""

VARIES = "(varies)"
NONE = "(none)"
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
        parts = dict(zip(PARTS, _parts(item, document), strict=True))
        source = Source.of(document)
        if self.count == 0:
            self.parts, self.source = parts, source
        else:
            self.parts = {name: _shared(self.parts[name], leaves) for name, leaves in parts.items()}
            self.source = source if source == self.source else None
        self.count += 1

    def sweep(self, item: Item) -> None:
        """Take in an item's swept values."""
        self.total += 1
        for override in item.point:
            key, _, value = override.partition("=")
            self.swept.setdefault(key, set()).add(value)


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when they differ.")
@store_option
@json_option
def diff(first: str, second: str, exit_code: bool, store: str | None, as_json: bool) -> None:
    """Print what differs between A and B, items or sweeps: config, code, command, environment, resources.

    Of a sweep, what all its items have alike is compared, and the keys it sweeps.
    """
    with opened(store, read_only=True) as target:
        old, new = (_side(target, name) for name in (first, second))
    changes = {name: found for name in PARTS if (found := list(_changes(old.parts[name], new.parts[name])))}
    if swept := list(_changes(_values(old), _values(new))):
        changes = {"swept": swept, **changes}
    history = between(old.source, new.source) if old.source and new.source and "code" in changes else None
    if as_json:
        echo_json(_as_json(changes, history))
    else:
        _print(old, new, changes, history)
    if exit_code and changes:
        sys.exit(1)


def _side(store: Store, name: str) -> Side:
    [which] = selected(store, [name])
    side = Side(name)
    for item in store.items(which):
        side.sweep(item)
    step = max(1, -(-side.total // LARGEST))
    for number, item in enumerate(store.items(which)):
        if number % step == 0:
            side.add(item, store.document(item.id))
    return side


def _parts(item: Item, document: Mapping[str, Any]) -> Iterator[Leaves]:
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
    yield dict(_leaves(overrides.get("run_config") or {}))
    yield {name: value for name, value in code.items() if value}
    yield command | ({"working_dir": overrides["working_dir"]} if overrides.get("working_dir") else {})
    yield environment
    needs = {"resource": resource, "queue": item.queue, "priority": PRIORITY_NAMES[item.priority]}
    yield {**needs, **dict(_leaves({name: value for name, value in arguments.items() if name not in ("env", "e")}))}
    yield {name: provenance[name] for name in ("python", "launcher", "hydra") if name in provenance}


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, entry in value.items():
        if isinstance(entry, Mapping) and entry:
            yield from _leaves(entry, f"{path}{key}.")
        else:
            yield f"{path}{key}", entry


def _shared(known: Leaves, more: Leaves) -> Leaves:
    return {
        name: known[name] if name in known and name in more and _same(known[name], more[name]) else VARIES
        for name in {**known, **more}
    }


def _same(old: Any, new: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true differ."""
    return encode(old, sort=True) == encode(new, sort=True)


def _values(side: Side) -> Leaves:
    """The swept keys with their values, in order; of a single item there are none."""
    if side.total < 2:
        return {}
    return {key: sorted(values, key=_natural) for key, values in side.swept.items() if len(values) > 1}


def _natural(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def _changes(old: Leaves, new: Leaves) -> Iterator[dict[str, Any]]:
    for name in {**old, **new}:
        sides = {word: leaves[name] for word, leaves in (("old", old), ("new", new)) if name in leaves}
        if len(sides) < 2 or not _same(sides["old"], sides["new"]):
            yield {"key": name, **sides}


def _as_json(changes: Mapping[str, Any], history: Between | None) -> dict[str, Any]:
    told = {name: {change.pop("key"): change for change in found} for name, found in changes.items()}
    return {"same": not changes, **told, **({"history": history} if history else {})}


# -- printing -------------------------------------------------------------------------------------------------------


def _print(old: Side, new: Side, changes: Mapping[str, Sequence[dict[str, Any]]], history: Between | None) -> None:
    for side in (old, new):
        if side.count < side.total:
            click.echo(f"of {side.name}, {side.count:,} of {side.total:,} items are compared", err=True)
    if not changes:
        click.echo(f"{old.name} and {new.name} run the same")
    for part, found in changes.items():
        click.echo(part)
        width = max(len(change["key"]) for change in found)
        for change in found:
            before, after = (_text(change[word]) if word in change else NONE for word in ("old", "new"))
            click.echo(f"  {change['key']:<{width}}  {before} -> {after}")
        if part == "code" and history:
            _print_history(history)


def _print_history(history: Between) -> None:
    for sign, commits in (("+", history.added), ("-", history.removed)):
        for commit in commits:
            click.echo(f"  {sign} {commit}")
    for line in history.files:
        click.echo(f"    {line}")


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else encode(value)
    return text[:12] if DIGEST.fullmatch(text) else text
