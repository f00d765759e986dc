"""What `launcher watch` shows, as frames: pure functions of a snapshot, what is chosen, and the terminal's size."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.text import Text

from launcher.cli.printing import STATE_STYLES, duration
from launcher.cli.watch.snapshot import Running, Snapshot
from launcher.item import Item, RunRecord, RunState
from launcher.spec import PRIORITY_NAMES
from launcher.terminal import clean

HELP = (
    ("↑ ↓ PgUp PgDn Home End", "choose an item"),
    ("Enter or l", "its log: the end of it as it grows; the arrows scroll"),
    ("c", "cancel it"),
    ("r", "retry it, if it failed"),
    ("R", "retry all that failed"),
    ("+ -", "more or less priority, if it waits"),
    ("? q", "this help; quit"),
)
KEYS = "↑↓ choose  l log  c cancel  r retry  R retry all  +- priority  ? help  q quit"
HEAD = 5
"""Lines above the list."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list: an item's ID, its state, and what is told of it; a heading has no ID."""

    id: str
    state: RunState | None
    text: Text


def rows(snapshot: Snapshot, width: int, height: int) -> list[Row]:
    """The list: what runs, what failed last, what waits; each gets a share of `height` lines, and leaves the others
    what it does not need. What is not shown is counted."""
    alike = _alike(snapshot)
    states = snapshot.states
    busy = states.get(RunState.RUNNING, 0) + states.get(RunState.LEASED, 0)
    running = [_running(each, snapshot.at, width, alike) for each in snapshot.running]
    failed = [_failed(record, snapshot.at, width, alike) for record in snapshot.failed]
    waiting = [_waiting(item, width, alike) for item in snapshot.waiting]
    parts = [
        ("running", busy, running), ("failed, the newest first", states.get(RunState.FAILED, 0), failed),
        ("waiting", states.get(RunState.PENDING, 0), waiting),
    ]  # fmt: skip
    shown = [part for part in parts if part[1]]
    room = shares([len(found) for _, _, found in shown], max(height - len(shown), len(shown)))
    listed = []
    for (title, number, found), lines in zip(shown, room, strict=True):
        rest = f", {number - lines:,} more" if number > lines else ""
        listed.append(Row("", None, Text(f"{title} ({number:,}{rest})", style="bold")))
        listed += found[:lines]
    return listed


def shares(wanted: Sequence[int], lines: int) -> list[int]:
    """How many of `lines` each part gets, evenly, but no more than it wants.

    >>> shares([2, 50, 50], 20), shares([1, 1], 20)
    ([2, 9, 9], [1, 1])
    """
    given = [0] * len(wanted)
    while lines > 0 and (open_ := [place for place in range(len(wanted)) if given[place] < wanted[place]]):
        for place in open_:
            if lines > 0:
                given[place] += 1
                lines -= 1
    return given


def frame(
    title: str, snapshot: Snapshot, listed: Sequence[Row], chosen: int, message: str, size: tuple[int, int]
) -> Group:
    """The whole screen: progress above, the list with one row `chosen`, a message or the keys below."""
    width, height = size
    body = [_row(row, place == chosen) for place, row in enumerate(listed)]
    space = height - HEAD - 1
    body += [Text("")] * (space - len(body))
    if not listed:
        body[0] = Text("nothing runs, failed or waits", style="dim")
    foot = Text(_fit(message or KEYS, width), style="bold yellow" if message else "dim")
    return _lines([*_head(title, snapshot, width), *body[:space], foot], width)


def _lines(texts: Sequence[Text], width: int) -> Group:
    """Lines that are cut, never broken: a screen has just so many."""
    for text in texts:
        text.no_wrap = True
        text.truncate(width, overflow="ellipsis")
    return Group(*texts)


def _head(title: str, snapshot: Snapshot, width: int) -> list[Text]:
    busy = snapshot.states.get(RunState.RUNNING, 0) + snapshot.states.get(RunState.LEASED, 0)
    agents = f"{snapshot.agents} agent{'' if snapshot.agents == 1 else 's'}, {busy} of {snapshot.places} places"
    right = f"{agents}  {time.strftime('%H:%M:%S', time.localtime(snapshot.at))}"
    first = Text(_fit(clean(title), max(width - len(right) - 2, 8)), style="bold")
    first.append(" " * max(1, width - len(first) - len(right)))
    first.append(right, style="dim")
    return [first, _bar(snapshot, width), _counts(snapshot), _pace(snapshot), Text("")]


ENDED = (RunState.FINISHED, RunState.FAILED, RunState.CANCELLED)
BAR = {
    RunState.FINISHED: ("█", "green"), RunState.FAILED: ("▓", "red"), RunState.CANCELLED: ("▒", "yellow"),
    RunState.RUNNING: ("▪", "cyan"),
}  # fmt: skip
"""Each state in a colour and a character of its own, for those who do not see the colour."""


