"""`launcher diff`: what two items, or what all items of two sweeps, have differently: config, code, command,
environment and resources."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from launcher.analysis.sides import PARTS, Side, changes, swept_values
from launcher.canonical import encode
from launcher.cli.printing import echo_json, say
from launcher.cli.targets import json_option, opened, selected, store_option
from launcher.queues import Store
from launcher.sources.history import Between, between

LARGEST = 1000
"""Items of a sweep whose specs are compared; of larger ones this many, spread evenly."""

DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A commit or the digest of a patch, whose beginning says enough."""

NONE = "(none)"


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
    with opened(store, read_only=True, make=False) as target:
        old, new = (_side(target, name) for name in (first, second))
    differing = {name: found for name in PARTS if (found := list(changes(old.parts[name], new.parts[name])))}
    if swept := list(changes(swept_values(old), swept_values(new))):
        differing = {"swept": swept, **differing}
    history = between(old.source, new.source) if old.source and new.source and "code" in differing else None
    if as_json:
        echo_json(_as_json(differing, history))
    else:
        _print(old, new, differing, history)
    if exit_code and differing:
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


def _as_json(differing: Mapping[str, Any], history: Between | None) -> dict[str, Any]:
    told = {name: {change.pop("key"): change for change in found} for name, found in differing.items()}
    return {"same": not differing, **told, **({"history": history} if history else {})}


# -- printing -------------------------------------------------------------------------------------------------------


def _print(old: Side, new: Side, differing: Mapping[str, Sequence[dict[str, Any]]], history: Between | None) -> None:
    for side in (old, new):
        if side.count < side.total:
            say(f"of {side.name}, {side.count:,} of {side.total:,} items are compared", err=True)
    if not differing:
        say(f"{old.name} and {new.name} run the same")
    for part, found in differing.items():
        click.echo(part)
        width = max(len(change["key"]) for change in found)
        for change in found:
            before, after = (_text(change[word]) if word in change else NONE for word in ("old", "new"))
            say(f"  {change['key']:<{width}}  {before} -> {after}")
        if part == "code" and history:
            _print_history(history)


def _print_history(history: Between) -> None:
    for sign, commits in (("+", history.added), ("-", history.removed)):
        for commit in commits:
            say(f"  {sign} {commit}")
    for line in history.files:
        say(f"    {line}")


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else encode(value)
    return text[:12] if DIGEST.fullmatch(text) else text
