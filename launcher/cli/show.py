"""`launcher show`: everything about one item."""

from __future__ import annotations

import shlex
from typing import Any

import click

from launcher import provenance
from launcher.cli import story
from launcher.cli.origin import origin
from launcher.cli.printing import code, duration, echo_json, echo_table, plain, shown, state_words
from launcher.cli.targets import found_item, json_option, opened, store_option
from launcher.errors import NotFoundError
from launcher.item import Attempt, Event, Item
from launcher.queues import Store
from launcher.spec import PRIORITY_NAMES, LaunchSpec, Source


@click.command()
@click.argument("item_id", metavar="ID")
@click.option("--reproduce", is_flag=True, help="Print the commands that rebuild the run by hand.")
@click.option("--patch", is_flag=True, help="Print the uncommitted changes that are part of its code.")
@store_option
@json_option
def show(item_id: str, reproduce: bool, patch: bool, store: str | None, as_json: bool) -> None:
    """Print an item: its state and why, its command, code and config, where it comes from, its attempts and story."""
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
        attempts = _attempts(item, target.attempts(item.id), target.events(item.id))
        told = story.read(target, item)
    if as_json:
        origins = provenance.told(item, document)
        echo_json({**plain(item), "spec": document, "provenance": origins, "attempts": attempts, **told.plain()})
        return
    for name, value in [*_facts(item, document), *story.facts(told)]:
        if value:
            click.echo(f"{name:<10} {value}")
    if len(attempts) > 1:
        _print_attempts(attempts)
    click.echo("story")
    for line in story.lines(told):
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
    image = document["docker"].get("docker_image") or ""
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


def _attempts(item: Item, ended: list[Attempt], events: list[Event]) -> list[Attempt]:
    """All starts of an item: those that it was put back or retried after, and the one that it tells of itself."""
    if not item.attempt or item.attempt in {attempt.attempt for attempt in ended}:
        return ended
    own = [event.actor for event in events if event.attempt == item.attempt]
    last = Attempt(
        item.attempt, item.state, item.agent or (own[-1] if own else None), item.run_dir, item.started_at,
        item.finished_at, item.exit_code, item.stage, item.reason,
    )  # fmt: skip
    return [*ended, last]


def _print_attempts(attempts: list[Attempt]) -> None:
    rows = []
    for each in attempts:
        both = each.started_at is not None and each.finished_at is not None
        took = duration((each.finished_at or 0) - (each.started_at or 0)) if both else ""
        rows.append((each.attempt, each.state.value, each.agent, took, each.exit_code, each.reason, each.run_dir))
    columns = ["ATTEMPT", "STATE", "AGENT", "TOOK", "EXIT CODE", "REASON", "FOLDER"]
    echo_table("", columns, rows, right=["ATTEMPT", "TOOK", "EXIT CODE"])
