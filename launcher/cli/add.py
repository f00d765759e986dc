"""`launcher plan` and `launcher add`: Hydra's own command line, or a sweep file, becomes queued items."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from launcher.cli.common import echo_json, json_option, on_terminal, opened, store_option
from launcher.compose import Grid, Repository
from launcher.compose.sweepfile import SweepFile, read_sweep_file
from launcher.dispatcher import Dispatcher
from launcher.errors import UsageError
from launcher.item import Sweep
from launcher.settings import Settings, load_settings
from launcher.spec import PRIORITY_NAMES, LaunchArguments, LaunchSpec, parse_priority

ASK_ABOVE = 10_000


class HydraCommand(click.Command):
    """A command whose arguments end at `--`; what follows is the entry point of the runs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what follows `--` aside; click would mix it with the overrides."""
        if "--" in args:
            place = args.index("--")
            ctx.obj = args[place + 1 :]
            if not ctx.obj:
                ctx.fail("nothing follows --; expected the command to run, as in: -- python train.py")
            args = args[:place]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show the entry point in the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for: the grid, the sweep it becomes, and the arguments that win over its config's."""

    grid: Grid
    sweep: Sweep
    overlay: LaunchArguments


def grid_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `plan` and `add` share."""
    for option in reversed([
        click.argument("words", nargs=-1, metavar="[SWEEP_FILE] [OVERRIDES]..."),
        click.option("-m", "--multirun", is_flag=True, help="Overrides may hold several values: one run each."),
        click.option("--config-dir", "-cd", metavar="DIR", help="The config repository (default: conf/)."),
        click.option("--config-name", "-cn", metavar="NAME", help="Its primary config (default: config)."),
        click.option("--sweep", metavar="NAME", help="The sweep's name (default: the sweep file's, or a new one)."),
        click.option("--queue", "-q", metavar="QUEUE", help="The queue (default: the config's, or 'default')."),
        click.option("--priority", "-p", metavar="PRIORITY", help="critical, high, medium or low; or 0 to 3."),
        click.option("--yes", "-y", is_flag=True, help=f"Do not ask about more than {ASK_ABOVE:,} points."),
        store_option,
        json_option,
    ]):  # fmt: skip
        function = option(function)
    return click.pass_context(function)


@click.command(cls=HydraCommand)
@click.option("--explain", is_flag=True, help="Say on stderr how many points were composed which way, and why.")
@grid_options
def plan(ctx: click.Context, *, explain: bool, yes: bool, store: str | None, as_json: bool, **given: Any) -> None:
    """Print every run that `add` would queue; write nothing anywhere.

    \b
    launcher plan -m model=svm,mlp seed=range(3) -- python train.py
    launcher plan sweeps/digits.yaml
    """
    settings = load_settings()
    wanted = _wanted(ctx.obj, settings, **given)
    _confirm(len(wanted.grid), yes)
    with opened(store, read_only=True) as target:
        queues = {queue.name: queue for queue in target.queues()}
    specs = Dispatcher(queues, str(settings.root)).specs(wanted.grid, wanted.overlay)
    if as_json:
        _print_json(specs, wanted.sweep.name)
    else:
        _print_points(specs, wanted)
    if explain:
        for route, count in wanted.grid.routes.most_common():
            click.echo(f"{count:,} points {route}", err=True)


def _print_points(specs: Iterator[LaunchSpec], wanted: Wanted) -> None:
    total = len(wanted.grid)
    click.echo(f"sweep {wanted.sweep.name}: {total:,} point{'s' if total != 1 else ''}; nothing is written")
    for number, spec in enumerate(specs, 1):
        priority = PRIORITY_NAMES[spec.priority]
        click.echo(f"{number:>{len(str(total))}}  {' '.join(spec.point) or '(no overrides)'}")
        click.echo(
            f"{'':>{len(str(total))}}  queue {spec.queue_name}, priority {priority}: {shlex.join(spec.command())}"
        )


@click.command(cls=HydraCommand)
@click.option("--again", is_flag=True, help="Also add points that the sweep has already.")
@grid_options
def add(ctx: click.Context, *, again: bool, yes: bool, store: str | None, as_json: bool, **given: Any) -> None:
    """Queue a run, or with -m (or a sweep file) one run for each point of a grid.

    \b
    launcher add -m model=svm,mlp seed=range(3) -- python train.py
    launcher add sweeps/digits.yaml
    """
    settings = load_settings()
    wanted = _wanted(ctx.obj, settings, **given)
    _confirm(len(wanted.grid), yes)
    with opened(store) as target, _progress(len(wanted.grid), as_json) as step:
        dispatcher = Dispatcher({queue.name: queue for queue in target.queues()}, str(settings.root))
        receipt = target.push(wanted.sweep, dispatcher.specs(wanted.grid, wanted.overlay, step), again=again)
    if as_json:
        echo_json({"sweep": receipt.sweep, "added": receipt.added, "present": receipt.present, "ids": receipt.ids})
        return
    there = f"; {receipt.present:,} are there already (--again adds them once more)" if receipt.present else ""
    click.echo(f"sweep {receipt.sweep}: {receipt.added:,} added{there}")
    click.echo(f"run: launcher agent   follow: launcher status {receipt.sweep}   stop: launcher cancel {receipt.sweep}")


def _wanted(
    entry_point: list[str] | None,
    settings: Settings,
    *,
    words: Sequence[str],
    multirun: bool,
    config_dir: str | None,
    config_name: str | None,
    sweep: str | None,
    queue: str | None,
    priority: str | None,
) -> Wanted:
    file, overrides = _split(words)
    folder = _config_dir(config_dir or (file.config_dir if file else None), settings)
    config_name = config_name or (file and file.config_name) or settings.config_name or "config"
    name = sweep or (file.name if file else None) or f"sweep-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(1)}"
    overlay = LaunchArguments(
        entry_point=entry_point,
        queue_name=queue or (file.queue if file else None),
        sweep_id=name,
        priority=parse_priority(priority) if priority is not None else file.priority if file else None,
    )
    described = Sweep(name, file.metric, file.goal) if file else Sweep(name)
    grid = Grid.of(
        Repository(folder),
        config_name,
        [*(file.overrides if file else ()), *overrides],
        multirun=multirun or bool(file),
    )
    return Wanted(grid, described, overlay)


def _split(words: Sequence[str]) -> tuple[SweepFile | None, list[str]]:
    files = [word for word in words if "=" not in word and word.endswith((".yaml", ".yml"))]
    if len(files) > 1:
        raise UsageError(f"several sweep files: {', '.join(files)}; give one, or add them one after another")
    return (read_sweep_file(Path(files[0])) if files else None), [word for word in words if word not in files]


def _config_dir(explicit: str | None, settings: Settings) -> Path:
    """`explicit`, as seen from here, else the project's setting, as seen from its pyproject.toml, else its conf/."""
    if explicit:
        return Path(explicit)
    return settings.root / (settings.config_dir or "conf")


def _confirm(points: int, yes: bool) -> None:
    if points <= ASK_ABOVE or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"the grid has {points:,} points; add --yes if that is meant")
    click.confirm(f"The grid has {points:,} points. Go on?", abort=True, err=True)


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    if quiet or total < 20 or not on_terminal(sys.stderr):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("composing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


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
