"""`launcher cancel`, `retry` and `priority`: verbs over sweeps and items."""

from __future__ import annotations

import click

from launcher.cli.printing import echo_json
from launcher.cli.targets import json_option, opened, selected, store_option, user
from launcher.errors import LaunchError, UsageError
from launcher.spec import PRIORITY_NAMES, parse_priority


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="SWEEP|ID...")
@store_option
@json_option
def cancel(names: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Cancel waiting items, and stop running ones (SIGTERM, then SIGKILL after ten seconds)."""
    waiting = stopping = 0
    with opened(store) as target:
        for which in selected(target, names):
            cancelled, asked = target.cancel(which, user())
            waiting += cancelled
            stopping += asked
    if as_json:
        echo_json({"cancelled": waiting, "stopping": stopping})
        return
    click.echo(f"{waiting} waiting cancelled, {stopping} running being stopped")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="SWEEP|ID...")
@store_option
@json_option
def retry(names: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Queue failed and cancelled items again, with their priority and place in their sweep."""
    with opened(store) as target:
        filters = selected(target, names)
        retried = sum(target.retry(which, user()) for which in filters)
        if not retried and all(which.ids for which in filters):
            states = [f"{item.id} is {item.state.value}" for which in filters for item in target.items(which)]
            raise LaunchError(f"only failed or cancelled items can be retried; {', '.join(states)}")
    if as_json:
        echo_json({"retried": retried})
        return
    click.echo(f"{retried} queued again")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="SWEEP|ID... PRIORITY")
@store_option
@json_option
def priority(names: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Give waiting items another priority: critical, high, medium, low, or 0 to 3.

    \b
    launcher priority digits high
    """
    *what, given = names
    number = parse_priority(given)
    if not what:
        raise UsageError(f"nothing named before the priority {given!r}; expected sweeps or IDs")
    with opened(store) as target:
        changed = sum(target.set_priority(which, number) for which in selected(target, what))
    if as_json:
        echo_json({"changed": changed, "priority": number})
        return
    click.echo(f"{changed} waiting item{'s' if changed != 1 else ''} now {PRIORITY_NAMES[number]}")
