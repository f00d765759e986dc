"""`launcher status`: queues, sweeps and agents, counts by state; for a sweep, its items."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import click

from launcher.cli.printing import duration, echo_json, echo_table, label, plain
from launcher.cli.targets import json_option, opened, selected, store_option
from launcher.item import Count, Item, RunState
from launcher.queues import Store

STATES = [state.value for state in RunState]


@click.command()
@click.argument("names", nargs=-1, metavar="[SWEEP|ID]...")
@store_option
@json_option
def status(names: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Print how many items are in which state, by queue and by sweep; for a SWEEP or ID, its items."""
    with opened(store) as target:
        if names:
            items = [item for which in selected(target, names) for item in target.items(which)]
            if as_json:
                echo_json(items)
            else:
                _print_items(items)
        elif as_json:
            echo_json(_overview(target))
        else:
            _print_overview(target)


def _print_items(items: list[Item]) -> None:
    rows = [
        (item.id, item.state.value, item.attempt, duration(item.seconds), label(item), item.reason)
        for item in items
    ]  # fmt: skip
    echo_table("", ["ID", "STATE", "ATTEMPT", "TOOK", "POINT", "REASON"], rows, right=["ATTEMPT", "TOOK"])
    tally = Counter(item.state.value for item in items)
    click.echo(", ".join(f"{tally[state]} {state}" for state in STATES if tally[state]))


def _overview(store: Store) -> dict[str, object]:
    counts = store.counts()
    return {
        "store": store.url,
        "queues": [
            {**plain(queue), "counts": _tally(c for c in counts if c.queue == queue.name)} for queue in store.queues()
        ],
        "sweeps": [
            {**plain(sweep), "counts": _tally(c for c in counts if c.sweep == sweep.name)} for sweep in store.sweeps()
        ],
        "agents": plain(store.agents()),
    }


def _tally(counts: Iterable[Count]) -> dict[str, int]:
    tally = dict.fromkeys(STATES, 0)
    for count in counts:
        tally[count.state.value] += count.number
    return tally


def _print_overview(store: Store) -> None:
    overview = _overview(store)
    headings = [state.upper() for state in STATES]
    for kind in ("queues", "sweeps"):
        entries = overview[kind]
        assert isinstance(entries, list)
        if entries:
            heading = kind.removesuffix("s").upper()
            echo_table("", [heading, *headings], [_row(entry) for entry in entries], right=headings)
            click.echo()
    agents = store.agents()
    if agents:
        now = time.time()
        rows = [
            (agent.id, agent.max_jobs, ", ".join(agent.queues) or "all", duration(now - agent.seen_at))
            for agent in agents
        ]
        echo_table("", ["AGENT", "JOBS", "QUEUES", "LAST SEEN"], rows, right=["JOBS", "LAST SEEN"])
    else:
        click.echo("no agent is running; start one: launcher agent")


def _row(entry: dict[str, object]) -> list[object]:
    counts = entry["counts"]
    assert isinstance(counts, dict)
    paused = " (paused)" if entry.get("paused") else ""
    return [f"{entry['name']}{paused}", *counts.values()]
