"""How commands print: JSON, a table drawn on a terminal or aligned in a pipe; words for numbers and times come from
`launcher.words`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import click

from launcher.cli import layout
from launcher.terminal import clean, clean_lines
from launcher.words import amount, code, duration, label, moment, shown, state_words

__all__ = [
    "amount", "code", "duration", "echo_json", "echo_table", "forget_output", "label", "moment", "on_terminal", "plain",
    "say", "shown", "state_words",
]  # fmt: skip

STATE_STYLES = {"finished": "green", "failed": "red", "running": "cyan", "cancelled": "yellow", "leased": "cyan"}


def plain(value: Any) -> Any:
    """Values of the library as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def echo_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


def say(text: str, *, err: bool = False) -> None:
    """Print lines that hold text of others, such as names and reasons: it cannot command the terminal."""
    click.echo(clean_lines(text), err=err)


def forget_output() -> None:
    """What is printed from now on, and what is not written yet, goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def on_terminal(stream: Any = None) -> bool:
    """Whether to draw for a person: a terminal that is not dumb."""
    stream = stream or sys.stdout
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


def echo_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    right: Sequence[str] = (),
    write: Callable[[str], object] | None = None,
    keep: Sequence[str] = (),
) -> None:
    """Print a table: as wide as the terminal at most (colour honours NO_COLOR); whole, in aligned columns of plain
    text, in a pipe or by `write`. On a narrow terminal the columns of `keep` stay longer than others."""
    columns, right, keep = ([clean(name) for name in names] for names in (columns, right, keep))
    cells = [[clean(shown(cell)) for cell in row] for row in rows]
    if write is None and on_terminal():
        _draw(title, columns, cells, right, keep)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    line = "  ".join(
        f"{{:{'>' if name in right else '<'}{width}}}" for name, width in zip(columns, widths, strict=True)
    )
    (write or click.echo)("\n".join(line.format(*row).rstrip() for row in (columns, *cells)) + ("\n" if write else ""))


def _draw(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], keep: Sequence[str]
) -> None:
    import shutil  # it brings all that compresses; in a pipe nobody needs it

    room = shutil.get_terminal_size().columns
    widths = layout.fitted(columns, rows, right, keep, room)
    colored = not os.environ.get("NO_COLOR")

    def line(row: Sequence[str], cut: Callable[[str, int], str]) -> str:
        parts = []
        for place, width in widths.items():
            text = cut(row[place], width)
            space = " " * (width - layout.cells(text))
            if colored and row is columns:
                text = click.style(text, bold=True)
            elif colored and text in STATE_STYLES:
                text = click.style(text, fg=STATE_STYLES[text])
            parts.append(space + text if columns[place] in right else text + space)
        return (" " * layout.GAP).join(parts).rstrip()

    if title:
        click.echo(title)
    click.echo(line(columns, layout.cut_heading))
    for row in rows:
        click.echo(line(row, layout.cut))
    left = [name for place, name in enumerate(columns) if place not in widths and any(row[place] for row in rows)]
    if left:
        click.echo(layout.cut(f"no room for {', '.join(left)}", room))