def _bar(snapshot: Snapshot, width: int) -> Text:
    total = snapshot.total or 1
    ended = sum(snapshot.states.get(state, 0) for state in ENDED)
    told = f"  {ended:,} of {snapshot.total:,}, {100 * ended // total} %"
    room = max(width - len(told), 10)
    bar = Text()
    at, reached = 0, 0
    for state, (mark, style) in BAR.items():
        number = snapshot.states.get(state, 0)
        number += snapshot.states.get(RunState.LEASED, 0) if state is RunState.RUNNING else 0
        reached += number
        until = max(room * reached // total, at + 1 if number else at)
        bar.append(mark * (min(until, room) - at), style=style)
        at = min(until, room)
    bar.append("·" * (room - at), style="dim")
    return bar.append(told)


def _counts(snapshot: Snapshot) -> Text:
    text = Text()
    for state in (*ENDED, RunState.RUNNING, RunState.LEASED, RunState.PENDING):
        number = snapshot.states.get(state, 0)
        if number or state in (RunState.FINISHED, RunState.FAILED, RunState.PENDING):
            text.append(f"{number:,} {state.value}", style=STATE_STYLES.get(state.value, "") if number else "dim")
            text.append(f" ({snapshot.held:,} held)" if state is RunState.PENDING and snapshot.held else "")
            text.append("  ")
    return text


def _pace(snapshot: Snapshot) -> Text:
    parts = [f"{snapshot.per_minute:.0f} ended in the last minute"]
    if snapshot.progress.seconds is not None:
        parts.append(f"{duration(snapshot.progress.seconds)} each")
    left = snapshot.seconds_left
    waits = snapshot.states.get(RunState.PENDING, 0)
    if left is not None:
        parts.append(f"about {duration(left)} left")
    elif waits and not snapshot.agents:
        parts.append("no agent is running; start one: launcher agent")
    return Text(" · ".join(parts), style="dim")


def _running(each: Running, now: float, width: int, alike: frozenset[str]) -> Row:
    since = duration(now - each.item.started_at) if each.item.started_at else each.item.state.value
    told = Text(f"{each.item.id}  {since:>9}  ")
    if each.slots:
        told.append(f"{each.slots}  ", style="magenta")
    left = width - len(told) - 3
    point = _fit(_told(each.item.point, each.item.name, alike), max(left // 2, 12) if each.line else left)
    told.append(point, style="cyan")
    if each.line:
        told.append("  " + _fit(each.line, max(left - len(point) - 2, 1)), style="dim")
    return Row(each.item.id, each.item.state, told)


def _failed(record: RunRecord, now: float, width: int, alike: frozenset[str]) -> Row:
    ago = f"{duration(max(0.0, now - record.finished_at))} ago" if record.finished_at else ""
    told = Text(f"{record.id}  {ago:>12}  ")
    told.append(_fit(clean(record.reason or ""), width - len(told) - 2), style="red")
    told.append(f"  {_told(json.loads(record.point), record.name, alike)}", style="cyan")
    return Row(record.id, RunState.FAILED, told)


def _waiting(item: Item, width: int, alike: frozenset[str]) -> Row:
    told = Text(f"{item.id}  {PRIORITY_NAMES[item.priority]:>8}  ")
    held = f"  {item.hold}" if item.hold else ""
    told.append(_fit(_told(item.point, item.name, alike), width - len(told) - len(held) - 2))
    told.append(held, style="yellow")
    return Row(item.id, RunState.PENDING, told)


def _alike(snapshot: Snapshot) -> frozenset[str]:
    """The overrides that all the items have that are shown: they tell none from the others."""
    points = [each.item.point for each in snapshot.running] + [item.point for item in snapshot.waiting]
    points += [tuple(json.loads(record.point)) for record in snapshot.failed]
    return frozenset.intersection(*map(frozenset, points)) if len(points) > 1 else frozenset()


def _told(point: Sequence[str], name: str | None, alike: frozenset[str]) -> str:
    return clean(" ".join(override for override in point if override not in alike) or name or "")


def _row(row: Row, chosen: bool) -> Text:
    if not row.id:
        return row.text
    text = Text("> " if chosen else "  ") + row.text
    if chosen:
        text.stylize("reverse")
    return text


def log_frame(title: str, lines: Sequence[str], above: int, message: str, size: tuple[int, int]) -> Group:
    """A log: the last of its lines, `above` so many from its end, under a title."""
    width, height = size
    room = height - 2
    end = len(lines) - above
    shown = [Text(_fit(clean(line.expandtabs(4)), width)) for line in lines[max(0, end - room) : end]]
    shown += [Text("")] * (room - len(shown))
    keys = f"↑↓ PgUp PgDn scroll  End follow  Esc back{f'  ({above:,} lines below)' if above else ''}"
    foot = Text(_fit(message or keys, width), style="bold yellow" if message else "dim")
    return _lines([Text(clean(title), style="bold"), *shown, foot], width)


def help_frame(size: tuple[int, int]) -> Group:
    """The keys, one a line."""
    lines = [Text(f"{keys:>24}  {what}") for keys, what in HELP]
    whole = [Text("Keys", style="bold"), Text(""), *lines, Text(""), Text("any key: back", style="dim")]
    return _lines(whole[: size[1]], size[0])


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
