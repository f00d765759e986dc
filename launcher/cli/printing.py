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

from launcher.terminal import clean, clean_lines
from launcher.words import amount, code, duration, label, moment, shown, state_words

__all__ = [
    "amount", "code", "duration", "echo_json", "echo_table", "label", "moment", "on_terminal", "plain", "say",
    "shown", "state_words",
]  # fmt: skip

STATE_STYLES = {"finished": "green", "failed": "red", "running": "cyan", "cancelled": "yellow", "leased": "cyan"}

DRAWN_ROWS = 1000
"""Drawing takes a millisecond a row."""


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
) -> None:
    """Print a table: drawn on a terminal (colour honours NO_COLOR), aligned columns of plain text in a pipe, or where
    there are very many rows, or by `write`."""
    columns = [clean(name) for name in columns]
    cells = [[clean(shown(cell)) for cell in row] for row in rows]
    if write is None and on_terminal() and len(cells) <= DRAWN_ROWS:
        _draw(title, columns, cells, right)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    line = "  ".join(
        f"{{:{'>' if name in right else '<'}{width}}}" for name, width in zip(columns, widths, strict=True)
    )
    (write or click.echo)("\n".join(line.format(*row).rstrip() for row in (columns, *cells)) + ("\n" if write else ""))


def _draw(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=STATE_STYLES.get(cell, "")) for cell in row))
    Console().print(table)
