"""Where an item comes from, as `launcher show` says it: who added it, what its config was composed from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.cli.printing import code, moment
from launcher.item import Item
from launcher.provenance import told
from launcher.spec import Source


def origin(item: Item, document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts with their names; empty texts where nothing is known."""
    facts = told(item, document)
    config, choices = facts["config"] or {}, facts["choices"] or {}
    return [
        ("config of", code(Source.of(config)) if config else ""),
        ("choices", " ".join(f"{group}={option}" for group, option in choices.items())),
        ("config", f"digest {facts['config_digest']}" if facts["config_digest"] else ""),
        ("added", f"{moment(item.added_at)} by {facts['user']} on {facts['host']}" if facts["host"] else ""),
        ("versions", _versions(facts)),
    ]


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


def _versions(facts: Mapping[str, Any]) -> str:
    if not facts["python"]:
        return ""
    return f"Python {facts['python']}, launcher {facts['launcher']}, Hydra {facts['hydra']}"
