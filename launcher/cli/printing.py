"""How commands print: JSON, a table drawn on a terminal or aligned in a pipe, numbers and times as people say them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import click

from launcher.item import Item
from launcher.spec import Source, redacted

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


def on_terminal(stream: Any = None) -> bool:
    """Whether to draw for a person: a terminal that is not dumb."""
    stream = stream or sys.stdout
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


def code(source: Source) -> str:
    """A source in one line: which commit, what lies over it, and whether later edits reach the runs."""
    where = source.folder or redacted(source.repo or "")
    if source.subdir:
        where += f"/{source.subdir}"
    if source.commit:
        where += f" at {source.commit[:12]}"
    if source.patch:
        return f"{where} with uncommitted changes (patch {source.patch[:12]})"
    if source.in_place or not source.commit:
        return f"{where}{' with uncommitted changes' if source.dirty else ''}, in place: later edits reach the runs"
    return f"{where}{' without its uncommitted changes' if source.dirty else ''}"


def echo_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    right: Sequence[str] = (),
    write: Callable[[str], object] | None = None,
) -> None:
    """Print a table: drawn on a terminal (colour honours NO_COLOR), aligned columns of plain text in a pipe, or where
    there are very many rows, or by `write`."""
    cells = [[shown(cell) for cell in row] for row in rows]
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


def shown(value: Any) -> str:
    """A cell's text: numbers short, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else str(value)


def duration(seconds: float | None) -> str:
    """Seconds as people say them.

    >>> duration(0.25), duration(75), duration(7200)
    ('0.2 s', '1 m 15 s', '2 h 0 m')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} m" if hours else f"{minutes} m {rest} s"


def amount(size: float) -> str:
    """Bytes as people say them.

    >>> amount(999), amount(1_500_000)
    ('999 B', '1.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.1f} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1000
    return f"{size:.1f} TB"


def moment(at: float | None) -> str:
    """A time in the user's zone, to the second."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def state_words(item: Item) -> str:
    """An item's state and, where it waits, what for: pending (paused)."""
    if item.hold is None:
        return item.state.value
    until = f" until {moment(item.not_before)}" if item.not_before is not None else ""
    return f"{item.state.value} ({item.hold}{until})"


def label(item: Item) -> str:
    """What tells an item from its siblings: its point, else its name."""
    return " ".join(item.point) or item.name or ""
