"""`launcher show`: everything about one item."""

from __future__ import annotations

import shlex
from typing import Any

import click

from launcher.cli.origin import origin
from launcher.cli.printing import code, duration, echo_json, moment, plain, shown
from launcher.cli.targets import found_item, json_option, opened, store_option
from launcher.errors import NotFoundError
from launcher.item import Event, Item
from launcher.provenance import told
from launcher.queues import Store
from launcher.spec import PRIORITY_NAMES, LaunchSpec, Source


@click.command()
@click.argument("item_id", metavar="ID")
@click.option("--reproduce", is_flag=True, help="Print the commands that rebuild the run by hand.")
@click.option("--patch", is_flag=True, help="Print the uncommitted changes that are part of its code.")
@store_option
@json_option
def show(item_id: str, reproduce: bool, patch: bool, store: str | None, as_json: bool) -> None:
    """Print an item: its state and why, its command, code and config, where it comes from, and its story."""
    with opened(store) as target:
        item = found_item(target, item_id)
        document = target.document(item.id)
        if reproduce:
            from launcher.cli.reproduce import script

            click.echo(script(item, document, target.url))
            return
        if patch:
            click.echo(_patch(target, item, document), nl=False)
            return
        events = target.events(item.id)
    if as_json:
        echo_json({**plain(item), "spec": document, "provenance": told(item, document), "events": events})
        return
    for name, value in _facts(item, document):
        if value:
            click.echo(f"{name:<10} {value}")
    click.echo("story")
    for line in _story(item, events):
        click.echo(f"  {line}")
    config = document["overrides"].get("run_config")
    if config:
        from launcher.paths import yaml_text

        click.echo("config")
        click.echo("".join(f"  {line}\n" for line in yaml_text(config).splitlines()), nl=False)


def _patch(store: Store, item: Item, document: dict[str, Any]) -> bytes:
    digest = Source.of(document).patch
    if not digest:
        raise NotFoundError(f"run {item.id} has no uncommitted changes: its code is {code(Source.of(document))}")
    return store.patch(digest)


def _facts(item: Item, document: dict[str, Any]) -> list[tuple[str, str]]:
    source = Source.of(document)
    other = document["docker"].get("docker_image") or document.get("job") or ""
    return [
        ("item", item.id),
        (
            "state",
            item.state.value + (f": {item.stage + ': ' if item.stage else ''}{item.reason}" if item.reason else ""),
        ),
        ("sweep", item.sweep or ""),
        ("queue", f"{item.queue}, priority {PRIORITY_NAMES[item.priority]}"),
        ("name", item.name or ""),
        ("point", " ".join(item.point)),
        ("command", shlex.join(LaunchSpec(document).command())),
        ("code", code(source) if document.get("uri") else str(other)),
        *origin(item, document),
        ("attempt", f"{item.attempt} of {item.max_attempts}" if item.attempt else ""),
        ("took", duration(item.seconds)),
        ("exit code", "" if item.exit_code is None else str(item.exit_code)),
        ("result", "  ".join(f"{name}={shown(value)}" for name, value in (item.result or {}).items())),
        ("agent", item.agent or ""),
        ("folder", item.run_dir or ""),
    ]


def _story(item: Item, events: list[Event]) -> list[str]:
    lines = [f"{moment(item.added_at)}  added"]
    before = item.added_at
    for event in events:
        why = f": {event.reason}" if event.reason else ""
        who = f" by {event.actor}" if event.actor else ""
        past = f"after {duration(event.at - before)} {event.before.value}"
        lines.append(f"{moment(event.at)}  {event.after.value}{who}, {past}{why}")
        before = event.at
    return lines
