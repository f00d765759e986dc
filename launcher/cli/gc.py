"""`launcher gc`: clear away what ended runs left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from launcher.cli.printing import amount, echo_json
from launcher.cli.targets import agent_folder, folder_option, json_option, opened, store_option
from launcher.errors import LaunchError, NotFoundError, StoreFullError, suggest
from launcher.housekeeping import Collected, collect
from launcher.item import ItemFilter
from launcher.queues import Store
from launcher.resources import seconds


def _span(_: click.Context, __: click.Parameter, text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option(
    "--older-than", default="30d", show_default=True, metavar="SPAN", callback=_span, help="Since they have ended."
)
@click.option(
    "--keep", type=click.IntRange(0), default=0, metavar="N", help="Spare the N of each sweep that ended last."
)
@click.option("--sweep", metavar="SWEEP", help="Only items of this sweep.")
@click.option("--items", is_flag=True, help="Forget the items too: their results and stories.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@folder_option
@store_option
@json_option
def gc(
    older_than: float, keep: int, sweep: str | None, items: bool, dry_run: bool, folder: Path | None, store: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Remove the folders and logs of items that ended long ago; what waits or runs is never touched.

    \b
    launcher gc --dry-run                           what would go
    launcher gc --older-than 7d --keep 10           the folders and logs
    launcher gc --older-than 1h --sweep s --items   the items of a sweep, too
    """
    with _opened(store, items and not dry_run) as target:
        if sweep is not None and sweep not in (known := [each.name for each in target.sweeps()]):
            raise NotFoundError(f"no sweep named {sweep!r}; {suggest(sweep, known)}")
        runs = agent_folder(target, folder) / "runs"
        which = ItemFilter(sweep=sweep, ended_before=time.time() - older_than)
        done = collect(target, runs, which, keep=keep, items=items, dry_run=dry_run)
    if as_json:
        echo_json(done)
    else:
        _print(done, runs, items, dry_run)
    if done.failures:
        raise LaunchError(_some(done.failures))


@contextmanager
def _opened(url: str | None, writes: bool) -> Iterator[Store]:
    """The store; on a full disk it can only be read, which is enough to make room there."""
    with ExitStack() as stack:
        try:
            target = stack.enter_context(opened(url))
        except StoreFullError:
            if writes:
                raise
            target = stack.enter_context(opened(url, read_only=True))
        yield target


def _print(done: Collected, runs: Path, items: bool, dry_run: bool) -> None:
    forgotten = f", {_number(done.items, 'item')} forgotten" if items else ""
    click.echo(f"{_number(done.folders, 'folder')} removed ({amount(done.size)}){forgotten}" + " (--dry-run)" * dry_run)
    if done.missing:
        click.echo(f"{_number(done.missing, 'folder')} not at {runs}: removed before, or on another machine")
    if done.elsewhere:
        click.echo(f"{_number(done.elsewhere, 'folder')} not below {runs}, left alone: name an agent's folder by --dir")


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _some(failures: list[str], shown: int = 10) -> str:
    more: list[Any] = [f"… and {len(failures) - shown:,} more"] if len(failures) > shown else []
    return "\n".join([*failures[:shown], *more])
