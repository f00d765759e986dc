"""What an agent's events look like: a line a run, on a terminal above a bar that counts, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import click

from launcher.agent import AgentEvent
from launcher.cli.layout import cut
from launcher.cli.printing import forget_output, label, on_terminal, shown
from launcher.errors import StoreError
from launcher.item import HELD, RunState
from launcher.outcome import Failed, Finished
from launcher.queues import Store
from launcher.terminal import clean

METRICS, LONGEST_METRIC = 12, 40
"""How many metrics a line about a run has, and how many letters of each."""


def describe(event: AgentEvent) -> str:
    """One line about an event."""
    if event.lease is None:
        return event.text
    item = event.lease.item
    head = f"{item.id}  {label(item)}"
    match event.outcome:
        case None:
            return f"started    {head}"
        case _ if event.kind == "refused":
            return f"refused    {head}: the lease went to another agent"
        case Finished(result):
            return f"finished   {head}  {_metrics(result or {})}"
        case Failed(stage, reason):
            return f"failed     {head}: {stage}: {reason}"
        case other:
            return f"{type(other).__name__.lower():<9}  {head}: {other.reason}"


def _metrics(result: Mapping[str, Any]) -> str:
    """What a run reported, as far as a line has room for it."""
    told = [f"{name}={cut(shown(value), LONGEST_METRIC)}" for name, value in result.items()]
    more = [f"… and {len(told) - METRICS} more"] if len(told) > METRICS else []
    return "  ".join([*told[:METRICS], *more])


def as_json(event: AgentEvent) -> str:
    """An event as one line of JSON: `event` is its kind, `message` what people read; what is not known is left out."""
    outcome = event.outcome
    troubled = event.kind in ("recovered", "refused", "trouble") or isinstance(outcome, Failed)
    told: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "warning" if troubled else "info",
        "event": event.kind,
        "message": describe(event),
    }
    if event.lease:
        item = event.lease.item
        told |= {"item": item.id, "sweep": item.sweep, "queue": item.queue, "attempt": item.attempt}
    if outcome:
        named = ("stage", "reason", "exit_code", "result")
        told |= {"outcome": type(outcome).__name__.lower()} | {name: getattr(outcome, name, None) for name in named}
    return json.dumps({name: value for name, value in told.items() if value is not None}, ensure_ascii=False)


@contextmanager
def displayed(store: Store, drain: bool, log_format: str) -> Iterator[Callable[[AgentEvent], None]]:
    """What hears the agent's events, and lets it work on where nobody reads its output, or that finds no room."""
    told = False

    def hear(event: AgentEvent) -> None:
        nonlocal told
        try:
            listen(event)
        except OSError as error:
            if not told:
                told = True
                with suppress(OSError):
                    click.echo(f"launcher: the output cannot be written: {error.strerror}; we work on", err=True)
            if isinstance(error, BrokenPipeError):
                forget_output()

    with _shown(store, drain, log_format) as listen:
        yield hear
    try:
        sys.stdout.flush()
    except OSError:
        forget_output()


@contextmanager
def _shown(store: Store, drain: bool, log_format: str) -> Iterator[Callable[[AgentEvent], None]]:
    """Plain lines, or lines above a bar that counts the queues' items; JSON as asked."""
    if log_format == "json":
        yield lambda event: click.echo(as_json(event))
        return
    if not on_terminal():
        yield lambda event: click.echo(clean(describe(event)))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    console = Console()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=not drain) as bar:
        left = _open_items(store)
        task = bar.add_task("waiting", total=left or None)
        done = 0

        def listen(event: AgentEvent) -> None:
            nonlocal done, left
            ended = event.kind == "ended"
            done += ended
            with suppress(StoreError):  # it may be what the event is about: the bar shows what was last known
                left = _open_items(store)
            description = "running" if left else "waiting" if not drain else "done"
            bar.update(task, completed=done, total=done + left or None, description=description)
            if event.kind != "started":
                style = {Finished: "green", Failed: "red"}.get(type(event.outcome), "yellow")
                bar.console.print(Text(clean(describe(event)), style=style if ended else "yellow"))

        yield listen


def _open_items(store: Store) -> int:
    unfinished = {RunState.PENDING, *HELD}
    return sum(count.number for count in store.counts() if count.state in unfinished)
