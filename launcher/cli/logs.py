"""`launcher logs`: what a run printed, and with -f what it prints."""

from __future__ import annotations

import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import click

from launcher.cli.reasons import Reasons
from launcher.cli.targets import found_item, opened, store_option
from launcher.errors import LaunchError
from launcher.item import TERMINAL, Item, ItemFilter
from launcher.paths import RunPaths
from launcher.queues import Store
from launcher.terminal import RESET, Colored

FOLLOW_SECONDS = 0.2
BLOCK = 1 << 16


@click.command()
@click.argument("item_id", metavar="ID", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on printing until the run ends.")
@store_option
def logs(item_id: str | None, follow: bool, store: str | None) -> None:
    """Print what a run wrote to its output."""
    with opened(store, make=False) as target:
        item = found_item(target, item_id)
        if item.run_dir is None and not follow:
            why = f": {item.reason}" if item.reason else ""
            raise LaunchError(f"item {item.id} has no log, it is {item.state.value}{why}")
        if not follow:
            path = _path(item)
            if not path.is_file():
                raise LaunchError(
                    f"the log of {item.id} is not at {path} (did it run on another machine? did launcher gc remove it?)"
                )
            with path.open("rb") as log, closing(_Output()) as output:
                output.copy(log)
        else:
            with closing(_Output()) as output:
                _follow(target, item, output)


def _path(item: Item) -> Path:
    return RunPaths(Path(item.run_dir or "")).log


class _Output:
    """Standard output: byte by byte what a log holds; on a terminal its colours, but nothing else that commands it."""

    def __init__(self) -> None:
        self._colored = Colored() if sys.stdout.isatty() else None

    def copy(self, log: BinaryIO) -> None:
        """Write what a log has from here on. The file may be larger than memory, and need not be text."""
        while block := log.read(BLOCK):
            sys.stdout.buffer.write(self._colored.feed(block).encode() if self._colored else block)
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """End what colours the log has begun."""
        if self._colored:
            click.echo(RESET, nl=False)


def _follow(store: Store, item: Item, output: _Output) -> None:
    """Print the log of each attempt as it grows, until the item has ended."""
    never = threading.Event()
    reasons = Reasons(store, [ItemFilter(ids=(item.id,))], [item.id])
    folder: str | None = None
    log: BinaryIO | None = None
    try:
        while True:
            item = store.item(item.id)  # read before the log: what was printed until the end is then copied
            if item.run_dir != folder and item.run_dir and _path(item).is_file():
                if log:
                    log.close()
                log, folder = _path(item).open("rb"), item.run_dir
            if log:
                output.copy(log)
            if item.state in TERMINAL:
                return
            reasons.tell()
            store.wait(never, FOLLOW_SECONDS)
    finally:
        if log:
            log.close()
