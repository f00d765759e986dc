"""`launcher queue`: create, list and show queues."""

from __future__ import annotations

import click

from launcher.cli.common import echo_json, echo_table, json_option, moment, opened, store_option
from launcher.errors import NotFoundError, UsageError, suggest
from launcher.item import QueueInfo
from launcher.runners import RESOURCES

LONGEST_NAME = 64


@click.group()
def queue() -> None:
    """Create, list and show queues."""


@queue.command()
@click.argument("name")
@click.option(
    "--resource", type=click.Choice(RESOURCES), default="local-process", show_default=True, help="What its runs use."
)
@click.option(
    "--prioritization", type=click.Choice(["V0", "DISABLED"]), default="V0", show_default=True,
    help="V0: by priority, then age; DISABLED: by age.",
)  # fmt: skip
@store_option
@json_option
def create(name: str, resource: str, prioritization: str, store: str | None, as_json: bool) -> None:
    """Create a queue."""
    if not 1 <= len(name) <= LONGEST_NAME:
        raise UsageError(f"queue name {name!r} has {len(name)} characters, expected 1 to {LONGEST_NAME}")
    with opened(store) as target:
        target.create_queue(QueueInfo(name, resource, prioritization))
        made = next(known for known in target.queues() if known.name == name)
    if as_json:
        echo_json(made)
    else:
        click.echo(f"queue {name} created ({resource})")


@queue.command("list")
@store_option
@json_option
def list_queues(store: str | None, as_json: bool) -> None:
    """List all queues."""
    with opened(store) as target:
        queues = target.queues()
    if as_json:
        echo_json(queues)
        return
    rows = [(known.name, known.resource, known.prioritization, "paused" if known.paused else "") for known in queues]
    echo_table("", ["QUEUE", "RESOURCE", "PRIORITIZATION", "STATE"], rows)


@queue.command()
@click.argument("name")
@store_option
@json_option
def show(name: str, store: str | None, as_json: bool) -> None:
    """Show one queue."""
    with opened(store) as target:
        queues = {known.name: known for known in target.queues()}
        counts = {count.state.value: 0 for count in target.counts()}
        for count in target.counts():
            if count.queue == name:
                counts[count.state.value] += count.number
    if name not in queues:
        raise NotFoundError(f"no queue named {name!r}; {suggest(name, queues)}")
    found = queues[name]
    if as_json:
        echo_json({"queue": found, "counts": counts})
        return
    click.echo(f"queue           {found.name}")
    click.echo(f"resource        {found.resource}")
    click.echo(f"prioritization  {found.prioritization}")
    click.echo(f"created         {moment(found.created_at)}")
    click.echo(
        f"items           {', '.join(f'{number} {state}' for state, number in counts.items() if number) or 'none'}"
    )
