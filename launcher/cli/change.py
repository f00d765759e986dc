"""`launcher cancel`, `retry`, `priority`, `pause` and `resume`: verbs over the items that names and options select,
each one guarded statement of the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, cast

import click

from launcher.cli.printing import echo_json, echo_table, label, state_words
from launcher.cli.targets import filter_options, json_option, opened, selected, store_option, user
from launcher.errors import LaunchError, UsageError, suggest
from launcher.item import HELD, TERMINAL, Item, ItemFilter, RunState
from launcher.queues import Store
from launcher.spec import PRIORITY_NAMES, parse_priority

WAITING = frozenset({RunState.PENDING})
SHOWN = 5
"""How many of the items a dry run lists."""


@dataclass(frozen=True, slots=True)
class Request:
    """Which items a verb shall change, as the command line says it."""

    names: tuple[str, ...]
    which: ItemFilter
    everything: bool
    dry_run: bool
    store: str | None
    as_json: bool

    @contextmanager
    def opened(self) -> Iterator[tuple[Store, list[ItemFilter]]]:
        """The store and the filters; UsageError where nothing says which items are meant, or too much does."""
        narrowed = bool(self.names) or self.which != ItemFilter()
        if not narrowed and not self.everything:
            raise UsageError(
                "nothing says which items; expected sweeps or IDs, or --sweep, --queue, --state, --where, or --all"
            )
        if narrowed and self.everything:
            raise UsageError("--all means every item; give it alone, or leave it out")
        with opened(self.store, read_only=self.dry_run, make=False) as store:
            yield store, selected(store, self.names, self.which)


def _verb(words: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The arguments and options of a verb, which gets them as one Request."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @filter_options
        @wraps(function)
        def gathered(
            names: tuple[str, ...], which: ItemFilter, sweep: str | None, everything: bool, dry_run: bool,
            store: str | None, as_json: bool, **more: Any,
        ) -> None:  # fmt: skip
            function(Request(names, replace(which, sweep=sweep), everything, dry_run, store, as_json), **more)

        command: Any = gathered
        for option in reversed([
            click.argument("names", nargs=-1, metavar=words),
            click.option("--sweep", metavar="NAME", help="Only items of this sweep."),
            click.option("--all", "everything", is_flag=True, help="Every item of the store."),
            click.option("--dry-run", is_flag=True, help="Only say which items would change; write nothing."),
            store_option,
            json_option,
        ]):  # fmt: skip
            command = option(command)
        return cast(Callable[..., None], command)

    return decorate


@click.command()
@_verb("[SWEEP|ID]...")
def cancel(request: Request) -> None:
    """Cancel waiting items, and stop running ones (SIGTERM, then SIGKILL after ten seconds).

    Where several conditions are given, all must hold.

    \b
    launcher cancel digits
    launcher cancel --sweep digits --where model=svm --state pending
    """
    with request.opened() as (store, filters):
        if request.dry_run:
            _tell(request, store, filters, "cancelled or stopped", frozenset(RunState) - TERMINAL)
            return
        counts = [store.cancel(which, user()) for which in filters]
    waiting, stopping = (sum(numbers) for numbers in zip(*counts, strict=True))
    _say(
        request, f"{waiting} waiting cancelled, {stopping} running being stopped", cancelled=waiting, stopping=stopping
    )


@click.command()
@click.option("--cause", metavar="CAUSE", help="Only what failed from this cause, as launcher failures names it.")
@_verb("[SWEEP|ID]...")
def retry(request: Request, cause: str | None) -> None:
    """Queue failed and cancelled items again, with their priority and place in their sweep.

    Where several conditions are given, all must hold.

    \b
    launcher retry digits
    launcher retry --queue gpu --state failed
    launcher retry digits --cause 3f2a91
    """
    with request.opened() as (store, selection):
        filters = selection if cause is None else [_failed_from(store, selection, cause)]
        if request.dry_run:
            _tell(request, store, filters, "queued again", frozenset({RunState.FAILED, RunState.CANCELLED}))
            return
        retried = sum(store.retry(which, user()) for which in filters)
        if not retried and request.which == ItemFilter() and all(which.ids for which in filters):
            states = [f"{item.id} is {item.state.value}" for which in filters for item in store.items(which)]
            raise LaunchError(f"only failed or cancelled items can be retried; {', '.join(states)}")
    _say(request, f"{retried} queued again", retried=retried)


@click.command()
@_verb("[SWEEP|ID]... PRIORITY")
def priority(request: Request) -> None:
    """Give waiting items another priority: critical, high, medium, low, or 0 to 3.

    Where several conditions are given, all must hold.

    \b
    launcher priority digits high
    launcher priority --sweep digits --where model=svm low
    """
    if not request.names:
        raise UsageError("no priority given; it comes last: critical, high, medium, low, or 0 to 3")
    number = parse_priority(request.names[-1])
    request = replace(request, names=request.names[:-1])
    with request.opened() as (store, filters):
        if request.dry_run:
            ordered = {queue.name for queue in store.queues() if queue.prioritization != "DISABLED"}
            what = f"{PRIORITY_NAMES[number]} in priority"
            _tell(request, store, filters, what, WAITING, lambda item: item.queue in ordered)
            return
        changed = sum(store.set_priority(which, number) for which in filters)
    text = f"{changed} waiting item{'s' if changed != 1 else ''} now {PRIORITY_NAMES[number]}"
    _say(request, text, changed=changed, priority=number)


@click.command()
@_verb("[SWEEP|ID]...")
def pause(request: Request) -> None:
    """Let agents pass over waiting items until they are resumed. Running ones are not touched.

    Where several conditions are given, all must hold. For a whole queue, with what is added to it later: launcher queue
    pause.

    \b
    launcher pause digits
    launcher pause --sweep digits --where model=mlp
    """
    with request.opened() as (store, filters):
        if request.dry_run:
            _tell(request, store, filters, "paused", WAITING, lambda item: item.hold != "paused")
            return
        paused = sum(store.hold(which) for which in filters)
        running = sum(1 for which in filters for _ in store.items(_within(which, HELD)))
    text = f"{paused} paused, until launcher resume; {running} running go{'es' if running == 1 else ''} on"
    _say(request, text, paused=paused, running=running)


@click.command()
@_verb("[SWEEP|ID]...")
def resume(request: Request) -> None:
    """Let agents take what was paused, or held because too much of its sweep had failed.

    Where several conditions are given, all must hold. A queue that was paused as a whole: launcher queue resume.

    \b
    launcher resume digits
    """
    with request.opened() as (store, filters):
        if request.dry_run:
            _tell(request, store, filters, "resumed", WAITING, lambda item: item.hold in ("paused", "failures"))
            return
        resumed = sum(store.resume(which) for which in filters)
    _say(request, f"{resumed} resumed", resumed=resumed)


# -- what the verbs share --------------------------------------------------------------------------------------------


def _failed_from(store: Store, filters: Sequence[ItemFilter], cause: str) -> ItemFilter:
    """The failed ones among what filters select whose cause has this key; UsageError where there is none."""
    from launcher.analysis.failures import cause as cause_of

    ids: dict[str, str] = {}
    known: set[str] = set()
    for which in filters:
        for record in store.run_records(_within(which, frozenset({RunState.FAILED}))):
            found = cause_of(record.stage, record.exit_code, record.reason)
            known.add(found.key)
            if found.key == cause:
                ids[record.id] = found.title
    if not ids:
        raise UsageError(
            f"--cause {cause!r}: nothing failed from it; {suggest(cause, known)} (launcher failures SWEEP)"
        )
    return ItemFilter(ids=tuple(ids), states=frozenset({RunState.FAILED}))


def _within(which: ItemFilter, states: frozenset[RunState]) -> ItemFilter:
    return replace(which, states=states if which.states is None else which.states & states)


def _say(request: Request, text: str, **values: object) -> None:
    if request.as_json:
        echo_json(values)
    else:
        click.echo(text)


def _tell(
    request: Request,
    store: Store,
    filters: Sequence[ItemFilter],
    what: str,
    states: frozenset[RunState],
    meant: Callable[[Item], bool] = lambda _: True,
) -> None:
    """What a dry run prints: how many items would change, their states, and the first of them."""
    tally: Counter[RunState] = Counter()
    first: dict[str, Item] = {}
    seen: set[str] = set()
    for item in (item for which in filters for item in store.items(_within(which, states)) if meant(item)):
        if item.id not in seen:
            seen.add(item.id)
            tally[item.state] += 1
            if len(first) < SHOWN:
                first[item.id] = item
    by_state = {state.value: tally[state] for state in RunState if tally[state]}
    if request.as_json:
        echo_json({"dry_run": True, "items": tally.total(), "states": by_state, "first": list(first)})
        return
    told = ", ".join(f"{number} {state}" for state, number in by_state.items())
    click.echo(f"{tally.total()} would be {what}{': ' + told if told else ''}; nothing is written")
    if first:
        rows = [(item.id, state_words(item), item.queue, item.sweep, label(item)) for item in first.values()]
        echo_table("", ["ID", "STATE", "QUEUE", "SWEEP", "POINT"], rows)
    if tally.total() > len(first):
        click.echo(f"… and {tally.total() - len(first)} more")
