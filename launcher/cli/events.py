"""`launcher events`: the event log, and with -f what is added to it."""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections.abc import Iterator, Sequence

import click

from launcher.analysis import story
from launcher.cli.printing import moment, plain
from launcher.cli.targets import opened, selected, store_option
from launcher.item import ItemFilter, LogEntry
from launcher.queues import Store
from launcher.resources import seconds
from launcher.terminal import clean

FOLLOW_SECONDS = 1.0
PAUSE_SECONDS = 0.1
"""Between two looks, however much happens."""

SETTLE_SECONDS = 5.0
"""In PostgreSQL an entry may become readable after later ones, when its transaction ends: so far back is read again."""


def _span(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("names", nargs=-1, metavar="[SWEEP|ID]...")
@click.option("--follow", "-f", is_flag=True, help="Go on printing what happens, until Ctrl-C.")
@click.option("--since", callback=_span, metavar="SPAN", help="Only what happened since then, as 90s, 10m, 2h, 1d.")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
def events(names: tuple[str, ...], follow: bool, since: float | None, store: str | None, as_json: bool) -> None:
    """Print what happened to all items, or to those of a SWEEP or ID, oldest first."""
    with opened(store, make=follow) as target:
        filters = selected(target, names) if names else [ItemFilter()]
        begin = None if since is None else time.time() - since
        found = _followed(target, filters, begin) if follow else _found(target, filters, 0, begin)
        for entry in found:
            click.echo(json.dumps(plain(entry), ensure_ascii=False) if as_json else clean(_line(entry)))


def _found(store: Store, filters: Sequence[ItemFilter], after: int, since: float | None) -> Iterator[LogEntry]:
    logs = [story.entries(store, which, after, since) for which in filters]
    before = after
    for entry in heapq.merge(*logs, key=lambda entry: entry.seq):
        if entry.seq != before:  # what two of the names select comes once
            yield entry
        before = entry.seq


def _followed(store: Store, filters: Sequence[ItemFilter], since: float | None) -> Iterator[LogEntry]:
    never = threading.Event()
    settled = 0
    told: dict[int, float] = {}
    while True:
        for entry in _found(store, filters, settled, since):
            if entry.seq not in told:
                told[entry.seq] = entry.at
                yield entry
            if len(told) > story.PAGE:
                told, settled = _settle(told, settled)
        told, settled = _settle(told, settled)
        store.wait(never, FOLLOW_SECONDS)
        never.wait(PAUSE_SECONDS)


def _settle(told: dict[int, float], settled: int) -> tuple[dict[int, float], int]:
    """The entries that will be read again, and the last one that will not."""
    old = time.time() - SETTLE_SECONDS
    settled = max((seq for seq, at in told.items() if at < old), default=settled)
    return {seq: at for seq, at in told.items() if seq > settled}, settled


def _line(entry: LogEntry) -> str:
    if entry.before is entry.after:
        what = story.held(entry)
    else:
        what = f"{entry.before.value} → {entry.after.value}" + (f", {story.held(entry)}" if entry.hold else "")
    who = f" by {entry.actor}" if entry.actor else ""
    why = f": {entry.reason}" if entry.reason else ""
    return f"{moment(entry.at)}  {entry.item}  {what}{who}{why}"
