"""`launcher queue`: create, update, pause and delete queues, by flags or from a file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from launcher.cli.printing import echo_json, echo_table, moment
from launcher.cli.targets import json_option, opened, store_option
from launcher.errors import UsageError
from launcher.item import QueueInfo
from launcher.queue_file import apply_changes, create_queue, found_queue, plan_changes, read_queues, update_queue
from launcher.runners import RESOURCES
from launcher.yaml_text import read_yaml, yaml_text


@click.group()
def queue() -> None:
    """Create, change, list and show queues."""


def _settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed([
        click.option("--resource", type=click.Choice(RESOURCES), help="What its runs use (default: local-process)."),
        click.option("--prioritization", type=click.Choice(["V0", "DISABLED"]), help="V0 (default): by priority."),
        click.option("--max-running", type=click.IntRange(0), metavar="N", help="At most N at a time; 0: any number."),
        click.option("--resource-args", metavar="YAML", help="Defaults; values may hold {{variables}}."),
        click.option("--variables", metavar="YAML", help="A JSON Schema for each of the variables."),
        click.option("--allow-overrides/--no-overrides", default=None, help="May specs bring resource_args?"),
        click.option("--description", metavar="TEXT", help="What it is for."),
        click.option("--link", "links", multiple=True, metavar="NAME=ADDRESS", help="A link for its users."),
        store_option,
        json_option,
    ]):  # fmt: skip
        function = option(function)
    return function


@queue.command()
@click.argument("name")
@_settings_options
def create(name: str, store: str | None, as_json: bool, **given: Any) -> None:
    """Create a queue.

    \b
    launcher queue create gpu --max-running 4
    """
    settings = _settings(given)
    with opened(store) as target:
        made = create_queue(target, name, settings)
    _print(made, f"queue {name} created ({made.resource})", as_json)


@queue.command()
@click.argument("name")
@_settings_options
def update(name: str, store: str | None, as_json: bool, **given: Any) -> None:
    """Change some settings of a queue; the others stay. What is queued already stays as it was added."""
    settings = _settings(given)
    with opened(store) as target:
        made = update_queue(target, name, settings)
    _print(made, f"queue {name} updated", as_json)


@queue.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@store_option
def apply(file: Path, dry_run: bool, yes: bool, store: str | None) -> None:
    """Make queues what a YAML file says: one queue's settings, or a list. Shows the differences first."""
    wanted = read_queues(file)
    with opened(store, read_only=dry_run) as target:
        changes = [change for change in plan_changes(target, wanted) if change.lines]
        for change in changes:
            click.echo(f"queue {change.after.name}{'' if change.before else ' (new)'}")
            for line in change.lines:
                click.echo(f"  {line}")
        if not changes:
            click.echo("nothing to change")
        elif dry_run:
            click.echo("nothing is changed (--dry-run)")
        else:
            if not yes and sys.stdin.isatty():
                click.confirm("Apply?", abort=True, err=True)
            apply_changes(target, changes)
            click.echo(f"{len(changes)} queue{'s' if len(changes) != 1 else ''} changed")


@queue.command()
@click.argument("name")
@store_option
def pause(name: str, store: str | None) -> None:
    """Let agents take nothing more from a queue; what runs goes on."""
    with opened(store) as target:
        target.pause_queue(name, paused=True)
    click.echo(f"queue {name} paused; launcher queue resume {shlex.quote(name)} lets agents take from it again")


@queue.command()
@click.argument("name")
@store_option
def resume(name: str, store: str | None) -> None:
    """Let agents take from a paused queue again."""
    with opened(store) as target:
        target.pause_queue(name, paused=False)
    click.echo(f"queue {name} resumed")


@queue.command()
@click.argument("name")
@store_option
def delete(name: str, store: str | None) -> None:
    """Delete a queue in which nothing waits or runs; its ended items stay."""
    with opened(store) as target:
        target.delete_queue(name)
    click.echo(f"queue {name} deleted")


@queue.command("list")
@store_option
@json_option
def list_queues(store: str | None, as_json: bool) -> None:
    """List all queues."""
    with opened(store, make=False) as target:
        queues = target.queues()
    if as_json:
        echo_json(queues)
        return
    rows = [
        (
            known.name, known.resource, known.prioritization, str(known.max_running or ""),
            "paused" if known.paused else "", known.description,
        )
        for known in queues
    ]  # fmt: skip
    echo_table("", ["QUEUE", "RESOURCE", "PRIORITIZATION", "MAX RUNNING", "STATE", "DESCRIPTION"], rows)


@queue.command()
@click.argument("name")
@store_option
@json_option
def show(name: str, store: str | None, as_json: bool) -> None:
    """Show one queue."""
    with opened(store, make=False) as target:
        found = found_queue(target, name)
        counts = {count.state.value: 0 for count in target.counts()}
        for count in target.counts():
            if count.queue == name:
                counts[count.state.value] += count.number
    if as_json:
        echo_json({"queue": found, "counts": counts})
        return
    told = {key: value for key, value in asdict(found).items() if value not in (None, "", {}) and key != "created_at"}
    click.echo(yaml_text(told), nl=False)
    click.echo(f"# created {moment(found.created_at)}")
    click.echo(f"# items: {', '.join(f'{number} {state}' for state, number in counts.items() if number) or 'none'}")


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """The settings that flags say, as a queue file would."""
    settings = {name: value for name, value in given.items() if value is not None and value != ()}
    if "max_running" in settings:
        settings["max_running"] = settings["max_running"] or None
    for name in ("resource_args", "variables"):
        if name in settings:
            settings[name] = read_yaml(settings[name], f"--{name.replace('_', '-')}")
    if "links" in settings:
        pairs = [link.partition("=") for link in settings["links"]]
        if bad := [name for name, equals, _ in pairs if not equals]:
            raise UsageError(f"--link {bad[0]!r} has no address; expected NAME=ADDRESS")
        settings["links"] = {name: address for name, _, address in pairs}
    return settings


def _print(found: QueueInfo, text: str, as_json: bool) -> None:
    if as_json:
        echo_json(found)
    else:
        click.echo(text)
