"""`launcher show`: everything about one item."""

from __future__ import annotations

from textwrap import indent
from typing import Any

import click

from launcher import provenance
from launcher.analysis import story
from launcher.analysis.facts import facts
from launcher.cli.printing import code, duration, echo_json, echo_table, moment, plain, say
from launcher.cli.targets import found_item, json_option, opened, store_option
from launcher.errors import NotFoundError
from launcher.item import Attempt, Item
from launcher.queues import Store
from launcher.spec import Source, composed


@click.command()
@click.argument("item_id", metavar="ID", required=False)
@click.option("--reproduce", is_flag=True, help="Print the commands that rebuild the run by hand.")
@click.option("--patch", is_flag=True, help="Print the uncommitted changes that are part of its code.")
@store_option
@json_option
def show(item_id: str | None, reproduce: bool, patch: bool, store: str | None, as_json: bool) -> None:
    """Print an item: its state and why, its command, code and config, where it comes from, its attempts and story."""
    with opened(store, make=False) as target:
        item = found_item(target, item_id)
        document = target.document(item.id)
        if reproduce:
            from launcher.cli.reproduce import script

            click.echo(script(item, document, target.url))
            return
        if patch:
            click.echo(_patch(target, item, document), nl=False)
            return
        attempts = story.attempts(item, target.attempts(item.id), target.events(item.id))
        told = story.read(target, item)
    if as_json:
        origins = provenance.told(item, document)
        echo_json({**plain(item), "spec": document, "provenance": origins, "attempts": attempts, **told.plain()})
        return
    for name, value in [*facts(item, document), *story.facts(told)]:
        if value:
            say(f"{name:<10} {value}")
    if len(attempts) > 1:
        _print_attempts(attempts)
    click.echo("story")
    for step in story.steps(told):
        say(f"  {moment(step.at)}  {step.text}")
    if config := composed(document):
        from launcher.yaml_text import yaml_text

        click.echo("config")
        say(indent(yaml_text(config).rstrip("\n"), "  "))


def _patch(store: Store, item: Item, document: dict[str, Any]) -> bytes:
    digest = Source.of(document).patch
    if not digest:
        raise NotFoundError(f"run {item.id} has no uncommitted changes: its code is {code(Source.of(document))}")
    return store.patch(digest)


def _print_attempts(attempts: list[Attempt]) -> None:
    rows = []
    for each in attempts:
        both = each.started_at is not None and each.finished_at is not None
        took = duration((each.finished_at or 0) - (each.started_at or 0)) if both else ""
        rows.append((each.attempt, each.state.value, each.agent, took, each.exit_code, each.reason, each.run_dir))
    columns = ["ATTEMPT", "STATE", "AGENT", "TOOK", "EXIT CODE", "REASON", "FOLDER"]
    echo_table("", columns, rows, right=["ATTEMPT", "TOOK", "EXIT CODE"])
