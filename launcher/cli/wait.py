"""`launcher wait`: return when sweeps or items have ended."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from launcher.cli.printing import echo_json, on_terminal
from launcher.cli.reasons import LOOK_SECONDS, Reasons
from launcher.cli.targets import json_option, opened, selected, store_option
from launcher.errors import LaunchError
from launcher.item import TERMINAL, ItemFilter, RunState
from launcher.queues import Store


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="SWEEP|ID...")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after this long (exit code 1)."
)
@store_option
@json_option
def wait(names: tuple[str, ...], timeout: float | None, store: str | None, as_json: bool) -> None:
    """Wait until everything named has ended; exit code 0 if all of it finished well, else 1.

    What waits for somebody, as where no agent is running, is told once on standard error.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with opened(store, make=False) as target, _bar(as_json) as update:
        filters = selected(target, names)
        reasons = Reasons(target, filters, names)
        while left := _open(tally := _tally(target, filters)):
            update(tally)
            if deadline is not None and time.monotonic() >= deadline:
                told = "; ".join([_words(tally), *reasons.now().values()])
                raise LaunchError(f"{left} of {tally.total()} items had not ended after {timeout:g} s: {told}")
            reasons.tell()
            until = LOOK_SECONDS if deadline is None else min(LOOK_SECONDS, max(0.0, deadline - time.monotonic()))
            target.wait(threading.Event(), until)
    if as_json:
        echo_json({state.value: tally[state] for state in RunState})
    else:
        click.echo(_words(tally))
    if tally[RunState.FINISHED] < tally.total():
        raise SystemExit(1)


def _tally(store: Store, filters: Sequence[ItemFilter]) -> Counter[RunState]:
    tally: Counter[RunState] = Counter()
    sweeps = {which.sweep for which in filters if which.sweep}
    for count in store.counts():
        if count.sweep in sweeps:
            tally[count.state] += count.number
    for which in filters:
        if which.ids:
            tally.update(item.state for item in store.items(which))
    return tally


def _open(tally: Counter[RunState]) -> int:
    return sum(number for state, number in tally.items() if state not in TERMINAL)


def _words(tally: Counter[RunState]) -> str:
    return ", ".join(f"{tally[state]} {state.value}" for state in RunState if tally[state])


@contextmanager
def _bar(quiet: bool) -> Iterator[Any]:
    if quiet or not on_terminal():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("")

        def update(tally: Counter[RunState]) -> None:
            total = tally.total()
            bar.update(task, total=total, completed=total - _open(tally), description=_words(tally))

        yield update
