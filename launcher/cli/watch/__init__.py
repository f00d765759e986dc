"""`launcher watch`: a sweep, or everything, on a live terminal."""

from __future__ import annotations

import sys

import click

from launcher.cli.printing import on_terminal
from launcher.cli.targets import opened, store_option
from launcher.errors import UsageError


@click.command()
@click.argument("sweep", metavar="[SWEEP]", required=False)
@store_option
def watch(sweep: str | None, store: str | None) -> None:
    """Follow a SWEEP, or everything, on the terminal: progress, what runs with its last line, the newest failures.

    Keys choose an item, open its log, cancel it, retry it, change its priority; ? lists them.
    """
    if not (on_terminal() and sys.stdin.isatty()):
        raise UsageError("launcher watch needs a terminal; launcher status prints what there is once")
    from launcher.analysis.frames import found_sweeps
    from launcher.cli.watch.app import App
    from launcher.cli.watch.terminal import Terminal

    with opened(store) as target:
        if sweep is not None:
            found_sweeps(target, [sweep])
        with Terminal() as terminal:
            App(target, sweep).run(terminal)
