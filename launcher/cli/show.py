"""`launcher show`: everything about one item."""

from __future__ import annotations

import shlex
from typing import Any

import click

from launcher.cli import story
from launcher.cli.printing import duration, echo_json, plain, shown
from launcher.cli.targets import found_item, json_option, opened, store_option
from launcher.item import Item
from launcher.spec import PRIORITY_NAMES, LaunchSpec


@click.command()
@click.argument("item_id", metavar="ID")
@store_option
@json_option
def show(item_id: str, store: str | None, as_json: bool) -> None:
    """Print an item: its state and why, its command, code and config, and its story."""
    with opened(store) as target:
        item = found_item(target, item_id)
        document = target.document(item.id)
        told = story.read(target, item)
    if as_json:
        echo_json({**plain(item), "spec": document, **told.plain()})
        return
    for name, value in [*_facts(item, document), *story.facts(told)]:
        if value:
            click.echo(f"{name:<10} {value}")
    click.echo("story")
    for line in story.lines(told):
        click.echo(f"  {line}")
    config = document["overrides"].get("run_config")
    if config:
        from launcher.paths import yaml_text

        click.echo("config")
        click.echo("".join(f"  {line}\n" for line in yaml_text(config).splitlines()), nl=False)


def _facts(item: Item, document: dict[str, Any]) -> list[tuple[str, str]]:
    git = document["git"]
    code = str(document.get("uri") or document["docker"].get("docker_image") or document.get("job") or "")
    if git.get("version"):
        code += f" at {git['version'][:12]}" + (" with uncommitted changes" if git.get("dirty") else "")
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
        ("code", code),
        ("attempt", f"{item.attempt} of {item.max_attempts}" if item.attempt else ""),
        ("took", duration(item.seconds)),
        ("exit code", "" if item.exit_code is None else str(item.exit_code)),
        ("result", "  ".join(f"{name}={shown(value)}" for name, value in (item.result or {}).items())),
        ("agent", item.agent or ""),
        ("folder", item.run_dir or ""),
    ]
