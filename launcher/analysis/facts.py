"""What is to be said about an item, for `launcher show` and its page: its state and why, its command and code, what it
reported; and where it comes from: who added it, what its config was composed from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from launcher.item import Item
from launcher.provenance import told
from launcher.spec import PRIORITY_NAMES, LaunchSpec, Source
from launcher.words import code, duration, moment, shown, state_words


def facts(item: Item, document: dict[str, Any]) -> list[tuple[str, str]]:
    """Facts with their names; empty texts for those that it has not."""
    source = Source.of(document)
    image = (document.get("docker") or {}).get("docker_image") or ""
    return [
        ("item", item.id),
        (
            "state",
            state_words(item) + (f": {item.stage + ': ' if item.stage else ''}{item.reason}" if item.reason else ""),
        ),
        ("sweep", item.sweep or ""),
        ("queue", f"{item.queue}, priority {PRIORITY_NAMES[item.priority]}"),
        ("name", item.name or ""),
        ("point", " ".join(item.point)),
        ("command", shlex.join(LaunchSpec(document).command())),
        ("job", document.get("job") or ""),
        ("code", code(source) if document.get("uri") else str(image)),
        ("image", str((item.handle or {}).get("digest") or (item.handle or {}).get("image") or "")),
        *origin(item, document),
        ("attempt", f"{item.attempt} of {item.max_attempts}" if item.attempt else ""),
        ("took", duration(item.seconds)),
        ("exit code", "" if item.exit_code is None else str(item.exit_code)),
        ("result", "  ".join(f"{name}={shown(value)}" for name, value in (item.result or {}).items())),
        ("agent", item.agent or ""),
        ("folder", item.run_dir or ""),
    ]


def origin(item: Item, document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts with their names; empty texts where nothing is known."""
    known = told(item, document)
    config, choices = known["config"] or {}, known["choices"] or {}
    return [
        ("config of", code(Source.of(config)) if config else ""),
        ("choices", " ".join(f"{group}={option}" for group, option in choices.items())),
        ("config", f"digest {known['config_digest']}" if known["config_digest"] else ""),
        ("added", f"{moment(item.added_at)} by {known['user']} on {known['host']}" if known["host"] else ""),
        ("versions", _versions(known)),
    ]


def _versions(known: Mapping[str, Any]) -> str:
    if not known["python"]:
        return ""
    return f"Python {known['python']}, launcher {known['launcher']}, Hydra {known['hydra']}"
