"""How launcher says things in words, on a terminal and on pages alike: numbers, times, sizes, where code lies, what
state an item is in."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.item import Item
    from launcher.spec import Source


def code(source: Source) -> str:
    """A source in one line: which commit, what lies over it, and whether later edits reach the runs."""
    from launcher.spec import redacted  # a table needs none of it, and starts sooner

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
    """An item's state and, where it waits, what for: pending (paused); or that it is to end: running (stopping)."""
    if item.stop_requested:
        return f"{item.state.value} (stopping)"
    if item.hold is None:
        return item.state.value
    until = f" until {moment(item.not_before)}" if item.not_before is not None else ""
    return f"{item.state.value} ({item.hold}{until})"


def label(item: Item) -> str:
    """What tells an item from its siblings: its point, else its name."""
    return " ".join(item.point) or item.name or ""
