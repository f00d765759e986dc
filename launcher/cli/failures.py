"""`launcher failures`: why runs of a sweep failed, folded by cause."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import click

from launcher.analysis.conditions import Condition
from launcher.analysis.failures import Failure, example, fold, log_of, shared
from launcher.analysis.frames import read
from launcher.analysis.table import Results
from launcher.cli.layout import cut
from launcher.cli.printing import echo_json, on_terminal
from launcher.cli.targets import json_option, many_rows, opened, queue_and_states, store_option, sweeps_or_last
from launcher.item import ItemFilter
from launcher.runners.verdict import last_lines
from launcher.terminal import clean

LONGEST_LINE = 160


@click.command()
@click.argument("sweeps", metavar="[SWEEP...]", nargs=-1)
@click.option(
    "--top", type=click.IntRange(1), default=10, show_default=True, metavar="N", help="Only the N most frequent."
)
@click.option(
    "--lines", type=click.IntRange(0), default=5, show_default=True, metavar="N", help="Lines of a log to show."
)
@click.option("--where", multiple=True, metavar="CONDITION", help="Only these runs: model=svm, 'lr>=1'. Repeatable.")
@queue_and_states
@store_option
@json_option
@many_rows
def failures(
    sweeps: tuple[str, ...], which: ItemFilter, top: int, lines: int, where: tuple[str, ...], store: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Print why runs of sweeps failed, by cause: how many, what they have in common, and how to retry them. Without a
    SWEEP, it is the one that was added last.

    \b
    launcher failures digits
    launcher retry digits --cause 3f2a91
    """
    conditions = [Condition.parse(text) for text in where]
    with opened(store, make=False) as target:
        names = [sweep.name for sweep in sweeps_or_last(target, sweeps)]
        table = read(target, names, which).where(conditions)
    folded = fold(table)
    if as_json:
        echo_json([_record(table, each, names, lines) for each in folded])
        return
    tally = table.tally()
    failed, total = tally.get("failed", 0), len(table)
    if not failed:
        click.echo(f"none of {total:,} runs failed")
        return
    ways = f"in {len(folded)} ways" if len(folded) > 1 else "in one way"
    click.echo(f"{failed:,} of {total:,} runs failed, {ways}")
    for each in folded[:top]:
        _print(table, each, names, lines)
    if len(folded) > top:
        rest = sum(len(each.rows) for each in folded[top:])
        click.echo(f"\n… and {rest:,} more in {len(folded) - top} other ways (--top {len(folded)} shows them)")


def _print(table: Results, each: Failure, sweeps: Sequence[str], lines: int) -> None:
    count = f"{len(each.rows):,} run{'s' if len(each.rows) > 1 else ''}"
    click.echo()
    click.secho(clean(f"{each.cause.title}: {count}"), bold=True, fg="red" if on_terminal() else None)
    click.echo(f"  {clean(shared(table, each))}")
    row = example(table, each)
    click.echo(f"  for example {table.facts['id'][row]}: {_line(clean(table.facts['reason'][row] or ''))}")
    for line in _log(table, row, lines):
        click.echo(f"    | {_line(line)}")
    click.echo(f"  retry: {clean(_retry(each, sweeps))}")


def _line(text: str) -> str:
    """A line: cut on a terminal, whole in a pipe or a file."""
    return cut(text, LONGEST_LINE) if on_terminal() else text


def _log(table: Results, row: int, lines: int) -> list[str]:
    log = log_of(table, row)
    return last_lines(log)[-lines:] if log and lines else []


def _retry(each: Failure, sweeps: Sequence[str]) -> str:
    return f"launcher retry {shlex.join(sweeps)} --cause {each.cause.key}"


def _record(table: Results, each: Failure, sweeps: Sequence[str], lines: int) -> dict[str, Any]:
    row = example(table, each)
    return {
        "cause": each.cause.key, "kind": each.cause.kind, "title": each.cause.title, "count": len(each.rows),
        "common": list(each.common.conditions) if each.common else [], "of": each.common.of if each.common else None,
        "ids": [table.facts["id"][place] for place in each.rows], "reason": table.facts["reason"][row],
        "example": table.facts["id"][row], "log": _log(table, row, lines), "retry": _retry(each, sweeps),
    }  # fmt: skip
