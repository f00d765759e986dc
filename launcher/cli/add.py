"""`launcher plan` and `launcher add`: Hydra's own command line, or a sweep file, becomes queued items."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from launcher import tracing
from launcher.cli.grid import HydraCommand, Wanted, grid_options, wanted
from launcher.cli.printing import code, echo_json, on_terminal, plain, say
from launcher.cli.requests import shown_requests
from launcher.cli.targets import agent_folder, opened
from launcher.compose import Grid
from launcher.dispatcher import Dispatcher
from launcher.earlier import Earlier
from launcher.item import Receipt
from launcher.making import building, keeping, registering, unbuilt
from launcher.queues import Store
from launcher.settings import data_folder, load_settings, store_files, store_url
from launcher.sources import Leavings
from launcher.spec import PRIORITY_NAMES, LaunchSpec
from launcher.terminal import clean
from launcher.written import written_files

STEP = 100
"""Points between two steps of the progress bar, which costs as much as composing a few points."""


@click.command(cls=HydraCommand)
@click.option("--explain", is_flag=True, help="Say on stderr how many points were composed which way, and why.")
@click.option("--show-request", is_flag=True, help="Print what their runner would start: commands, job scripts.")
@grid_options
def plan(
    ctx: click.Context, *, explain: bool, show_request: bool, store: str | None, as_json: bool, **given: Any
) -> None:
    """Print every run that `add` would queue; write nothing anywhere.

    \b
    launcher plan -m model=svm,mlp 'seed=range(3)' -- python train.py
    launcher plan sweeps/digits.yaml
    """
    asked = wanted(ctx.obj, **given)
    with opened(store, read_only=True) as target:
        dispatcher = _dispatcher(target, asked, build=unbuilt if show_request else None)
        specs = dispatcher.specs(asked.points(), asked.overlay)
        if show_request:
            for text in shown_requests(specs, agent_folder(target, None)):
                click.echo(text)
        elif as_json:
            _print_json(specs, asked.sweep.name)
        else:
            _print_points(specs, asked)
    _print_removed(asked.grid)
    if not as_json and not show_request:
        _print_code(dispatcher, asked)
    if explain:
        for route, count in asked.grid.routes.most_common():
            click.echo(f"{count:,} points {route}", err=True)


def _dispatcher(store: Store, asked: Wanted, **options: Any) -> Dispatcher:
    # A sweep file that changes makes no other code of it: what the runs get of it is in their specs.
    apart = [*store_files(store.url), *([asked.file] if asked.file else [])]
    return Dispatcher(
        {queue.name: queue for queue in store.queues()}, asked.folder, texts=asked.variables, version=asked.version,
        provenance=asked.provenance, apart=apart, jobs=store.jobs, renders=store.renders,
        leavings=Leavings(written_files(store.url), asked.app.outputs if asked.app else None), **options,
    )  # fmt: skip


def _print_code(dispatcher: Dispatcher, asked: Wanted) -> None:
    if asked.provenance.revision:
        click.echo(f"config: {code(asked.provenance.revision)}")
    for source in dispatcher.sources:
        click.echo(f"code: {code(source)}")
    for version in dispatcher.versions:
        click.echo(f"job: {version.reference}")


def _print_removed(grid: Grid) -> None:
    """What the rules dropped, and what was verified; on stderr, for it is about the grid and not of it."""
    for rule, count in grid.removed.items():
        click.echo(f"{count:,} of {len(grid):,} points removed by {rule}", err=True)
    if grid.verify:
        click.echo(f"{min(grid.verify, len(grid)):,} points composed with Hydra too: all equal", err=True)


def _print_points(specs: Iterator[LaunchSpec], asked: Wanted) -> None:
    total = len(asked.grid)
    click.echo(f"sweep {asked.sweep.name}: {total:,} point{'s' if total != 1 else ''}; nothing is written")
    for number, spec in enumerate(specs, 1):
        priority = PRIORITY_NAMES[spec.priority]
        say(f"{number:>{len(str(total))}}  {' '.join(spec.point) or '(no overrides)'}")
        say(f"{'':>{len(str(total))}}  queue {spec.queue_name}, priority {priority}: {shlex.join(spec.command())}")


@click.command(cls=HydraCommand)
@click.option("--again", is_flag=True, help="Also add points that the sweep has already.")
@grid_options
def add(ctx: click.Context, *, again: bool, store: str | None, as_json: bool, **given: Any) -> None:
    """Queue a run, or with -m (or a sweep file) one run for each point of a grid.

    \b
    launcher add -m model=svm,mlp 'seed=range(3)' -- python train.py
    launcher add -m --app train.py model=svm,mlp 'seed=range(3)'
    launcher add sweeps/digits.yaml
    """
    asked = wanted(ctx.obj, **given)
    tracing.set_up()
    traced = tracing.adding("launcher add", sweep=asked.sweep.name)
    with opened(store) as target, _progress(asked.grid, as_json) as step, _line() as tell, traced as note:
        build = building(target, data_folder(store_url(store)), load_settings().base_image, tell)
        register = registering(target, data_folder(store_url(store)))
        dispatcher = _dispatcher(target, asked, keep=keeping(target), build=build, register=register)
        earlier = Earlier(target, asked.sweep.name)
        specs = earlier.watch(dispatcher.specs(asked.points(), asked.overlay, step))
        receipt = target.push(asked.sweep, specs, again=again)
        note(added=receipt.added, present=receipt.present)
        differs = None if again else earlier.differs(receipt, "fingerprint: {{ignore: [{}]}} in the sweep file")
    _print_removed(asked.grid)
    if as_json:
        states = {state.value: number for state, number in receipt.present_states.items()}
        echo_json(plain(receipt) | {"present_states": states})
        return
    click.echo(f"sweep {receipt.sweep}: {receipt.added:,} added{_skipped(receipt)}")
    if differs:
        click.echo(differs, err=True)
    _print_code(dispatcher, asked)
    run = "run: launcher agent" if target.renders else "run: an agent of that server"
    name = shlex.quote(asked.sweep.name)
    say(f"{run}   follow: launcher status {name}   stop: launcher cancel {name}")


def _skipped(receipt: Receipt) -> str:
    """What was not added, and why."""
    parts = []
    if receipt.present:
        states = ", ".join(f"{number:,} {state.value}" for state, number in receipt.present_states.items())
        parts.append(f"; {receipt.present:,} {'are' if receipt.present > 1 else 'is'} there already: {states}")
    if receipt.retried:
        parts.append(f"; {receipt.retried:,} had failed and {'wait' if receipt.retried > 1 else 'waits'} again")
    return "".join(parts) + (" (--again adds them once more)" if parts else "")


@contextmanager
def _line() -> Iterator[Callable[[str], None]]:
    """On a terminal, a line that tells what goes on, gone at the end."""
    if not on_terminal(sys.stderr):
        yield lambda _: None
        return
    width = shutil.get_terminal_size().columns - 1
    clear = "\r\x1b[K"
    try:
        yield lambda text: click.echo(f"{clear}{clean(text)[:width]}", nl=False, err=True)
    finally:
        click.echo(clear, nl=False, err=True)


@contextmanager
def _progress(grid: Grid, quiet: bool) -> Iterator[Callable[[], None]]:
    total = len(grid)
    if quiet or total < 20 or not on_terminal(sys.stderr):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("composing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        steps = itertools.count(1)

        def step() -> None:
            if next(steps) % STEP == 0:
                bar.update(task, completed=grid.routes.total())

        yield step


def _print_json(specs: Iterator[LaunchSpec], sweep: str) -> None:
    """One JSON list, written as the points come."""
    separator = "[\n"
    for number, spec in enumerate(specs, 1):
        entry = {
            "number": number, "sweep": sweep, "overrides": spec.point, "queue": spec.queue_name,
            "priority": spec.priority, "command": spec.command(), "spec": spec.document,
        }  # fmt: skip
        click.echo(separator + json.dumps(entry, ensure_ascii=False), nl=False)
        separator = ",\n"
    click.echo("\n]")
