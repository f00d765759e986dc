"""`launcher status`: queues, sweeps and agents, counts by state; for a sweep, its items."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping

import click

from launcher.cli.printing import duration, echo_json, echo_table, label, plain, state_words
from launcher.cli.targets import filter_options, json_option, opened, selected, store_option
from launcher.item import AgentInfo, Count, Item, ItemFilter, RunState
from launcher.notices import shown
from launcher.queues import LEASE_SECONDS, Store

STATES = [state.value for state in RunState]
HOLDS = {"backoff": "backing off", "failures": "held after failures", "paused": "paused"}


@click.command()
@click.argument("names", nargs=-1, metavar="[SWEEP|ID]...")
@filter_options
@store_option
@json_option
def status(names: tuple[str, ...], which: ItemFilter, store: str | None, as_json: bool) -> None:
    """Print how many items are in which state, by queue and by sweep; for SWEEPs, IDs or conditions, the items.

    \b
    launcher status
    launcher status digits --state failed,cancelled --where model=svm
    """
    with opened(store, make=False) as target:
        if names or which != ItemFilter():
            items = [item for each in selected(target, names, which) for item in target.items(each)]
            if as_json:
                echo_json(items)
            else:
                _print_items(items)
        elif as_json:
            echo_json(_overview(target))
        else:
            _print_overview(target)


def _print_items(items: list[Item]) -> None:
    if not items:
        click.echo("no items")
        return
    now = time.time()
    rows = [
        (item.id, state_words(item), item.attempt, _took(item, now), label(item), item.reason)
        for item in items
    ]  # fmt: skip
    echo_table("", ["ID", "STATE", "ATTEMPT", "TOOK", "POINT", "REASON"], rows, right=["ATTEMPT", "TOOK"])
    tally = Counter(item.state.value for item in items)
    held = Counter(item.hold for item in items if item.hold)
    click.echo(", ".join(f"{tally[state]} {state}{_held(state, held)}" for state in STATES if tally[state]))


def _took(item: Item, now: float) -> str:
    """How long its run took, or has taken until now."""
    if item.state is RunState.RUNNING and item.started_at is not None:
        return f"{duration(max(0.0, now - item.started_at))} so far"
    return duration(item.seconds)


def _held(state: str, held: Mapping[str, int]) -> str:
    """How many of the waiting items are held, and why; nothing for other states."""
    if state != RunState.PENDING.value or not held:
        return ""
    return f" ({', '.join(f'{number} {HOLDS[hold]}' for hold, number in sorted(held.items()))})"


def _overview(store: Store) -> dict[str, object]:
    counts = [*store.counts(), *store.holds()]
    return {
        "store": store.url,
        "queues": [
            {**plain(queue), **_tally(c for c in counts if c.queue == queue.name)} for queue in store.queues()
        ],
        "sweeps": [
            {
                **plain(sweep), "notify": [shown(target) for target in sweep.notify],
                **_tally(c for c in counts if c.sweep == sweep.name),
            }
            for sweep in store.sweeps()
        ],
        "agents": plain(store.agents()),
    }  # fmt: skip


def _tally(counts: Iterable[Count]) -> dict[str, dict[str, int]]:
    """How many items are in each state, and how many of the waiting ones are held, by reason."""
    tally, held = Counter(dict.fromkeys(STATES, 0)), Counter[str]()
    for count in counts:
        if count.hold is None:
            tally[count.state.value] += count.number
        else:
            held[count.hold] += count.number
    return {"counts": dict(tally), "held": dict(held)}


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
    if any(count.hold != "backoff" for count in store.holds()):
        click.echo("what is paused or held waits until launcher resume\n")
    _print_agents(store.agents(), time.time())


def _print_agents(agents: list[AgentInfo], now: float) -> None:
    if any(agent.detached for agent in agents):
        click.echo("engines have runs that no agent watches; launcher sync collects how they ended\n")
    rows, gone = [], []
    for agent in agents:
        if not agent.detached:
            silent = now - agent.seen_at > LEASE_SECONDS
            gone.append(silent)
            seen = f"{duration(now - agent.seen_at)}{' (silent)' if silent else ''}"
            rows.append((agent.id, agent.max_jobs, ", ".join(agent.queues) or "all", seen))
    if rows:
        echo_table("", ["AGENT", "JOBS", "QUEUES", "LAST SEEN"], rows, right=["JOBS", "LAST SEEN"])
    if all(gone):
        left = "; what these held goes on, or waits again, with the next one" if gone else ""
        click.echo(f"no agent is running{left}; start one: launcher agent")


def _row(entry: dict[str, object]) -> list[object]:
    counts, held = entry["counts"], entry["held"]
    assert isinstance(counts, dict)
    assert isinstance(held, dict)
    paused = " (paused)" if entry.get("paused") else ""
    return [f"{entry['name']}{paused}", *(f"{number}{_held(state, held)}" for state, number in counts.items())]
